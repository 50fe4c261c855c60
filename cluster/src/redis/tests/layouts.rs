//! The same store behind TLS and an ACL, behind Sentinels, and as a Redis Cluster.

use super::super::settings::{Tls, WhenLost};
use super::server::{Running, answers, cli, free_port, settings, start};
use super::*;
use gateway_core::attempt::record::Purpose;
use gateway_core::attempt::state::StateId;
use gateway_core::attempt::transition::NewChallenge;
use gateway_core::reason::Reason;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use std::net::{IpAddr, Ipv4Addr};

/// Who signs, and a certificate for 127.0.0.1 that serves both ends.
struct Papers {
    ca: String,
    certificate: String,
    key: String,
}

fn papers() -> Papers {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    // OpenSSL takes a certificate with the name of its issuer for one that signed itself.
    params.distinguished_name.push(rcgen::DnType::CommonName, "redis");
    params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    let certificate = params.signed_by(&key, &issuer).unwrap();
    Papers { ca: issuer.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
}

#[tokio::test]
async fn redis_over_tls_with_a_certificate_and_an_acl_user() {
    let (ours, others) = (papers(), papers());
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("ca.pem", &ours.ca);
    write("server.pem", &ours.certificate);
    write("server.key", &ours.key);
    write(
        "acl",
        "user default off\n\
         user orthrus on >its-password resetkeys ~orthrus:* resetchannels &orthrus:* -@all +@read +@write +@scripting \
         +@connection +@pubsub +wait +info +time\n\
         user narrow on >its-password resetkeys ~other:* resetchannels -@all +@read +@write +@scripting +@connection +info +time\n",
    );
    let port = free_port();
    let arguments = [
        "--port",
        "0",
        "--tls-port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--tls-cert-file",
        "server.pem",
        "--tls-key-file",
        "server.key",
        "--tls-ca-cert-file",
        "ca.pem",
        "--tls-auth-clients",
        "yes",
        "--aclfile",
        "acl",
    ];
    let _server = start("redis-server", dir.path(), &arguments.map(str::to_owned));
    answers(port);
    let node = |user: &str, password: &str, ca: &str, client: Option<&Papers>| {
        let tls = Tls {
            ca: Some(ca.as_bytes().to_vec()),
            client: client.map(|p| (p.certificate.clone().into_bytes(), Secret::new(p.key.clone().into_bytes()))),
        };
        let settings = Settings {
            username: Some(user.into()),
            password: Some(Secret::new(password.as_bytes().to_vec())),
            tls: Some(tls),
            ..settings(Mode::Standalone, &[port])
        };
        Node::with("a", settings)
    };
    let good = node("orthrus", "its-password", &ours.ca, Some(&ours));
    epoch(good.apply("alice", claim_by("a", 1)).await);
    let watch = good.store.watch("alice").unwrap();
    let asked = Instant::now();
    watch.changed().await;
    assert!(asked.elapsed() < Duration::from_millis(1_500), "it may subscribe");
    good.until("a sign of life", async |node| node.store.nodes().len() == 1).await;
    for (what, bad) in [
        ("a wrong password", node("orthrus", "guess", &ours.ca, Some(&ours))),
        ("no client certificate", node("orthrus", "its-password", &ours.ca, None)),
        ("a stranger's client certificate", node("orthrus", "its-password", &ours.ca, Some(&others))),
        ("a server that others signed", node("orthrus", "its-password", &others.ca, Some(&ours))),
        ("an ACL that does not let it", node("narrow", "its-password", &ours.ca, Some(&ours))),
    ] {
        assert_eq!(bad.apply("bob", claim_by("a", 1)).await, Err(StoreError::Unavailable), "{what}");
    }
}

/// A primary with two replicas, and three Sentinels.
struct Watched {
    servers: Vec<(u16, Option<Server>)>,
    sentinels: Vec<u16>,
    _running: Vec<(Running, tempfile::TempDir)>,
}

fn eventually(what: &str, met: impl Fn() -> bool) {
    for _ in 0..600 {
        if met() {
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

impl Watched {
    fn start() -> Self {
        let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
        let port = primary.port;
        let mut servers = vec![(port, Some(primary))];
        for _ in 0..2 {
            let replica =
                Server::start(&["--repl-diskless-sync-delay", "0", "--replicaof", &format!("127.0.0.1 {port}")]);
            servers.push((replica.port, Some(replica)));
        }
        eventually("two replicas", || cli(port, &["INFO", "replication"]).matches("state=online").count() == 2);
        let (mut sentinels, mut running) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (dir, own) = (tempfile::tempdir().unwrap(), free_port());
            let config = format!(
                "port {own}\nbind 127.0.0.1\nsentinel monitor ours 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds ours 500\nsentinel failover-timeout ours 3000\n"
            );
            std::fs::write(dir.path().join("sentinel.conf"), config).unwrap();
            running.push((start("redis-sentinel", dir.path(), &["sentinel.conf".to_owned()]), dir));
            answers(own);
            sentinels.push(own);
        }
        for own in &sentinels {
            eventually("the Sentinels know each other", || {
                let about = cli(*own, &["SENTINEL", "MASTER", "ours"]);
                let lines: Vec<&str> = about.lines().collect();
                let of =
                    |key: &str| lines.iter().position(|line| *line == key).and_then(|at| lines.get(at + 1)).copied();
                of("num-other-sentinels") == Some("2") && of("num-slaves") == Some("2")
            });
        }
        Self { servers, sentinels, _running: running }
    }

    fn settings(&self) -> Settings {
        let mode = Mode::Sentinel { master: "ours".into(), username: None, password: None };
        settings(mode, &self.sentinels)
    }
}

#[tokio::test]
async fn redis_behind_sentinels_fails_over_without_a_second_prompt() {
    let mut watched = Watched::start();
    let node = |name: &str| Node::with(name, Settings { when_lost: WhenLost::Refuse, ..watched.settings() });
    let (a, b) = (node("a"), node("b"));
    a.ready().await;
    b.ready().await;
    let mut held = Vec::new();
    for index in 0..40 {
        let user = format!("user-{index}");
        let epoch = epoch(a.apply(&user, claim_by("a", 1)).await);
        assert_eq!(a.apply(&user, Change::Await { epoch, session: [1].into() }).await, Ok(Outcome::Done));
        held.push((user, epoch));
    }
    let acknowledged = a.store.shared.stats.unacknowledged.get();
    assert_eq!(acknowledged, 0);
    watched.servers[0].1 = None;
    let repeat = held[0].0.clone();
    b.until("the other node joins, at the new primary", async |b| {
        let outcome = b.apply(&repeat, claim_by("b", 2)).await;
        assert!(!matches!(outcome, Ok(Outcome::Claimed { .. })), "a second prompt");
        matches!(outcome, Ok(Outcome::Joined { .. }))
    })
    .await;
    for (user, epoch) in held {
        let outcome = std::cell::Cell::new(None);
        a.until("settled", async |a| {
            let settled = a.apply(&user, passed(epoch)).await;
            let done = settled.is_ok();
            outcome.set(settled.ok());
            done
        })
        .await;
        let outcome = outcome.take();
        assert!(
            matches!(outcome, Some(Outcome::Committed { to: Some(_) } | Outcome::Discarded(Reason::Superseded))),
            "{user}: {outcome:?}"
        );
        let packet = PacketDigest([if user == repeat { 2 } else { 1 }; 16]);
        let collect = Change::Collect { epoch, packet, challenge: None };
        let collected = b.apply(&user, collect).await;
        assert!(matches!(collected, Ok(Outcome::Collected { verdict: Settled::Passed, .. })), "{user}: {collected:?}");
    }
    assert!(a.store.shared.stats.failovers.get() >= 1);
}

#[tokio::test]
async fn redis_without_a_replica_that_acknowledges_is_lost() {
    let mut watched = Watched::start();
    let node = Node::with("a", watched.settings());
    epoch(node.apply("alice", claim_by("a", 1)).await);
    watched.servers[1].1 = None;
    watched.servers[2].1 = None;
    assert_eq!(node.apply("bob", claim_by("a", 1)).await, Err(StoreError::Unavailable));
    assert!(node.store.health().lost);
    // A node that may go on alone does, with the claim that the primary has.
    let alone = Node::with("b", Settings { when_lost: WhenLost::Local, ..watched.settings() });
    let carol = epoch(alone.apply("carol", claim_by("b", 1)).await);
    assert_eq!(alone.apply("carol", passed(carol)).await, Ok(Outcome::Committed { to: Some(PacketDigest([1; 16])) }));
}

#[tokio::test]
async fn redis_outcomes_wait_for_a_replica() {
    let watched = Watched::start();
    let (a, b) = (Node::with("a", watched.settings()), Node::with("b", watched.settings()));
    let of_push = epoch(a.apply("alice", claim_by("a", 1)).await);
    // A code of the cloud, of which this cluster has nothing to remember.
    let mut claim = claim_by("a", 1);
    if let Change::Claim { prompts, .. } = &mut claim {
        *prompts = false;
    }
    let of_code = epoch(a.apply("carol", claim).await);
    let (state, packet) = (StateId([1; 16]), PacketDigest([1; 16]));
    let purpose = Purpose::Code { factor: "entra".into(), session: vec![], authorization: authorization() };
    let challenge = NewChallenge { state, wire: vec![], purpose, message: "".into() };
    assert_eq!(a.apply("carol", Change::Issue { epoch: of_code, challenge }).await, Ok(Outcome::Done));
    let take = Change::Take { state, packet, client: "vpn-1".into() };
    assert!(matches!(a.apply("carol", take).await, Ok(Outcome::Taken(_))));
    let collect = Change::Collect { epoch: of_push, packet, challenge: None };
    assert!(matches!(b.apply("alice", collect.clone()).await, Ok(Outcome::Pending { .. })));

    let stop = |signal: &str| {
        watched
            .servers
            .iter()
            .skip(1)
            .filter_map(|(_, server)| server.as_ref())
            .for_each(|server| server.signal(signal));
    };
    stop("-STOP");
    assert_eq!(a.apply("alice", passed(of_push)).await, Ok(Outcome::Committed { to: Some(packet) }));
    // The primary tells it, and would take it with it.
    assert_eq!(b.apply("alice", collect.clone()).await, Err(StoreError::Unavailable));
    let settle = Change::Settle { epoch: of_code, taken: Some((state, packet)), verdict: Settled::Passed, code: None };
    assert_eq!(a.apply("carol", settle).await, Err(StoreError::Unavailable));
    stop("-CONT");
    b.until("a replica has it", async |b| {
        matches!(b.apply("alice", collect.clone()).await, Ok(Outcome::Collected { verdict: Settled::Passed, .. }))
    })
    .await;
}

#[tokio::test]
async fn redis_cluster_survives_the_loss_of_a_primary() {
    // Two replicas each: what is answered counts when a replica has it, also after one of them took its primary's place.
    let mut servers: Vec<Server> = (0..9)
        .map(|_| {
            Server::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--repl-diskless-sync-delay",
                "0",
            ])
        })
        .collect();
    let ports: Vec<u16> = servers.iter().map(|server| server.port).collect();
    let mut create = vec!["--cluster".to_owned(), "create".to_owned()];
    create.extend(ports.iter().map(|port| format!("127.0.0.1:{port}")));
    create.extend(["--cluster-replicas", "2", "--cluster-yes"].map(str::to_owned));
    let words: Vec<&str> = create.iter().map(String::as_str).collect();
    let made = cli(ports[0], &words);
    assert!(made.contains("All 16384 slots covered"), "{made}");
    for port in &ports {
        eventually("the cluster is whole", || {
            let replication = cli(*port, &["INFO", "replication"]);
            // A replica that calls itself linked acknowledges nothing before its primary counts it as online.
            let linked = match replication.contains("role:master") {
                true => replication.contains("state=online"),
                false => replication.contains("master_link_status:up"),
            };
            linked && cli(*port, &["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
    }
    let (a, b) = (Node::with("a", settings(Mode::Cluster, &ports)), Node::with("b", settings(Mode::Cluster, &ports)));
    a.until("a is connected", async |a| {
        a.apply("nobody", Change::Detach { packet: PacketDigest([0; 16]) }).await.is_ok()
    })
    .await;
    b.until("b is connected", async |b| {
        b.apply("nobody", Change::Detach { packet: PacketDigest([0; 16]) }).await.is_ok()
    })
    .await;
    let mut held = Vec::new();
    for index in 0..40 {
        let user = format!("user-{index}");
        let epoch = epoch(a.apply(&user, claim_by("a", 1)).await);
        assert!(matches!(b.apply(&user, claim_by("b", 2)).await, Ok(Outcome::Joined { .. })));
        held.push((user, epoch));
    }
    let watch = b.store.watch("user-0").unwrap();
    watch.changed().await;
    let asked = Instant::now();
    let (_, settled) = tokio::join!(watch.changed(), a.apply("user-0", passed(held[0].1)));
    assert!(settled.is_ok() && asked.elapsed() < Duration::from_millis(1_500), "told across nodes");
    packets::are_shared(&a, &b).await;
    sessions::are_shared(&a, &b).await;
    let primary = ports.iter().position(|port| cli(*port, &["INFO", "replication"]).contains("role:master")).unwrap();
    servers[primary].kill();
    for (user, epoch) in held {
        a.until("collected", async |a| {
            let outcome = a.apply(&user, passed(epoch)).await;
            assert!(!matches!(outcome, Ok(Outcome::Claimed { .. })));
            outcome.is_ok()
        })
        .await;
        b.until("collected", async |b| {
            let collect = Change::Collect { epoch, packet: PacketDigest([2; 16]), challenge: None };
            matches!(b.apply(&user, collect).await, Ok(Outcome::Collected { verdict: Settled::Passed, .. }))
        })
        .await;
    }
}
