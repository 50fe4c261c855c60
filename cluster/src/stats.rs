//! What a shared store counts, for whoever shows metrics.

use gateway_core::time::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};

/// Counters and states of a store.
#[derive(Debug, Default)]
pub struct Stats {
    /// Questions to the store: round trips.
    pub round_trips: Counter,
    /// Transitions that were run again because another node had written meanwhile.
    pub conflicts: Counter,
    /// Questions that failed or were not answered in time.
    pub errors: Counter,
    /// Values that do not open, or are not what they say.
    pub tampered: Counter,
    /// Values of a version that this release does not know.
    pub other_version: Counter,
    /// Fail-overs, restarts and losses of the store that were noticed.
    pub failovers: Counter,
    /// Records that were written again after one.
    pub reasserted: Counter,
    /// Records that two nodes had changed, each without the other, while the store was lost: one of the two was dropped.
    pub diverged: Counter,
    /// Writes that no replica acknowledged.
    pub unacknowledged: Counter,
    /// Transitions that were made by this node alone while the store was lost.
    pub alone: Counter,
    /// The store cannot be reached.
    pub lost: AtomicBool,
    /// Another node has this node's name.
    pub conflict: AtomicBool,
    /// How far the clock of the store is ahead of this node's, in µs.
    pub skew: AtomicI64,
    /// The version that this node writes records as: the newest that every node opens.
    pub records: AtomicU8,
}

impl Stats {
    /// The store said `time` between `asked` and `heard` of this node's clock: that bounds the difference of the two.
    pub(crate) fn learn_time(&self, time: Timestamp, asked: Timestamp, heard: Timestamp) {
        let signed = |at: Timestamp| i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
        let (low, high) = (signed(time) - signed(heard), signed(time) - signed(asked));
        if low <= high {
            let skew = self.skew.load(Ordering::Relaxed).clamp(low, high);
            self.skew.store(skew, Ordering::Relaxed);
        }
    }
}

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
