//! A store that is slow, read-only, full, wiped, or filled with what nobody of ours wrote: never an accept, never a panic.

use super::super::settings::WhenLost;
use super::server::free_port;
use super::*;
use gateway_core::attempt::state::StateId;
use gateway_core::factor::TokenId;
use gateway_core::reason::Reason;

/// What must not come of a store that cannot be believed.
fn opens_nothing(outcome: &Result<Outcome, StoreError>) -> bool {
    !matches!(
        outcome,
        Ok(Outcome::Claimed { .. }
            | Outcome::Collected { verdict: Settled::Passed, .. }
            | Outcome::PassedAlready { .. }
            | Outcome::Taken(_)
            | Outcome::Committed { .. }
            | Outcome::Done)
    )
}

/// Everything that could be asked of a user's records.
async fn ask_everything(node: &Node, user: &str, epoch: u64) -> Vec<Result<Outcome, StoreError>> {
    let packet = PacketDigest([1; 16]);
    let state = StateId([1; 16]);
    let mut outcomes = Vec::new();
    for change in [
        claim_by("a", 1),
        Change::Await { epoch, session: [1].into() },
        Change::Collect { epoch, packet, challenge: None },
        Change::Take { state, packet, client: "vpn-1".into() },
        passed(epoch),
        Change::TakeOver { epoch, dead: owner("b"), owner: owner("a"), packet },
    ] {
        outcomes.push(node.apply(user, change).await);
    }
    outcomes
}

#[tokio::test]
async fn redis_records_of_strangers_are_refused_and_stay() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    let shared = node.store.shared.clone();
    let key_of = |user: &str| shared.keys.user(&shared.keys.name(user));
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    epoch(node.apply("bob", claim_by("a", 1)).await);
    let of_bob: Vec<u8> = cmd("GET").arg(key_of("bob")).query_async(&mut link).await.unwrap();
    let head = Header { serial: 1, epoch: 1, expires: Timestamp::default() };
    let stranger = Sealer::new(&[9; 32], None);
    let mut newer = of_bob.clone();
    newer[0] = crate::sealed::NEWEST + 1;
    let mut flipped = of_bob.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let body_of_bob =
        encode_bundle(1, &node.store.shared.open(&key_of("bob"), &"bob".into(), Some(&of_bob)).unwrap().records);
    let values: Vec<(&str, Vec<u8>)> = vec![
        ("another user's", of_bob.clone()),
        (
            "another user's under a right seal",
            shared.sealer.seal(1, &key_of("eve"), head, &body_of_bob.unwrap()).unwrap(),
        ),
        ("a newer release's", newer),
        ("flipped", flipped),
        ("a stranger's", stranger.seal(2, &key_of("eve"), head, b"x").unwrap()),
        ("no bundle", shared.sealer.seal(1, &key_of("eve"), head, &[0xff; 64]).unwrap()),
        ("short", vec![1]),
        ("empty body", shared.sealer.seal(1, &key_of("eve"), head, b"").unwrap()),
        ("huge", vec![1; 300_000]),
        ("text", b"hello".to_vec()),
    ];
    for (what, value) in values {
        let _: () = cmd("SET").arg(key_of("eve")).arg(&value).query_async(&mut link).await.unwrap();
        for outcome in ask_everything(&node, "eve", 1).await {
            assert!(matches!(outcome, Err(StoreError::Tampered | StoreError::OtherVersion)), "{what}: {outcome:?}");
            assert!(opens_nothing(&outcome), "{what}: {outcome:?}");
        }
        let now: Vec<u8> = cmd("GET").arg(key_of("eve")).query_async(&mut link).await.unwrap();
        assert!(now == value, "{what} was overwritten");
    }
    let _: () = cmd("DEL").arg(key_of("eve")).query_async(&mut link).await.unwrap();
    let _: () = cmd("LPUSH").arg(key_of("eve")).arg("x").query_async(&mut link).await.unwrap();
    for outcome in ask_everything(&node, "eve", 1).await {
        assert!(opens_nothing(&outcome), "a list: {outcome:?}");
    }
    let stats = &shared.stats;
    assert!(stats.tampered.get() >= 6 && stats.other_version.get() >= 1);
    // Others are not touched by it.
    assert!(matches!(node.apply("bob", claim_by("a", 2)).await, Ok(Outcome::Joined { .. })));
    assert!(!stats.lost.load(Ordering::Relaxed));
}

