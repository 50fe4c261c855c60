//! Tells the other nodes whom operators locked here, and hears whom they locked there. While the store is lost, a lock holds at the node
//! where it was ordered, and the others hear of it when the store is back.

use crate::node::Node;
use cluster::{Since, StoreError, TellingLocks};
use gateway_core::reason::Reason;
use std::sync::Arc;
use std::time::Duration;

/// How often it is told and heard.
const EVERY: Duration = Duration::from_millis(250);
/// After a store that did not take it.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Orders that are told at a time.
const MOST_TOLD: usize = 64;

/// Begins, on the thread that calls, where there are other nodes. It ends with the node.
pub fn start(node: &Arc<Node>) {
    if !node.store.is_shared() {
        return;
    }
    let node = Arc::downgrade(node);
    actix_rt::spawn(async move {
        let mut sharer = Sharer { since: Since::default(), life: String::new(), failovers: 0 };
        while let Some(node) = node.upgrade() {
            let done = sharer.round(&node).await;
            drop(node);
            actix_rt::time::sleep(if done.is_ok() { EVERY } else { AFTER_FAILURE }).await;
        }
    });
}

struct Sharer {
    since: Since,
    /// Of the store; empty while there is nothing in it.
    life: String,
    /// Those of the store that are seen to.
    failovers: u64,
}

impl Sharer {
    /// Tells and hears all that there is.
    async fn round(&mut self, node: &Arc<Node>) -> Result<(), StoreError> {
        if node.store.health().lost {
            return Err(StoreError::Unavailable);
        }
        let failovers = node.store.stats().map_or(0, |stats| stats.failovers.get());
        if std::mem::replace(&mut self.failovers, failovers) != failovers {
            // What was told last may be lost, and the times of what is to be heard may have gone back.
            self.since = Since::default();
            node.locks.tell_all();
        }
        loop {
            let orders = node.locks.to_tell(MOST_TOLD);
            let telling = TellingLocks { orders: orders.clone(), since: self.since.clone() };
            let Some(asked) = node.store.share_locks(telling) else { return Ok(()) };
            let heard = asked.await?;
            node.locks.told(&orders);
            let same = self.life == heard.life;
            if !same && !self.life.is_empty() {
                // The store was emptied meanwhile.
                node.locks.tell_all();
            }
            self.since = if same || self.life.is_empty() { heard.since } else { Since::default() };
            self.life = heard.life;
            for user in node.locks.hear(heard.orders) {
                tracing::warn!(user = &*user, "an operator has locked this user at another node");
                node.end_attempts_or_tell(user, Reason::LockedByOperator).await;
            }
            if same && !heard.more && orders.len() < MOST_TOLD {
                return Ok(());
            }
        }
    }
}
