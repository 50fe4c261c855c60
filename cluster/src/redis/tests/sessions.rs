//! Sessions that nodes share.

use super::Node;
use super::server::Server;
use crate::sessions::{Heard, Since, Telling};
use crate::{Store, StoreError};
use gateway_core::accounting::report::{Key, Report, Says};
use gateway_core::time::Timestamp;
use std::time::Duration;

const LIVES: Duration = Duration::from_secs(60);

fn ended(id: u64, order: u64) -> Report {
    let key = Key { client: "vpn".into(), acct_session_id: id.to_string().into_bytes().into() };
    Report { key, order, says: Says::Ended(Timestamp::from_micros(order)), record: None }
}

async fn try_to_tell(node: &Node, reports: Vec<Report>, since: &Since, most: usize) -> Result<Heard, StoreError> {
    let telling = Telling { reports, since: since.clone(), lives: LIVES, most };
    node.store.share_sessions(telling).unwrap().await
}

async fn tell(node: &Node, reports: Vec<Report>, since: &Since) -> Heard {
    try_to_tell(node, reports, since, 10_000).await.unwrap()
}

fn sorted(mut reports: Vec<Report>) -> Vec<Report> {
    reports.sort_by(|a, b| a.key.cmp(&b.key));
    reports
}

/// Reports and ends as they come and go between two nodes.
pub(super) async fn are_shared(a: &Node, b: &Node) {
    let first = tell(a, vec![ended(1, 100), ended(2, 100)], &Since::default()).await;
    // It hears itself, too.
    assert_eq!(sorted(first.reports), [ended(1, 100), ended(2, 100)]);
    let heard = tell(b, vec![], &Since::default()).await;
    assert_eq!(sorted(heard.reports), [ended(1, 100), ended(2, 100)]);
    assert!(!heard.more && heard.life == first.life && !heard.life.is_empty());
    // What is older than what is known is answered, and so is the same again.
    let next = tell(b, vec![ended(1, 99), ended(2, 101), ended(2, 101)], &heard.since).await;
    assert_eq!(sorted(next.reports), [ended(1, 100), ended(2, 101), ended(2, 101)]);
    let last = tell(a, vec![], &first.since).await;
    assert_eq!(last.reports, [ended(2, 101)]);
    assert_eq!(tell(a, vec![], &last.since).await.reports, []);
    assert_eq!(a.store.shared.stats.tampered.get(), 0);
}

#[tokio::test]
async fn redis_every_node_hears_each_report_once_and_the_newest_counts() {
    let server = Server::start(&[]);
    are_shared(&Node::new("a", &server), &Node::new("b", &server)).await;
}

#[tokio::test]
async fn redis_more_than_one_answer_holds_comes_in_several() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    tell(&a, (0..600).map(|id| ended(id, 100)).collect(), &Since::default()).await;
    let one = tell(&b, vec![], &Since::default()).await;
    let two = tell(&b, vec![], &one.since).await;
    assert!(one.more && !two.more);
    let both: Vec<_> = one.reports.into_iter().chain(two.reports).collect();
    assert_eq!(both, (0..600).map(|id| ended(id, 100)).collect::<Vec<_>>(), "in their order");
}

#[tokio::test]
async fn redis_the_store_forgets_the_oldest_sessions_beyond_the_limit_and_all_of_them_in_time() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    for id in 0..30 {
        try_to_tell(&node, vec![ended(id, 100)], &Since::default(), 10).await.unwrap();
    }
    let heard = tell(&node, vec![], &Since::default()).await;
    assert_eq!(heard.reports, (20..30).map(|id| ended(id, 100)).collect::<Vec<_>>());
    let [reports, changes] = node.store.shared.keys.sessions();
    for key in [&reports, &changes] {
        let lives: u64 = server.cli(&["PTTL", key]).trim().parse().unwrap();
        assert!((1..=60_000).contains(&lives), "{lives}");
    }
    // Nothing was heard of these for longer than they live.
    for id in 20..25 {
        let field = node.store.shared.keys.session(&ended(id, 1).key);
        server.cli(&["ZADD", &changes, "1000", &field]);
    }
    tell(&node, vec![ended(99, 100)], &Since::default()).await;
    let left = tell(&node, vec![], &Since::default()).await.reports;
    assert_eq!(left, (25..30).chain([99]).map(|id| ended(id, 100)).collect::<Vec<_>>());
    assert_eq!(server.cli(&["HLEN", &reports]).trim(), "7", "six, and the life");
}

#[tokio::test]
async fn redis_an_emptied_store_has_another_life_and_a_forgotten_script_is_brought_again() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    let before = tell(&node, vec![ended(1, 100)], &Since::default()).await;
    server.cli(&["SCRIPT", "FLUSH"]);
    assert_eq!(tell(&node, vec![ended(2, 100)], &before.since).await.life, before.life);
    server.cli(&["FLUSHALL"]);
    let emptied = tell(&node, vec![], &before.since).await;
    assert_eq!((emptied.life.as_str(), emptied.reports.len()), ("", 0));
    let after = tell(&node, vec![ended(1, 100)], &emptied.since).await;
    assert!(after.life != before.life && !after.life.is_empty());
    // The times go on, so that nobody misses it.
    assert_eq!(after.reports, [ended(1, 100)]);
}

#[tokio::test]
async fn redis_a_report_of_a_stranger_is_passed_over_and_counted() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    tell(&node, vec![ended(1, 100), ended(2, 100)], &Since::default()).await;
    let [reports, changes] = node.store.shared.keys.sessions();
    let field = |id| node.store.shared.keys.session(&ended(id, 1).key);
    let value = server.cli(&["HGET", &reports, &field(1)]);
    assert!(!value.contains("vpn"));
    // Nonsense, which has no version that is known, at a session and beside it; the value of another session; a later version.
    server.cli(&["HSET", &reports, &field(1), "x", "y", "no session at all"]);
    server.cli(&[
        "EVAL",
        "redis.call('HSET', KEYS[1], 'z', redis.call('HGET', KEYS[1], ARGV[1]))",
        "1",
        &reports,
        &field(2),
    ]);
    let later = format!("\t{}", "x".repeat(80));
    server.cli(&["HSET", &reports, "later", &later]);
    server.cli(&["ZADD", &changes, "1", "x", "2", "y", "3", "z", "4", "later", "5", "gone"]);
    let heard = tell(&node, vec![], &Since::default()).await;
    assert_eq!(heard.reports, [ended(2, 100)]);
    let stats = &node.store.shared.stats;
    assert_eq!((stats.tampered.get(), stats.other_version.get()), (1, 3));
    // What has no order is replaced, and the other session is not harmed.
    assert_eq!(tell(&node, vec![ended(1, 101)], &heard.since).await.reports, [ended(1, 101)]);
}
