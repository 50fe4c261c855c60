//! Loads the configuration: the TOML file, then the environment, then the secrets. This is the only place that reads any of
//! them; what comes out is [`gateway_core::config::Config`], checked.

mod environment;
mod files;
mod read;
mod reference;
mod schema;

pub use environment::proxies_of_environment;
pub(crate) use files::text;
pub use reference::reference;

use crate::looks::Looks;
use gateway_core::config::{Config, Faults, Report, Surroundings, Warning};
use std::{
    cell::RefCell,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use environment::Environment;

/// A configuration that may be used, and what should not stay as it is.
#[derive(Debug)]
pub struct Loaded {
    /// The checked configuration.
    pub config: Arc<Config>,
    /// What works and should not stay so.
    pub warnings: Vec<Warning>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file itself cannot be read.
    #[error("cannot read the configuration file {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The file is not TOML. The line itself is not shown: it may hold what somebody took for the place of a secret.
    #[error("{}:{line}:{column}: not TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
        /// What the parser expected.
        message: String,
    },
    /// The file is TOML, and something in it cannot be used.
    #[error("{} cannot be used:\n{faults}", path.display())]
    Faulty {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        faults: Faults,
        /// What would be warned of beside that.
        warnings: Vec<Warning>,
    },
}

/// Loads the configuration from `path` and from the process's environment. Relative paths in it start at its folder.
///
/// # Errors
///
/// The file cannot be read or is not TOML, or something in it is faulty: then every fault is listed.
pub fn load(path: &Path) -> Result<Loaded, LoadError> {
    load_with(path, &Environment::of_process(), &mut Vec::new())
}

/// The same, with the files whose change would lead to another outcome, well or badly read: the configuration file, and those
/// with secrets.
pub fn load_watched(path: &Path) -> (Result<Loaded, LoadError>, Vec<Looks>) {
    let mut looks = Vec::new();
    let outcome = load_with(path, &Environment::of_process(), &mut looks);
    (outcome, looks)
}

fn load_with(path: &Path, environment: &Environment, looks: &mut Vec<Looks>) -> Result<Loaded, LoadError> {
    looks.push(Looks::new(path.to_owned()));
    let text = std::fs::read_to_string(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
    let mut report = Report::default();
    let raw = read::raw(path, &text, environment, &mut report)?;
    // Only of what could be read: the stand-ins for the rest name no files.
    let folder = path.parent().unwrap_or(Path::new(""));
    files::check_permissions(&raw, folder, &mut report);
    let secrets = files::Secrets { environment, looks: RefCell::default() };
    let host_name = host_name();
    let around = Surroundings { folder, host_name: &host_name, secrets: &secrets, now: crate::clock::now() };
    let checked = raw.check(&around, report);
    looks.append(&mut secrets.looks.borrow_mut());
    match checked {
        Ok((config, warnings)) => Ok(Loaded { config: Arc::new(config), warnings }),
        Err((faults, warnings)) => Err(LoadError::Faulty { path: path.to_owned(), faults, warnings }),
    }
}

/// The name of this machine; empty if it has none that is text.
fn host_name() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
