//! For how long users without a registered second factor may pass: a rule and its last day.

use std::{fmt, time::Duration};

use super::{report::Report, terms::Unregistered};
use crate::time::Timestamp;

/// A day of the calendar, in UTC (RFC 3339 §5.6, `full-date`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day {
    /// Since the Unix epoch.
    days: u64,
}

const SECONDS: u64 = 86_400;

impl Day {
    /// Reads `2026-03-31`; nothing before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.split('-').collect();
        let [year, month, day] = fields.as_slice() else { return None };
        let number = |digits: &str, length: usize| {
            let sound = digits.len() == length && digits.bytes().all(|octet| octet.is_ascii_digit());
            sound.then(|| digits.parse::<u64>().ok()).flatten()
        };
        let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
        if year < 1970 || !(1..=12).contains(&month) || day == 0 || day > length(year, month) {
            return None;
        }
        let years: u64 = (1970..year).map(|year| if leap(year) { 366 } else { 365 }).sum();
        let months: u64 = (1..month).map(|month| length(year, month)).sum();
        Some(Self { days: years + months + day - 1 })
    }

    /// The first moment after it.
    pub fn end(self) -> Timestamp {
        Timestamp::from_secs((self.days + 1) * SECONDS)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut left, mut year, mut month) = (self.days, 1970, 1);
        while left >= if leap(year) { 366 } else { 365 } {
            left -= if leap(year) { 366 } else { 365 };
            year += 1;
        }
        while left >= length(year, month) {
            left -= length(year, month);
            month += 1;
        }
        write!(f, "{year:04}-{month:02}-{:02}", left + 1)
    }
}

const fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn length(year: u64, month: u64) -> u64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// What holds for users who have registered no second factor, and until when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Onboarding {
    /// The rule.
    pub rule: Unregistered,
    /// Its last day; `None`: for ever.
    pub until: Option<Day>,
}

impl Onboarding {
    /// What holds at `now`: after its last day, the rule lets nobody pass.
    pub fn at(&self, now: Timestamp) -> Unregistered {
        match self.until {
            Some(day) if now >= day.end() => Unregistered::Deny,
            _ => self.rule,
        }
    }
}

/// An end date further ahead than this is no end that anybody waits for.
const LONG: Duration = Duration::from_secs(90 * SECONDS);

/// Checks `unregistered` and `unregistered_until` of one section.
pub(super) fn check(
    report: &mut Report,
    section: &str,
    rule: Unregistered,
    until: Option<&str>,
    now: Timestamp,
) -> Onboarding {
    let path = format!("{section}.unregistered_until");
    let day = until.and_then(Day::parse);
    if let (Some(text), None) = (until, day) {
        report.fault(path.as_str(), format!("`{text}` is not a day"), "Write year, month and day: 2026-03-31.");
    }
    if rule == Unregistered::Deny {
        if day.is_some() {
            let problem = "is set, and nobody who is not registered passes anyway";
            report.warn(path, problem, "Remove it, or set `unregistered` to what shall hold until then.");
        }
        return Onboarding { rule, until: day };
    }
    let problem = "who has registered no second factor signs in with the password alone; whoever learns such a password can \
                   register a phone of their own";
    let remedy = "Keep it for the weeks of a roll-out, for few groups (`unregistered` of a policy), with an end date.";
    report.warn(format!("{section}.unregistered"), problem, remedy);
    match day {
        None if until.is_none() => {
            report.warn(
                path,
                "there is no last day, so that the door stays open",
                "Set it to the end of the roll-out.",
            );
        }
        Some(day) if now >= day.end() => {
            let problem = format!("{day} is over: who is not registered is refused");
            report.warn(path, problem, "Remove it together with `unregistered`, or set a new day.");
        }
        Some(day) if day.end().since(now) > LONG => {
            report.warn(path, format!("{day} is more than 90 days ahead"), "Set it to the end of the roll-out.");
        }
        _ => {}
    }
    Onboarding { rule, until: day }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_and_written() {
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("1970-12-31", 364 * SECONDS),
            ("2000-02-29", 951_782_400),
            ("2026-03-31", 1_774_915_200),
            ("2100-03-01", 4_107_542_400),
        ] {
            let day = Day::parse(text).unwrap();
            assert_eq!((day.to_string().as_str(), day.end()), (text, Timestamp::from_secs(seconds + SECONDS)));
        }
        for text in ["", "2026", "2026-3-1", "2026-02-29", "2100-02-29", "2026-13-01", "2026-00-01", "2026-01-00"] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
        for text in ["2026-04-31", "1969-12-31", "26-01-01", "+026-01-01", "2026-01-01T00:00:00Z", "2026/01/01"] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_day_counts_whole() {
        let onboarding = Onboarding { rule: Unregistered::AllowByCode, until: Day::parse("2026-03-31") };
        let midnight = 1_775_001_600;
        assert_eq!(onboarding.at(Timestamp::from_secs(midnight - 1)), Unregistered::AllowByCode);
        assert_eq!(onboarding.at(Timestamp::from_secs(midnight)), Unregistered::Deny);
        assert_eq!(
            Onboarding { until: None, ..onboarding }.at(Timestamp::from_secs(midnight)),
            Unregistered::AllowByCode
        );
        assert_eq!(Onboarding::default().at(Timestamp::default()), Unregistered::Deny);
    }
}
