//! How many records there are, how long they matter, and what is forgotten when.

use super::record::{Open, Phase, Purpose, Settled};
use super::records::{AFTERLIFE, Records};
use super::transition::Unanswered;
use crate::reason::Reason;
use crate::time::Timestamp;
use std::time::Duration;

impl Records {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.attempts.len() + self.challenges.len() + self.users.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The highest epoch that is in use.
    pub fn highest_epoch(&self) -> u64 {
        self.attempts.values().map(|attempt| attempt.epoch).max().unwrap_or(0)
    }

    /// When [`sweep`](Self::sweep) may next find an attempt that nobody answered.
    pub fn next_due(&self) -> Option<Timestamp> {
        let challenges = self.challenges.values().map(|challenge| challenge.expires.after(AFTERLIFE));
        challenges.chain(self.attempts.values().map(|attempt| attempt.expires)).min()
    }

    /// When [`sweep`](Self::sweep) will have left nothing; `None`: something is to be remembered for ever.
    pub fn lasts_until(&self, wrong_codes_window: Duration) -> Option<Timestamp> {
        let mut last = Timestamp::default();
        for record in self.users.values() {
            for (_, _, forget) in &record.used {
                last = last.max((*forget)?);
            }
            if record.wrong_codes > 0 {
                last = last.max(record.window_began.after(wrong_codes_window));
            }
            if record.prompts.reported.is_some() {
                return None;
            }
            if record.prompts.refused > 0 {
                last = last.max(record.prompts.forget);
            }
            last = last.max(record.spent.last().map(|spent| spent.until).unwrap_or_default());
        }
        let challenges = self.challenges.values().map(|challenge| challenge.expires.after(AFTERLIFE));
        let attempts = self.attempts.values().map(|attempt| attempt.expires);
        challenges.chain(attempts).max().map_or(Some(last), |at| Some(last.max(at)))
    }

    /// Forgets what has expired, and names the attempts whose challenge nobody answered.
    pub fn sweep(&mut self, now: Timestamp, wrong_codes_window: Duration) -> Vec<Unanswered> {
        let mut unanswered = Vec::new();
        let Self { attempts, challenges, users, .. } = self;
        challenges.retain(|state, challenge| {
            let live = now < challenge.expires.after(AFTERLIFE);
            if !live {
                if let Some(record) = users.get_mut(&challenge.key.user) {
                    record.open.challenges = record.open.challenges.saturating_sub(1);
                }
                let newest = attempts.get(&challenge.key).is_none_or(
                    |attempt| matches!(attempt.phase, Phase::Challenged { state: out, .. } if out == *state),
                );
                // Whether an outcome was collected its attempt tells.
                if newest && !matches!(challenge.purpose, Purpose::Collect { .. }) {
                    let (key, id, begun) = (challenge.key.clone(), challenge.id, challenge.begun);
                    unanswered.push(Unanswered { reason: Reason::ChallengeUnanswered, key, id, begun });
                }
            }
            live
        });
        attempts.retain(|key, attempt| {
            let live = now < attempt.expires;
            if !live && let Some(record) = users.get_mut(&key.user) {
                record.open.attempts = record.open.attempts.saturating_sub(1);
            }
            if let Phase::Settled { verdict: Settled::Passed, to: None, .. } = attempt.phase
                && !live
            {
                let (key, id, begun) = (key.clone(), attempt.id, attempt.begun);
                unanswered.push(Unanswered { reason: Reason::ApprovalUncollected, key, id, begun });
            }
            live
        });
        users.retain(|_, record| {
            record.used.retain(|(_, _, forget)| forget.is_none_or(|forget| now < forget));
            record.prompted_by.take_if(|key| !attempts.contains_key(key));
            record.spent.retain(|spent| now < spent.until);
            record.prompted_by.is_some()
                || record.open != Open::default()
                || !record.spent.is_empty()
                || !record.used.is_empty()
                || record.prompts.matters(now)
                || (record.wrong_codes > 0 && now.since(record.window_began) < wrong_codes_window)
        });
        unanswered
    }
}
