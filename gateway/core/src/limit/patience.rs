//! Patience that a server has asked for (`Retry-After`, RFC 9110 §10.2.3), remembered for as long as it asked, so that neither the next
//! question of the same kind nor a repeat of this one comes before.

use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// A wait beyond this is cut: a server that answers nonsense must not shut somebody out for a day.
const LONGEST: Duration = Duration::from_secs(3600);

/// Reads `Retry-After`: seconds, or a date. `None` where it is neither; a date that has passed is no wait.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    let then = u64::try_from(date.timestamp().as_second()).ok()?;
    Some(Duration::from_secs(then.saturating_sub(now.as_secs())).min(LONGEST))
}

/// Who is to be left alone, and until when.
#[derive(Clone, Debug)]
pub struct Patience<K> {
    until: BTreeMap<K, Timestamp>,
    limit: usize,
}

impl<K: Ord + Clone> Patience<K> {
    /// Remembers at most `limit` waits; beyond that the ones that end first are forgotten.
    pub const fn new(limit: usize) -> Self {
        Self { until: BTreeMap::new(), limit }
    }

    /// Remembers that `key` asked for `wait`.
    pub fn ask(&mut self, key: K, wait: Duration, now: Timestamp) {
        if self.until.len() >= self.limit {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= self.limit
            && let Some(first) = self.until.iter().min_by_key(|(_, until)| **until).map(|(key, _)| key.clone())
        {
            self.until.remove(&first);
        }
        let until = now.after(wait.min(LONGEST));
        let entry = self.until.entry(key).or_insert(until);
        *entry = until.max(*entry);
    }

    /// How long `key` is still to be left alone. A clock that was set back does not make it longer than any wait is.
    pub fn left(&mut self, key: &K, now: Timestamp) -> Option<Duration> {
        let until = *self.until.get(key)?;
        let left = until.since(now);
        if until <= now || left > LONGEST {
            self.until.remove(key);
            return None;
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn seconds_and_dates_are_read() {
        // RFC 9110 §10.2.3 has this date.
        let now = at(946_684_790);
        assert_eq!(retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT", now), Some(Duration::from_secs(9)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:49 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("Sat, 01 Jan 2000 00:00:00 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(retry_after("99999999999", now), Some(LONGEST));
        for nonsense in ["", "-1", "soon", "1.5", "Sat, 99 Jan 2000 00:00:00 GMT", "99999999999999999999"] {
            assert_eq!(retry_after(nonsense, now), None, "{nonsense}");
        }
    }

    #[test]
    fn wait_lasts_and_ends() {
        let mut patience = Patience::new(2);
        patience.ask("a", Duration::from_secs(10), at(100));
        patience.ask("a", Duration::from_secs(2), at(101));
        assert_eq!(patience.left(&"a", at(101)), Some(Duration::from_secs(9)));
        assert_eq!(patience.left(&"b", at(101)), None);
        assert_eq!(patience.left(&"a", at(110)), None);
    }

    #[test]
    fn table_is_bounded() {
        let mut patience = Patience::new(2);
        for (key, wait) in [("a", 5), ("b", 50), ("c", 20)] {
            patience.ask(key, Duration::from_secs(wait), at(0));
        }
        let left = ["a", "b", "c"].map(|key| patience.left(&key, at(1)).is_some());
        assert_eq!(left, [false, true, true]);
    }

    #[test]
    fn clock_set_back_frees() {
        let mut patience = Patience::new(2);
        patience.ask("a", Duration::from_secs(10), at(100_000));
        assert_eq!(patience.left(&"a", at(10)), None);
    }
}
