//! Names, and references from one section to another.

use std::{collections::HashMap, sync::Arc};

use super::report::Report;

const LONGEST: usize = 64;
const SYNTAX: &str = "Use 1 to 64 letters, digits, dots, underscores and hyphens.";

/// What means "no factor" where the name of a factor is expected.
const RESERVED: [&str; 2] = ["none", "off"];

/// Whether `text` may be a name: names become metric labels and file names.
pub(super) fn is_label(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-'))
}

/// A name that may be left out.
pub(super) fn label(report: &mut Report, path: &str, text: &str) -> Arc<str> {
    if !is_label(text) {
        report.fault(path, format!("`{text}` cannot be a name"), SYNTAX);
    }
    text.into()
}

/// The names of one list of tables, and whether they are all there: with a faulty one among them, a reference
/// that leads nowhere may be right.
#[derive(Debug)]
pub(super) struct Names {
    section: &'static str,
    names: Vec<Arc<str>>,
    complete: bool,
}

impl Names {
    /// Checks that each entry of `section` has a name of its own.
    pub(super) fn check<'a>(
        report: &mut Report,
        section: &'static str,
        given: impl Iterator<Item = Option<&'a str>>,
    ) -> Self {
        let mut seen = HashMap::new();
        let mut complete = !report.is_unreadable(section);
        let mut names = Vec::new();
        for (index, name) in given.enumerate() {
            let path = format!("{section}[{index}].name");
            complete &= name.is_some();
            let Some(name) = name else {
                report.fault(path, "a name is missing", SYNTAX);
                names.push("".into());
                continue;
            };
            if let Some(first) = seen.insert(name, index) {
                let problem = format!("`{name}` is already the name of {section}[{first}]");
                report.fault(path.as_str(), problem, "Give each entry a name of its own.");
            }
            names.push(label(report, &path, name));
        }
        Self { section, names, complete }
    }

    /// Refuses names that mean "no factor".
    pub(super) fn refuse_reserved(&self, report: &mut Report) {
        for (index, name) in self.names.iter().enumerate() {
            if RESERVED.iter().any(|word| name.eq_ignore_ascii_case(word)) {
                let path = format!("{}[{index}].name", self.section);
                report.fault(path, format!("`{name}` means that there is no factor"), "Choose another name.");
            }
        }
    }

    /// The name of entry `index`; empty if it has none, which is a fault already.
    pub(super) fn at(&self, index: usize) -> Arc<str> {
        self.names.get(index).cloned().unwrap_or_else(|| "".into())
    }

    /// The entry that `name`, written at `path`, refers to.
    pub(super) fn find(&self, report: &mut Report, path: &str, name: &str) -> Option<Arc<str>> {
        let found = self.names.iter().find(|known| &***known == name).cloned();
        if found.is_none() && self.complete {
            let remedy = match nearest(name, self.names.iter().map(|known| &**known)) {
                Some(known) => format!("Did you mean `{known}`?"),
                None => format!("Define it under [[{}]], or correct the name.", self.section),
            };
            report.fault(path, format!("there is no [[{}]] with the name `{name}`", self.section), remedy);
        }
        found
    }

    /// The only entry, for a reference at `path` that was left out. `otherwise` says what else to write there.
    pub(super) fn only(&self, report: &mut Report, path: &str, otherwise: &str) -> Option<Arc<str>> {
        match self.names.as_slice() {
            [only] => return Some(Arc::clone(only)),
            _ if !self.complete => {}
            [] => {
                let problem = format!("is left out, and no [[{}]] is defined", self.section);
                report.fault(path, problem, format!("Define one, or {otherwise}."));
            }
            several => {
                let names = several.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let problem = format!("is left out, and there is more than one [[{}]]", self.section);
                report.fault(path, problem, format!("Choose one of {names}, or {otherwise}."));
            }
        }
        None
    }
}

/// The candidate that `word` was probably meant to be, if one is close enough to be worth naming.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    crate::radius::nearest::nearest(word, candidates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels() {
        for good in ["a", "vpn-berlin", "vpn_2.example", &"x".repeat(64)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "vpn berlin", "büro", "a/b", "a\n", &"x".repeat(65)] {
            assert!(!is_label(bad), "{bad}");
        }
    }

    #[test]
    fn the_nearest_is_near() {
        let keys = ["secret_file", "secret_env", "name", "addresses"];
        for (typed, meant) in [
            ("secret_fiel", Some("secret_file")),
            ("secretfile", Some("secret_file")),
            ("adresses", Some("addresses")),
            ("Name", Some("name")),
            ("colour", None),
        ] {
            assert_eq!(nearest(typed, keys.into_iter()), meant, "{typed}");
        }
    }
}
