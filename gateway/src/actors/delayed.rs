//! Refusals that wait for their time (`attempts.reject_delay`). They wait at the listener, where their packets go on looking as
//! if they were in progress, and hold no permit: who guesses passwords must not keep others out.

use gateway_core::time::Timestamp;
use std::collections::BTreeMap;

/// Replies by the time at which they may be sent, and the order in which they came.
pub(super) struct Delayed<T> {
    waiting: BTreeMap<(Timestamp, u64), T>,
    arrivals: u64,
}

impl<T> Default for Delayed<T> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), arrivals: 0 }
    }
}

impl<T> Delayed<T> {
    /// Keeps `replied` until `time`.
    pub(super) fn put(&mut self, time: Timestamp, replied: T) {
        self.arrivals = self.arrivals.wrapping_add(1);
        self.waiting.insert((time, self.arrivals), replied);
    }

    /// One whose time has come.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<T> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((time, _), _)| *time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_comes_at_its_time_and_those_of_one_time_in_their_order() {
        let at = Timestamp::from_secs;
        let mut delayed = Delayed::default();
        for (time, identifier) in [(3, 1), (2, 2), (3, 3), (1, 4)] {
            delayed.put(at(time), identifier);
        }
        let mut taken = |now| std::iter::from_fn(|| delayed.take(at(now))).collect();
        let none: Vec<u8> = taken(0);
        assert!(none.is_empty());
        assert_eq!(taken(2), [4, 2]);
        assert_eq!(taken(3), [1, 3]);
        assert_eq!(delayed.next(), None);
    }
}