#[tokio::test]
async fn redis_another_nodes_key_opens_nothing() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    epoch(node.apply("alice", claim_by("a", 1)).await);
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), "0011223344556677", clock()).unwrap();
    let keys = ClusterKeys { key: Secret::new(vec![8; 32]), second: None, names: None };
    let stranger = RedisStore::open(server.settings(), &keys, owner("b"), journal, dir.path()).unwrap();
    let stranger = Node { store: stranger, _dir: dir };
    for outcome in ask_everything(&stranger, "alice", 1).await {
        assert!(opens_nothing(&outcome), "{outcome:?}");
    }
}

#[tokio::test]
async fn redis_that_is_slow_is_waited_for_a_moment_and_then_done_without() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    let before = epoch(node.apply("alice", claim_by("a", 1)).await);
    server.signal("-STOP");
    let asked = Instant::now();
    assert_eq!(node.apply("alice", passed(before)).await, Err(StoreError::Unavailable));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    let asked = Instant::now();
    assert_eq!(node.apply("bob", claim_by("a", 1)).await, Err(StoreError::Unavailable));
    assert!(node.store.health().failing, "this node is worse than those that reach it");
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    server.signal("-CONT");
    node.until("it is back", async |node| !node.store.health().lost).await;
    // What was sent and not heard of may stand there, and the same node may say so.
    let outcome = node.apply("alice", passed(before)).await;
    assert!(matches!(outcome, Ok(Outcome::Committed { .. } | Outcome::Discarded(Reason::Superseded))), "{outcome:?}");
}

#[tokio::test]
async fn redis_a_claim_that_was_not_heard_of_is_given_up() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    node.ready().await;
    epoch(node.apply("first", claim_by("a", 1)).await);
    server.signal("-STOP");
    assert_eq!(node.apply("alice", claim_by("a", 1)).await, Err(StoreError::Unavailable));
    server.signal("-CONT");
    node.until("it is back", async |node| !node.store.health().lost).await;
    // The claim may have reached the store after all; nobody drives it, and the user must not be kept from signing in.
    node.until("the user may sign in", async |node| {
        let claim = node.apply("alice", claim_by("a", 2)).await;
        matches!(claim, Ok(Outcome::Claimed { .. }))
    })
    .await;
}

#[tokio::test]
async fn redis_that_may_not_be_written_or_is_full_opens_nothing() {
    let primary = Server::start(&[]);
    let replica = Server::start(&["--replicaof", &format!("127.0.0.1 {}", primary.port)]);
    let full = Server::start(&["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"]);
    let filled = Node::new("a", &full);
    filled.ready().await;
    full.cli(&["SETRANGE", "filler", "3000000", "x"]);
    full.cli(&["CONFIG", "SET", "maxmemory", "1mb"]);
    for node in [Node::new("a", &replica), filled] {
        for outcome in ask_everything(&node, "alice", 1).await {
            assert!(opens_nothing(&outcome), "{outcome:?}");
        }
        assert!(node.store.health().lost);
    }
}

#[tokio::test]
async fn redis_that_is_not_there_is_no_reason_not_to_start() {
    let settings = server::settings(Mode::Standalone, &[free_port()]);
    let node = Node::with("a", settings);
    assert_eq!(node.apply("alice", claim_by("a", 1)).await, Err(StoreError::Unavailable));
    assert!(node.store.health().lost);
}

fn proved(epoch: u64) -> Change {
    let code = Some(CodeUse { token: TokenId([5; 16]), factor: 7, forget: Some(clock().after(WINDOW)) });
    Change::Settle { epoch, taken: None, verdict: Settled::Passed, code }
}

