//! Records of two versions in one store: two releases share it while nodes are upgraded one after another.

use super::server::{Server, settings};
use super::{Node, claim_by, clock, epoch, owner, passed};
use crate::membership::Says;
use crate::redis::{Mode, Settings};
use crate::sealed::{Header, NEWEST, OLDEST};
use crate::{Outcome, Store};
use gateway_core::attempt::record::PacketDigest;
use gateway_core::attempt::transition::Change;
use gateway_core::time::Timestamp;
use redis::cmd;

const FIRST_RELEASE: &str = "00000000000000aa";

struct World {
    server: Server,
    link: redis::aio::MultiplexedConnection,
}

impl World {
    async fn start() -> Self {
        let server = Server::start(&[]);
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
        Self { link: client.get_multiplexed_async_connection().await.unwrap(), server }
    }

    /// The version of what the store holds of `user`.
    async fn version(&self, node: &Node, user: &str) -> u8 {
        let keys = &node.store.shared.keys;
        let key = keys.user(&keys.name(user));
        let value: Vec<u8> = cmd("GET").arg(key).query_async(&mut self.link.clone()).await.unwrap();
        value[0]
    }

    /// A sign of life as the first release gives it: it says nothing of versions, nor of peers. It holds for a minute.
    async fn first_release_lives(&self, node: &Node) {
        let shared = &node.store.shared;
        let (key, field) = (shared.keys.nodes(), FIRST_RELEASE);
        let body = postcard::to_allocvec(&("old", Timestamp::from_secs(1), Says::default())).unwrap();
        let header = Header { serial: 0, epoch: 0, expires: Timestamp::default() };
        let sealed = shared.sealer.seal(OLDEST, &format!("{key}/{field}"), header, &body).unwrap();
        let sign = [format!("{} ", clock().as_micros() / 1_000 + 60_000).as_bytes(), &sealed].concat();
        let _: i64 = cmd("HSET").arg(&key).arg(field).arg(sign).query_async(&mut self.link.clone()).await.unwrap();
    }

    async fn first_release_leaves(&self, node: &Node) {
        let key = node.store.shared.keys.nodes();
        let _: i64 = cmd("HDEL").arg(key).arg(FIRST_RELEASE).query_async(&mut self.link.clone()).await.unwrap();
    }
}

async fn writes(node: &Node, version: u8) {
    node.until(&format!("it writes version {version}"), async |node| node.store.shared.members.records() == version)
        .await;
}

#[tokio::test]
async fn redis_records_are_of_the_newest_version_that_all_nodes_read() {
    let world = World::start().await;
    let (a, b) = (Node::new("a", &world.server), Node::new("b", &world.server));
    world.first_release_lives(&a).await;
    a.until("it hears of the old node", async |a| a.store.nodes().iter().any(|node| node.records == OLDEST)).await;
    assert_eq!(a.store.shared.members.records(), OLDEST);
    let before = epoch(a.apply("alice", claim_by("a", 1)).await);
    assert_eq!(world.version(&a, "alice").await, OLDEST);
    world.first_release_leaves(&a).await;
    for node in [&a, &b] {
        writes(node, NEWEST).await;
    }
    epoch(b.apply("bob", claim_by("b", 1)).await);
    assert_eq!(world.version(&b, "bob").await, NEWEST);
    // What was written before is read, and written anew by whoever changes it.
    assert!(
        matches!(b.apply("alice", claim_by("b", 2)).await, Ok(Outcome::Joined { owner: by, .. }) if by == owner("a"))
    );
    assert_eq!(world.version(&b, "alice").await, NEWEST);
    assert!(matches!(a.apply("alice", passed(before)).await, Ok(Outcome::Committed { .. })));
    let collect = Change::Collect { epoch: before, packet: PacketDigest([2; 16]), challenge: None };
    assert!(matches!(b.apply("alice", collect).await, Ok(Outcome::Collected { .. })));
    // One that is put back to the earlier release is heeded too.
    world.first_release_lives(&a).await;
    writes(&a, OLDEST).await;
    epoch(a.apply("carol", claim_by("a", 1)).await);
    assert_eq!(world.version(&a, "carol").await, OLDEST);
}

#[tokio::test]
async fn redis_records_are_no_newer_than_is_configured() {
    let world = World::start().await;
    let a = Node::with("a", Settings { newest_records: OLDEST, ..settings(Mode::Standalone, &[world.server.port]) });
    a.until("it hears of itself", async |a| a.store.nodes().len() == 1).await;
    epoch(a.apply("alice", claim_by("a", 1)).await);
    assert_eq!((a.store.shared.members.records(), world.version(&a, "alice").await), (OLDEST, OLDEST));
}
