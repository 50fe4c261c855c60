//! Tells the other nodes of the wrong passwords that this one counts, and hears what they tell. No sign-in waits for it, and one
//! without a wrong password causes nothing to be told. While the store is lost each node counts alone.

use crate::clock;
use crate::node::Node;
use crate::sharing::{self, Reading};
use cluster::{HeardGuesses, StoreError, TellingGuesses};
use gateway_core::limit::wrong_passwords::Rules;
use std::sync::Arc;
use std::time::Duration;

/// Batches that are told at a time.
const MOST_TOLD: usize = 16;

/// Begins, on the thread that calls.
pub fn start(node: &Arc<Node>) {
    sharing::start(node, Sharer::default());
}

#[derive(Default)]
struct Sharer {
    reading: Reading,
}

impl sharing::Sharer for Sharer {
    const EVERY: Duration = Duration::from_millis(500);
    const AFTER_FAILURE: Duration = Duration::from_secs(3);

    async fn round(&mut self, node: &Arc<Node>) -> Result<(), StoreError> {
        // What was heard already is known by its number.
        self.reading.failed_over(node);
        loop {
            let batches = node.guesses.lock().to_tell(MOST_TOLD).to_vec();
            let (count, newest) = (batches.len(), batches.last().map(|batch| batch.number));
            let lives = node.active().setting.config.limits.wrong_passwords_window;
            let telling = TellingGuesses { batches, since: self.reading.since(), lives };
            let Some(asked) = node.store.share_guesses(telling) else { return Ok(()) };
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
}

impl Sharer {
    fn hear(&mut self, node: &Node, heard: HeardGuesses) {
        let HeardGuesses { batches, since, life, .. } = heard;
        // What an emptied store has lost is not told again: it is forgotten soon anyway.
        self.reading.note(since, life);
        let (rules, now) = (Rules::from(&node.active().setting.config.limits), clock::now());
        let mut guesses = node.guesses.lock();
        for (from, batch) in batches {
            guesses.hear(from, batch, &rules, now);
        }
    }
}
