//! When a request without an answer is sent again (RFC 5080 §2.2.1): each wait is twice as long as the one before, up to a longest,
//! and up to a tenth longer or shorter, so that many who began together do not go on together.

use std::time::Duration;

/// The longest wait between two copies of a packet (RFC 5080 §2.2.1: MRT).
pub const LONGEST: Duration = Duration::from_secs(16);

/// The waits of one packet.
#[derive(Clone, Debug)]
pub struct Retransmission {
    next: Duration,
    longest: Duration,
}

impl Retransmission {
    /// Begins with a wait of about `first`; none is longer than about `longest`, or `first` where that is longer.
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { next: first, longest: longest.max(first) }
    }

    /// Returns how long to wait for the answer to the copy that was just sent. `random` is any 32 random bits.
    pub fn wait(&mut self, random: u32) -> Duration {
        let wait = jittered(self.next, random);
        self.next = wait.saturating_mul(2).min(self.longest);
        wait
    }
}

/// `span`, changed by up to a tenth in either direction.
fn jittered(span: Duration, random: u32) -> Duration {
    let part = f64::from(random) / f64::from(u32::MAX);
    span.mul_f64(0.9 + 0.2 * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_within_a_tenth() {
        for random in [0, 1 << 30, u32::MAX / 2, u32::MAX] {
            let mut waits = Retransmission::new(Duration::from_secs(2), LONGEST);
            let mut before = waits.wait(random);
            assert!((1.8..=2.2).contains(&before.as_secs_f64()), "{before:?}");
            for _ in 0..8 {
                let wait = waits.wait(random);
                let aim = (before.as_secs_f64() * 2.0).min(16.0);
                assert!((aim * 0.899..=aim * 1.101).contains(&wait.as_secs_f64()), "{wait:?} after {before:?}");
                before = wait;
            }
            assert!((14.3..=17.7).contains(&before.as_secs_f64()), "{before:?}");
        }
    }

    #[test]
    fn two_who_begin_together_part() {
        let [mut one, mut other] = [(); 2].map(|()| Retransmission::new(Duration::from_secs(2), LONGEST));
        assert!(one.wait(7) != other.wait(u32::MAX - 7));
    }

    #[test]
    fn first_wait_may_be_the_longest() {
        let mut waits = Retransmission::new(Duration::from_secs(60), LONGEST);
        assert!(waits.wait(0) >= Duration::from_secs(54) && waits.wait(u32::MAX) <= Duration::from_secs(67));
    }
}
