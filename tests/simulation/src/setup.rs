//! What all runs share: a checked configuration, the keys, the users' tokens.

use gateway_core::attempt::state::Keyring;
use gateway_core::config::{Config, Raw, Report, SecretSource, Surroundings};
use gateway_core::factor::TokenId;
use gateway_core::factor::oath::{Algorithm, Kind, Token};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::path::Path;
use std::sync::Arc;

/// How many users a run has at most.
pub(crate) const USERS: usize = 4;
/// What opens the first door, for everybody.
pub(crate) const PASSWORD: &str = "correct horse";
/// Seconds of a time step of a token.
pub(crate) const STEP: u64 = 30;

/// The RADIUS clients, in the order of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nas {
    /// Everybody is prompted, and a packet waits until the attempt's deadline.
    Push,
    /// Its other VPN server: one attempt group.
    Twin,
    /// It waits 10 s and then shows a challenge.
    Short,
    /// It waits 12 s and shows no challenge.
    Mute,
    /// Everybody is asked for a code.
    Code,
    /// Nobody needs a second factor.
    Plain,
    /// Whoever has a token is asked for a code.
    Optional,
    /// The VPN server has checked the password.
    Bare,
}

impl Nas {
    /// Its place in the configuration.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Everybody is prompted.
    pub(crate) fn prompts(self) -> bool {
        matches!(self, Self::Push | Self::Twin | Self::Short | Self::Mute)
    }

    /// We check the password.
    pub(crate) fn has_first_factor(self) -> bool {
        self != Self::Bare
    }
}

const CLIENTS: &str = "
    state_dir = 'state'
    [identity]
    default_realm = 'corp.example'
    [[clients]]
    name = 'push'
    addresses = ['192.0.2.10']
    secret_file = 'secret-of-push'
    [[clients]]
    name = 'twin'
    addresses = ['192.0.2.11']
    secret_file = 'secret-of-twin'
    attempt_group = 'push'
    [[clients]]
    name = 'short'
    addresses = ['192.0.2.12']
    secret_file = 'secret-of-short'
    answer_within = '10s'
    [[clients]]
    name = 'mute'
    addresses = ['192.0.2.13']
    secret_file = 'secret-of-mute'
    challenge = false
    answer_within = '12s'
    [[clients]]
    name = 'code'
    addresses = ['192.0.2.14']
    secret_file = 'secret-of-code'
    [[clients]]
    name = 'plain'
    addresses = ['192.0.2.15']
    secret_file = 'secret-of-plain'
    [[clients]]
    name = 'optional'
    addresses = ['192.0.2.16']
    secret_file = 'secret-of-optional'
    [[clients]]
    name = 'bare'
    addresses = ['192.0.2.17']
    secret_file = 'secret-of-bare'
    first_factor = 'none'
    [[first_factor]]
    name = 'staff'
    kind = 'file'
    users_file = 'users'
    [[second_factor]]
    name = 'code'
    kind = 'oath'
    tokens_file = 'tokens'
    [[second_factor]]
    name = 'phone'
    kind = 'entra'
    [second_factor.entra]
    tenant_id = '3f2b1c0d-5a49-4e8e-9d7c-6b5a49382716'
    certificates = [{ certificate_file = 'certificate', key_file = 'key' }]
    [[policies]]
    name = 'prompted'
    clients = ['push', 'twin', 'short', 'mute']
    second_factor_name = 'phone'
    reply = { Class = 'staff' }
    [[policies]]
    name = 'open'
    clients = ['plain']
    second_factor = 'off'
    reply = { Class = 'guests' }
    [[policies]]
    name = 'rollout'
    clients = ['optional']
    second_factor = 'if_enrolled'
    second_factor_name = 'code'
    [[policies]]
    name = 'asked'
    second_factor_name = 'code'
    reply = { Class = 'staff', Session-Timeout = '3600' }
";

/// The file's name is its content.
struct Names;

impl SecretSource for Names {
    fn file(&self, path: &Path) -> Result<Secret, String> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("no name")?;
        Ok(Secret::new(name.as_bytes().to_vec()))
    }

    fn env(&self, name: &str) -> Result<Secret, String> {
        Err(format!("{name} is not set"))
    }
}

fn config(attempts: &str) -> Arc<Config> {
    let raw: Raw =
        toml::from_str(&format!("{CLIENTS}\n[limits]\nwrong_codes = 5\n[attempts]\n{attempts}")).expect("it is TOML");
    let around = Surroundings {
        folder: Path::new("/etc/orthrus"),
        host_name: "node-1",
        secrets: &Names,
        now: Timestamp::default(),
    };
    match raw.check(&around, Report::default()) {
        Ok((config, _)) => Arc::new(config),
        Err((faults, _)) => panic!("{faults}"),
    }
}

/// What all runs share. Made once.
pub struct Setup {
    /// As documented; with a short deadline; one that answers repeats.
    pub(crate) configs: Vec<Arc<Config>>,
    pub(crate) keyring: Keyring,
    pub(crate) tokens: Vec<Token>,
    pub(crate) users: Vec<Arc<str>>,
}

impl Setup {
    /// Reads the configuration and makes the keys.
    pub fn new() -> Self {
        let configs = [
            "",
            "deadline = '40s'\nrepeat_window = '20s'\nprompt_pauses = []\ncodes_only_after = 0",
            "after_success = 'answer'",
        ];
        let token = |user: usize| {
            let secret = Secret::new(format!("the secret of user {user}").into_bytes());
            let kind = Kind::Totp { period: 30 };
            Token {
                id: TokenId::of(kind, &secret),
                kind,
                algorithm: Algorithm::Sha1,
                digits: 6,
                secret,
                enrolled: Timestamp::default(),
                label: String::new(),
            }
        };
        Self {
            configs: configs.into_iter().map(config).collect(),
            keyring: Keyring::new(&Secret::new(b"the cluster key".to_vec())),
            tokens: (0..USERS).map(token).collect(),
            users: (0..USERS).map(|user| format!("u{user}@corp.example").into()).collect(),
        }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}
