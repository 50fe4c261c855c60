//! Nodes speak to each other: who may, over which connections, and what becomes of those who may not.
//!
//! ```text
//!  node a                                                     node b
//!    tick: b is alive ──► connect ──► TLS 1.3, both with certificates of one authority
//!                         certificate says b          certificate says a
//!                         Hello a, life 7, to b ────► alive in the store under that life?
//!                         version, life ◄──────────── Welcome
//!    Packet, Ping ◄──────────────────────────────────────────► Packet, Ping
//! ```
//!
//! Of two nodes the one whose name comes first connects, so that there is one connection for each pair; it serves both ways.
//! A stranger gets no further than TLS, or than its first word; each is counted by reason, holds one of `connections` places for
//! at most `timeout`, and 512 octets. When all are taken, the address that holds the most loses its oldest.

mod identity;
mod link;
mod refused;
#[cfg(test)]
mod tests;
pub mod wire;

pub use identity::Identity;
pub use wire::{Packet, Refusal, Reply};

use crate::places::{Door, Mark};
use crate::{Counter, Member};
use gateway_core::attempt::record::Owner;
use gateway_core::limit::places::sender;
use gateway_core::reason::Reason;
use link::Link;
use refused::{Refused, of_tls};
use rustls::pki_types::ServerName;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use wire::{Hello, LONGEST_HELLO, VERSIONS, Welcome, kind};

/// How often the list of nodes is looked at.
const TICK: Duration = Duration::from_millis(250);

/// Between tries to connect: the first pause, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What peers need to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to take connections.
    pub listen: SocketAddr,
    /// This node in this life.
    pub owner: Owner,
    /// How long connecting may take, and saying who one is.
    pub timeout: Duration,
    /// Packets on their way to or from one node.
    pub in_flight: usize,
    /// Connections that have not said who they are.
    pub connections: usize,
}

/// What a node does for its peers.
pub trait Serve: Send + Sync + 'static {
    /// The nodes that are alive, as the store knows them.
    fn members(&self) -> Vec<Member>;

    /// Takes a packet that another node received, as if it had come here.
    fn packet(&self, packet: Packet) -> Pin<Box<dyn Future<Output = Result<Reply, Refusal>> + Send>>;
}

/// What is counted.
#[derive(Debug, Default)]
pub struct PeerStats {
    refused: Mutex<HashMap<Reason, u64>>,
    round_trips: Mutex<HashMap<Arc<str>, Duration>>,
    /// Packets that other nodes sent here.
    pub served: Counter,
    /// Packets of other nodes that there was no room for.
    pub busy: Counter,
    /// Messages of a kind that is not known.
    pub unknown: Counter,
}

impl PeerStats {
    /// Connections that came to nothing, by why.
    pub fn refused(&self) -> HashMap<Reason, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Another node.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its name.
    pub node: Arc<str>,
    /// There is a connection.
    pub up: bool,
    /// How long it last took to answer.
    pub round_trip: Option<Duration>,
    /// Packets that it was sent, and that wait for what becomes of them.
    pub questions: usize,
}

struct Shared {
    settings: Settings,
    identity: Mutex<Arc<Identity>>,
    serve: Weak<dyn Serve>,
    handle: Handle,
    links: Mutex<HashMap<Arc<str>, Arc<Link>>>,
    dialled: Mutex<HashSet<Owner>>,
    stats: Arc<PeerStats>,
    said: Mutex<HashMap<Reason, (Instant, u64)>>,
    /// Tasks that end with this node's peers.
    tasks: Mutex<Vec<AbortHandle>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The other nodes, as far as one can speak to them. Dropping it ends all connections.
pub struct Peers {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Peers {
    /// Takes connections, and makes them to those nodes that come after this one.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub fn start(settings: Settings, identity: Identity, serve: Weak<dyn Serve>, handle: &Handle) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind(settings.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = {
            let _inside = handle.enter();
            TcpListener::from_std(listener)?
        };
        let shared = Arc::new(Shared {
            settings,
            identity: Mutex::new(Arc::new(identity)),
            serve,
            handle: handle.clone(),
            links: Mutex::default(),
            dialled: Mutex::default(),
            stats: Arc::default(),
            said: Mutex::default(),
            tasks: Mutex::default(),
        });
        shared.keep(shared.clone().accept(listener));
        shared.keep(shared.clone().watch());
        Ok(Self { shared, address })
    }

