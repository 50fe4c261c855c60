//! Which of several certificates to use.

use crate::time::Timestamp;

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then on.
    pub not_before: Timestamp,
    /// Until then, that moment included.
    pub not_after: Timestamp,
}

impl Validity {
    /// Whether it is valid at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }
}

/// The places of the certificates that may be used at `now`, the newest first: the order in which to try them. Those that are
/// over, or not yet valid, are left out.
pub fn order(certificates: &[Validity], now: Timestamp) -> Vec<usize> {
    let mut usable: Vec<(usize, &Validity)> =
        certificates.iter().enumerate().filter(|(_, validity)| validity.holds(now)).collect();
    usable.sort_by_key(|(_, validity)| std::cmp::Reverse((validity.not_before, validity.not_after)));
    usable.into_iter().map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds)
    }

    fn valid(from: u64, until: u64) -> Validity {
        Validity { not_before: at(from), not_after: at(until) }
    }

    #[test]
    fn the_newest_that_is_valid_comes_first() {
        let all = [valid(100, 200), valid(0, 150), valid(150, 400), valid(500, 600), valid(100, 300)];
        assert_eq!(order(&all, at(120)), [4, 0, 1]);
        assert_eq!(order(&all, at(150)), [2, 4, 0, 1]);
        assert_eq!(order(&all, at(151)), [2, 4, 0]);
        assert_eq!(order(&all, at(450)), [0; 0]);
        assert_eq!(order(&all, at(600)), [3]);
        assert_eq!(order(&[], at(0)), [0; 0]);
    }
}
