//! Tells the other nodes of the wrong passwords that this one counts, and hears what they tell. No sign-in waits for it, and one
//! without a wrong password causes nothing to be told. While the store is lost each node counts alone.

use crate::clock;
use crate::node::Node;
use cluster::{HeardGuesses, Since, StoreError, TellingGuesses};
use gateway_core::limit::wrong_passwords::Rules;
use std::sync::Arc;
use std::time::Duration;

/// How often it is told and heard.
const EVERY: Duration = Duration::from_millis(500);
/// After a store that did not take it.
const AFTER_FAILURE: Duration = Duration::from_secs(3);
/// Batches that are told at a time.
const MOST_TOLD: usize = 16;

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
    async fn round(&mut self, node: &Node) -> Result<(), StoreError> {
        if node.store.health().lost {
            return Err(StoreError::Unavailable);
        }
        let failovers = node.store.stats().map_or(0, |stats| stats.failovers.get());
        if std::mem::replace(&mut self.failovers, failovers) != failovers {
            // The times of what is to be heard may have gone back. What was heard already is known by its number.
            self.since = Since::default();
        }
        loop {
            let batches = node.guesses.lock().to_tell(MOST_TOLD).to_vec();
            let (count, newest) = (batches.len(), batches.last().map(|batch| batch.number));
            let (since, lives) = (self.since.clone(), node.active().setting.config.limits.wrong_passwords_window);
            let Some(asked) = node.store.share_guesses(TellingGuesses { batches, since, lives }) else { return Ok(()) };
            let heard = asked.await?;
            if let Some(newest) = newest {
                node.guesses.lock().told(newest);
            }
            let more = heard.more || count == MOST_TOLD;
            self.hear(node, heard);
            if !more {
                return Ok(());
            }
        }
    }

    fn hear(&mut self, node: &Node, heard: HeardGuesses) {
        let HeardGuesses { batches, since, life, .. } = heard;
        self.since = if self.life.is_empty() || self.life == life { since } else { Since::default() };
        self.life = life;
        let (rules, now) = (Rules::from(&node.active().setting.config.limits), clock::now());
        let mut guesses = node.guesses.lock();
        for (from, batch) in batches {
            guesses.hear(from, batch, &rules, now);
        }
    }
}
