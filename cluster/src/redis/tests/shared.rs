//! What two nodes share.

use super::*;
use gateway_core::attempt::record::Purpose;
use gateway_core::attempt::state::StateId;
use gateway_core::attempt::transition::NewChallenge;
use gateway_core::factor::TokenId;
use gateway_core::reason::Reason;

#[tokio::test]
async fn redis_a_push_costs_four_round_trips() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    node.ready().await;
    // The first of all is the one that brings the script.
    epoch(node.apply("first", claim_by("a", 1)).await);
    // Signs of life are counted too, and one may fall into a push: never into each of five.
    let mut costs = Vec::new();
    for user in ["alice", "bob", "carol", "dave", "erin"] {
        costs.push(push(&node, user).await);
    }
    assert_eq!(costs.iter().min(), Some(&4), "{costs:?}");
}

/// Round trips of one push, from claim to outcome.
async fn push(node: &Node, user: &str) -> u64 {
    let before = node.store.shared.stats.round_trips.get();
    let epoch = epoch(node.apply(user, claim_by("a", 1)).await);
    assert_eq!(node.apply(user, Change::Await { epoch, session: [1].into() }).await, Ok(Outcome::Done));
    let to = Some(PacketDigest([1; 16]));
    assert_eq!(node.apply(user, passed(epoch)).await, Ok(Outcome::Committed { to }));
    let collect = Change::Collect { epoch, packet: PacketDigest([1; 16]), challenge: None };
    assert!(matches!(node.apply(user, collect).await, Ok(Outcome::Collected { verdict: Settled::Passed, .. })));
    node.store.shared.stats.round_trips.get() - before
}

#[tokio::test]
async fn redis_of_two_nodes_that_claim_at_once_one_prompts() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    a.ready().await;
    b.ready().await;
    for round in 0..100 {
        let user = format!("user-{round}");
        let (one, two) = tokio::join!(a.apply(&user, claim_by("a", 1)), b.apply(&user, claim_by("b", 1)));
        let claimed = [&one, &two].iter().filter(|outcome| matches!(outcome, Ok(Outcome::Claimed { .. }))).count();
        let joined = [&one, &two].iter().filter(|outcome| matches!(outcome, Ok(Outcome::Joined { .. }))).count();
        assert_eq!((claimed, joined), (1, 1), "{one:?} {two:?}");
    }
    assert!(a.store.shared.stats.conflicts.get() + b.store.shared.stats.conflicts.get() >= 100);
}

fn code(epoch: u64, packet: u8) -> Change {
    let code = Some(CodeUse { token: TokenId([5; 16]), factor: 7, forget: Some(clock().after(WINDOW)) });
    let taken = Some((StateId([1; 16]), PacketDigest([packet; 16])));
    Change::Settle { epoch, taken, verdict: Settled::Passed, code }
}

async fn challenged(node: &Node, user: &str) -> u64 {
    let mut claim = claim_by("a", 1);
    if let Change::Claim { prompts, .. } = &mut claim {
        *prompts = false;
    }
    let epoch = epoch(node.apply(user, claim).await);
    let purpose = Purpose::Code { factor: "oath".into(), session: vec![], authorization: authorization() };
    let challenge = NewChallenge { state: StateId([1; 16]), wire: vec![], purpose, message: "".into() };
    assert_eq!(node.apply(user, Change::Issue { epoch, challenge }).await, Ok(Outcome::Done));
    epoch
}

fn take(packet: u8) -> Change {
    Change::Take { state: StateId([1; 16]), packet: PacketDigest([packet; 16]), client: "vpn-1".into() }
}

#[tokio::test]
async fn redis_a_challenge_is_anybodys_and_serves_once() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    for round in 0..50 {
        let user = format!("user-{round}");
        let epoch = challenged(&a, &user).await;
        let (one, two) = tokio::join!(a.apply(&user, take(1)), b.apply(&user, take(2)));
        let (node, packet) = match (&one, &two) {
            (Ok(Outcome::Taken(_)), Ok(Outcome::Discarded(Reason::StateChecking))) => (&b, 1),
            (Ok(Outcome::Discarded(Reason::StateChecking)), Ok(Outcome::Taken(_))) => (&a, 2),
            other => panic!("{other:?}"),
        };
        // The other node goes on with it.
        assert_eq!(node.apply(&user, code(epoch, packet)).await, Ok(Outcome::Done));
        assert_eq!(a.apply(&user, take(3)).await, Ok(Outcome::Refused(Reason::StateSpent)));
        assert_eq!(b.apply(&user, take(3)).await, Ok(Outcome::Refused(Reason::StateSpent)));
    }
}

