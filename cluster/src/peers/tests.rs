//! Real connections on loopback: who is let in, who is not, and what is left when somebody goes.

use super::wire::{self, Hello, Welcome, frame, kind};
use super::*;
use crate::Says;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key for these names.
fn certificate(authority: &Authority, names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn identity(name: &str, authority: &Authority) -> Identity {
    let (certificate, key) = certificate(authority, &[name]);
    Identity::read(name, &certificate, &Secret::new(key.into_bytes()), &authority.pem()).unwrap()
}

fn owner(name: &str) -> Owner {
    Owner { node: name.into(), incarnation: u64::from(name.as_bytes()[0]) }
}

/// A node that answers each packet with its octets turned about, or never.
#[derive(Default)]
struct Node {
    members: Mutex<Vec<Member>>,
    served: AtomicUsize,
    came: Notify,
    given_up: Arc<AtomicUsize>,
}

struct GivenUp(Arc<AtomicUsize>);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Serve for Node {
    fn members(&self) -> Vec<Member> {
        lock(&self.members).clone()
    }

    fn packet(&self, packet: Packet) -> Pin<Box<dyn Future<Output = Result<Reply, Refusal>> + Send>> {
        self.served.fetch_add(1, Ordering::SeqCst);
        self.came.notify_one();
        let given_up = GivenUp(self.given_up.clone());
        Box::pin(async move {
            let _given_up = given_up;
            match packet.octets.first() {
                Some(b's') => Ok(Reply::Forgotten),
                Some(b'n') => Err(Refusal::Unproved),
                Some(b'h') => std::future::pending().await,
                _ => Ok(Reply::Octets { octets: packet.octets.into_iter().rev().collect(), after: 7 }),
            }
        })
    }
}

struct Side {
    node: Arc<Node>,
    peers: Peers,
    owner: Owner,
}

impl Side {
    fn start(name: &str, identity: Identity) -> Self {
        Self::limited(name, identity, (8, 4))
    }

    fn limited(name: &str, identity: Identity, limits: (usize, usize)) -> Self {
        Self::patient(name, identity, limits, Duration::from_millis(500))
    }

    fn patient(name: &str, identity: Identity, (in_flight, connections): (usize, usize), timeout: Duration) -> Self {
        let node = Arc::new(Node::default());
        let served: Arc<dyn Serve> = node.clone();
        let settings =
            Settings { listen: "127.0.0.1:0".parse().unwrap(), owner: owner(name), timeout, in_flight, connections };
        let peers = Peers::start(settings, identity, Arc::downgrade(&served), &Handle::current()).unwrap();
        Self { node, peers, owner: owner(name) }
    }

    fn member(&self) -> Member {
        let says = Says { peers: self.peers.address().to_string(), ..Says::default() };
        Member {
            owner: self.owner.clone(),
            started: Timestamp::default(),
            seen: Timestamp::default(),
            records: 1,
            says,
        }
    }

    fn knows(&self, others: &[&Side]) {
        *lock(&self.node.members) = others.iter().map(|other| other.member()).collect();
    }

    async fn reaches(&self, other: &Side) {
        until("there is a connection", || {
            self.peers.list().iter().any(|peer| peer.up && peer.node == other.owner.node)
        })
        .await;
    }

    async fn refuses(&self, reason: Reason) {
        until(reason.label(), || self.peers.stats().refused().contains_key(&reason)).await;
        assert!(lock(&self.peers.shared.links).is_empty(), "a stranger got in");
    }

    async fn send(&self, to: &Side, text: &str) -> Result<Reply, Reason> {
        self.peers.forward(&to.owner, packet(text), Duration::from_secs(5)).await
    }
}

fn packet(text: &str) -> Packet {
    let address: SocketAddr = "192.0.2.1:1024".parse().unwrap();
    Packet { source: address, local: address, patience: 5_000, age: 0, octets: text.into() }
}

async fn until(what: &str, right: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !right() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn pair(authority: &Authority) -> (Side, Side) {
    let (a, b) = (Side::start("a", identity("a", authority)), Side::start("b", identity("b", authority)));
    a.knows(&[&b]);
    b.knows(&[&a]);
    a.reaches(&b).await;
    b.reaches(&a).await;
    (a, b)
}

fn reply(text: &str) -> Result<Reply, Reason> {
    Ok(Reply::Octets { octets: text.into(), after: 7 })
}

#[tokio::test]
async fn both_sides_ask_over_one_connection() {
    let (a, b) = pair(&authority()).await;
    let asked = futures_util::future::join_all([a.send(&b, "one"), b.send(&a, "two"), a.send(&b, "three")]).await;
    assert_eq!(asked, [reply("eno"), reply("owt"), reply("eerht")]);
    assert_eq!(a.send(&b, "silence").await, Ok(Reply::Forgotten));
    assert_eq!(a.send(&b, "no").await, Err(Reason::PeerRefused));
    let nobody = Side::start("c", identity("c", &authority()));
    assert_eq!(a.send(&nobody, "four").await, Err(Reason::PeerUnreachable));
    until("an answer is measured", || a.peers.list()[0].round_trip.is_some()).await;
    assert_eq!((a.peers.stats().refused().len(), b.peers.stats().refused().len()), (0, 0));
}

#[tokio::test]
async fn no_more_packets_are_under_way_than_allowed() {
    let authority = authority();
    let a = Side::limited("a", identity("a", &authority), (2, 4));
    let b = Side::start("b", identity("b", &authority));
    a.knows(&[&b]);
    b.knows(&[&a]);
    a.reaches(&b).await;
    let overfull = async {
        until("both are there", || b.node.served.load(Ordering::SeqCst) == 2).await;
        assert_eq!(a.send(&b, "more").await, Err(Reason::PeerBusy));
    };
    tokio::select! {
        _ = futures_util::future::join(a.send(&b, "hold"), a.send(&b, "hold")) => panic!("they are held"),
        () = overfull => {}
    }
    // The other side bounds by itself what it takes: this one allows eight to be asked, and a takes two.
    b.reaches(&a).await;
    let overfull = async {
        until("both are there", || a.node.served.load(Ordering::SeqCst) == 2).await;
        assert_eq!(b.send(&a, "more").await, Err(Reason::PeerBusy));
        assert_eq!(a.peers.stats().busy.get(), 1);
    };
    tokio::select! {
        _ = futures_util::future::join(b.send(&a, "hold"), b.send(&a, "hold")) => panic!("they are held"),
        () = overfull => {}
    }
}

#[tokio::test]
async fn a_peer_that_dies_in_the_middle_is_told_of_at_once() {
    let (a, b) = pair(&authority()).await;
    let asked = a.peers.forward(&b.owner, packet("hold"), Duration::from_secs(15));
    let dies = async move {
        b.node.came.notified().await;
        drop(b);
    };
    let begun = Instant::now();
    let (answer, ()) = futures_util::future::join(asked, dies).await;
    assert_eq!(answer, Err(Reason::PeerUnreachable));
    assert!(begun.elapsed() < Duration::from_secs(5), "it was not waited for");
    until("it is known to be gone", || !a.peers.list()[0].up).await;
}

#[tokio::test]
async fn who_is_too_late_is_given_up_on_both_sides() {
    let (a, b) = pair(&authority()).await;
    let late = Packet { patience: 50, ..packet("hold") };
    let answer = a.peers.forward(&b.owner, late, Duration::from_millis(50)).await;
    assert_eq!(answer, Err(Reason::PeerLate));
    until("the work is given up", || b.node.given_up.load(Ordering::SeqCst) == 1).await;
    let links: Vec<_> = lock(&a.peers.shared.links).values().cloned().collect();
    until("nothing waits", || links.iter().all(|link| link.is_idle())).await;
    assert_eq!(a.send(&b, "on").await, reply("no"), "the connection goes on");
}

#[tokio::test]
async fn a_new_certificate_is_used_and_what_is_under_way_goes_on() {
    let authority = authority();
    let (a, b) = pair(&authority).await;
    let before = lock(&a.peers.shared.links).values().next().cloned().unwrap();
    let long = a.send(&b, "hold");
    let renewed = async {
        b.node.came.notified().await;
        a.peers.set_identity(identity("a", &authority));
        until("another connection", || lock(&a.peers.shared.links).values().any(|link| !Arc::ptr_eq(link, &before)))
            .await;
        assert_eq!(a.send(&b, "fresh").await, reply("hserf"));
        assert!(!before.is_idle(), "the old one is still waited on");
    };
    tokio::select! {
        _ = long => panic!("it was answered, or given up"),
        () = renewed => {}
    }
}

#[tokio::test]
async fn a_node_of_another_authority_is_refused_by_both() {
    let (a, b) = (Side::start("a", identity("a", &authority())), Side::start("b", identity("b", &authority())));
    a.knows(&[&b]);
    b.knows(&[&a]);
    a.refuses(Reason::PeerUntrusted).await;
    b.refuses(Reason::PeerUntrusted).await;
}

#[tokio::test]
async fn the_name_in_the_certificate_counts() {
    let authority = authority();
    // Another node stands where b should be.
    let (a, impostor) = (Side::start("a", identity("a", &authority)), Side::start("c", identity("c", &authority)));
    let mut member = impostor.member();
    member.owner = owner("b");
    *lock(&a.node.members) = vec![member];
    a.refuses(Reason::PeerOtherName).await;
}

/// A stranger with a certificate of the authority, who says this.
async fn says(b: &Side, identity: &Identity, octets: &[u8]) -> Option<wire::Frame> {
    let tcp = TcpStream::connect(b.peers.address()).await.unwrap();
    let config = identity.client("b").unwrap();
    let name = ServerName::try_from("b").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.ok()?;
    stream.write_all(octets).await.ok()?;
    wire::read(&mut stream, LONGEST_HELLO).await.ok()
}

fn hello(from: Owner, to: Owner, (oldest, newest): (u16, u16)) -> Vec<u8> {
    frame(kind::HELLO, 0, &Hello { oldest, newest, owner: from, to }).unwrap()
}

#[tokio::test]
async fn the_first_word_must_be_right() {
    let authority = authority();
    let b = Side::start("b", identity("b", &authority));
    let a = Side::start("a", identity("a", &authority));
    b.knows(&[&a]);
    let stranger = identity("a", &authority);
    let earlier = Owner { incarnation: 1, ..owner("a") };
    for (word, refusal, reason) in [
        (hello(owner("c"), owner("b"), (1, 1)), Refusal::NoMember, Reason::PeerOtherName),
        (hello(earlier, owner("b"), (1, 1)), Refusal::NoMember, Reason::PeerNoMember),
        (hello(owner("a"), owner("z"), (1, 1)), Refusal::NoMember, Reason::PeerNoMember),
        (hello(owner("a"), owner("b"), (2, 9)), Refusal::OtherVersion, Reason::PeerOtherVersion),
    ] {
        let answer = says(&b, &stranger, &word).await.expect("it is told");
        assert_eq!((answer.kind, answer.read()), (kind::REFUSAL, Some(refusal)), "{reason:?}");
        b.refuses(reason).await;
    }
    // The name in the certificate is another one.
    let other = identity("d", &authority);
    assert!(says(&b, &other, &hello(owner("a"), owner("b"), (1, 1))).await.is_some_and(|a| a.kind == kind::REFUSAL));
    let answer = says(&b, &stranger, &hello(owner("a"), owner("b"), (1, 7))).await.expect("a welcome");
    assert_eq!(answer.read(), Some(Welcome { version: 1, owner: owner("b") }));
}

#[tokio::test]
async fn a_question_of_a_later_release_is_answered_and_a_giant_ends_the_connection() {
    let authority = authority();
    let (b, a) = (Side::start("b", identity("b", &authority)), Side::start("a", identity("a", &authority)));
    b.knows(&[&a]);
    let tcp = TcpStream::connect(b.peers.address()).await.unwrap();
    let config = identity("a", &authority).client("b").unwrap();
    let name = ServerName::try_from("b").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    stream.write_all(&hello(owner("a"), owner("b"), (1, 1))).await.unwrap();
    assert_eq!(wire::read(&mut stream, 512).await.unwrap().kind, kind::WELCOME);
    for (asked, refusal) in [(777, Refusal::UnknownMessage), (kind::PACKET, Refusal::Malformed)] {
        stream.write_all(&frame(asked, 42, &()).unwrap()).await.unwrap();
        // An answer that nobody waits for is passed over.
        stream.write_all(&frame(kind::REPLY, 9, &Reply::Forgotten).unwrap()).await.unwrap();
        loop {
            let answer = wire::read(&mut stream, 512).await.unwrap();
            if answer.kind != kind::PING {
                assert_eq!((answer.kind, answer.number, answer.read()), (kind::REFUSAL, 42, Some(refusal)));
                break;
            }
        }
    }
    stream.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    stream.write_all(&[0; 10_000]).await.unwrap();
    until("it is over", || b.peers.stats().refused().contains_key(&Reason::PeerGarbage)).await;
    until("the link is gone", || lock(&b.peers.shared.links).is_empty()).await;
}

#[tokio::test]
async fn strangers_on_the_port_are_counted_and_keep_nothing() {
    let authority = authority();
    let b = Side::start("b", identity("b", &authority));
    // What is not TLS.
    let mut garbage = TcpStream::connect(b.peers.address()).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n").await.unwrap();
    b.refuses(Reason::PeerGarbage).await;
    let mut nothing = Vec::new();
    let _ = garbage.read_to_end(&mut nothing).await;
    // TLS without a certificate.
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(b.peers.address()).await.unwrap();
    let name = ServerName::try_from("b").unwrap();
    if let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(name, tcp).await {
        assert!(stream.read_u8().await.is_err(), "somebody without a certificate is spoken to");
    }
    b.refuses(Reason::PeerUntrusted).await;
    let silent = TcpStream::connect(b.peers.address()).await.unwrap();
    b.refuses(Reason::PeerSilent).await;
    drop(silent);
}

#[tokio::test]
async fn silent_strangers_keep_no_node_out() {
    let authority = authority();
    // Nobody's time is over before this test is.
    let b = Side::patient("b", identity("b", &authority), (8, 4), Duration::from_secs(60));
    let connect = async || TcpStream::connect(b.peers.address()).await.unwrap();
    let mut oldest = connect().await;
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(connect().await);
    }
    // The oldest of them makes room.
    let closed = tokio::time::timeout(Duration::from_secs(20), oldest.read(&mut [0])).await;
    assert_eq!(closed.expect("it makes room").unwrap_or(0), 0);
    b.refuses(Reason::PeerTooMany).await;
    // They come again and again, and a node gets in none the less.
    let address = b.peers.address();
    let mut flood = tokio::task::JoinSet::new();
    flood.spawn(async move {
        let mut held = std::collections::VecDeque::new();
        loop {
            held.push_back(TcpStream::connect(address).await.unwrap());
            if held.len() > 8 {
                // It was closed for a later one.
                let _ = held.pop_front().unwrap().read(&mut [0]).await;
            }
        }
    });
    let a = Side::start("a", identity("a", &authority));
    a.knows(&[&b]);
    b.knows(&[&a]);
    a.reaches(&b).await;
    assert_eq!(a.send(&b, "abc").await, reply("cba"));
    flood.abort_all();
    drop(silent);
}

#[tokio::test]
async fn a_node_that_has_lost_the_store_is_spoken_to_still_and_its_next_life_takes_its_place() {
    let authority = authority();
    let (a, b) = pair(&authority).await;
    a.knows(&[]);
    tokio::time::sleep(TICK * 3).await;
    assert_eq!(a.send(&b, "lost the store").await, reply("erots eht tsol"));
    assert!(a.peers.list().iter().any(|peer| peer.up));
    // It was started again while the old process still hangs about.
    let mut next = b.member();
    next.owner.incarnation += 1;
    *lock(&a.node.members) = vec![next];
    until("the old life is spoken to no more", || a.peers.reaches(b.owner.incarnation).is_none()).await;
    assert_eq!(a.send(&b, "still there?").await, Err(Reason::PeerUnreachable));
}

#[test]
fn what_is_no_identity_says_why() {
    let (own, other) = (authority(), authority());
    let (certificate_a, key_a) = certificate(&own, &["a", "node-a.example"]);
    let (_, key_b) = certificate(&own, &["b"]);
    let read = |name: &str, certificate: &str, key: &str, ca: &str| {
        Identity::read(name, certificate, &Secret::new(key.as_bytes().to_vec()), ca).err().unwrap_or_default()
    };
    let ca = own.pem();
    assert_eq!(read("a", &certificate_a, &key_a, &ca), "");
    for (fault, said) in [
        (read("A", &certificate_a, &key_a, &ca), "does not carry `A`"),
        (read("a", &certificate_a, &key_b, &ca), "do not fit together"),
        (read("a", &certificate_a, &key_a, &other.pem()), "not one of ca_file"),
        (read("a", "", &key_a, &ca), "no certificate in certificate_file"),
        (read("a", &certificate_a, "", &ca), "no private key"),
        (read("a", &certificate_a, &key_a, ""), "no certificate in ca_file"),
    ] {
        assert!(fault.contains(said), "{fault}");
        assert!(!fault.contains("PRIVATE"), "{fault}");
    }
}
