//! `[[second_factor]]`: what asks for more than a password.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Surroundings,
    entra::{EntraFactor, RawEntra},
    names::Names,
    report::Report,
};

/// What a user must show beside the password; policies choose by name.
///
/// ```toml
/// [[second_factor]]
/// name = "code"
/// kind = "oath"
/// tokens_file = "tokens"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSecondFactor {
    /// The name by which policies choose it: 1 to 64 letters, digits, dots, underscores and hyphens; unique; not `none` or
    /// `off`.
    #[schemars(required, extend("x-default" = "required", "x-type" = "name"))]
    pub name: Option<String>,
    /// What it asks.
    #[schemars(required, extend("x-default" = "required"))]
    pub kind: Option<SecondFactorType>,
    /// With `kind = "oath"`, where it is required: the file of tokens. It holds the keys from which codes are computed: whoever
    /// reads it has everybody's second factor.
    #[schemars(extend("x-type" = "path"))]
    pub tokens_file: Option<PathBuf>,
    /// With `kind = "oath"`: how many time steps (of 30 s as a rule) a time-based code may lie in the past or the future.
    /// Too small, and phones whose clock is off are refused; each step more gives a guesser two more right codes.
    #[schemars(range(min = 0, max = 10))]
    pub window: u64,
    /// With `kind = "oath"`: how many unused codes of a counter-based token may be skipped. Too small, and a token whose
    /// button was pressed in a pocket is refused; each one more is one more right code for a guesser.
    #[schemars(range(min = 1, max = 100))]
    pub look_ahead: u64,
    /// With `kind = "oath"`: the name that the authenticator app shows beside the account, for tokens enrolled from now on.
    pub issuer: String,
    /// With `kind = "entra"`, where it is required: see `[second_factor.entra]`.
    #[schemars(extend("x-default" = "none"))]
    pub entra: RawEntra,
}

impl Default for RawSecondFactor {
    fn default() -> Self {
        Self {
            name: None,
            kind: None,
            tokens_file: None,
            window: 1,
            look_ahead: 10,
            issuer: "Orthrus".to_owned(),
            entra: RawEntra::default(),
        }
    }
}

/// The kinds of second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SecondFactorType {
    /// Codes of an authenticator app or a hardware token (RFC 6238, RFC 4226).
    Oath,
    /// Microsoft Entra MFA: whatever method the user has registered there.
    Entra,
}

/// A second factor, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactor {
    /// Its name, unique among second factors.
    pub name: Arc<str>,
    /// What it asks, with what that kind needs.
    pub kind: SecondFactorKind,
}

/// What a second factor asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecondFactorKind {
    /// Codes of an authenticator app or a hardware token.
    Oath(OathFactor),
    /// Microsoft Entra MFA.
    Entra(Arc<EntraFactor>),
}

impl SecondFactorKind {
    /// What it needs as local tokens, if it is that.
    pub fn oath(&self) -> Option<&OathFactor> {
        match self {
            Self::Oath(oath) => Some(oath),
            _ => None,
        }
    }

    /// Whether it disturbs a person, who then answers elsewhere: a push, a call, a message.
    pub const fn prompts(&self) -> bool {
        match self {
            Self::Oath(_) => false,
            Self::Entra(_) => true,
        }
    }

    /// Whether it can ask for a code and nothing else.
    pub fn asks_codes(&self) -> bool {
        match self {
            Self::Oath(_) => true,
            Self::Entra(entra) => entra.method.is_none_or(super::entra::EntraMethod::asks_for_code),
        }
    }
}

/// What `kind = "oath"` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OathFactor {
    /// The file of tokens.
    pub tokens_file: PathBuf,
    /// Time steps accepted to each side of now.
    pub window: u32,
    /// Counter values accepted beyond the expected one.
    pub look_ahead: u32,
    /// The issuer named in `otpauth:` links.
    pub issuer: String,
}

pub(super) fn check(
    raw: &[RawSecondFactor],
    report: &mut Report,
    around: &Surroundings<'_>,
    names: &Names,
) -> Vec<SecondFactor> {
    names.refuse_reserved(report);
    let mut factors = Vec::with_capacity(raw.len());
    for (index, entry) in raw.iter().enumerate() {
        let section = format!("second_factor[{index}]");
        let kind = match entry.kind {
            None => {
                let remedy = "Write kind = \"oath\" or kind = \"entra\".";
                report.fault(format!("{section}.kind"), "the kind is missing", remedy);
                continue;
            }
            Some(SecondFactorType::Oath) => SecondFactorKind::Oath(entry.oath(report, around, &section)),
            Some(SecondFactorType::Entra) => {
                if entry.tokens_file.is_some() {
                    let problem = "belongs to kind = \"oath\" and is not used";
                    report.warn(format!("{section}.tokens_file"), problem, "Remove it, or add a factor of that kind.");
                }
                SecondFactorKind::Entra(Arc::new(entry.entra.check(report, around, &format!("{section}.entra"))))
            }
        };
        factors.push(SecondFactor { name: names.at(index), kind });
    }
    factors
}

impl RawSecondFactor {
    fn oath(&self, report: &mut Report, around: &Surroundings<'_>, section: &str) -> OathFactor {
        if self.entra != RawEntra::default() {
            let problem = "belongs to kind = \"entra\" and is not used";
            report.warn(format!("{section}.entra"), problem, "Remove it, or add a factor of that kind.");
        }
        if self.tokens_file.is_none() {
            let remedy = "Set it to the file that holds the tokens.";
            report.fault(format!("{section}.tokens_file"), "is missing, and kind = \"oath\" needs it", remedy);
        }
        // `otpauth:` links use the colon between issuer and account.
        if self.issuer.is_empty()
            || self.issuer.len() > 64
            || self.issuer.contains(|c: char| c == ':' || c.is_control())
        {
            let remedy = "Write the name of your organisation: 1 to 64 octets without a colon.";
            report.fault(format!("{section}.issuer"), format!("{:?} cannot be an issuer", self.issuer), remedy);
        }
        OathFactor {
            tokens_file: around.resolve(self.tokens_file.as_deref().unwrap_or(Path::new(""))),
            window: report.number(&format!("{section}.window"), self.window, 0..=10),
            look_ahead: report.number(&format!("{section}.look_ahead"), self.look_ahead, 1..=100),
            issuer: self.issuer.clone(),
        }
    }
}
