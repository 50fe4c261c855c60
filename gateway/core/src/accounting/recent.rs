//! The records that were written lately, so that one that comes again is answered and not written again.

use super::record::{Record, RecordId};
use crate::time::Timestamp;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// How long the same octets are the same record. Without Event-Timestamp and Acct-Delay-Time a NAS can send the same
/// octets for two records once its identifiers have gone round.
const SAME_OCTETS: Duration = Duration::from_secs(600);

/// The newest records, at most as many as it was made for. The oldest are forgotten first.
#[derive(Debug)]
pub struct Recent {
    limit: usize,
    ids: HashMap<RecordId, Timestamp, foldhash::fast::RandomState>,
    octets: HashMap<u128, Timestamp, foldhash::fast::RandomState>,
    order: VecDeque<(RecordId, u128)>,
}

impl Recent {
    /// None yet; at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self { limit, ids: HashMap::default(), octets: HashMap::default(), order: VecDeque::new() }
    }

    /// Whether the record was written.
    pub fn knows(&self, record: &Record<'_>, now: Timestamp) -> bool {
        self.ids.contains_key(&record.id)
            || record.near.iter().flatten().any(|id| self.ids.contains_key(id))
            || self.octets.get(&record.octets).is_some_and(|at| now.since(*at) < SAME_OCTETS)
    }

    /// A record was written, or found where it had been written. Whether an older one was forgotten for it.
    pub fn add(&mut self, id: RecordId, octets: u128, now: Timestamp) -> bool {
        if self.ids.insert(id, now).is_none() {
            self.order.push_back((id, octets));
        }
        self.octets.insert(octets, now);
        let full = self.order.len() > self.limit;
        if full && let Some((id, octets)) = self.order.pop_front() {
            self.ids.remove(&id);
            self.octets.remove(&octets);
        }
        full
    }

    /// A record was not written after all.
    pub fn remove(&mut self, id: RecordId, octets: u128) {
        self.ids.remove(&id);
        self.octets.remove(&octets);
        // It was the newest, or near to it.
        if let Some(at) = self.order.iter().rposition(|(known, _)| *known == id) {
            self.order.remove(at);
        }
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}
