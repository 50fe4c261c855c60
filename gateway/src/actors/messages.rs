//! The protocol between actors. Requests go downward only (listener to exchange to back end); upward goes a notice without
//! reply, so that no two actors can wait for each other.

use crate::peers::Answered;
use actix::Message;
use gateway_core::exchange::News;
use gateway_core::exchange::duplicates::{End, Key};
use gateway_core::time::Timestamp;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Datagrams as they came in, at most one batch.
#[derive(Debug)]
pub struct Batch(pub Vec<Datagram>);

/// One datagram.
#[derive(Debug)]
pub struct Datagram {
    /// Its octets.
    pub bytes: Box<[u8]>,
    /// Where it came from.
    pub peer: SocketAddr,
    /// Where it was sent to.
    pub local: SocketAddr,
    /// It was longer than a RADIUS packet may be, and its end is lost.
    pub truncated: bool,
}

/// An exchange has ended.
#[derive(Debug)]
pub struct Replied {
    /// Whose.
    pub key: Key,
    /// At which RADIUS client.
    pub client: Arc<str>,
    /// The entry in the duplicate table.
    pub serial: u64,
    /// With which reply, or what the same packet will mean.
    pub end: End,
    /// The soonest that it may be known; `None`: at once.
    pub not_before: Option<Timestamp>,
    /// Another node received the packet and has the reply: here it is only kept.
    pub elsewhere: bool,
}

impl Message for Replied {
    type Result = ();
}

/// Accounting records are durable, and their answers wait.
#[derive(Debug)]
pub struct Recorded;

impl Message for Recorded {
    type Result = ();
}

/// A packet that another node received.
#[derive(Debug)]
pub struct Forwarded {
    /// As it came there.
    pub datagram: Datagram,
    /// When, by the clock of this node.
    pub received: Timestamp,
    /// Who waits for what becomes of it.
    pub answer: oneshot::Sender<Answered>,
}

impl Message for Forwarded {
    type Result = ();
}

/// The time of refusals that waited has come.
#[derive(Debug)]
pub struct Due;

impl Message for Due {
    type Result = ();
}

/// News of the prompt that an exchange waits for.
#[derive(Debug)]
pub struct PromptNews(pub News);

impl Message for PromptNews {
    type Result = ();
}

/// The code that a driver offered was asked for: it may end.
#[derive(Debug)]
pub struct OfferTaken;

impl Message for OfferTaken {
    type Result = ();
}
