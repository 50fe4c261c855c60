//! `[[first_factor]]`: what checks passwords.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Surroundings, names::Names, report::Report};
use crate::factor::users::Allowed;

/// What checks a user's password; clients choose by name.
///
/// ```toml
/// [[first_factor]]
/// name = "staff"
/// kind = "file"
/// users_file = "users"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawFirstFactor {
    /// The name by which clients choose it: 1 to 64 letters, digits, dots, underscores and hyphens; unique; not `none` or
    /// `off`.
    #[schemars(required, extend("x-default" = "required", "x-type" = "name"))]
    pub name: Option<String>,
    /// What it asks.
    #[schemars(required, extend("x-default" = "required"))]
    pub kind: Option<FirstFactorType>,
    /// With `kind = "file"`, where it is required: the file of users, their password hashes and groups. Whoever can write
    /// it can sign in as anybody; whoever can read it can try passwords at leisure.
    #[schemars(extend("x-type" = "path"))]
    pub users_file: Option<PathBuf>,
    /// With `kind = "file"`: whether the file may hold passwords as they are (`password_plain`), for labs and load tests. A
    /// stolen copy of such a file is a list of passwords, so that entries of that form are refused unless this is `true`.
    pub allow_plain_passwords: bool,
    /// With `kind = "file"`: whether the file may hold NT hashes (`nt_hash`), which MS-CHAPv2 is checked with. Whoever reads one
    /// can sign in with it, without knowing the password, so that entries with one are refused unless this is `true`.
    pub allow_nt_hashes: bool,
    /// With `kind = "file"`: whether users may change their passwords by MS-CHAPv2 (MS-CHAP2-CPW), as VPN clients offer it where a
    /// password has expired. The gateway then writes the users file, which it must be able to replace; nodes of a cluster need one
    /// file that all of them read.
    pub change_passwords: bool,
    /// With `change_passwords`: how many characters a new password must have.
    #[schemars(range(min = 1, max = 64))]
    pub shortest_password: u64,
}

impl Default for RawFirstFactor {
    fn default() -> Self {
        Self {
            name: None,
            kind: None,
            users_file: None,
            allow_plain_passwords: false,
            allow_nt_hashes: false,
            change_passwords: false,
            // NIST SP 800-63B §3.1.1.2.
            shortest_password: 8,
        }
    }
}

/// The kinds of first factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum FirstFactorType {
    /// A file of users and password hashes on this machine.
    File,
}

/// A first factor, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstFactor {
    /// Its name, unique among first factors.
    pub name: Arc<str>,
    /// What it asks, with what that kind needs.
    pub kind: FirstFactorKind,
}

/// What a first factor asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstFactorKind {
    /// A file of users and password hashes.
    File(FileFactor),
}

/// What `kind = "file"` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFactor {
    /// The file of users.
    pub users_file: PathBuf,
    /// Which forms of passwords it may hold.
    pub allowed: Allowed,
    /// Whether users may change their passwords, and how many characters a new one must have.
    pub change_passwords: Option<usize>,
}

pub(super) fn check(
    raw: &[RawFirstFactor],
    report: &mut Report,
    around: &Surroundings<'_>,
    names: &Names,
) -> Vec<FirstFactor> {
    names.refuse_reserved(report);
    let mut factors = Vec::with_capacity(raw.len());
    for (index, entry) in raw.iter().enumerate() {
        let section = format!("first_factor[{index}]");
        if entry.kind.is_none() {
            report.fault(format!("{section}.kind"), "the kind is missing", "Write kind = \"file\".");
        }
        let Some(FirstFactorType::File) = entry.kind else { continue };
        if entry.users_file.is_none() {
            let remedy = "Set it to the file that holds users and password hashes.";
            report.fault(format!("{section}.users_file"), "is missing, and kind = \"file\" needs it", remedy);
        }
        if entry.allow_plain_passwords {
            let problem = "passwords may stand in the file as they are: a copy of it is a list of passwords";
            let remedy = "Store hashes and set this to false, unless a client needs CHAP or MS-CHAPv2.";
            report.warn(format!("{section}.allow_plain_passwords"), problem, remedy);
        }
        if entry.allow_nt_hashes {
            let problem = "NT hashes may stand in the file: whoever reads one can sign in with it";
            let remedy = "Set this to false, unless a client needs MS-CHAPv2.";
            report.warn(format!("{section}.allow_nt_hashes"), problem, remedy);
        }
        let shortest: usize = report.number(&format!("{section}.shortest_password"), entry.shortest_password, 1..=64);
        if entry.change_passwords && !entry.allow_plain_passwords && !entry.allow_nt_hashes {
            let problem =
                "nobody can change a password: only MS-CHAPv2 can, and the file may hold nothing that checks it";
            report.fault(
                format!("{section}.change_passwords"),
                problem,
                "Set allow_nt_hashes = true, or this to false.",
            );
        }
        factors.push(FirstFactor {
            name: names.at(index),
            kind: FirstFactorKind::File(FileFactor {
                users_file: around.resolve(entry.users_file.as_deref().unwrap_or(Path::new(""))),
                allowed: Allowed { plain: entry.allow_plain_passwords, nt_hashes: entry.allow_nt_hashes },
                change_passwords: entry.change_passwords.then_some(shortest),
            }),
        });
    }
    factors
}
