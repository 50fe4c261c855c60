//! Lines that somebody else can cause in any number: so many a second are written, and the sum of the others is told.

use gateway_core::time::Timestamp;
use std::sync::{Mutex, PoisonError};

/// Counts the lines of one kind.
#[derive(Debug, Default)]
pub struct Brake(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    second: u64,
    written: u32,
    held_back: u64,
}

impl Brake {
    /// Whether one more line may be written, where so many may in a second.
    pub fn allows(&self, per_second: u32, now: Timestamp) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.second != now.as_secs() {
            (counts.second, counts.written) = (now.as_secs(), 0);
        }
        let allowed = counts.written < per_second;
        if allowed {
            counts.written += 1;
        } else {
            counts.held_back = counts.held_back.saturating_add(1);
        }
        allowed
    }

    /// How many lines were held back since this was asked last.
    pub fn held_back(&self) -> u64 {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brake_counts_what_it_holds_back() {
        let brake = Brake::default();
        let second = Timestamp::from_secs(7);
        let written = |now, per_second| (0..10).filter(|_| brake.allows(per_second, now)).count();
        assert_eq!((written(second, 3), brake.held_back(), brake.held_back()), (3, 7, 0));
        assert_eq!(written(Timestamp::from_secs(8), 3), 3, "each second begins anew");
        assert_eq!((written(Timestamp::from_secs(9), 0), brake.held_back()), (0, 17));
        // A clock that was set back holds nothing up.
        assert_eq!(written(Timestamp::from_secs(2), 3), 3);
    }
}
