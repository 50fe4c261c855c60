//! The edge's clock and randomness: the only places that read the operating system's.

use gateway_core::entropy::Entropy;
use gateway_core::time::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroize;

/// The wall clock.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// The operating system's randomness, drawn a kilobyte at a time: a system call for each sign-in would cost as much as its
/// cryptography. What was handed out is wiped.
pub struct OsEntropy {
    pool: [u8; 1024],
    left: usize,
}

impl OsEntropy {
    /// An empty pool.
    pub const fn new() -> Self {
        Self { pool: [0; 1024], left: 0 }
    }
}

impl Default for OsEntropy {
    fn default() -> Self {
        Self::new()
    }
}

impl Entropy for OsEntropy {
    #[allow(
        clippy::expect_used,
        reason = "without randomness no State may be made; the kernel's never fails once booted"
    )]
    fn fill(&mut self, out: &mut [u8]) {
        for octet in out {
            if self.left == 0 {
                getrandom::fill(&mut self.pool).expect("the operating system has randomness");
                self.left = self.pool.len();
            }
            self.left -= 1;
            if let Some(drawn) = self.pool.get_mut(self.left) {
                *octet = *drawn;
                drawn.zeroize();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::entropy::draw;

    #[test]
    fn no_two_draws_are_alike() {
        let mut entropy = OsEntropy::new();
        let mut drawn: Vec<[u8; 16]> = (0..1000).map(|_| draw(&mut entropy)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 1000);
    }
}