#[tokio::test]
async fn redis_that_is_lost_is_told_of_what_happened_when_it_is_back() {
    let mut server = Server::start(&["--appendonly", "yes"]);
    let node = Node::with("a", Settings { when_lost: WhenLost::Local, ..server.settings() });
    let before = epoch(node.apply("alice", claim_by("a", 1)).await);
    assert_eq!(node.apply("alice", Change::Await { epoch: before, session: [1].into() }).await, Ok(Outcome::Done));
    server.kill();
    assert_eq!(node.apply("alice", passed(before)).await, Ok(Outcome::Committed { to: Some(PacketDigest([1; 16])) }));
    let alone = epoch(node.apply("bob", claim_by("a", 1)).await);
    assert_eq!(node.apply("bob", proved(alone)).await, Ok(Outcome::Refused(Reason::CodeWhileStoreLost)));
    assert!(!node.store.health().failing && node.store.health().lost, "it serves, and says so");
    server.again();
    node.until("it is back", async |node| !node.store.health().lost).await;
    let other = Node::new("b", &server);
    let collect = Change::Collect { epoch: before, packet: PacketDigest([1; 16]), challenge: None };
    other
        .until("the outcome of before is known", async |other| {
            matches!(
                other.apply("alice", collect.clone()).await,
                Ok(Outcome::Collected { verdict: Settled::Passed, .. })
            )
        })
        .await;
    assert!(matches!(other.apply("bob", Change::Detach { packet: PacketDigest([1; 16]) }).await, Ok(Outcome::Done)));
    assert!(node.store.shared.stats.reasserted.get() >= 2);
}

#[tokio::test]
async fn redis_that_was_wiped_is_told_again_and_codes_of_before_are_refused() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    a.ready().await;
    b.ready().await;
    let since = |node: &Node| {
        let digest = node.store.shared.keys.name("alice");
        digest.group
    };
    assert_eq!(since(&a), since(&b));
    let held = epoch(a.apply("alice", claim_by("a", 1)).await);
    assert_eq!(a.apply("alice", Change::Await { epoch: held, session: [1].into() }).await, Ok(Outcome::Done));
    let wiped = clock();
    server.cli(&["FLUSHALL"]);
    // Another packet of any kind of the same group brings it to light; the owner says again what it holds.
    let outcome = a.apply("alice", Change::Detach { packet: PacketDigest([9; 16]) }).await;
    assert!(matches!(outcome, Ok(Outcome::Discarded(Reason::Superseded))), "{outcome:?}");
    b.until("b joins what a holds", async |b| {
        let outcome = b.apply("alice", claim_by("b", 2)).await;
        assert!(!matches!(outcome, Ok(Outcome::Claimed { .. })), "a second prompt");
        matches!(outcome, Ok(Outcome::Joined { .. }))
    })
    .await;
    assert!(a.store.shared.stats.failovers.get() >= 1);
    assert_eq!(a.apply("alice", passed(held)).await, Ok(Outcome::Committed { to: Some(PacketDigest([2; 16])) }));
    // What is said of codes begins with the loss.
    let mut claim = claim_by("a", 1);
    if let Change::Claim { prompts, .. } = &mut claim {
        *prompts = false;
    }
    let carol = epoch(a.apply("carol", claim.clone()).await);
    let purpose = gateway_core::attempt::record::Purpose::Code {
        factor: "oath".into(),
        session: vec![],
        authorization: authorization(),
    };
    let challenge = gateway_core::attempt::transition::NewChallenge {
        state: StateId([1; 16]),
        wire: vec![],
        purpose,
        message: "".into(),
    };
    assert_eq!(a.apply("carol", Change::Issue { epoch: carol, challenge }).await, Ok(Outcome::Done));
    let take = Change::Take { state: StateId([1; 16]), packet: PacketDigest([1; 16]), client: "vpn-1".into() };
    let Ok(Outcome::Taken(taken)) = b.apply("carol", take).await else { panic!("not taken") };
    let at_least = Timestamp::from_micros(wiped.as_micros() - 2_000_000);
    assert!(taken.used.since >= at_least && taken.used.counters_since >= at_least);
}

