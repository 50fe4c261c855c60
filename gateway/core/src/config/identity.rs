//! `[identity]`: when two spellings of a user's name mean the same person.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::report::Report;
use crate::identity::{lower, nfc};

/// How the names that users type (`anna`, `CORP\anna`, `anna@corp.example`) become one person. Used codes are remembered under
/// these names: where a restart brings other rules, codes of time steps already begun are refused, and counter-based tokens
/// must be enrolled again.
///
/// ```toml
/// [identity]
/// default_realm = "corp.example"
/// domains = { CORP = "corp.example" }
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawIdentity {
    /// The realm of a name that carries none. Without it, `anna` and `anna@corp.example` are two people with two sets of
    /// wrong codes and two attempts.
    #[schemars(extend("x-type" = "realm", "x-reload" = "no"))]
    pub default_realm: Option<String>,
    /// NetBIOS domain to realm, so that `CORP\anna` is `anna@corp.example`. Capitals do not matter in the domain. A domain that
    /// is missing here is taken as a realm of its own.
    #[schemars(extend("x-type" = "table of domain = realm", "x-reload" = "no"))]
    pub domains: BTreeMap<String, String>,
    /// Whether a user is known by the name without its realm. Only for a single organisation: with several realms,
    /// `anna@one.example` and `anna@two.example` become the same person, and the one can sign in as the other.
    #[schemars(extend("x-reload" = "no"))]
    pub strip_realm: bool,
    /// Whether capitals matter in the user part of a name. (In the realm they never do.)
    #[schemars(extend("x-reload" = "no"))]
    pub case: Case,
    /// The suffix of the users' UPN (`anna@…`), the name under which Microsoft's cloud knows them, where it differs from the
    /// realm. `simulate` shows the UPN that results.
    #[schemars(extend("x-type" = "realm", "x-default" = "the user's realm"))]
    pub upn_suffix: Option<String>,
}

/// Whether capitals matter in the user part of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Case {
    /// `Anna` and `anna` are the same person, as in Windows.
    #[default]
    Fold,
    /// `Anna` and `anna` are two people, as in Unix; each spelling then has its own count of wrong codes.
    Keep,
}

/// When two names mean the same person, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The realm of a name that carries none, in lower case.
    pub default_realm: Option<String>,
    /// NetBIOS domain in upper case to realm in lower case.
    pub domains: BTreeMap<String, String>,
    /// Whether a canonical user has no realm.
    pub strip_realm: bool,
    /// Whether capitals matter in the user part.
    pub case: Case,
    /// What replaces the realm where a user principal name is needed, in lower case.
    pub upn_suffix: Option<String>,
}

impl RawIdentity {
    pub(super) fn check(&self, report: &mut Report) -> Identity {
        let mut domains = BTreeMap::new();
        for (domain, text) in &self.domains {
            let path = format!("identity.domains.{domain}");
            if domain.is_empty() || domain.contains(['\\', '@', '/']) || domain.contains(char::is_whitespace) {
                let remedy = "Write the short name of the domain, as before the backslash in CORP\\anna.";
                report.fault(path.as_str(), format!("`{domain}` cannot be a domain"), remedy);
            }
            let realm = realm(report, &path, text);
            if domains.insert(nfc(domain).to_uppercase(), realm).is_some() {
                let problem = format!("`{domain}` stands here twice, in other capitals");
                report.fault(path, problem, "Keep one of them.");
            }
        }
        let identity = Identity {
            default_realm: self.default_realm.as_deref().map(|text| realm(report, "identity.default_realm", text)),
            domains,
            strip_realm: self.strip_realm,
            case: self.case,
            upn_suffix: self.upn_suffix.as_deref().map(|text| realm(report, "identity.upn_suffix", text)),
        };
        let realms: BTreeSet<&String> = identity.domains.values().chain(&identity.default_realm).collect();
        if identity.strip_realm && realms.len() > 1 {
            let problem = "users of different realms who share a name become the same person";
            report.warn("identity.strip_realm", problem, "Remove it, or keep to one realm.");
        }
        identity
    }
}

/// A realm in lower case: capitals do not matter in it (RFC 7542 §2.4).
pub(super) fn realm(report: &mut Report, path: &str, text: &str) -> String {
    let fits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_');
    if text.len() > 253 || !nfc(text).split('.').all(fits) {
        report.fault(path, format!("`{text}` is not a realm"), "Write what stands behind the @, such as corp.example.");
    }
    lower(text)
}
