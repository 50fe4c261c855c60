//! How many attempts and challenges a user has, which States have served, and what goes when there are too many.

use super::record::{Attempt, AttemptKey, Challenge, Open, Spent, UserRecord};
use super::records::Records;
use super::state::StateId;

/// States of one user that are remembered after they have served. A record that a flood cannot fill is worth more than the
/// difference between "served" and "unknown", which are refused alike.
const MOST_SPENT: usize = 64;

impl UserRecord {
    /// Remembers that a State has served. The order is by time, so that two nodes write the same record.
    pub(super) fn spend(&mut self, spent: Spent) {
        self.spent.retain(|other| other.state != spent.state);
        let at = self.spent.partition_point(|other| (other.until, other.state) < (spent.until, spent.state));
        self.spent.insert(at, spent);
        if self.spent.len() > MOST_SPENT {
            self.spent.remove(0);
        }
    }

    /// Whether the attempts and challenges beside it say all that it does.
    pub(super) fn only_counts(&self) -> bool {
        self.open != Open::default() && Self { open: Open::default(), ..self.clone() } == Self::default()
    }
}

impl Records {
    pub(super) fn insert_attempt(&mut self, key: AttemptKey, attempt: Box<Attempt>) {
        let user = key.user.clone();
        if self.attempts.insert(key, attempt).is_none() {
            let open = &mut self.users.entry(user).or_default().open;
            open.attempts = open.attempts.saturating_add(1);
        }
    }

    pub(super) fn remove_attempt(&mut self, key: &AttemptKey) -> Option<Box<Attempt>> {
        let attempt = self.attempts.remove(key)?;
        if let Some(record) = self.users.get_mut(&key.user) {
            record.open.attempts = record.open.attempts.saturating_sub(1);
        }
        Some(attempt)
    }

    pub(super) fn insert_challenge(&mut self, state: StateId, challenge: Box<Challenge>) {
        let user = challenge.key.user.clone();
        if self.challenges.insert(state, challenge).is_none() {
            let open = &mut self.users.entry(user).or_default().open;
            open.challenges = open.challenges.saturating_add(1);
        }
    }

    pub(super) fn remove_challenge(&mut self, state: StateId) -> Option<Box<Challenge>> {
        let challenge = self.challenges.remove(&state)?;
        if let Some(record) = self.users.get_mut(&challenge.key.user) {
            record.open.challenges = record.open.challenges.saturating_sub(1);
        }
        Some(challenge)
    }
}
