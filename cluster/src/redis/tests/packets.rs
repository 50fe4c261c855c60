//! Packets that nodes share.

use super::server::Server;
use super::{Node, owner};
use crate::{PacketSeen, Store, Ticket};
use futures_util::future::join_all;
use gateway_core::attempt::record::PacketDigest;
use redis::cmd;

fn packet(number: u16) -> PacketDigest {
    let mut digest = [0; 16];
    digest[..2].copy_from_slice(&number.to_be_bytes());
    PacketDigest(digest)
}

/// Takes a packet that answers a challenge: such packets are always shared.
async fn take(node: &Node, number: u16) -> PacketSeen {
    node.store.packet(packet(number), true).unwrap().await.unwrap()
}

async fn ticket(node: &Node, number: u16) -> Ticket {
    match take(node, number).await {
        PacketSeen::New(ticket) => ticket,
        seen => panic!("{number}: {seen:?}"),
    }
}

#[tokio::test]
async fn redis_a_packet_is_one_nodes_and_every_node_has_its_reply() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    a.ready().await;
    b.ready().await;
    let first = ticket(&a, 1).await;
    assert_eq!(take(&b, 1).await, PacketSeen::Pending);
    a.store.packet_ended(first, Some([2, 1, 0, 20].as_slice().into()));
    b.until("the reply is there", async |b| take(b, 1).await == PacketSeen::Replied(vec![2, 1, 0, 20])).await;
    // What came to nothing may come again, anywhere.
    let second = ticket(&a, 2).await;
    a.store.packet_ended(second, None);
    b.until("it is free", async |b| matches!(take(b, 2).await, PacketSeen::New(_))).await;
}

const MANY: u16 = 1_000;

/// Two nodes take the same packets at once: each is one node's. Who has it, which, and what ends it.
async fn taken_at_once<'a>(a: &'a Node, b: &'a Node) -> Vec<(&'a Node, u16, Ticket)> {
    let all = |node| join_all((0..MANY).map(move |number| take(node, number)));
    let (of_a, of_b) = tokio::join!(all(a), all(b));
    let pairs = (0..MANY).zip(of_a.into_iter().zip(of_b));
    let one = |(number, pair)| match pair {
        (PacketSeen::New(ticket), PacketSeen::Pending) => (a, number, ticket),
        (PacketSeen::Pending, PacketSeen::New(ticket)) => (b, number, ticket),
        pair => panic!("{number}: {pair:?}"),
    };
    pairs.map(one).collect()
}

/// Ends them, and waits until another node has every reply.
async fn end_all(node: &Node, tickets: Vec<(&Node, u16, Ticket)>) {
    for (owner, number, ticket) in tickets {
        owner.store.packet_ended(ticket, Some(number.to_be_bytes().as_slice().into()));
    }
    for number in 0..MANY {
        let reply = PacketSeen::Replied(number.to_be_bytes().to_vec());
        node.until("every reply is there", async |node| take(node, number).await == reply).await;
    }
}

/// In whatever layout the servers are.
pub(super) async fn are_shared(a: &Node, b: &Node) {
    let tickets = taken_at_once(a, b).await;
    end_all(b, tickets).await;
}

#[tokio::test]
async fn redis_of_many_packets_at_once_each_is_one_nodes() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    a.ready().await;
    b.ready().await;
    let before = a.store.shared.stats.round_trips.get();
    let tickets = taken_at_once(&a, &b).await;
    let round_trips = a.store.shared.stats.round_trips.get() - before;
    assert!(round_trips < u64::from(MANY) / 2, "{round_trips} round trips: they do not go together");
    // A server that was restarted does not know the script.
    assert_eq!(server.cli(&["script", "flush"]), "OK");
    end_all(&a, tickets).await;
}

