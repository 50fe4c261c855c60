//! Nodes that speak to each other. A node that has lost the store sends what another node can go on with there, and answers from
//! its own address; strangers on the port get nowhere.

use gateway_core::radius::Code;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use tests::cut::Cut;
use tests::peers::Authority;
use tests::setup::REPLY;
use tests::{Gateway, Redis, Reply, Request, Setup, SoftToken, eventually};

/// Two nodes that share a Redis, with a cable from the second to it.
struct Pair {
    a: Gateway,
    b: Gateway,
    ports: (SocketAddr, SocketAddr),
    cable: Cut,
    authority: Authority,
    token: SoftToken,
    redis: Redis,
}

impl Pair {
    fn start(lost: &str) -> Self {
        let (redis, authority) = (Redis::start(), Authority::new());
        let cable = Cut::to(redis.address());
        // The memory of codes has just begun: only a token that was enrolled since is good at once (A5).
        let enrolled = tests::token::now().as_secs() + 2;
        let token = SoftToken::totp("alice").enrolled(enrolled);
        let make = || Setup::new().user("alice", "wonderland").token(&token).set("cluster.when_store_is_lost", lost);
        let (a, at_a) = make().sharing(&redis, "a").meeting(&authority, "a");
        let (b, at_b) = make().sharing_at(cable.address(), "b").meeting(&authority, "b");
        let pair = Self { a: a.start(), b: b.start(), ports: (at_a, at_b), cable, authority, token, redis };
        eventually("that time has come", || (tests::token::now().as_secs() > enrolled).then_some(()));
        pair.meet();
        pair
    }

    /// Both know that there is a connection.
    fn meet(&self) {
        for (node, other) in [(&self.a, "b"), (&self.b, "a")] {
            node.await_metrics("they meet", |metrics| metrics.count("orthrus_peer_up", &[("node", other)]) == 1);
        }
    }

    fn lose_store(&self) {
        self.cable.cut();
        self.b.await_metrics("the store is lost", |metrics| metrics.count("orthrus_store_lost", &[]) == 1);
    }

    fn challenge(&self) -> Reply {
        self.a.nas().ask(&Request::access("alice").password("wonderland")).expect(Code::ACCESS_CHALLENGE)
    }

    fn answer(&self, challenge: &Reply) -> Request {
        Request::access("alice").password(&self.token.code_now()).state(challenge)
    }
}

fn forwarded(node: &Gateway, result: &str) -> u64 {
    node.metrics().count("orthrus_peer_forwarded_total", &[("result", result)])
}

#[test]
fn redis_a_packet_goes_on_at_the_node_that_knows_it_and_is_answered_where_it_came_in() {
    for lost in ["local", "refuse"] {
        let pair = Pair::start(lost);
        let challenge = pair.challenge();
        pair.lose_store();
        // Without the store b gives no signs of life; the connection outlives that.
        pair.a.await_metrics("b is gone from the list of nodes", |metrics| {
            metrics.count("orthrus_cluster_nodes", &[("state", "ready")]) == 1
        });
        let mut nas = pair.b.nas();
        let sent = nas.encode(&pair.answer(&challenge));
        // The client takes no reply from another address than the one it asked.
        let reply = nas.try_ask(&sent).expect("it is answered");
        assert_eq!(reply.expect(Code::ACCESS_ACCEPT).attributes(), REPLY);
        // A node may tell the other before it counts.
        pair.a.await_metrics("it was accepted there", |metrics| metrics.ended("accept") == 1);
        assert_eq!(pair.b.metrics().ended("accept"), 0, "{lost}");
        pair.b.await_metrics("it was forwarded", |metrics| {
            metrics.count("orthrus_peer_forwarded_total", &[("result", "reply")]) == 1
        });
        assert_eq!(pair.a.metrics().count("orthrus_peer_messages_total", &[("result", "taken")]), 1);
        // A duplicate gets the same octets from here, without another word between the nodes.
        nas.send(&sent);
        pair.b.await_metrics("the duplicate is answered", |metrics| {
            metrics.count("orthrus_radius_duplicates_total", &[("kind", "replayed")]) == 1
        });
        assert_eq!(forwarded(&pair.b, "reply"), 1);
        // The State has served.
        let replay = pair.b.nas().ask(&pair.answer(&challenge));
        replay.expect(Code::ACCESS_REJECT);
        pair.a.await_metrics("it was refused there", |metrics| metrics.refused("state_spent") == 1);
    }
}

#[test]
fn redis_a_node_with_the_store_forwards_nothing() {
    let pair = Pair::start("local");
    let challenge = pair.challenge();
    pair.b.nas().ask(&pair.answer(&challenge)).expect(Code::ACCESS_ACCEPT);
    assert_eq!((forwarded(&pair.b, "reply"), pair.b.metrics().ended("accept")), (0, 1));
}

