//! The other nodes: who this node is to them, read again when its files change, and packets that go from one node to another.
//!
//! A packet is sent to another node when its State was issued there and the shared store cannot be reached from here: that node
//! has the record, or reaches the store. It finds the RADIUS client, checks secret and Message-Authenticator and goes the way of
//! every packet; the reply comes back and leaves from here, where the NAS waits for it.

use crate::actors::messages::{Datagram, Forwarded};
use crate::backends::watched::{Reload, Watched};
use crate::clock;
use crate::node::Node;
use actix::Recipient;
use cluster::Member;
use cluster::peers::{Identity, Packet, Peers, Refusal, Reply, Serve, Settings};
use gateway_core::attempt::record::Owner;
use gateway_core::config;
use gateway_core::exchange::duplicates::End;
use gateway_core::reason::Reason;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// What became of a packet, and the soonest that it may be known.
pub type Answered = Result<(End, Option<Timestamp>), Reason>;

/// How long a packet is on its way beside the time that it takes there.
const WAY: Duration = Duration::from_secs(2);

/// The listeners of this node, for packets that other nodes received.
#[derive(Default)]
pub struct Listeners(Mutex<HashMap<(SocketAddr, u16), Recipient<Forwarded>>>);

impl Listeners {
    /// One serves this address on this thread; it takes the place of one that died.
    pub fn add(&self, address: SocketAddr, thread: u16, listener: Recipient<Forwarded>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((address, thread), listener);
    }

    /// The one for this source: always the same, because it remembers packets.
    fn of(&self, source: SocketAddr) -> Option<Recipient<Forwarded>> {
        let listeners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let weight = |key: &(SocketAddr, u16)| BuildHasherDefault::<DefaultHasher>::default().hash_one((key, source));
        let alive = listeners.iter().filter(|(_, listener)| listener.connected());
        alive.max_by_key(|(key, _)| weight(key)).map(|(_, listener)| listener.clone())
    }
}

/// The peers of a node that has some.
pub struct Neighbours {
    peers: Peers,
    files: Files,
    address: String,
}

struct Files {
    name: Arc<str>,
    certificate: Watched<String>,
    key: Watched<Secret>,
    authorities: Watched<String>,
}

impl Files {
    fn load(name: Arc<str>, configured: &config::Peers) -> Result<Self, Vec<String>> {
        let text = |text: &str| Ok(text.to_owned());
        let certificate = Watched::load(configured.certificate_file.clone(), text);
        let key = Watched::load(configured.key_file.clone(), |text| Ok(Secret::new(text.as_bytes().to_vec())));
        let authorities = Watched::load(configured.ca_file.clone(), text);
        match (certificate, key, authorities) {
            (Ok(certificate), Ok(key), Ok(authorities)) => Ok(Self { name, certificate, key, authorities }),
            (certificate, key, authorities) => {
                Err(certificate.err().into_iter().chain(key.err()).chain(authorities.err()).flatten().collect())
            }
        }
    }

    fn identity(&self) -> Result<Identity, String> {
        Identity::read(&self.name, &self.certificate.current(), &self.key.current(), &self.authorities.current())
    }
}

impl Neighbours {
    /// Takes and makes connections for `node`.
    ///
    /// # Errors
    ///
    /// A file cannot be used, or the address not listened on; what to do is said.
    pub fn start(node: &Arc<Node>, configured: &config::Peers, handle: &Handle) -> Result<Self, Vec<String>> {
        let files = Files::load(node.owner().node.clone(), configured)?;
        let identity = files.identity().map_err(|fault| vec![format!("cluster.peers: {fault}")])?;
        let settings = Settings {
            listen: configured.listen,
            owner: node.owner().clone(),
            timeout: configured.timeout,
            in_flight: configured.in_flight,
            connections: configured.connections,
        };
        let served: Arc<dyn Serve> = node.clone();
        let served = Arc::downgrade(&served);
        let peers = Peers::start(settings, identity, served, handle).map_err(|error: io::Error| {
            vec![format!(
                "cluster.peers.listen {}: {error}; choose an address of this host and a free port",
                configured.listen
            )]
        })?;
        let address = configured.address.clone().unwrap_or_else(|| peers.address().to_string());
        Ok(Self { peers, files, address })
    }

