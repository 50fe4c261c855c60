//! Rounds in which a node tells the others what it knows and hears what they know, by way of the store. No sign-in waits for them.

use crate::node::Node;
use cluster::{Since, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// One kind of thing that nodes tell each other.
pub(crate) trait Sharer: 'static {
    /// Pause between two rounds.
    const EVERY: Duration;
    /// Pause after a store that did not take it.
    const AFTER_FAILURE: Duration;

    /// Tells and hears all that there is.
    async fn round(&mut self, node: &Arc<Node>) -> Result<(), StoreError>;
}

/// Begins, on the thread that calls, where there are other nodes. It ends with the node.
pub(crate) fn start<S: Sharer>(node: &Arc<Node>, mut sharer: S) {
    if !node.store.is_shared() {
        return;
    }
    let node = Arc::downgrade(node);
    actix_rt::spawn(async move {
        while let Some(node) = node.upgrade() {
            let done = if node.store.health().lost { Err(StoreError::Unavailable) } else { sharer.round(&node).await };
            drop(node);
            actix_rt::time::sleep(if done.is_ok() { S::EVERY } else { S::AFTER_FAILURE }).await;
        }
    });
}

/// Up to where a node has read what others told.
#[derive(Default)]
pub(crate) struct Reading {
    since: Since,
    /// The life of the store; empty while there is nothing in it.
    life: String,
    /// The fail-overs of the store that are seen to.
    failovers: u64,
}

impl Reading {
    /// Returns the place up to which was read.
    pub(crate) fn since(&self) -> Since {
        self.since.clone()
    }

    /// Returns whether the store has failed over since this was asked last. Times may have gone back, so that everything is read again; what
    /// was told last may be lost.
    pub(crate) fn failed_over(&mut self, node: &Node) -> bool {
        let failovers = node.store.stats().map_or(0, |stats| stats.failovers.get());
        let more = std::mem::replace(&mut self.failovers, failovers) != failovers;
        if more {
            self.since = Since::default();
        }
        more
    }

    /// Notes what was read. `true`: the store was emptied meanwhile, so that everything is read again and is to be told again.
    pub(crate) fn note(&mut self, since: Since, life: String) -> bool {
        let emptied = !self.life.is_empty() && self.life != life;
        (self.since, self.life) = (if emptied { Since::default() } else { since }, life);
        emptied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emptied_store_is_read_again() {
        let mut reading = Reading::default();
        let since = |upto: &str| Since::at(upto);
        assert!(!reading.note(since("0"), String::new()), "there is nothing yet");
        assert!(!reading.note(since("5"), "one".to_owned()));
        assert_eq!(reading.since(), since("5"));
        assert!(reading.note(since("9"), "two".to_owned()));
        assert_eq!(reading.since(), Since::default());
        assert!(!reading.note(since("9"), "two".to_owned()));
        assert!(reading.note(since("0"), String::new()), "its key is gone");
    }
}
