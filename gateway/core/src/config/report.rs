//! What is wrong with a configuration: everything at once, each with its place and its remedy.

use std::{collections::BTreeSet, fmt, ops::RangeInclusive};

/// Something that keeps a configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The key, such as `clients[2].secret_file`; list positions count from 0.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

/// Something that works and should not stay so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The key, such as `clients[2].secret_file`; list positions count from 0.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.path, self.problem, self.remedy)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.path, self.problem, self.remedy)
    }
}

/// All faults of a configuration; `Display` gives one line to each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Collects faults and warnings while a configuration is read and checked.
#[derive(Debug, Default)]
pub struct Report {
    faults: Vec<Fault>,
    warnings: Vec<Warning>,
    /// Places that could not even be read. What the checks say about the stand-in values there would be noise.
    unreadable: BTreeSet<String>,
}

impl Report {
    /// Notes a fault found while reading: the value at `path` is replaced by its default, and nothing more is said of it.
    pub fn unreadable(&mut self, path: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) {
        let path = path.into();
        self.unreadable.insert(path.clone());
        self.faults.push(Fault { path, problem: problem.into(), remedy: remedy.into() });
    }

    /// Notes a fault, unless that place could not be read in the first place.
    pub fn fault(&mut self, path: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) {
        let path = path.into();
        if !self.is_unreadable(&path) {
            self.faults.push(Fault { path, problem: problem.into(), remedy: remedy.into() });
        }
    }

    /// Notes a warning, unless that place could not be read in the first place.
    pub fn warn(&mut self, path: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) {
        let path = path.into();
        if !self.is_unreadable(&path) {
            self.warnings.push(Warning { path, problem: problem.into(), remedy: remedy.into() });
        }
    }

    /// Whether `path`, or a table or list that it lies in, could not be read.
    pub fn is_unreadable(&self, path: &str) -> bool {
        let mut ends = path.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(at, _)| at);
        self.unreadable.contains(path)
            || ends.any(|end| path.split_at_checked(end).is_some_and(|(start, _)| self.unreadable.contains(start)))
    }

    /// Whether there is a fault at `path` or inside it, or it could not be read.
    pub(super) fn has_fault(&self, path: &str) -> bool {
        let inside = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
        self.is_unreadable(path) || self.faults.iter().any(|fault| fault.path.strip_prefix(path).is_some_and(inside))
    }

    /// Silences what the checks would say of `path`: another fault tells already what happened to it.
    pub fn silence(&mut self, path: impl Into<String>) {
        self.unreadable.insert(path.into());
    }

    /// The faults and the warnings, in the order of `sections`.
    pub fn into_parts(mut self, sections: &[String]) -> (Faults, Vec<Warning>) {
        self.faults.sort_by_cached_key(|fault| place(&fault.path, sections));
        self.warnings.sort_by_cached_key(|warning| place(&warning.path, sections));
        (Faults(self.faults), self.warnings)
    }

    /// `value` as the type that is needed, with a fault if it lies outside `range`.
    pub(super) fn number<T: TryFrom<u64> + Default>(
        &mut self,
        path: &str,
        value: u64,
        range: RangeInclusive<u64>,
    ) -> T {
        if !range.contains(&value) {
            let (least, most) = range.into_inner();
            self.fault(path, format!("{value} is out of range"), format!("Write a number from {least} to {most}."));
        }
        T::try_from(value).unwrap_or_default()
    }

    /// Like [`Report::number`], for values that carry a unit.
    pub(super) fn within<T: PartialOrd + fmt::Display>(&mut self, path: &str, value: &T, least: T, most: T) {
        if *value < least || *value > most {
            self.fault(path, format!("{value} is out of range"), format!("Write a value from {least} to {most}."));
        }
    }
}

/// Where a path belongs in the report: by section, then by position and name. What is of no section comes first.
fn place(path: &str, sections: &[String]) -> (Option<usize>, Vec<(usize, String)>) {
    let parts = path.split(['.', '[']).map(|part| part.trim_end_matches(']'));
    let section = parts.clone().next().and_then(|first| sections.iter().position(|section| section == first));
    (section, parts.map(|part| (part.parse().unwrap_or(0), part.to_owned())).collect())
}
