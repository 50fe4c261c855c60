//! What keeps a user from signing in although nothing is wrong with the account: wrong codes, and prompts that were not
//! approved. An operator can look at it and lift it.

use super::record::{Prompts, UserRecord};
use super::records::{Records, within};
use super::transition::Rules;
use crate::planted::{self, Fault};
use crate::reason::Reason;
use crate::time::Timestamp;
use std::time::Duration;

/// One thing that holds a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Codes are refused unseen.
    WrongCodes {
        /// How many were taken to be judged in the window, those that are being judged included.
        count: u32,
        /// When the window ends.
        until: Timestamp,
    },
    /// Nobody is prompted.
    Prompts {
        /// Prompts that were denied or not answered, one after another.
        refused: u32,
        /// Until when; `None`: until an operator lifts it, because the user reported a sign-in as fraud.
        until: Option<Timestamp>,
    },
}

impl Hold {
    /// When it ends by itself.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::WrongCodes { until, .. } => Some(*until),
            Self::Prompts { until, .. } => *until,
        }
    }

    /// The same, to be told by another clock.
    pub fn until_mut(&mut self) -> Option<&mut Timestamp> {
        match self {
            Self::WrongCodes { until, .. } => Some(until),
            Self::Prompts { until, .. } => until.as_mut(),
        }
    }
}

/// How prompts are withheld from users who do not approve them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptRules {
    /// The pause after the first prompt that was not approved, the second, and so on; the last holds for all that follow.
    pub pauses: Vec<Duration>,
    /// After so many there are codes only; 0: never.
    pub codes_only_after: u32,
    /// How long they are remembered after the last one.
    pub memory: Duration,
}

impl Default for PromptRules {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self { pauses: [1, 2, 5, 15, 60].map(minutes).to_vec(), codes_only_after: 5, memory: minutes(720) }
    }
}

impl Prompts {
    /// What holds prompts back.
    pub fn hold(&self, rules: &Rules, now: Timestamp) -> Option<Hold> {
        let refused = self.refused;
        if self.reported.is_some() {
            return Some(Hold::Prompts { refused, until: None });
        }
        if refused == 0 || now >= self.forget {
            return None;
        }
        let PromptRules { pauses, codes_only_after, .. } = &rules.prompts;
        let nth = usize::try_from(refused).unwrap_or(usize::MAX).min(pauses.len());
        let pause = nth.checked_sub(1).and_then(|at| pauses.get(at)).copied().unwrap_or_default();
        let pause = pause.max(rules.repeat_window);
        let pause = if *codes_only_after > 0 && refused >= *codes_only_after {
            pause.max(self.forget.since(self.last))
        } else {
            pause
        };
        within(self.last, now, pause).then(|| Hold::Prompts { refused, until: Some(self.last.after(pause)) })
    }

    /// A prompt ended without approval.
    pub(super) fn end(&mut self, reason: Reason, rules: &Rules, now: Timestamp) {
        match reason {
            Reason::PromptReported => self.reported = self.reported.or(Some(now)),
            Reason::PromptDenied | Reason::PromptUnanswered | Reason::ProviderNoResponse => {}
            // Nobody was disturbed, or nobody knows it.
            _ => return,
        }
        let before = if now < self.forget { self.refused } else { 0 };
        self.refused = before.saturating_add(1);
        self.last = now;
        self.forget = now.after(rules.prompts.memory);
    }

    /// The user proved the second factor. What was reported stays: it is an operator's to lift.
    pub(super) fn forgive(&mut self) {
        *self = Self { reported: self.reported, ..Self::default() };
    }

    /// Whether anything of it still matters.
    pub(super) fn matters(&self, now: Timestamp) -> bool {
        self.reported.is_some() || (self.refused > 0 && now < self.forget)
    }
}

impl UserRecord {
    /// Everything that holds the user.
    pub fn holds(&self, rules: &Rules, now: Timestamp) -> Vec<Hold> {
        let codes = self.is_locked(rules, now).then(|| Hold::WrongCodes {
            count: self.wrong_codes,
            until: self.window_began.after(rules.wrong_codes_window),
        });
        codes.into_iter().chain(self.prompts.hold(rules, now)).collect()
    }

    /// Whether every further code is refused unseen.
    pub(super) fn is_locked(&self, rules: &Rules, now: Timestamp) -> bool {
        self.wrong_codes >= rules.wrong_codes && now.since(self.window_began) < rules.wrong_codes_window
    }
}

impl Records {
    /// Everything that holds `user`.
    pub fn holds(&self, user: &str, rules: &Rules, now: Timestamp) -> Vec<Hold> {
        self.users.get(user).map(|record| record.holds(rules, now)).unwrap_or_default()
    }

    /// Whether nobody may prompt `user` now, and until when; `None` inside: until an operator lifts it.
    pub(super) fn withheld(&self, user: &str, rules: &Rules, now: Timestamp) -> Option<Option<Timestamp>> {
        if planted::is(Fault::PromptAfterDenial) {
            return None;
        }
        match self.users.get(user)?.prompts.hold(rules, now)? {
            Hold::Prompts { until, .. } => Some(until),
            Hold::WrongCodes { .. } => None,
        }
    }

    /// Lifts what holds `user`, and says what that was. Codes that are being judged stay counted.
    pub(super) fn lift(&mut self, user: &str, rules: &Rules, now: Timestamp) -> Vec<Hold> {
        let holds = self.holds(user, rules, now);
        self.forgive(user, 0);
        if let Some(record) = self.users.get_mut(user) {
            record.prompts = Prompts::default();
        }
        holds
    }
}
