//! A packet that was sent to another node: its reply comes back to the listener that received it.

use super::messages::Replied;
use crate::clock;
use crate::node::Node;
use crate::peers::Answered;
use crate::permits::Permit;
use actix::Recipient;
use gateway_core::event::Event;
use gateway_core::exchange::duplicates::{End, Key};
use std::sync::Arc;

/// Waits on this thread. Whatever ends the wait, the listener is told, and the permit is given back.
pub(super) fn wait(
    sent: impl Future<Output = Answered> + 'static,
    (node, permit): (Arc<Node>, Permit),
    (listener, client, key, serial): (Recipient<Replied>, Arc<str>, Key, u64),
) {
    actix_rt::spawn(async move {
        let (end, not_before) = sent.await.unwrap_or_else(|reason| {
            let (client, source) = (Some(client.clone()), key.source);
            node.observer.observe(Event::Dropped { client, source, reason, detail: None }, clock::now());
            (End::Forgotten, None)
        });
        listener.do_send(Replied { key, client, serial, end, not_before, elsewhere: false });
        drop(permit);
    });
}
