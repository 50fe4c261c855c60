//! The last events of this node, so that one sign-in can be told as a story. Nothing of it enters the store.

use gateway_core::attempt::record::AttemptId;
use gateway_core::event::Event;
use gateway_core::time::Timestamp;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// A bounded ring of events with the time of each.
pub struct Ring {
    events: Mutex<VecDeque<(Timestamp, Event)>>,
    limit: usize,
}

impl Ring {
    /// Of at most `limit` events.
    pub fn new(limit: usize) -> Self {
        Self { events: Mutex::new(VecDeque::new()), limit }
    }

    /// Adds one; whether the oldest had to go for it.
    pub fn push(&self, at: Timestamp, event: Event) -> bool {
        if self.limit == 0 {
            return false;
        }
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let full = events.len() >= self.limit;
        // The oldest is dropped after the lock is free.
        let oldest = if full { events.pop_front() } else { None };
        events.push_back((at, event));
        drop(events);
        oldest.is_some()
    }

    /// What is known of one attempt, oldest first.
    pub fn of(&self, id: AttemptId) -> Vec<(Timestamp, Event)> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = |event: &Event| match event {
            Event::Step { id: of, .. } | Event::PasswordsPaused { id: of, .. } | Event::Unanswered { id: of, .. } => {
                *of == id
            }
            Event::Finished(finished) => finished.id == id,
            Event::Dropped { .. } | Event::Duplicate { .. } | Event::StatusServer { .. } | Event::Node(_) => false,
        };
        events.iter().filter(|(_, event)| ours(event)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::event::{Step, Subject};

    #[test]
    fn the_oldest_goes_and_one_attempt_is_told_apart() {
        let ring = Ring::new(3);
        let subject = Subject { client: "vpn".into(), source: None, user: "alice".into(), station: None };
        let subject = std::sync::Arc::new(subject);
        let step = |id| Event::Step { id: AttemptId([id; 16]), subject: subject.clone(), step: Step::Committed };
        let overwritten: Vec<bool> =
            (0..5).map(|at| ring.push(Timestamp::from_secs(at), step((at % 2) as u8))).collect();
        assert_eq!(overwritten, [false, false, false, true, true]);
        let times: Vec<u64> = ring.of(AttemptId([0; 16])).iter().map(|(at, _)| at.as_secs()).collect();
        assert_eq!(times, [2, 4]);
    }
}