#[tokio::test]
async fn redis_a_packet_of_a_dead_node_is_taken_over_once_and_its_late_reply_is_not_believed() {
    let server = Server::start(&[]);
    let (a, b, c) = (Node::new("a", &server), Node::new("b", &server), Node::new("c", &server));
    for node in [&a, &b, &c] {
        node.ready().await;
    }
    let late = ticket(&a, 1).await;
    a.store.leave().await.unwrap();
    for node in [&b, &c] {
        node.until("a is dead", async |node| node.store.is_dead(&owner("a"))).await;
    }
    let taken = match tokio::join!(take(&b, 1), take(&c, 1)) {
        (PacketSeen::New(ticket), PacketSeen::Pending) => (&b, ticket),
        (PacketSeen::Pending, PacketSeen::New(ticket)) => (&c, ticket),
        pair => panic!("{pair:?}"),
    };
    a.store.packet_ended(late, Some([3].as_slice().into()));
    // In order behind it on the connection of a.
    assert_eq!(take(&a, 1).await, PacketSeen::Pending);
    taken.0.store.packet_ended(taken.1, Some([2].as_slice().into()));
    a.until("the reply of its successor", async |a| take(a, 1).await == PacketSeen::Replied(vec![2])).await;
}

#[tokio::test]
async fn redis_a_packet_that_cannot_be_believed_is_nobodys() {
    let server = Server::start(&[]);
    let node = Node::new("a", &server);
    node.ready().await;
    let client = redis::Client::open(format!("redis://127.0.0.1:{}", server.port)).unwrap();
    let mut link = client.get_multiplexed_async_connection().await.unwrap();
    let key = node.store.shared.keys.packet(&packet(1).0);
    for value in [b"".as_slice(), b"\x02", b"\x63newer", &[1; 300], &[2; 300]] {
        let _: () = cmd("SET").arg(&key).arg(value).query_async(&mut link).await.unwrap();
        assert_eq!(take(&node, 1).await, PacketSeen::Pending, "{value:?}");
    }
    let _: () = cmd("DEL").arg(&key).query_async(&mut link).await.unwrap();
    let _: () = cmd("LPUSH").arg(&key).arg("x").query_async(&mut link).await.unwrap();
    assert!(node.store.packet(packet(1), true).unwrap().await.is_err(), "a list");
    // Others do not suffer from it.
    ticket(&node, 2).await;
}

#[tokio::test]
async fn redis_a_reply_without_a_ticket_is_told() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    a.ready().await;
    b.ready().await;
    let reply = |octet: u8| std::sync::Arc::<[u8]>::from([octet].as_slice());
    // The store was away when the packet came, and is back when it is answered.
    a.store.packet_answered(packet(1), true, reply(7));
    b.until("b knows it", async |b| take(b, 1).await == PacketSeen::Replied(vec![7])).await;
    // Another node has it in progress: what was sent first is what is told.
    let late = ticket(&b, 2).await;
    a.store.packet_answered(packet(2), true, reply(7));
    a.until("it is told", async |a| take(a, 2).await == PacketSeen::Replied(vec![7])).await;
    b.store.packet_ended(late, Some(reply(8)));
    assert_eq!(take(&b, 2).await, PacketSeen::Replied(vec![7]), "in order behind it on the connection of b");
    // Nor does a reply take the place of another.
    a.store.packet_answered(packet(2), true, reply(9));
    assert_eq!(take(&a, 2).await, PacketSeen::Replied(vec![7]));
    // Packets that are not shared stay unknown.
    a.store.packet_answered(packet(3), false, reply(7));
    assert!(matches!(take(&a, 3).await, PacketSeen::New(_)));
}

#[tokio::test]
async fn redis_a_reply_outlives_its_lost_ticket() {
    let server = Server::start(&[]);
    let (a, b) = (Node::new("a", &server), Node::new("b", &server));
    a.ready().await;
    b.ready().await;
    let (first, second) = (ticket(&a, 1).await, ticket(&a, 2).await);
    // A fail-over has lost that a had the packets.
    for number in [1, 2] {
        assert_eq!(server.cli(&["DEL", &a.store.shared.keys.packet(&packet(number).0)]), "1");
    }
    a.store.packet_ended(first, Some([7].as_slice().into()));
    // Whoever takes it before that begins anew, as after any loss.
    let key = a.store.shared.keys.packet(&packet(1).0);
    a.until("the store has the reply", async |_| server.cli(&["EXISTS", &key]) == "1").await;
    b.until("b knows it", async |b| take(b, 1).await == PacketSeen::Replied(vec![7])).await;
    a.store.packet_ended(second, None);
    assert!(matches!(take(&a, 2).await, PacketSeen::New(_)));
}
