//! Time as an argument (house rule 3): one serialisable point in time, because a sign-in may go on at another node and
//! because tests write it down.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A point in time in microseconds since the Unix epoch. The edge reads a clock and hands it in as `now`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the Unix epoch; saturates.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the Unix epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// As people and logs read it: RFC 3339, in UTC.
    pub fn utc(self) -> String {
        let at = i64::try_from(self.as_secs()).ok().and_then(|secs| jiff::Timestamp::from_second(secs).ok());
        at.map_or_else(|| "never".to_owned(), |at| at.to_string())
    }

    /// This time plus `span`; saturates.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// This time minus `span`; saturates.
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero if it lies in the future, so that a clock set back never makes a span huge.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_saturate() {
        let noon = Timestamp::from_secs(43_200);
        assert_eq!(noon.after(Duration::from_millis(1)).since(noon), Duration::from_millis(1));
        assert_eq!(noon.since(noon.after(Duration::from_secs(9))), Duration::ZERO);
        assert_eq!(
            (noon.before(Duration::from_secs(43_200)).as_micros(), noon.before(Duration::MAX).as_micros()),
            (0, 0)
        );
        assert_eq!(noon.after(Duration::MAX).as_micros(), u64::MAX);
    }
}