#[tokio::test]
async fn redis_that_was_restarted_with_its_data_refuses_codes_of_steps_that_had_begun() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let node = Node::new("a", &server);
    node.ready().await;
    let before = epoch(node.apply("alice", claim_by("a", 1)).await);
    let restarted = clock();
    server.kill();
    server.again();
    node.until("it is back", async |node| {
        node.apply("alice", Change::Await { epoch: before, session: [1].into() }).await == Ok(Outcome::Done)
    })
    .await;
    let group = node.store.shared.keys.name("alice").group;
    let key = node.store.shared.keys.memory(group);
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    let value: Vec<u8> = cmd("GET").arg(&key).query_async(&mut link).await.unwrap();
    let (_, octets) = node.store.shared.sealer.open(&key, &value).unwrap();
    let body: super::super::memory::Body = postcard::from_bytes(&octets).unwrap();
    assert!(body.since >= restarted && body.counters_since < restarted, "{body:?}");
    assert!(node.store.shared.stats.failovers.get() >= 1);
}

#[tokio::test]
async fn redis_an_old_value_that_somebody_puts_back_is_not_believed() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    let held = epoch(node.apply("alice", claim_by("a", 1)).await);
    assert_eq!(node.apply("alice", passed(held)).await, Ok(Outcome::Committed { to: Some(PacketDigest([1; 16])) }));
    let key = node.store.shared.keys.user(&node.store.shared.keys.name("alice"));
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    let approved: Vec<u8> = cmd("GET").arg(&key).query_async(&mut link).await.unwrap();
    let again = async |packet: u8| {
        let mut claim = claim_by("a", packet);
        if let Change::Claim { factor, .. } = &mut claim {
            *factor = "another".into();
        }
        node.apply("alice", claim).await
    };
    // Another attempt takes its place; then the approval comes back from the dead.
    assert!(matches!(again(2).await, Ok(Outcome::Claimed { .. })));
    let _: () = cmd("SET").arg(&key).arg(&approved).query_async(&mut link).await.unwrap();
    let collect = Change::Collect { epoch: held, packet: PacketDigest([1; 16]), challenge: None };
    assert_eq!(node.apply("alice", collect).await, Err(StoreError::Tampered));
    assert!(node.store.shared.stats.tampered.get() >= 1);
    let there: Vec<u8> = cmd("GET").arg(&key).query_async(&mut link).await.unwrap();
    assert!(there == approved, "it is left as it is");
}

/// A server that speaks, and says nothing that Redis would.
fn babbler(says: &'static [u8]) -> u16 {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut buffer = [0; 65_536];
                while stream.read(&mut buffer).is_ok_and(|length| length > 0) && stream.write_all(says).is_ok() {}
            });
        }
    });
    port
}

#[tokio::test]
async fn redis_that_babbles_is_lost_and_nothing_else() {
    const BABBLE: [&[u8]; 8] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$536870912\r\n",
        b"*1000000000\r\n",
        b"%-1\r\n:1\r\n",
        b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
        b"*4\r\n:0\r\n:1\r\n:1\r\n_\r\n*4\r\n:0\r\n:1\r\n:1\r\n_\r\n*4\r\n:0\r\n:1\r\n:1\r\n_\r\n",
        b"-ERR no\r\n-ERR no\r\n-ERR no\r\n-ERR no\r\n",
        b"\xff\x00\xfe",
    ];
    let asks = BABBLE.map(|says| async move {
        let settings =
            Settings { timeout: Duration::from_millis(200), ..server::settings(Mode::Standalone, &[babbler(says)]) };
        let node = Node::with("a", settings);
        for outcome in ask_everything(&node, "alice", 1).await {
            assert!(opens_nothing(&outcome) && outcome.is_err(), "{says:?}: {outcome:?}");
        }
        assert!(node.store.health().lost, "{says:?}");
    });
    futures_util::future::join_all(asks).await;
}
