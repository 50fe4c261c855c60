//! Tells the other nodes whom operators locked here, and hears whom they locked there. While the store is lost, a lock holds at the node
//! where it was ordered, and the others hear of it when the store is back.

use crate::node::Node;
use crate::sharing::{self, Reading};
use cluster::{StoreError, TellingLocks};
use gateway_core::reason::Reason;
use std::sync::Arc;
use std::time::Duration;

/// Orders that are told at a time.
const MOST_TOLD: usize = 64;

/// Begins, on the thread that calls.
pub fn start(node: &Arc<Node>) {
    sharing::start(node, Sharer::default());
}

#[derive(Default)]
struct Sharer {
    reading: Reading,
}

impl sharing::Sharer for Sharer {
    const EVERY: Duration = Duration::from_millis(250);
    const AFTER_FAILURE: Duration = Duration::from_secs(1);

    async fn round(&mut self, node: &Arc<Node>) -> Result<(), StoreError> {
        if self.reading.failed_over(node) {
            node.locks.tell_all();
        }
        loop {
            let orders = node.locks.to_tell(MOST_TOLD);
            let telling = TellingLocks { orders: orders.clone(), since: self.reading.since() };
            let Some(asked) = node.store.share_locks(telling) else { return Ok(()) };
            let heard = asked.await?;
            node.locks.told(&orders);
            let emptied = self.reading.note(heard.since, heard.life);
            if emptied {
                node.locks.tell_all();
            }
            for user in node.locks.hear(heard.orders) {
                tracing::warn!(user = &*user, "an operator has locked this user at another node");
                node.end_attempts_or_tell(user, Reason::LockedByOperator).await;
            }
            if !emptied && !heard.more && orders.len() < MOST_TOLD {
                return Ok(());
            }
        }
    }
}
