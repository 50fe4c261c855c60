//! From text to [`Raw`]: every key that does not belong, and every value of the wrong kind, in one go.
//!
//! Serde stops at the first error. So whatever it stumbles over is noted and taken away, and it starts again, until nothing is
//! left to stumble over; the checks then run over what remains.

use config::FileFormat;
use gateway_core::config::{Raw, Report, nearest};
use serde_json::Value;
use serde_path_to_error::Segment;
use std::path::Path;

use super::{LoadError, environment::Environment, schema};

/// A file with more faults than this is not a configuration.
const MOST_FAULTS: usize = 200;

pub(super) fn raw(path: &Path, text: &str, environment: &Environment, report: &mut Report) -> Result<Raw, LoadError> {
    let syntax = |error: toml::de::Error| {
        let (before, _) = text.split_at_checked(error.span().map_or(0, |span| span.start)).unwrap_or((text, ""));
        LoadError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
            message: error.message().to_owned(),
        }
    };
    // Once for the place of a syntax error, which the `config` crate does not tell.
    toml::from_str::<toml::Table>(text).map_err(syntax)?;
    let schema = Raw::schema();
    let mut builder = config::Config::builder().add_source(config::File::from_str(text, FileFormat::Toml));
    for source in environment.overrides(&schema, report) {
        builder = builder.add_source(source);
    }
    let mut value = builder.build().and_then(config::Config::try_deserialize::<Value>).map_err(|error| {
        let mut report = Report::default();
        report.unreadable("the file", error.to_string(), "Correct it.");
        let (faults, warnings) = report.into_parts(&[]);
        LoadError::Faulty { path: path.to_owned(), faults, warnings }
    })?;
    let reader = Reader { schema: &schema, environment };
    reader.refuse_unknown_keys(&mut value, &schema, "", report);
    Ok(reader.deserialize(value, report))
}

struct Reader<'a> {
    schema: &'a Value,
    environment: &'a Environment,
}

impl Reader<'_> {
    /// Takes away the keys that do not belong, and what stands in the place of a table.
    fn refuse_unknown_keys(&self, value: &mut Value, node: &Value, path: &str, report: &mut Report) {
        let node = schema::resolve(self.schema, node);
        let known = schema::keys(self.schema, node);
        match (value, known) {
            (Value::Array(items), None) => {
                let Some(node) = node.get("items") else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    self.refuse_unknown_keys(item, node, &format!("{path}[{index}]"), report);
                }
            }
            (Value::Object(table), Some(known)) => {
                let present: Vec<String> = table.keys().cloned().collect();
                table.retain(|key, value| {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    let node = node.get("properties").and_then(|properties| properties.get(key));
                    match node {
                        Some(node) => self.refuse_unknown_keys(value, node, &path, report),
                        None => self.refuse_unknown_key(&path, key, &known, &present, report),
                    }
                    node.is_some()
                });
            }
            // Serde would take a list for a table, item by item.
            (value, Some(_)) => {
                self.refuse_value(path, value, report);
                *value = Value::Object(serde_json::Map::new());
            }
            _ => {}
        }
    }

    fn refuse_unknown_key(&self, path: &str, key: &str, known: &[&str], present: &[String], report: &mut Report) {
        let secret = ["secret", "shared_secret", "previous_secret", "password"].contains(&key);
        let meant = if secret { Some("secret_file") } else { nearest(key, known.iter().copied()) };
        let remedy = match meant {
            _ if secret => {
                "A secret never stands in the file: name a file in secret_file or a variable in secret_env.".to_owned()
            }
            Some(meant) => format!("Did you mean `{meant}`?"),
            None => format!("The keys here are {}.", known.join(", ")),
        };
        report.unreadable(path, self.with_origin(path, "there is no such key".to_owned()), remedy);
        // It is not missing, it is misspelt.
        if let Some(meant) = meant.filter(|meant| !present.iter().any(|key| key == meant)) {
            report.silence(path.strip_suffix(key).unwrap_or_default().to_owned() + meant);
        }
    }

    /// Says that `value` is not what belongs at `path`.
    fn refuse_value(&self, path: &str, value: &Value, report: &mut Report) {
        // Of an item of a list the kind of the list says more.
        let whole =
            schema::at(self.schema, path.rsplit_once('[').filter(|_| path.ends_with(']')).map_or(path, |(key, _)| key));
        let node = schema::at(self.schema, path).filter(|node| schema::keys(self.schema, node).is_some()).or(whole);
        let kind = node.map_or_else(|| "text".to_owned(), |node| schema::kind(self.schema, node));
        let has_unit = node.is_some_and(|node| node.get("x-min").is_some());
        let problem = match value {
            Value::Number(number) if has_unit => format!("`{number}` has no unit"),
            Value::Array(_) => "a list does not fit here".to_owned(),
            Value::Object(_) => "a table does not fit here".to_owned(),
            scalar => format!("`{scalar}` does not fit here"),
        };
        let article = if kind.starts_with('`') { "" } else { "a " };
        report.unreadable(path, self.with_origin(path, problem), format!("Write {article}{kind}."));
    }

    fn deserialize(&self, mut value: Value, report: &mut Report) -> Raw {
        let mut last = String::new();
        for _ in 0..MOST_FAULTS {
            let error = match serde_path_to_error::deserialize(&value) {
                Ok(raw) => return raw,
                Err(error) => error,
            };
            let segments: Vec<Place> = error.path().iter().filter_map(Place::of).collect();
            let path = error.path().to_string();
            if path == last {
                // What stands in for an item of this list is no better: give the list up.
                let Some((_, list)) = segments.split_last() else { break };
                take_away(&mut value, list);
            } else if let Some(taken) = take_away(&mut value, &segments) {
                self.refuse_value(&path, &taken, report);
                last = path;
            } else {
                break;
            }
        }
        let remedy = "Correct the ones that are listed, then check again.";
        report.unreadable("the file", format!("there are more than {MOST_FAULTS} faults"), remedy);
        Raw::default()
    }

    fn with_origin(&self, path: &str, problem: String) -> String {
        match self.environment.origin(path) {
            Some(name) => format!("{problem} (the environment variable {name} sets it)"),
            None => problem,
        }
    }
}

/// One step of a path.
enum Place {
    Key(String),
    Item(usize),
}

impl Place {
    fn of(segment: &Segment) -> Option<Self> {
        match segment {
            Segment::Map { key } => Some(Self::Key(key.clone())),
            Segment::Seq { index } => Some(Self::Item(*index)),
            Segment::Enum { .. } | Segment::Unknown => None,
        }
    }
}

/// Takes away what is at `path`. An item of a list leaves an empty text behind, or the others would change their numbers:
/// tables have been seen to by then, and all other lists hold texts.
fn take_away(value: &mut Value, path: &[Place]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut parent = value;
    for place in parents {
        parent = match place {
            Place::Key(key) => parent.get_mut(key),
            Place::Item(index) => parent.get_mut(index),
        }?;
    }
    match (last, parent) {
        (Place::Key(key), Value::Object(table)) => table.remove(key),
        (Place::Item(index), Value::Array(items)) => Some(std::mem::replace(items.get_mut(*index)?, "".into())),
        _ => None,
    }
}
