//! `ORTHRUS__SECTION__KEY` in the environment overrides the file.
//!
//! Only single keys can be set this way, and `listen.authentication` as a list separated by commas. The lists of tables
//! (`clients`, `policies` and so on) stand in the file alone: a position counted from 0 in a variable's name would silently
//! hit another client as soon as somebody inserts one.

use gateway_core::config::Report;
use std::{collections::BTreeMap, ffi::OsString};

use super::schema;

/// The proxies that this process's environment names, as curl reads it: HTTPS_PROXY, ALL_PROXY, NO_PROXY in either case.
pub fn proxies_of_environment() -> hyper_util::client::proxy::matcher::Matcher {
    hyper_util::client::proxy::matcher::Matcher::from_env()
}

const PREFIX: &str = "ORTHRUS__";
const SEPARATOR: &str = "__";

/// What the environment says, read once.
pub(super) struct Environment {
    variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// The environment of this process.
    pub(super) fn of_process() -> Self {
        Self { variables: std::env::vars_os().collect() }
    }

    /// An invented environment.
    #[cfg(test)]
    pub(super) fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { variables: variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }

    /// The value of a variable.
    pub(super) fn value(&self, name: &str) -> Option<&OsString> {
        self.variables.get(std::ffi::OsStr::new(name))
    }

    /// The variables that override the file, as sources of the `config` crate: those whose key takes text, which stays
    /// text even if it looks like a number, and those whose key does not.
    pub(super) fn overrides(&self, schema: &serde_json::Value, report: &mut Report) -> [config::Environment; 2] {
        let (mut texts, mut parsed) = (config::Map::new(), config::Map::new());
        for (name, value) in &self.variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            let key = key(name);
            let Some(value) = value.to_str() else {
                let problem = format!("the environment variable {name} is not UTF-8");
                report.unreadable(key, problem, "Correct or remove the variable.");
                continue;
            };
            let section = key.split('.').next().unwrap_or_default();
            let place = schema::at(schema, &key);
            if schema::is_list_of_tables(schema, section) {
                let problem = format!("the environment variable {name} reaches into a list");
                let remedy = format!("Remove the variable and write [[{section}]] in the file.");
                report.fault(key.as_str(), problem, remedy);
            } else if place.is_some_and(|place| schema::takes_text(schema, place)) {
                texts.insert(name.to_owned(), value.to_owned());
            } else {
                parsed.insert(name.to_owned(), value.to_owned());
            }
        }
        let source = || config::Environment::with_prefix("ORTHRUS").prefix_separator(SEPARATOR).separator(SEPARATOR);
        let parsed = source().source(Some(parsed)).try_parsing(true);
        [source().source(Some(texts)), parsed.list_separator(",").with_list_parse_key("listen.authentication")]
    }

    /// A variable that sets the key `path`, or something inside it.
    pub(super) fn origin(&self, path: &str) -> Option<&str> {
        let mut names = self.variables.keys().filter_map(|name| name.to_str());
        names.find(|name| {
            let inside = key(name).strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            name.starts_with(PREFIX) && inside
        })
    }
}

/// `ORTHRUS__ATTEMPTS__DEADLINE` is `attempts.deadline`.
fn key(name: &str) -> String {
    name.strip_prefix(PREFIX).unwrap_or_default().to_lowercase().replace(SEPARATOR, ".")
}
