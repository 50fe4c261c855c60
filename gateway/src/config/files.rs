//! Secrets from files and the environment, and who else can read those files.

use crate::looks::Looks;
use gateway_core::config::{Raw, Report, SecretSource};
use gateway_core::secret::Secret;
use std::{
    cell::RefCell,
    fs::File,
    io::{ErrorKind, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

use super::environment::Environment;

/// Far above any shared secret, and a bound for a path that leads to something endless.
const LONGEST: usize = 4096;

/// Fetches secrets for the checks.
pub(super) struct Secrets<'a> {
    pub(super) environment: &'a Environment,
    /// Every file that was asked for, as it was before it was read.
    pub(super) looks: RefCell<Vec<Looks>>,
}

impl SecretSource for Secrets<'_> {
    fn file(&self, path: &Path) -> Result<Secret, String> {
        self.looks.borrow_mut().push(Looks::new(path.to_owned()));
        let failed = |error| format!("cannot read {}: {error}", path.display());
        // With room for all of it from the start: a vector that grows leaves copies behind.
        let mut content = zeroize::Zeroizing::new(Vec::with_capacity(2 * LONGEST));
        let limit = u64::try_from(LONGEST + 1).unwrap_or(u64::MAX);
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut content)).map_err(failed)?;
        if content.len() > LONGEST {
            return Err(format!("{} is longer than {LONGEST} octets", path.display()));
        }
        let text = content.strip_suffix(b"\n").unwrap_or(&content);
        Ok(Secret::new(text.strip_suffix(b"\r").unwrap_or(text).to_vec()))
    }

    fn env(&self, name: &str) -> Result<Secret, String> {
        let value = self.environment.value(name);
        let value = value.ok_or_else(|| format!("the environment variable {name} is not set"))?;
        Ok(Secret::new(value.as_bytes().to_vec()))
    }

    fn text(&self, path: &Path, most: usize) -> Result<String, String> {
        self.looks.borrow_mut().push(Looks::new(path.to_owned()));
        text(path, most)
    }
}

/// The text of a file, of `most` octets at most.
pub(crate) fn text(path: &Path, most: usize) -> Result<String, String> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let mut octets = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).and_then(|file| file.take(limit).read_to_end(&mut octets)).map_err(failed)?;
    if octets.len() > most {
        return Err(format!("{} is longer than {most} octets", path.display()));
    }
    // Comments in dictionaries of vendors are in whatever their authors wrote.
    Ok(String::from_utf8_lossy(&octets).into_owned())
}

/// Parts of keys whose file the checks fetch: that it is not there is a fault already.
const FETCHED: [&str; 3] = ["secret", "key", "headers"];

/// Warns of files with secrets that everybody on the machine may open, and of user and token files that are not there.
pub(super) fn check_permissions(raw: &Raw, folder: &Path, report: &mut Report) {
    for (key, file) in raw.secret_files() {
        let path = folder.join(file);
        match path.metadata() {
            Ok(found) if found.is_file() => {
                let mode = found.permissions().mode() & 0o777;
                if mode & 0o007 != 0 {
                    let problem = format!("{} is open to every user of this machine (mode {mode:03o})", path.display());
                    let remedy = "Take the rights of others away: chmod o-rwx; in Kubernetes, defaultMode: 0o440.";
                    report.warn(key, problem, remedy);
                }
            }
            Ok(_) => report.fault(key, format!("{} is not a file", path.display()), "Name a file."),
            Err(error) if error.kind() == ErrorKind::NotFound && !FETCHED.iter().any(|part| key.contains(part)) => {
                let problem = format!("{} does not exist", path.display());
                report.warn(key, problem, "Create it, or correct the path; the gateway does not start without it.");
            }
            // The check that fetches the secret, or the back end that opens the file, says what is wrong.
            Err(_) => {}
        }
    }
}
