//! Three nodes that share a Redis, behind nginx as a balancer without memory: each retransmission reaches another node.

use entra_cloud::{Cloud, Operation, Settings};
use gateway_core::radius::Code;
use std::time::Duration;
use tests::entra::{answer, password, setup, upn};
use tests::radclient::sign_in;
use tests::{Balancer, Client, Gateway, Redis, SECRET, eventually};

/// Longer than a node is waited for, and shorter than an attempt.
const TAKEN_OVER: Duration = Duration::from_secs(60);

struct Cluster {
    cloud: Cloud,
    _redis: Redis,
    nodes: Vec<Gateway>,
    balancer: Balancer,
}

impl Cluster {
    fn start(users: &[&str]) -> Self {
        let (cloud, redis) = (Cloud::start(Settings::default()), Redis::start());
        let node = |name| {
            setup(&cloud, users)
                .set("attempts.repeat_window", "10s")
                .of_entra("begin", "polled")
                .sharing(&redis, name)
                .start()
        };
        let nodes: Vec<Gateway> = ["a", "b", "c"].into_iter().map(node).collect();
        let addresses: Vec<_> = nodes.iter().map(Gateway::address).collect();
        let balancer = Balancer::start(&addresses);
        Self { cloud, _redis: redis, nodes, balancer }
    }

    fn nas(&self) -> Client {
        Client::new(self.balancer.address(), SECRET).patience(TAKEN_OVER).through_balancer()
    }

    fn rings(&self, user: &str) {
        eventually("the phone rings", || (self.cloud.prompts(&upn(user)) == 1).then_some(()));
    }
}

fn received(node: &Gateway) -> u64 {
    node.metrics().count("orthrus_radius_requests_total", &[])
}

fn joined(node: &Gateway) -> u64 {
    node.metrics().count("orthrus_mfa_prompts_suppressed_total", &[("why", "joined")])
}

#[test]
fn nginx_retransmissions_reach_every_node_and_are_one_prompt() {
    let cluster = Cluster::start(&["manual"]);
    let mut nas = cluster.nas();
    let packet = nas.encode(&password("manual"));
    nas.send(&packet);
    cluster.rings("manual");
    for others in 1..=2 {
        nas.send(&packet);
        eventually("another node joins", || {
            (cluster.nodes.iter().filter(|node| joined(node) >= 1).count() == others).then_some(())
        });
    }
    let each: Vec<u64> = cluster.nodes.iter().map(received).collect();
    assert_eq!(each, [1, 1, 1], "one packet of the three reached each node");
    cluster.cloud.person(&upn("manual")).approve();
    let reply = nas.await_reply(&packet, TAKEN_OVER).expect("it is answered");
    reply.expect(Code::ACCESS_ACCEPT);
    // Whichever node it reaches now, and from whichever port: the outcome was this packet's.
    for _ in 0..3 {
        nas.try_ask(&packet).expect("it is answered again").expect(Code::ACCESS_ACCEPT);
    }
    assert_eq!(cluster.cloud.prompts(&upn("manual")), 1);
}

#[test]
fn nginx_a_new_identifier_at_another_node_supersedes_the_packet_before() {
    let cluster = Cluster::start(&["manual"]);
    let mut nas = cluster.nas();
    let before = nas.encode(&password("manual"));
    nas.send(&before);
    cluster.rings("manual");
    let newest = nas.encode(&password("manual"));
    nas.send(&newest);
    eventually("another node joins", || cluster.nodes.iter().any(|node| joined(node) >= 1).then_some(()));
    cluster.cloud.person(&upn("manual")).approve();
    nas.await_reply(&newest, TAKEN_OVER).expect("the newest packet is answered").expect(Code::ACCESS_ACCEPT);
    assert!(nas.await_reply(&before, Duration::from_millis(300)).is_none(), "the packet before is superseded");
    assert_eq!(cluster.cloud.prompts(&upn("manual")), 1);
}

#[test]
fn nginx_a_node_that_is_killed_while_the_phone_rings_takes_no_sign_in_with_it() {
    let mut cluster = Cluster::start(&["manual"]);
    let mut nas = cluster.nas();
    let packet = nas.encode(&password("manual"));
    nas.send(&packet);
    cluster.rings("manual");
    // The session is saved once the provider has been polled.
    eventually("the prompt is polled", || (cluster.cloud.requests(Operation::End) >= 1).then_some(()));
    let owner = cluster.nodes.iter().position(|node| received(node) == 1).expect("one node has it");
    cluster.nodes[owner].kill();
    cluster.cloud.person(&upn("manual")).approve();
    nas.try_ask(&packet).expect("another node goes on").expect(Code::ACCESS_ACCEPT);
    assert_eq!(cluster.cloud.prompts(&upn("manual")), 1);
    let others = cluster.nodes.iter().enumerate().filter(|(index, _)| *index != owner);
    let taken_over = |node: &Gateway| node.metrics().count("orthrus_mfa_prompts_taken_over_total", &[]);
    assert_eq!(others.map(|(_, node)| taken_over(node)).sum::<u64>(), 1);
}

#[test]
fn nginx_a_code_that_comes_again_gets_the_same_reply_from_every_node() {
    let cluster = Cluster::start(&["sms"]);
    let mut nas = cluster.nas();
    let challenge = nas.ask(&password("sms")).expect(Code::ACCESS_CHALLENGE);
    let code = cluster.cloud.person(&upn("sms")).sms_code();
    let packet = nas.encode(&answer("sms", &code, &challenge));
    let first = nas.try_ask(&packet).expect("it is answered").expect(Code::ACCESS_ACCEPT);
    let before: u64 = cluster.nodes.iter().map(received).sum();
    for _ in 0..3 {
        let again = nas.try_ask(&packet).expect("it is answered again");
        assert_eq!(again.bytes(), first.bytes(), "the same octets, whoever gives them");
    }
    eventually("each of them reaches a node", || {
        (cluster.nodes.iter().map(received).sum::<u64>() >= before + 3).then_some(())
    });
    // Another packet under the same State is a replay.
    nas.ask(&answer("sms", &code, &challenge)).expect(Code::ACCESS_REJECT);
    assert_eq!(cluster.cloud.requests(Operation::End), 1, "the cloud was asked once");
}

#[test]
fn nginx_radclient_signs_in_through_the_balancer() {
    let cluster = Cluster::start(&["approve"]);
    let name = "User-Name = \"approve\"";
    let secret = format!("User-Password = \"{}\"", tests::entra::PASSWORD);
    let printed = sign_in(cluster.balancer.address(), &[name, &secret]);
    assert_eq!(printed.reply(), Some("Access-Accept"), "{}", printed.text);
    assert_eq!(cluster.nodes.iter().map(received).sum::<u64>(), 1);
}