#[tokio::test]
async fn redis_a_used_code_is_used_on_every_node() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    let first = challenged(&a, "alice").await;
    assert!(matches!(a.apply("alice", take(1)).await, Ok(Outcome::Taken(_))));
    assert_eq!(a.apply("alice", code(first, 1)).await, Ok(Outcome::Done));
    a.until("the window of repeats is over", async |a| {
        !matches!(a.apply("alice", claim_by("a", 9)).await, Ok(Outcome::Discarded(Reason::RepeatAfterSuccess)))
    })
    .await;
    let other = AttemptKey { station: None, ..key("alice") };
    let apply = async |change| match b.store.apply(Transition { key: other.clone(), change, rules: rules() }, clock()) {
        Applied::Later(outcome) => outcome.await,
        Applied::Now(outcome) => outcome,
    };
    let Change::Claim { owner, id, begun, authorization, packet, port, marks, codes, .. } = claim_by("b", 1) else {
        panic!()
    };
    let factor: Arc<str> = "oath".into();
    let claim = Change::Claim { owner, id, begun, factor, authorization, packet, port, marks, prompts: false, codes };
    let second = epoch(apply(claim).await);
    let purpose = Purpose::Code { factor: "oath".into(), session: vec![], authorization: super::authorization() };
    let challenge = NewChallenge { state: StateId([1; 16]), wire: vec![], purpose, message: "".into() };
    apply(Change::Issue { epoch: second, challenge }).await.unwrap();
    let Ok(Outcome::Taken(taken)) = apply(take(1)).await else { panic!("not taken") };
    assert_eq!(taken.used.next(TokenId([5; 16])), 8);
    assert_eq!(apply(code(second, 1)).await, Ok(Outcome::Refused(Reason::CodeReplayed)));
}

#[tokio::test]
async fn redis_who_waits_on_another_node_hears_of_the_outcome() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    let epoch = epoch(a.apply("alice", claim_by("a", 1)).await);
    assert!(
        matches!(b.apply("alice", claim_by("b", 2)).await, Ok(Outcome::Joined { owner: by, .. }) if by == owner("a"))
    );
    let watch = b.store.watch("alice").unwrap();
    // The first word is that of the subscription itself.
    watch.changed().await;
    let asked = Instant::now();
    let (_, settled) = tokio::join!(watch.changed(), a.apply("alice", passed(epoch)));
    settled.unwrap();
    assert!(asked.elapsed() < Duration::from_millis(1_500), "it was told, and did not look by itself");
    let collect = Change::Collect { epoch, packet: PacketDigest([2; 16]), challenge: None };
    assert!(matches!(b.apply("alice", collect).await, Ok(Outcome::Collected { .. })));
}

#[tokio::test]
async fn redis_nodes_see_each_other_and_who_is_dead() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    b.store.tell(crate::Says { address: "192.0.2.7:1812".into(), pending: 3, ..crate::Says::default() });
    a.until("two nodes", async |a| {
        b.store.sweep(clock());
        a.store.nodes().len() == 2
    })
    .await;
    assert!(a.store.nodes().iter().any(|node| node.owner == owner("b") && node.says.pending == 3));
    let before = epoch(b.apply("alice", claim_by("b", 1)).await);
    assert_eq!(b.apply("alice", Change::Await { epoch: before, session: [4].into() }).await, Ok(Outcome::Done));
    assert!(matches!(a.apply("alice", claim_by("a", 2)).await, Ok(Outcome::Joined { .. })));
    assert!(!a.store.is_dead(&owner("b")));
    b.store.leave().await.unwrap();
    a.until("b is dead", async |a| a.store.is_dead(&owner("b"))).await;
    let packet = PacketDigest([2; 16]);
    let take_over = Change::TakeOver { epoch: before, dead: owner("b"), owner: owner("a"), packet };
    let after = epoch(a.apply("alice", take_over).await);
    assert!(after > before);
    assert_eq!(b.apply("alice", passed(before)).await, Ok(Outcome::Discarded(Reason::Superseded)), "b was only paused");
    assert_eq!(a.apply("alice", passed(after)).await, Ok(Outcome::Committed { to: Some(packet) }));
}

#[tokio::test]
async fn redis_the_younger_of_two_nodes_with_one_name_is_in_conflict() {
    let server = Server::start(&[]);
    let first = Node::new("a", &server);
    first.until("it is there", async |node| node.store.nodes().len() == 1).await;
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), "0011223344556677", clock()).unwrap();
    let keys = ClusterKeys { key: Secret::new(vec![7; 32]), second: None, names: None };
    let again = Owner { incarnation: 99, ..owner("a") };
    let store = RedisStore::open(server.settings(), &keys, again, journal, dir.path()).unwrap();
    let second = Node { store, _dir: dir };
    second
        .until("conflict", async |second| {
            first.store.sweep(clock());
            second.store.health().conflict
        })
        .await;
    assert!(!first.store.health().conflict);
}

