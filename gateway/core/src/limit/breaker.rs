//! A circuit breaker: after so many failures in a row, a back end is left alone for a while, so that sign-ins fail at once instead
//! of waiting for a time limit each, and so that a back end that comes back is not trampled.
//!
//! ```text
//!   closed ── failures in a row ──► open ── pause is over ──► half open: one call tries
//!     ▲                              ▲                          │ failed │ succeeded
//!     │                              └──────────────────────────┘        │
//!     └──────────────────────────────────────────────────────────────────┘
//! ```

use crate::time::Timestamp;
use std::time::Duration;

/// A breaker. Who calls asks [`Breaker::admit`] first and reports what became of it.
#[derive(Clone, Debug)]
pub struct Breaker {
    limit: u32,
    pause: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Timestamp,
    },
    /// One call tries; another may, if that one has not reported by then.
    HalfOpen {
        next: Timestamp,
    },
}

impl Breaker {
    /// Opens after `limit` failures in a row, for `pause`; never where `limit` is 0.
    pub const fn new(limit: u32, pause: Duration) -> Self {
        Self { limit, pause, state: State::Closed { failures: 0 } }
    }

    /// Whether a call may be made.
    pub fn admit(&mut self, now: Timestamp) -> bool {
        match self.state {
            State::Closed { .. } => true,
            // A clock that was set back must not keep it open.
            State::Open { until } | State::HalfOpen { next: until }
                if now >= until || until.since(now) > self.pause =>
            {
                self.state = State::HalfOpen { next: now.after(self.pause) };
                true
            }
            State::Open { .. } | State::HalfOpen { .. } => false,
        }
    }

    /// A call was answered.
    pub const fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// A call failed; whether that opened the breaker.
    pub fn failed(&mut self, now: Timestamp) -> bool {
        if self.limit == 0 {
            return false;
        }
        self.state = match self.state {
            State::Closed { failures } if failures + 1 < self.limit => State::Closed { failures: failures + 1 },
            // Calls that were under way when it opened say nothing new.
            State::Open { .. } => return false,
            State::Closed { .. } | State::HalfOpen { .. } => State::Open { until: now.after(self.pause) },
        };
        matches!(self.state, State::Open { .. })
    }

    /// For a metric: 0 closed, 1 half open, 2 open.
    pub const fn level(&self) -> i64 {
        match self.state {
            State::Closed { .. } => 0,
            State::HalfOpen { .. } => 1,
            State::Open { .. } => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_000 + seconds)
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let mut breaker = Breaker::new(3, PAUSE);
        for _ in 0..10 {
            assert!(!breaker.failed(at(0)) && !breaker.failed(at(0)));
            breaker.succeeded();
        }
        assert!(!breaker.failed(at(0)) && !breaker.failed(at(0)) && breaker.admit(at(0)));
        assert!(breaker.failed(at(0)));
        assert!(!breaker.failed(at(1)), "said once");
        assert!(!breaker.admit(at(0)) && !breaker.admit(at(9)));
        assert_eq!(breaker.level(), 2);
    }

    #[test]
    fn one_call_tries_after_the_pause() {
        let mut breaker = Breaker::new(1, PAUSE);
        breaker.failed(at(0));
        assert!(breaker.admit(at(10)) && !breaker.admit(at(10)) && !breaker.admit(at(19)));
        assert_eq!(breaker.level(), 1);
        assert!(breaker.failed(at(11)));
        assert!(!breaker.admit(at(20)) && breaker.admit(at(21)));
        breaker.succeeded();
        assert!(breaker.admit(at(22)) && breaker.admit(at(22)));
        assert_eq!(breaker.level(), 0);
    }

    #[test]
    fn a_try_that_never_reports_does_not_block_for_ever() {
        let mut breaker = Breaker::new(1, PAUSE);
        breaker.failed(at(0));
        assert!(breaker.admit(at(10)) && !breaker.admit(at(19)) && breaker.admit(at(20)));
    }

    #[test]
    fn a_clock_set_back_does_not_keep_it_open() {
        let mut breaker = Breaker::new(1, PAUSE);
        breaker.failed(at(900));
        assert!(breaker.admit(at(0)));
    }

    #[test]
    fn zero_switches_it_off() {
        let mut breaker = Breaker::new(0, PAUSE);
        assert!((0..1000).all(|_| !breaker.failed(at(0))) && breaker.admit(at(0)));
    }
}
