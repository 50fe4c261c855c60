//! Secrets: never values of the configuration, always fetched from a file or the environment.

use std::path::{Path, PathBuf};

use super::{Surroundings, report::Report, unseen};
use crate::secret::Secret;

/// Where secrets come from. The edge implements it; an error is a clause that says what failed and never shows content.
pub trait SecretSource {
    /// The content of a file, without one trailing newline.
    fn file(&self, path: &Path) -> Result<Secret, String>;
    /// The value of an environment variable.
    fn env(&self, name: &str) -> Result<Secret, String>;
    /// The text of a file that is no secret, of `most` octets at most.
    fn text(&self, path: &Path, most: usize) -> Result<String, String> {
        Err(format!("{} cannot be read here, not even {most} octets of it", path.display()))
    }
}

/// The two keys that may name one secret.
pub(super) struct Reference<'a> {
    pub(super) file: Option<&'a PathBuf>,
    pub(super) env: Option<&'a String>,
    /// `secret` or `previous_secret`.
    pub(super) key: &'static str,
}

/// A secret and the path of the key that named it. It is `None` if the reference is left out, or faulty.
pub(super) fn fetch(
    report: &mut Report,
    around: &Surroundings<'_>,
    section: &str,
    reference: &Reference<'_>,
) -> Option<(String, Secret)> {
    let key = reference.key;
    let in_file = format!("{section}.{key}_file");
    let in_env = format!("{section}.{key}_env");
    let (path, fetched) = match (reference.file, reference.env) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            let problem = format!("{key}_file and {key}_env are both set");
            report.fault(in_file, problem, "Keep one of them.");
            return None;
        }
        (Some(file), None) => (in_file, around.secrets.file(&around.resolve(file))),
        (None, Some(name)) => (in_env, around.secrets.env(name)),
    };
    match fetched {
        Ok(secret) if secret.is_empty() => {
            report.fault(path, "the secret is empty", "Put 32 or more random characters there: openssl rand -hex 32.");
            None
        }
        Ok(secret) => {
            unseen::warn(report, &path, "the secret", secret.expose());
            Some((path, secret))
        }
        Err(problem) => {
            report.fault(path, problem, "Correct the reference, or put the secret where it leads.");
            None
        }
    }
}

/// Secrets that are in every book and every scanner. In lower case.
const WELL_KNOWN: [&[u8]; 16] = [
    b"testing123",
    b"secret",
    b"sharedsecret",
    b"shared-secret",
    b"shared_secret",
    b"mysecret",
    b"supersecret",
    b"radius",
    b"radsec",
    b"password",
    b"changeme",
    b"change-me",
    b"cisco",
    b"admin",
    b"test",
    b"example",
];

/// The shortest secret that is not warned of: the floor that draft-ietf-radext-deprecating-radius gives.
const FLOOR: usize = 12;

/// Warns of a secret that somebody who has recorded a packet will find.
pub(super) fn warn_if_weak(report: &mut Report, path: &str, secret: &Secret) {
    const REMEDY: &str = "Use 32 or more random characters, at both ends: openssl rand -hex 32.";
    let lower = zeroize::Zeroizing::new(secret.expose().to_ascii_lowercase());
    if WELL_KNOWN.iter().any(|known| *known == lower.as_slice()) {
        report.warn(path, "the secret is one that every attacker tries first", REMEDY);
    } else if lower.len() < FLOOR {
        let problem = format!("the secret is shorter than {FLOOR} octets and can be found from one recorded packet");
        report.warn(path, problem, REMEDY);
    } else if lower.iter().all(|octet| lower.first() == Some(octet)) {
        report.warn(path, "the secret repeats one character", REMEDY);
    }
}
