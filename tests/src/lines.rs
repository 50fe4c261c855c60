//! Lines of JSON, as programs read them.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

/// A JSON object no key of which comes twice.
pub struct Line(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Line;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut line = Map::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if line.insert(key.clone(), value).is_some() {
                        return Err(serde::de::Error::custom(format!("the key {key} comes twice")));
                    }
                }
                Ok(Line(line))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// Reads each line of the log as JSON; no value is what Rust prints for programmers.
///
/// # Panics
///
/// A line is no JSON, has a key twice, or such a value.
pub fn assert_plain(log: &str) {
    for text in log.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let Line(line) = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in the line {text}"));
        for (key, value) in &line {
            let Some(value) = value.as_str().filter(|_| key != "message") else { continue };
            let debug =
                value.starts_with('"') || value.starts_with("Some(") || value == "None" || value.contains(" { ");
            assert!(!debug, "{key} is {value:?} in {text}");
        }
    }
}
