//! One array of tables out of a TOML file, such as the users file: every fault is found in one go, with its line and the name
//! of the entry, and no fault repeats a value that may be a secret (invariant A6). The `Display` of the TOML crate would, so
//! only its bare messages are used.

use crate::secret::Secret;
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// One entry that could be read, not yet checked.
pub(super) struct Entry<T> {
    /// Where it begins, from 1.
    pub line: usize,
    /// What it says.
    pub value: T,
}

/// Reads all `[[array]]` entries of `text`; `name` is the key that names an entry, `noun` what the entry is about.
pub(super) fn read<T: DeserializeOwned>(
    text: &str,
    array: &str,
    name: &str,
    noun: &str,
    faults: &mut Vec<String>,
) -> Vec<Entry<T>> {
    read_beside::<T, toml::Value>(text, array, None, (name, noun), faults).0
}

/// The same for a file that has, beside the entries, the table `table` of tables: what each of those says, by its name.
pub(super) fn read_beside<T: DeserializeOwned, U: DeserializeOwned>(
    text: &str,
    array: &str,
    table: Option<&str>,
    (name, noun): (&str, &str),
    faults: &mut Vec<String>,
) -> (Vec<Entry<T>>, BTreeMap<String, Entry<U>>) {
    let lines = Lines::of(text);
    let root = match DeTable::parse(text) {
        Ok(root) => root.into_inner(),
        Err(error) => {
            let line = error.span().map_or(1, |span| lines.line(span.start));
            faults.push(format!("line {line}: this is not TOML: {}", error.message()));
            return (Vec::new(), BTreeMap::new());
        }
    };
    let mut entries = Vec::new();
    let mut beside = BTreeMap::new();
    for (key, value) in root {
        let line = lines.line(key.span().start);
        let found = match value.into_inner() {
            DeValue::Array(found) if key.get_ref().as_ref() == array => found,
            DeValue::Table(found) if Some(key.get_ref().as_ref()) == table => {
                for (key, value) in found {
                    let (line, key) = (lines.line(key.span().start), key.into_inner().into_owned());
                    match U::deserialize(ValueDeserializer::from(value)) {
                        Ok(value) => drop(beside.insert(key, Entry { line, value })),
                        Err(error) => faults.push(format!("line {line}, {key:?}: {}", error.message())),
                    }
                }
                continue;
            }
            _ => {
                faults.push(format!(
                    "line {line}: {:?} has no place here; write [[{array}]] entries only",
                    key.get_ref()
                ));
                continue;
            }
        };
        for entry in found {
            let line = lines.line(entry.span().start);
            let who =
                entry.get_ref().as_table().and_then(|table| table.get(name)).and_then(|name| name.get_ref().as_str());
            let place = who.map_or_else(|| format!("line {line}"), |who| place(line, noun, who));
            match T::deserialize(ValueDeserializer::from(entry)) {
                Ok(value) => entries.push(Entry { line, value }),
                Err(error) => faults.push(format!("{place}: {}", error.message())),
            }
        }
    }
    (entries, beside)
}

/// Where a fault is, for people.
pub(super) fn place(line: usize, noun: &str, name: &str) -> String {
    format!("line {line}, {noun} {name:?}")
}

/// Where lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

/// Reads a string into a [`Secret`]; a value of another type is refused without being repeated.
pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    struct Silent;

    macro_rules! refuse {
        ($($visit:ident: $type:ty),*) => {
            $(fn $visit<E: Error>(self, _: $type) -> Result<Secret, E> {
                Err(E::custom("the secret must be a string in quotes"))
            })*
        };
    }

    impl Visitor<'_> for Silent {
        type Value = Secret;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string in quotes")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
            Ok(Secret::new(text.as_bytes().to_vec()))
        }

        fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
            Ok(Secret::new(text.into_bytes()))
        }

        refuse!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64);
    }

    deserializer.deserialize_any(Silent).map(Some)
}
