//! Refusals that wait for their time (`attempts.reject_delay`). They wait at the listener, where their packets go on looking as
//! if they were in progress, and hold no permit: who guesses passwords must not keep others out.

use super::messages::Replied;
use gateway_core::time::Timestamp;
use std::collections::BTreeMap;

/// Replies by the time at which they may be sent, and the order in which they came.
#[derive(Default)]
pub(super) struct Delayed {
    waiting: BTreeMap<(Timestamp, u64), Replied>,
    arrivals: u64,
}

impl Delayed {
    /// Keeps `replied` until `time`.
    pub(super) fn put(&mut self, time: Timestamp, replied: Replied) {
        self.arrivals = self.arrivals.wrapping_add(1);
        self.waiting.insert((time, self.arrivals), replied);
    }

    /// One whose time has come.
    pub(super) fn take(&mut self, now: Timestamp) -> Option<Replied> {
        let first = self.waiting.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.waiting.first_key_value().map(|((time, _), _)| *time)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::exchange::duplicates::{End, Key};

    fn replied(identifier: u8) -> Replied {
        let address = "127.0.0.1:1".parse().unwrap();
        let key = Key { source: address, local: address, identifier };
        Replied { key, client: "vpn".into(), serial: 0, end: End::Forgotten, not_before: None }
    }

    #[test]
    fn each_comes_at_its_time_and_those_of_one_time_in_their_order() {
        let at = Timestamp::from_secs;
        let mut delayed = Delayed::default();
        for (time, identifier) in [(3, 1), (2, 2), (3, 3), (1, 4)] {
            delayed.put(at(time), replied(identifier));
        }
        let mut taken =
            |now| std::iter::from_fn(|| delayed.take(at(now)).map(|replied| replied.key.identifier)).collect();
        let none: Vec<u8> = taken(0);
        assert!(none.is_empty());
        assert_eq!(taken(2), [4, 2]);
        assert_eq!(taken(3), [1, 3]);
        assert_eq!((delayed.len(), delayed.next()), (0, None));
    }
}
