//! Values that carry their unit: `"30s"`, `"4MiB"`. A bare number is refused, because nobody can tell seconds from
//! milliseconds in somebody else's file.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

/// A length of time as it is written in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// From whole seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.bytes().all(|octet| octet.is_ascii_digit()) {
            return Err(format!("`{text}` has no unit"));
        }
        humantime::parse_duration(text).map(Self).map_err(|error| format!("`{text}` is not a length of time: {error}"))
    }
}

impl fmt::Display for Span {
    /// In the largest unit that needs no second one: `90s`, `15m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match [(3_600_000, "h"), (60_000, "m"), (1_000, "s")].iter().find(|(unit, _)| millis.is_multiple_of(*unit)) {
            Some((_, _)) if millis == 0 => f.write_str("0s"),
            Some((unit, name)) => write!(f, "{}{name}", millis / unit),
            None => write!(f, "{millis}ms"),
        }
    }
}

/// A number of octets as it is written in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Size {
    /// From mebibytes.
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| format!("`{text}` is not a size"))?;
        let unit = unit.trim();
        if unit.is_empty() {
            return Err(format!("`{text}` has no unit"));
        }
        let (_, factor) = SIZE_UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| format!("`{unit}` is not a unit of size (they are B, KiB, MiB and GiB)"))?;
        number.checked_mul(*factor).map(Self).ok_or_else(|| format!("`{text}` is too large"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIZE_UNITS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)) {
            Some((name, factor)) if self.0 != 0 => write!(f, "{}{name}", self.0 / factor),
            _ => write!(f, "{}B", self.0),
        }
    }
}

/// Reads a string with a unit; everything else, a bare number above all, is told what is missing.
struct WithUnit<T>(std::marker::PhantomData<T>, &'static str);

impl<T: FromStr<Err = String>> de::Visitor<'_> for WithUnit<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Err(E::custom(format_args!("`{number}` has no unit")))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Err(E::custom(format_args!("`{number}` has no unit")))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        Err(E::custom(format_args!("`{number}` has no unit")))
    }
}

macro_rules! with_unit {
    ($type:ident, $label:literal, $expecting:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WithUnit(std::marker::PhantomData, $expecting))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $label.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "x-type": $label })
            }
        }
    };
}

with_unit!(Span, "duration", "a length of time with its unit");
with_unit!(Size, "size", "a size with its unit");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, millis) in [("30s", 30_000), ("15m", 900_000), ("1m 30s", 90_000), ("250ms", 250), ("2h", 7_200_000)]
        {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(millis))), "{text}");
        }
        for text in ["", "30", "s", "30 parsecs", "-3s"] {
            assert!(text.parse::<Span>().is_err(), "{text:?}");
        }
        assert_eq!("30".parse::<Span>(), Err("`30` has no unit".to_owned()));
    }

    #[test]
    fn sizes() {
        for (text, octets) in [("4KiB", 4096), ("4 MiB", 4 << 20), ("1GiB", 1 << 30), ("17B", 17), ("0B", 0)] {
            assert_eq!(text.parse(), Ok(Size(octets)), "{text}");
        }
        for text in ["", "4096", "4MB", "KiB", "-1B", "99999999999GiB", "1.5MiB", "4kib"] {
            assert!(text.parse::<Size>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn written_as_read() {
        for text in ["90s", "3m", "15m", "1h", "250ms", "0s"] {
            assert_eq!(text.parse::<Span>().map(|span| span.to_string()), Ok(text.to_owned()));
        }
        for text in ["4MiB", "1GiB", "1500B", "2KiB", "0B"] {
            assert_eq!(text.parse::<Size>().map(|size| size.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_bare_number_is_told_what_it_lacks() {
        let error = serde_json::from_str::<Span>("30").map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("`30` has no unit")));
        let error = serde_json::from_str::<Size>("true").map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("a size with its unit")));
    }
}