    /// Where connections are taken, with the port that port 0 became.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who this node is to others from now on. Connections are made anew; what is under way on the old ones goes on.
    pub fn set_identity(&self, identity: Identity) {
        *lock(&self.shared.identity) = Arc::new(identity);
        let links: Vec<_> = lock(&self.shared.links).drain().collect();
        links.iter().for_each(|(_, link)| link.retire());
        // Those that this node connects to are called again at the next look.
        lock(&self.shared.dialled).clear();
    }

    /// Who this node is to others.
    pub fn identity(&self) -> Arc<Identity> {
        lock(&self.shared.identity).clone()
    }

    /// What is counted.
    pub fn stats(&self) -> &Arc<PeerStats> {
        &self.shared.stats
    }

    /// Whether a packet can be sent to that node in that life.
    pub fn reaches(&self, incarnation: u64) -> Option<Owner> {
        let links = lock(&self.shared.links);
        links.values().map(|link| &link.owner).find(|owner| owner.incarnation == incarnation).cloned()
    }

    /// Sends a packet to `to` and waits for what becomes of it, `patience` at most. It may be awaited on any runtime.
    ///
    /// # Errors
    ///
    /// Why nothing is known of what became of it, or why that node did not take it.
    pub fn forward(
        &self,
        to: &Owner,
        packet: Packet,
        patience: Duration,
    ) -> impl Future<Output = Result<Reply, Reason>> + Send + 'static {
        let link = lock(&self.shared.links).get(&to.node).filter(|link| link.owner == *to).cloned();
        async move {
            match link {
                Some(link) => link.forward(&packet, patience).await,
                None => Err(Reason::PeerUnreachable),
            }
        }
    }

    /// The other nodes that there is a connection to, or should be, by name.
    pub fn list(&self) -> Vec<Peer> {
        let members = self.shared.others();
        let links = lock(&self.shared.links);
        let times = lock(&self.shared.stats.round_trips);
        let known = members.into_iter().map(|member| member.owner.node);
        let names: BTreeSet<Arc<str>> = known.chain(links.keys().cloned()).collect();
        let peer = |node: Arc<str>| {
            let link = links.get(&node);
            let round_trip = times.get(&node).copied().filter(|_| link.is_some());
            Peer { round_trip, up: link.is_some(), questions: link.map_or(0, |link| link.questions()), node }
        };
        names.into_iter().map(peer).collect()
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        lock(&self.shared.tasks).drain(..).for_each(|task| task.abort());
        lock(&self.shared.links).clear();
    }
}

