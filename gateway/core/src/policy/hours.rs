//! Days and hours on a clock that hangs on some wall: `Mon-Fri 08:00-18:00 Europe/Berlin`. Daylight saving is the zone's
//! affair: at 08:00 it is 08:00 there, in summer and in winter. The zones are built in, so that every node has the same ones.

use crate::time::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::time::Duration;

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

const MIDNIGHT: u16 = 24 * 60;

/// Some hours of some days of the week.
#[derive(Clone, Debug, PartialEq)]
pub struct Hours {
    /// One bit for each day, Monday first.
    days: u8,
    /// Minutes since midnight, the first that is inside.
    from: u16,
    /// Minutes since midnight, the first that is outside; at or before `from`, on the day after.
    to: u16,
    zone: TimeZone,
}

impl Hours {
    /// Reads `Mon-Fri 08:00-18:00 Europe/Berlin`. Days are a range, several with commas between them, or `daily`. Hours that end
    /// before they begin go on into the next day.
    ///
    /// # Errors
    ///
    /// What is wrong, as a clause.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let [days, hours, zone] = words.as_slice() else {
            return Err(format!("`{text}` is not of the form days, hours, zone"));
        };
        let (from, to) = hours.split_once('-').ok_or_else(|| format!("`{hours}` is no span of hours"))?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        if from == to || from == MIDNIGHT {
            return Err(format!("`{hours}` begins where it ends, or begins at 24:00"));
        }
        let zone = TimeZoneDatabase::bundled().get(zone).map_err(|_| format!("there is no time zone `{zone}`"))?;
        Ok(Self { days: read_days(days)?, from, to, zone })
    }

    /// Whether `now` lies in them.
    pub fn contain(&self, now: Timestamp) -> bool {
        // What is beyond the year 9999 lies in no hours.
        let Some(at) = i64::try_from(now.as_secs()).ok().and_then(|secs| jiff::Timestamp::from_second(secs).ok())
        else {
            return false;
        };
        let local = self.zone.to_datetime(at);
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or(MIDNIGHT);
        let today = bit(local.weekday());
        // The day before: the bits turned by one day.
        let yesterday = if today == 1 { 1 << 6 } else { today >> 1 };
        if self.from < self.to {
            self.days & today != 0 && (self.from..self.to).contains(&minute)
        } else {
            (self.days & today != 0 && minute >= self.from) || (self.days & yesterday != 0 && minute < self.to)
        }
    }
}

/// Reads an instant such as `2026-01-05T08:00+01:00`; the offset is needed.
pub fn instant(text: &str) -> Option<Timestamp> {
    let at = text.parse::<jiff::Timestamp>().ok()?;
    u64::try_from(at.as_second()).ok().map(|secs| Timestamp::from_secs(0).after(Duration::from_secs(secs)))
}

/// An instant in UTC, as [`instant`] reads it.
pub fn written(at: Timestamp) -> Option<String> {
    let at = jiff::Timestamp::from_second(i64::try_from(at.as_secs()).ok()?).ok()?;
    Some(at.to_string())
}

fn bit(day: Weekday) -> u8 {
    u8::try_from(day.to_monday_zero_offset()).map_or(0, |place| 1 << place)
}

fn read_days(text: &str) -> Result<u8, String> {
    let day = |name: &str| {
        let found = DAYS.iter().position(|(known, _)| known.eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("`{name}` is no day; they are Mon, Tue, Wed, Thu, Fri, Sat and Sun"))
    };
    if text.eq_ignore_ascii_case("daily") {
        return Ok(0x7f);
    }
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // `Sat-Mon` goes over the end of the week.
        let count = (last + 7 - first) % 7;
        let places = (first..=first + count).filter_map(|place| DAYS.get(place % 7));
        days |= places.fold(0, |days, (_, day)| days | bit(*day));
    }
    Ok(days)
}