    /// Where other nodes connect to this one.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The connections.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Reads the files again if they changed.
    pub fn reload_if_changed(&self) -> Reload {
        let files = &self.files;
        let looks = [
            files.certificate.reload_if_changed(),
            files.key.reload_if_changed(),
            files.authorities.reload_if_changed(),
        ];
        if looks.iter().all(|look| *look == Reload::Unchanged) {
            return Reload::Unchanged;
        }
        let faults = looks.into_iter().filter_map(|look| match look {
            Reload::Faulty(faults) => Some(faults),
            Reload::Unchanged | Reload::Reloaded => None,
        });
        let mut faults: Vec<String> = faults.flatten().collect();
        // Halfway through a change, the key is that of the other certificate; the second half comes.
        match files.identity() {
            Ok(identity) => self.peers.set_identity(identity),
            Err(fault) => faults.push(fault),
        }
        if faults.is_empty() { Reload::Reloaded } else { Reload::Faulty(faults) }
    }
}

impl Node {
    /// Another node that a packet with this State is to go to: the one that issued it, if the store cannot be asked from here.
    pub fn elsewhere(&self, state: Option<&[u8]>) -> Option<Owner> {
        let (peers, state) = (self.neighbours.get()?.peers(), state?);
        if !self.store.health().lost {
            return None;
        }
        let state = self.keyring().open(state)?;
        peers.reaches(state.incarnation)
    }

    /// Sends a packet there, and waits for what becomes of it.
    pub fn send_elsewhere(
        &self,
        to: &Owner,
        datagram: &Datagram,
        received: Timestamp,
        patience: Duration,
    ) -> impl Future<Output = Answered> + Send + 'static {
        let now = clock::now();
        let packet = Packet {
            source: datagram.peer,
            local: datagram.local,
            patience: millis(patience),
            age: millis(now.since(received)),
            octets: datagram.bytes.to_vec(),
        };
        let sent = self.neighbours.get().map(|own| own.peers().forward(to, packet, patience.saturating_add(WAY)));
        let metrics = self.observer.metrics.clone();
        async move {
            let outcome = match sent {
                Some(sent) => sent.await,
                None => Err(Reason::PeerUnreachable),
            };
            let (label, answered) = match outcome {
                Ok(Reply::Octets { octets, after }) => {
                    let not_before = (after > 0).then(|| clock::now().after(Duration::from_millis(after.into())));
                    ("reply", Ok((End::Replied(octets.into()), not_before)))
                }
                Ok(Reply::Forgotten) => ("silence", Ok((End::Forgotten, None))),
                Ok(Reply::Discarded) => ("silence", Ok((End::Discarded, None))),
                Err(reason) => (reason.label(), Err(reason)),
            };
            metrics.peers.forwarded(label);
            answered
        }
    }
}

fn millis(span: Duration) -> u32 {
    u32::try_from(span.as_millis()).unwrap_or(u32::MAX)
}

impl Serve for Node {
    fn members(&self) -> Vec<Member> {
        self.store.nodes()
    }

    fn packet(&self, packet: Packet) -> Pin<Box<dyn Future<Output = Result<Reply, Refusal>> + Send>> {
        let Packet { source, local, age, octets, .. } = packet;
        let listener = self.listeners.of(source);
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let now = clock::now();
            let received = now.before(Duration::from_millis(age.into()));
            let truncated = octets.len() > crate::listen::udp::MAX_PACKET;
            let datagram = Datagram { bytes: octets.into(), peer: source, local, truncated };
            let listener = listener.ok_or(Refusal::Busy)?;
            listener.do_send(Forwarded { datagram, received, answer });
            match answered.await {
                Ok(Ok((End::Replied(octets), not_before))) => {
                    let after = not_before.map_or(0, |time| millis(time.since(clock::now())));
                    Ok(Reply::Octets { octets: octets.to_vec(), after })
                }
                Ok(Ok((End::Forgotten, _))) | Err(_) => Ok(Reply::Forgotten),
                Ok(Ok((End::Discarded, _))) => Ok(Reply::Discarded),
                Ok(Err(Reason::Overload | Reason::Draining)) => Err(Refusal::Busy),
                Ok(Err(_)) => Err(Refusal::Unproved),
            }
        })
    }
}