#[tokio::test]
async fn redis_certificates_of_all_nodes_are_listed() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    a.ready().await;
    b.ready().await;
    let certificate = |node: &str| crate::Certificate {
        thumbprint: format!("{node}{node}"),
        certificate: vec![0x30],
        not_before: Timestamp::from_secs(1),
        not_after: Timestamp::from_secs(2),
        node: node.into(),
        factor: "entra".into(),
        state: "in use".into(),
    };
    a.store.register(certificate("a")).await.unwrap();
    b.store.register(certificate("b")).await.unwrap();
    assert_eq!(a.store.certificates().await, Ok(vec![certificate("a"), certificate("b")]));
    server.cli(&["HSET", &a.store.shared.keys.certificates(), "cc", "forged"]);
    assert_eq!(b.store.certificates().await.unwrap().len(), 2);
    let stats = &b.store.shared.stats;
    assert_eq!(stats.tampered.get() + stats.other_version.get(), 1);
}

#[tokio::test]
async fn redis_attempts_that_nobody_answered_are_told_once() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    let mut claim = claim_by("a", 1);
    if let Change::Claim { prompts, .. } = &mut claim {
        *prompts = false;
    }
    let past = Timestamp::from_secs(clock().as_secs() - 400);
    let send = async |node: &Node, change| node.store.send(transition("alice", change), Some(past)).await.unwrap();
    let epoch = epoch(send(&a, claim).await);
    let purpose = Purpose::Code { factor: "oath".into(), session: vec![], authorization: authorization() };
    let challenge = NewChallenge { state: StateId([1; 16]), wire: vec![], purpose, message: "".into() };
    send(&a, Change::Issue { epoch, challenge }).await.unwrap();
    assert!(matches!(send(&b, take(1)).await, Ok(Outcome::Taken(_))));
    let told = std::cell::Cell::new(0);
    a.until("told", async |a| {
        told.set(told.get() + a.store.sweep(clock()).len() + b.store.sweep(clock()).len());
        told.get() > 0
    })
    .await;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        told.set(told.get() + a.store.sweep(clock()).len() + b.store.sweep(clock()).len());
    }
    assert_eq!(told.get(), 1);
}

#[tokio::test]
async fn redis_a_counter_that_was_used_is_on_the_disk_of_the_node_that_took_it() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    let counter = |epoch| Change::Settle {
        epoch,
        taken: Some((StateId([1; 16]), PacketDigest([1; 16]))),
        verdict: Settled::Passed,
        code: Some(CodeUse { token: TokenId([6; 16]), factor: 40, forget: None }),
    };
    let first = challenged(&node, "alice").await;
    assert!(matches!(node.apply("alice", take(1)).await, Ok(Outcome::Taken(_))));
    assert_eq!(node.apply("alice", counter(first)).await, Ok(Outcome::Done));
    let Node { store, _dir: dir } = node;
    drop(store);
    // The store loses everything, and the node comes back.
    server.cli(&["FLUSHALL"]);
    let journal = Journal::open(dir.path(), "0011223344556677", clock()).unwrap();
    let keys = ClusterKeys { key: Secret::new(vec![7; 32]), second: None, names: None };
    let again = Owner { incarnation: 44, ..owner("a") };
    let store = RedisStore::open(server.settings(), &keys, again, journal, dir.path()).unwrap();
    let node = Node { store, _dir: dir };
    let second = challenged(&node, "alice").await;
    let Ok(Outcome::Taken(taken)) = node.apply("alice", take(1)).await else { panic!("not taken") };
    assert_eq!(taken.used.next(TokenId([6; 16])), 41);
    assert!(
        taken.used.counters_since > Timestamp::from_micros(clock().as_micros() - 60_000_000),
        "it saw the store before"
    );
    assert_eq!(node.apply("alice", counter(second)).await, Ok(Outcome::Refused(Reason::CodeReplayed)));
}

#[test]
fn the_clock_of_the_store_is_learned_within_what_is_certain() {
    let (stats, second) = (Stats::default(), 1_000_000);
    let at = |seconds: u64| Timestamp::from_secs(1_000 + seconds);
    stats.learn_time(at(30), at(0), at(2));
    assert_eq!(stats.skew.load(Ordering::Relaxed), 28 * second, "at least");
    stats.learn_time(at(31), at(0), at(1));
    assert_eq!(stats.skew.load(Ordering::Relaxed), 30 * second);
    // A slow answer says little.
    stats.learn_time(at(35), at(0), at(9));
    assert_eq!(stats.skew.load(Ordering::Relaxed), 30 * second);
    stats.learn_time(at(1), at(31), at(31));
    assert_eq!(stats.skew.load(Ordering::Relaxed), -30 * second);
}

#[tokio::test]
async fn redis_goes_by_its_own_clock_and_answers_by_the_nodes() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    a.ready().await;
    b.ready().await;
    // What a node with a clock 30 s behind would have learned: the store's time is that much later than its own.
    let behind = 30_000_000;
    b.store.shared.stats.skew.store(behind, Ordering::Relaxed);
    epoch(a.apply("alice", claim_by("a", 1)).await);
    let now = clock();
    let Ok(Outcome::Joined { deadline, .. }) = b.apply("alice", claim_by("b", 2)).await else { panic!("not joined") };
    let expected = now.after(Duration::from_secs(60)).as_micros();
    assert!(deadline.as_micros().abs_diff(expected) < 2_000_000, "by this node's clock");
}