#[test]
fn redis_the_receiver_knows_clients_and_secrets_by_itself() {
    let pair = Pair::start("local");
    let challenge = pair.challenge();
    // From now on a takes another secret of this NAS: what b forwards is not signed with it.
    pair.a.write("secret-nas", "another-secret-of-33-characters-42");
    pair.a.reload().expect("it can be used");
    pair.lose_store();
    let mut nas = pair.b.nas();
    let sent = nas.encode(&pair.answer(&challenge));
    nas.send(&sent);
    pair.b.await_dropped("peer_refused", 1);
    pair.a.await_dropped("bad_message_authenticator", 1);
    assert!(nas.hears_nothing());
    assert_eq!(pair.a.metrics().ended("accept"), 0);
}

#[test]
fn redis_a_node_that_dies_with_a_packet_leaves_it_to_the_nas() {
    let mut pair = Pair::start("local");
    let challenge = pair.challenge();
    pair.lose_store();
    // It holds what it gets, and then dies.
    pair.a.pause();
    let mut nas = pair.b.nas();
    let sent = nas.encode(&pair.answer(&challenge));
    nas.send(&sent);
    pair.b.await_metrics("it is sent", |metrics| metrics.count("orthrus_peer_questions", &[("node", "a")]) == 1);
    pair.a.kill();
    pair.b.await_dropped("peer_unreachable", 1);
    assert!(nas.hears_nothing(), "nothing was decided");
    let metrics = pair.b.metrics();
    assert_eq!(metrics.count("orthrus_requests_in_progress", &[]), 0);
    assert_eq!(metrics.count("orthrus_peer_up", &[("node", "a")]), 0);
    // The same packet again is looked at here, without the record: a clear answer.
    nas.try_ask(&sent).expect("it is answered").expect(Code::ACCESS_REJECT);
}

#[test]
fn redis_a_renewed_certificate_is_taken_up_and_another_authority_is_not() {
    let pair = Pair::start("local");
    let renew = |node: &Gateway, authority: &Authority, name: &str| {
        let before = node.log().len();
        let (certificate, key) = authority.certificate(name);
        node.write("peer.pem", &certificate);
        node.write("peer.key", &key);
        before
    };
    let said = |node: &Gateway, before: usize, what: &str| {
        eventually(what, || node.log().get(before..).is_some_and(|log| log.contains(what)).then_some(()));
    };
    for (node, name) in [(&pair.a, "a"), (&pair.b, "b")] {
        let before = renew(node, &pair.authority, name);
        said(node, before, "was read again");
        said(&pair.a, 0, "connected to another node");
        pair.meet();
    }
    let challenge = pair.challenge();
    pair.lose_store();
    pair.b.nas().ask(&pair.answer(&challenge)).expect(Code::ACCESS_ACCEPT);
    // What does not fit is not taken, and the old one stays in force.
    let before = renew(&pair.a, &Authority::new(), "a");
    said(&pair.a, before, "cannot be used; what it said before stays in force");
    pair.meet();
}

#[test]
fn redis_strangers_on_the_port_get_nowhere() {
    let pair = Pair::start("local");
    let refused = |reason: &'static str| {
        pair.b.await_metrics(reason, |metrics| metrics.count("orthrus_peer_refused_total", &[("reason", reason)]) >= 1);
    };
    let (port, before) = (pair.ports.1, (pair.b.resident(), pair.b.descriptors()));
    let mut garbage = TcpStream::connect(port).expect("it listens");
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it reads");
    let _ = garbage.read(&mut [0; 64]);
    refused("peer_garbage");
    for _ in 0..5 {
        let crowd: Vec<_> = (0..400).filter_map(|_| TcpStream::connect(port).ok()).collect();
        refused("peer_too_many");
        drop(crowd);
    }
    let silent = TcpStream::connect(port).expect("it listens");
    refused("peer_silent");
    drop(silent);
    assert!(pair.b.metrics().count("orthrus_limit_hits_total", &[("limit", "peers.connections")]) > 0);
    eventually("they are gone", || (pair.b.descriptors() <= before.1 + 4).then_some(()));
    assert!(pair.b.resident() < before.0 + 16 * 1024, "{} KiB, then {}", before.0, pair.b.resident());
    ["ORT-543", "ORT-545", "ORT-546"].into_iter().for_each(|id| pair.b.await_log(id));
    // A node of another authority is no node.
    let (stranger, _) = Setup::new().sharing(&pair.redis, "c").meeting(&Authority::new(), "c");
    let stranger = stranger.start();
    refused("peer_untrusted");
    stranger.await_metrics("it is told so", |metrics| {
        metrics.count("orthrus_peer_refused_total", &[("reason", "peer_untrusted")]) >= 1
    });
    assert_eq!(pair.b.metrics().count("orthrus_peer_up", &[("node", "c")]), 0);
    pair.meet();
    pair.b.nas().ask(&pair.answer(&pair.challenge())).expect(Code::ACCESS_ACCEPT);
}
