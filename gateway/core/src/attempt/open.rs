//! How many attempts and challenges a user has, which States have served, and what goes when there are too many.

use super::record::{Attempt, AttemptKey, Challenge, Open, Phase, Progress, Purpose, Settled, Spent, UserRecord};
use super::records::{Records, within};
use super::state::StateId;
use super::transition::Rules;
use crate::reason::Reason;
use crate::time::Timestamp;
use std::sync::Arc;

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

    /// The oldest attempt of the user goes where `key` would be one too many. One that prompts the user never does.
    pub(super) fn make_room(&mut self, key: &AttemptKey, rules: &Rules, now: Timestamp) {
        let most = rules.attempts_per_user.max(1);
        let full = |records: &Self| records.users.get(&key.user).is_some_and(|user| user.open.attempts >= most);
        while full(self) && !self.attempts.contains_key(key) {
            let of_user = self.attempts.iter().filter(|(other, _)| other.user == key.user);
            let ranked = of_user.filter_map(|(other, attempt)| Some((self.rank(attempt, rules, now)?, other)));
            let Some((_, oldest)) = ranked.min() else { return };
            let oldest = oldest.clone();
            self.burn(&oldest, now);
        }
    }

    /// What goes first: what is over, then what waits for a code, then what a repeat may still ask for.
    fn rank(&self, attempt: &Attempt, rules: &Rules, now: Timestamp) -> Option<(u8, Timestamp)> {
        let live = now < attempt.deadline;
        let judged = |state: &StateId| {
            let progress = self.challenges.get(state).map(|challenge| &challenge.progress);
            matches!(progress, Some(Progress::Checking { .. }))
        };
        let rank = match &attempt.phase {
            Phase::Begun | Phase::Waiting { .. } | Phase::Offered { .. } if live && attempt.prompts => return None,
            Phase::Settled { verdict: Settled::Passed, to: None, .. } if live => 2,
            Phase::Settled { at, .. } if within(*at, now, rules.repeat_window) => 2,
            Phase::Challenged { state, .. } if live && judged(state) => 2,
            Phase::Settled { .. } => 0,
            _ => u8::from(live),
        };
        Some((rank, attempt.claimed))
    }

    fn burn(&mut self, key: &AttemptKey, now: Timestamp) {
        let Some(attempt) = self.remove_attempt(key) else { return };
        let out = match attempt.phase {
            Phase::Challenged { state, .. } => Some(state),
            _ => None,
        };
        for state in out.into_iter().chain(attempt.collector) {
            self.spend_as(state, true, now);
        }
    }

    /// Ends whatever is open for `user`: challenges burn, and prompts and approvals that nobody has collected are settled as failed, so
    /// that packets that wait are refused. What was committed for a packet stays. Returns how many attempts and challenges ended.
    pub(super) fn end_all(&mut self, user: &Arc<str>, reason: Reason, now: Timestamp) -> usize {
        let mut ended = 0_usize;
        let keys: Vec<AttemptKey> = self.attempts.keys().filter(|key| key.user == *user).cloned().collect();
        for key in keys {
            let Some(attempt) = self.attempts.get_mut(&key) else { continue };
            let open = match &attempt.phase {
                Phase::Settled { verdict, to, .. } => *verdict == Settled::Passed && to.is_none(),
                Phase::Begun | Phase::Waiting { .. } | Phase::Challenged { .. } | Phase::Offered { .. } => true,
            };
            if open {
                let to = attempt.waiting;
                attempt.phase = Phase::Settled { verdict: Settled::Failed(reason), at: now, to };
                ended = ended.saturating_add(1);
                self.prompt_is_over(&key);
            }
        }
        let settled = |records: &Self, challenge: &Challenge| {
            // It collects what was settled: the packet that brings it is refused with the reason.
            let attempt = records.attempts.get(&challenge.key);
            matches!(&challenge.purpose, Purpose::Collect { epoch, .. } if attempt.is_some_and(|attempt| attempt.epoch == *epoch))
        };
        let burnt =
            self.challenges.iter().filter(|(_, challenge)| challenge.key.user == *user && !settled(self, challenge));
        let mut burnt: Vec<StateId> = burnt.map(|(state, _)| *state).collect();
        burnt.sort_unstable();
        for state in burnt {
            // The challenge of an attempt is counted with it.
            let round =
                self.challenges.get(&state).is_some_and(|challenge| matches!(challenge.purpose, Purpose::Round { .. }));
            ended = ended.saturating_add(usize::from(round));
            self.spend_as(state, true, now);
        }
        ended
    }

    /// The same for rounds of first factors, which belong to no attempt and have proved nothing: they burn each other only.
    pub(super) fn make_room_for_round(&mut self, user: &Arc<str>, rules: &Rules, now: Timestamp) {
        let most = rules.attempts_per_user.max(1);
        if self.users.get(user).is_none_or(|record| record.open.challenges < most) {
            return;
        }
        let rounds = self
            .challenges
            .iter()
            .filter(|(_, challenge)| challenge.key.user == *user && matches!(challenge.purpose, Purpose::Round { .. }));
        let mut rounds: Vec<_> = rounds.map(|(state, challenge)| (challenge.expires, *state)).collect();
        rounds.sort_unstable();
        let over = (rounds.len() + 1).saturating_sub(usize::from(most));
        for (_, state) in rounds.into_iter().take(over) {
            self.spend_as(state, true, now);
        }
    }
}