fn minutes(text: &str) -> Result<u16, String> {
    let wrong = || format!("`{text}` is no time of day such as 08:00");
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let digits = |part: &str| {
        (part.len() == 2 && part.bytes().all(|octet| octet.is_ascii_digit()))
            .then(|| part.parse::<u16>().ok())
            .flatten()
    };
    let (hour, minute) = (digits(hour).ok_or_else(wrong)?, digits(minute).ok_or_else(wrong)?);
    let all = hour * 60 + minute;
    if minute > 59 || all > MIDNIGHT { Err(wrong()) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn contain(hours: &str, at: &str) -> bool {
        Hours::parse(hours).unwrap().contain(instant(at).unwrap())
    }

    #[test]
    fn days_and_hours_are_those_of_the_zone() {
        // The fifth of January 2026 is a Monday.
        for (hours, at, inside) in [
            ("Mon-Fri 08:00-18:00 Europe/Berlin", "2026-01-05T07:00Z", true),
            ("Mon-Fri 08:00-18:00 Europe/Berlin", "2026-01-05T06:59:59Z", false),
            ("Mon-Fri 08:00-18:00 Europe/Berlin", "2026-01-05T17:00Z", false),
            ("Mon-Fri 08:00-18:00 Europe/Berlin", "2026-01-05T16:59:59Z", true),
            ("Mon-Fri 08:00-18:00 Europe/Berlin", "2026-01-04T12:00Z", false),
            ("Mon,Wed 00:00-24:00 UTC", "2026-01-07T23:59:59Z", true),
            ("Mon,Wed 00:00-24:00 UTC", "2026-01-06T00:00Z", false),
            ("Sat-Mon 00:00-24:00 UTC", "2026-01-05T12:00Z", true),
            ("Sat-Mon 00:00-24:00 UTC", "2026-01-06T12:00Z", false),
            ("daily 12:00-13:00 America/New_York", "2026-01-05T17:30Z", true),
            ("Mon 00:00-24:00 Pacific/Auckland", "2026-01-04T12:00Z", true),
        ] {
            assert_eq!(contain(hours, at), inside, "{hours} {at}");
        }
    }

    #[test]
    fn nights_belong_to_the_day_on_which_they_begin() {
        let night = "Fri 22:00-06:00 UTC";
        for (at, inside) in [
            ("2026-01-09T22:00Z", true),
            ("2026-01-10T05:59Z", true),
            ("2026-01-10T06:00Z", false),
            ("2026-01-09T05:00Z", false),
            ("2026-01-10T22:30Z", false),
        ] {
            assert_eq!(contain(night, at), inside, "{at}");
        }
        assert!(contain("Sun 22:00-06:00 UTC", "2026-01-05T01:00Z"), "over the end of the week");
    }

    #[test]
    fn summer_moves_the_clock_and_not_the_hours() {
        let morning = "daily 08:00-09:00 Europe/Berlin";
        assert!(contain(morning, "2026-07-01T06:30Z") && !contain(morning, "2026-07-01T07:30Z"));
        assert!(contain(morning, "2026-12-01T07:30Z") && !contain(morning, "2026-12-01T06:30Z"));
        // The hour that does not exist on 29 March 2026, and the one that comes twice on 25 October.
        let gap = "daily 02:00-03:00 Europe/Berlin";
        assert!(!contain(gap, "2026-03-29T00:59:59Z") && !contain(gap, "2026-03-29T01:00Z"));
        assert!(contain(gap, "2026-10-25T00:30Z") && contain(gap, "2026-10-25T01:30Z"));
    }

    #[test]
    fn what_is_no_span_of_time_is_told() {
        for (text, part) in [
            ("", "not of the form"),
            ("Mon-Fri 08:00-18:00", "not of the form"),
            ("Mon-Fri  08:00-18:00 UTC", "not of the form"),
            ("Mo-Fr 08:00-18:00 UTC", "`Mo` is no day"),
            ("Mon 8:00-18:00 UTC", "`8:00` is no time"),
            ("Mon 08:00-24:01 UTC", "`24:01` is no time"),
            ("Mon 08:60-09:00 UTC", "`08:60` is no time"),
            ("Mon 08:00-08:00 UTC", "begins where it ends"),
            ("Mon 24:00-08:00 UTC", "24:00"),
            ("Mon 08:00 UTC", "`08:00` is no span"),
            ("Mon 08:00-18:00 Europe/Bonn", "no time zone `Europe/Bonn`"),
            ("Mon 08:00-18:00 ../../etc/passwd", "no time zone"),
        ] {
            let fault = Hours::parse(text).unwrap_err();
            assert!(fault.contains(part), "{text}: {fault}");
        }
    }

    #[test]
    fn instants_need_an_offset() {
        assert_eq!(instant("2026-01-05T08:00+01:00"), Some(Timestamp::from_secs(1_767_596_400)));
        assert_eq!(written(Timestamp::from_secs(1_767_596_400)).as_deref(), Some("2026-01-05T07:00:00Z"));
        assert_eq!(instant("2026-01-05T08:00"), None);
        assert_eq!(instant("1969-01-05T08:00Z"), None);
    }
}