impl Shared {
    fn keep(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let task = self.handle.spawn(task).abort_handle();
        let mut tasks = lock(&self.tasks);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    /// The other nodes that take connections.
    fn others(&self) -> Vec<Member> {
        let members = self.serve.upgrade().map(|node| node.members()).unwrap_or_default();
        let own = &self.settings.owner.node;
        members.into_iter().filter(|member| member.owner.node != *own && !member.says.peers.is_empty()).collect()
    }

    fn round_trip(&self, owner: &Owner, took: Duration) {
        lock(&self.stats.round_trips).insert(owner.node.clone(), took);
    }

    /// Counts a connection that came to nothing, and says so: once a second for each reason, so that nobody fills the log.
    fn refuse(&self, refused: &Refused, peer: &dyn std::fmt::Display) {
        let Refused { reason, detail } = refused;
        *lock(&self.stats.refused).entry(*reason).or_default() += 1;
        let mut said = lock(&self.said);
        let now = Instant::now();
        let (last, kept) = said.entry(*reason).or_insert((now, 0));
        let first = *kept == 0 && *last == now;
        if !first && now.duration_since(*last) < Duration::from_secs(1) {
            *kept = kept.saturating_add(1);
            return;
        }
        let unsaid = std::mem::take(kept);
        *last = now;
        drop(said);
        tracing::warn!(
            %peer, detail = &**detail, unsaid, reason = reason.label(), reason_id = reason.id(), "no connection: {} {}",
            reason.cause(), reason.remedy()
        );
    }

    /// Connects to nodes that have come, and forgets those that have gone.
    async fn watch(self: Arc<Self>) {
        loop {
            if self.serve.strong_count() == 0 {
                return;
            }
            let others = self.others();
            // A node that has lost the store gives no signs of life there, and needs its connections all the more: one that was
            // proved goes on until it breaks, or another life of the node is seen.
            let gone = |owner: &Owner| {
                others.iter().any(|member| member.owner.node == owner.node && member.owner != *owner)
                    && !others.iter().any(|member| member.owner == *owner)
            };
            lock(&self.links).retain(|_, link| {
                let gone = gone(&link.owner);
                if gone {
                    link.retire();
                }
                !gone
            });
            let linked: HashSet<Arc<str>> = lock(&self.links).keys().cloned().collect();
            lock(&self.stats.round_trips).retain(|node, _| linked.contains(node));
            for member in others {
                if self.settings.owner.node < member.owner.node && lock(&self.dialled).insert(member.owner.clone()) {
                    self.keep(self.clone().dial(member));
                }
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Whether this task is still the one to call `owner`, who is still alive.
    fn is_wanted(&self, owner: &Owner, under: &Arc<Identity>) -> bool {
        let same = Arc::ptr_eq(under, &lock(&self.identity));
        same && self.others().iter().any(|member| member.owner == *owner)
    }

    /// Keeps a connection to `member` while it is alive.
    async fn dial(self: Arc<Self>, member: Member) {
        let identity = lock(&self.identity).clone();
        let mut pause = PAUSES.0;
        while self.is_wanted(&member.owner, &identity) {
            let called = tokio::time::timeout(self.settings.timeout, self.call(&member, &identity)).await;
            match called.unwrap_or_else(|_| Err(Refused::new(Reason::PeerSilent, "no answer in time"))) {
                Ok(stream) => {
                    let begun = Instant::now();
                    self.clone().converse(member.owner.clone(), stream).await;
                    if begun.elapsed() > PAUSES.1 {
                        pause = PAUSES.0;
                    }
                }
                Err(refused) => self.refuse(&refused, &format!("{} at {}", member.owner.node, member.says.peers)),
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(PAUSES.1);
        }
        if Arc::ptr_eq(&identity, &lock(&self.identity)) {
            lock(&self.dialled).remove(&member.owner);
        }
    }

    async fn call(
        &self,
        member: &Member,
        identity: &Identity,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Refused> {
        let unreachable = |error: io::Error| Refused::new(Reason::PeerUnreachable, error);
        let tcp = TcpStream::connect(&member.says.peers).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let config = identity.client(&member.owner.node);
        let config = config.map_err(|error| Refused::new(Reason::PeerUntrusted, error))?;
        // Not looked at: the certificate is held against the name of the node.
        let anybody = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        let mut stream = TlsConnector::from(Arc::new(config)).connect(anybody, tcp).await.map_err(|e| of_tls(&e))?;
        let (oldest, newest) = VERSIONS;
        let hello = Hello { oldest, newest, owner: self.settings.owner.clone(), to: member.owner.clone() };
        say(&mut stream, kind::HELLO, &hello).await.map_err(|e| of_tls(&e))?;
        let answer = wire::read(&mut stream, LONGEST_HELLO).await.map_err(|e| of_tls(&e))?;
        if answer.kind == kind::REFUSAL {
            return Err(match answer.read::<Refusal>() {
                Some(Refusal::OtherVersion) => Refused::new(Reason::PeerOtherVersion, "said by the other side"),
                Some(Refusal::NoMember) => Refused::new(Reason::PeerNoMember, "said of this node by the other side"),
                _ => Refused::new(Reason::PeerUntrusted, "said of this node by the other side"),
            });
        }
        match answer.read::<Welcome>().filter(|_| answer.kind == kind::WELCOME) {
            Some(welcome) if welcome.owner != member.owner => {
                Err(Refused::new(Reason::PeerNoMember, "another life of the node answers"))
            }
            Some(welcome) if wire::common((welcome.version, welcome.version)).is_none() => {
                Err(Refused::new(Reason::PeerOtherVersion, welcome.version))
            }
            Some(_) => Ok(stream),
            None => Err(Refused::new(Reason::PeerGarbage, "no Welcome")),
        }
    }

    /// Takes connections, and never more than `connections` of people it does not know.
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let door = Door::new(self.settings.connections);
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "no connection of another node could be taken");
                    door.make_room();
                    tokio::time::sleep(PAUSES.0).await;
                    continue;
                }
            };
            let Some((mut place, _)) = door.enter(sender(peer.ip())) else {
                self.refuse(&Refused::new(Reason::PeerTooMany, "every place is held by one with a certificate"), &peer);
                continue;
            };
            let shared = self.clone();
            self.keep(async move {
                let greeting = tokio::time::timeout(shared.settings.timeout, shared.greet(stream, place.mark()));
                let greeted = match place.hold(greeting).await {
                    Some(greeted) => {
                        greeted.unwrap_or_else(|_| Err(Refused::new(Reason::PeerSilent, "no word in time")))
                    }
                    None => Err(Refused::new(Reason::PeerTooMany, "closed for one that came later")),
                };
                drop(place);
                match greeted {
                    Ok((owner, stream)) => shared.converse(owner, stream).await,
                    Err(refused) => shared.refuse(&refused, &peer),
                }
            });
        }
    }

    async fn greet(
        &self,
        tcp: TcpStream,
        place: Mark<IpAddr>,
    ) -> Result<(Owner, tokio_rustls::server::TlsStream<TcpStream>), Refused> {
        tcp.set_nodelay(true).map_err(|error| Refused::new(Reason::PeerSilent, error))?;
        let server = lock(&self.identity).server.clone();
        let mut stream = TlsAcceptor::from(server).accept(tcp).await.map_err(|e| of_tls(&e))?;
        place.heard(); // Its certificate is one of ours: strangers no longer take its place.
        let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let names = certificate.map(|certificate| identity::names(certificate)).unwrap_or_default();
        let hello = wire::read(&mut stream, LONGEST_HELLO).await.map_err(|e| of_tls(&e))?;
        let Some(hello) = hello.read::<Hello>().filter(|_| hello.kind == kind::HELLO) else {
            return Err(Refused::new(Reason::PeerGarbage, "no Hello"));
        };
        let Hello { owner, to, oldest, newest } = hello;
        let refused = if !names.iter().any(|name| **name == *owner.node) {
            Some((
                Refusal::NoMember,
                Refused::new(Reason::PeerOtherName, format!("{names:?} says it is {}", owner.node)),
            ))
        } else if to != self.settings.owner {
            Some((
                Refusal::NoMember,
                Refused::new(Reason::PeerNoMember, format!("{} looks for another node", owner.node)),
            ))
        } else if wire::common((oldest, newest)).is_none() {
            let detail = format!("{} speaks versions {oldest} to {newest}", owner.node);
            Some((Refusal::OtherVersion, Refused::new(Reason::PeerOtherVersion, detail)))
        } else if !self.becomes_known(&owner).await {
            Some((Refusal::NoMember, Refused::new(Reason::PeerNoMember, &owner.node)))
        } else {
            None
        };
        if let Some((said, refused)) = refused {
            let _ = say(&mut stream, kind::REFUSAL, &said).await;
            let _ = stream.shutdown().await;
            return Err(refused);
        }
        let version = wire::common((oldest, newest)).unwrap_or(VERSIONS.1);
        let welcome = Welcome { version, owner: self.settings.owner.clone() };
        say(&mut stream, kind::WELCOME, &welcome).await.map_err(|e| of_tls(&e))?;
        Ok((owner, stream))
    }

    /// Whether `owner` is alive in the store. One that has just come may have heard of this node before this one of it.
    async fn becomes_known(&self, owner: &Owner) -> bool {
        let end = Instant::now() + self.settings.timeout.mul_f32(0.75);
        loop {
            if self.others().iter().any(|member| member.owner == *owner) {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            tokio::time::sleep(TICK / 5).await;
        }
    }

    /// Speaks with `owner` until the connection ends.
    async fn converse(self: Arc<Self>, owner: Owner, stream: impl AsyncRead + AsyncWrite) {
        let (link, outgoing) = Link::new(owner.clone(), self.settings.in_flight);
        if let Some(before) = lock(&self.links).insert(owner.node.clone(), link.clone()) {
            before.retire();
        }
        tracing::info!(peer = &*owner.node, "connected to another node");
        let outcome = link.clone().run(stream, outgoing, self.clone()).await;
        {
            let mut links = lock(&self.links);
            if links.get(&owner.node).is_some_and(|current| Arc::ptr_eq(current, &link)) {
                links.remove(&owner.node);
            }
        }
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.refuse(&Refused::new(Reason::PeerGarbage, error), &owner.node);
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                self.refuse(&Refused::new(Reason::PeerSilent, "nothing was heard"), &owner.node);
            }
            Err(error) => tracing::info!(peer = &*owner.node, %error, "the connection to another node has ended"),
            Ok(()) => tracing::info!(peer = &*owner.node, "the connection to another node has ended"),
        }
    }
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), kind: u16, body: &impl serde::Serialize) -> io::Result<()> {
    let octets = wire::frame(kind, 0, body).ok_or_else(|| io::Error::other("a first word that is too long"))?;
    stream.write_all(&octets).await?;
    stream.flush().await
}
