//! The configuration: raw as the file has it, then checked (house rule 12). Nothing here opens a file or reads the
//! environment; secrets come through a [`SecretSource`]. One file per section, each with its raw form, its checked form
//! and the function that leads from the one to the other.
//!
//! Every check runs over everything, whatever the checks before it found, so that one look at the output is enough to mend a
//! file. Checks therefore return a value even for what is wrong; it never leaves this module, because a [`Config`] is only
//! handed out where there is no fault.

mod accounting;
mod admin;
mod attempts;
mod audit;
mod client_table;
mod clients;
mod cluster;
mod conditions;
mod descriptors;
mod dictionary;
mod doors;
mod dynamic_authorization;
mod entra;
mod first_factor;
mod health;
mod identity;
mod limits;
mod listen;
mod names;
mod networks;
mod onboarding;
mod peers;
mod policies;
mod redis;
mod reply;
mod report;
mod second_factor;
mod secrets;
mod telemetry;
mod terms;
mod units;
mod unseen;

pub use accounting::{Accounting, FileSink, ForwardSink, RawAccounting};
pub use admin::{Admin, RawAdmin};
pub use attempts::{AfterSuccess, Attempts, RawAttempts};
pub use audit::{Audit, RawAudit};
pub use client_table::ClientTable;
pub use clients::{Client, RawClient, Require};
pub use cluster::{Cluster, NEWEST_RECORDS, RawCluster, Share, StoreKind, WhenStoreIsLost};
pub use conditions::{RawTest, RawTests};
pub use dictionary::{RawAttribute, RawType};
pub use dynamic_authorization::{DynamicAuthorization, RawDynamicAuthorization, SessionAttribute};
pub use entra::{
    AssertionAlg, Cloud, CloudHosts, EntraBegin, EntraCertificate, EntraFactor, EntraMethod, FollowAffinityUrl, Hosts,
    Proxy, RawEntra, RawEntraCertificate, Thumbprint, TlsVersion, TokenEndpoint, UnregisteredCode, UpnEcho,
    VoiceOverride,
};
pub use first_factor::{FileFactor, FirstFactor, FirstFactorKind, FirstFactorType, RawFirstFactor};
pub use health::{Health, RawHealth, RawSelfSignIn, SELF_CLIENT, SelfSignIn};
pub use identity::{Case, Identity, RawIdentity};
pub use limits::{Limits, RawLimits};
pub use listen::{Listen, RawListen};
pub use names::nearest;
pub use onboarding::{Day, Onboarding};
pub use peers::{Peers, RawPeers};
pub use policies::{Outcome, Policy, RawPolicy, SecondFactorNeed, Values};
pub use redis::{RawRedis, Redis, RedisMode, RedisTls};
pub use report::{Fault, Faults, Report, Warning};
pub use second_factor::{OathFactor, RawSecondFactor, SecondFactor, SecondFactorKind, SecondFactorType};
pub use secrets::SecretSource;
pub use telemetry::{LogFormat, LogLevel, Otlp, RawTelemetry, Telemetry};
pub use terms::{PushUsers, Unregistered};
pub use units::{Size, Span};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::time::Duration;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::identity::Rules;
use crate::policy;
use crate::radius::Dictionary;
use crate::time::Timestamp;
use names::Names;

/// What stands at the top of the file, before any section.
///
/// ```toml
/// state_dir = "/var/lib/orthrus"
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    /// The folder for what must survive a restart: the codes that were used, the counters of tokens, and which sources sign
    /// their requests. It must be writable for the gateway and for nobody else, and on a disk that stays. A node that has
    /// lost it can no longer tell which codes were used: it refuses time-based codes whose step had begun, and every code
    /// of a counter-based token until that token is enrolled again.
    #[schemars(required, extend("x-default" = "required", "x-type" = "path", "x-reload" = "no"))]
    pub state_dir: Option<PathBuf>,
    /// Files with names for attributes, in the form of FreeRADIUS 3 (`VENDOR`, `ATTRIBUTE`, `VALUE`, `$INCLUDE` of files beside or
    /// below). They add to what is built in and change nothing of it.
    #[schemars(extend("x-type" = "list of paths", "x-default" = "none"))]
    pub dictionaries: Vec<PathBuf>,
    /// Whether a change of this file, or of a file with a secret that it names, is put in force by itself, as SIGHUP does: a
    /// second or two after the last change, and only as a whole and without a fault. Set it to `false` to edit the file in
    /// place and send SIGHUP when it is ready. Files of users and tokens are looked at in any case.
    #[schemars(extend("x-default" = "true"))]
    pub reload_on_change: Option<bool>,
    /// How long SIGTERM, SIGINT or `orthrus drain` wait for requests in progress before the process ends without them. New sign-ins
    /// are left to other nodes at once. Too short, and users who look for their phones lose their sign-in, unless another node takes
    /// the prompt over. Give the service manager more than this (systemd: `TimeoutStopSec`).
    #[schemars(extend("x-min" = "1s", "x-max" = "10m", "x-default" = "30s, or attempts.deadline and 5 s where a factor prompts and that is longer"))]
    pub drain_deadline: Option<Span>,
    /// Where RADIUS packets come in.
    pub listen: RawListen,
    /// The RADIUS clients.
    pub clients: Vec<RawClient>,
    /// When two names mean the same person.
    pub identity: RawIdentity,
    /// What checks passwords.
    pub first_factor: Vec<RawFirstFactor>,
    /// What asks for more.
    pub second_factor: Vec<RawSecondFactor>,
    /// Who needs what.
    pub policies: Vec<RawPolicy>,
    /// Names for attributes.
    pub attributes: Vec<RawAttribute>,
    /// What NASes report of sessions.
    pub accounting: RawAccounting,
    /// What happened.
    pub audit: RawAudit,
    /// One person's one try.
    pub attempts: RawAttempts,
    /// How much of everything.
    pub limits: RawLimits,
    /// What nodes share.
    pub cluster: RawCluster,
    /// What balancers look at.
    pub health: RawHealth,
    /// Health and metrics.
    pub admin: RawAdmin,
    /// What is written down, and where traces go.
    pub telemetry: RawTelemetry,
}

/// A configuration that may be used: every reference leads somewhere, every value is within its limits.
#[derive(Debug)]
pub struct Config {
    /// Where durable records live.
    pub state_dir: PathBuf,
    /// Whether a change of the file leads to a reload.
    pub reload_on_change: bool,
    /// How long a drain may take; `None`: as long as sign-ins may.
    pub drain_deadline: Option<Duration>,
    /// Where packets come in.
    pub listen: Listen,
    /// The RADIUS clients, in the order of the file.
    pub clients: Vec<Arc<Client>>,
    /// When two names mean the same person.
    pub identity: Identity,
    /// What checks passwords.
    pub first_factors: Vec<FirstFactor>,
    /// What asks for more.
    pub second_factors: Vec<SecondFactor>,
    /// Who needs what: the first that fits decides.
    pub policies: Vec<Policy>,
    /// Which of them can fit at all.
    pub policy_index: policy::Index,
    /// Whether one of them looks at the attributes of the packet.
    pub reads_attributes: bool,
    /// The attributes that have names.
    pub dictionary: Arc<Dictionary>,
    /// What NASes report of sessions.
    pub accounting: Accounting,
    /// Where the audit goes, if there is one.
    pub audit: Option<Audit>,
    /// One person's one try.
    pub attempts: Attempts,
    /// How much of everything.
    pub limits: Limits,
    /// What nodes share.
    pub cluster: Cluster,
    /// What balancers look at.
    pub health: Health,
    /// Health and metrics.
    pub admin: Admin,
    /// What is written down, and where traces go.
    pub telemetry: Telemetry,
    /// Sixteen hexadecimal digits that are the same on two nodes if their configuration is: for `config_info`. Taken over
    /// every key with its default, those excepted that name one node: `cluster.node_id` and where its peers and balancers find it. The contents of files (secrets, users, tokens) do not enter it.
    pub version: String,
}

impl Config {
    /// Whether the second factor of that name disturbs a person, who then answers elsewhere.
    pub fn prompts(&self, second_factor: &str) -> bool {
        let factor = self.second_factors.iter().find(|factor| *factor.name == *second_factor);
        factor.is_some_and(|factor| factor.kind.prompts())
    }

    /// Whether the second factor of that name can ask for a code and nothing else.
    pub fn asks_codes(&self, second_factor: &str) -> bool {
        let factor = self.second_factors.iter().find(|factor| *factor.name == *second_factor);
        factor.is_some_and(|factor| factor.kind.asks_codes())
    }
}

/// What a check needs to know beside the file.
pub struct Surroundings<'a> {
    /// The folder of the configuration file: relative paths start there.
    pub folder: &'a Path,
    /// The name of this machine, which `cluster.node_id` defaults to.
    pub host_name: &'a str,
    /// Where secrets come from.
    pub secrets: &'a dyn SecretSource,
    /// What the time is, for days that are over.
    pub now: Timestamp,
}

impl Surroundings<'_> {
    /// A path of the configuration as one that can be opened.
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }
}

impl Config {
    /// How long a drain may take: as configured, or longer than any packet's deadline, users who look for their phones included.
    pub fn drain_deadline(&self) -> Duration {
        const ORDINARY: Duration = Duration::from_secs(30);
        let prompts = self.second_factors.iter().any(|factor| factor.kind.prompts());
        let longest = self.attempts.deadline.saturating_add(Duration::from_secs(5));
        self.drain_deadline.unwrap_or(if prompts { ORDINARY.max(longest) } else { ORDINARY })
    }
}

impl Raw {
    /// Checks everything and fetches the secrets. `report` holds what was found while reading; what is found here joins it.
    ///
    /// # Errors
    ///
    /// Every fault, and the warnings beside them, if there is at least one fault.
    pub fn check(
        &self,
        around: &Surroundings<'_>,
        mut report: Report,
    ) -> Result<(Config, Vec<Warning>), (Faults, Vec<Warning>)> {
        let report = &mut report;
        if self.state_dir.as_ref().is_none_or(|path| path.as_os_str().is_empty()) {
            let remedy = "Set it to a folder that only the gateway can write, such as /var/lib/orthrus.";
            report.fault("state_dir", "there is no folder for what must survive a restart", remedy);
        }
        let client_names = Names::check(report, "clients", self.clients.iter().map(|entry| entry.name.as_deref()));
        let first = self.first_factor.iter().map(|entry| entry.name.as_deref());
        let first_factors = Names::check(report, "first_factor", first);
        let second = self.second_factor.iter().map(|entry| entry.name.as_deref());
        let second_factors = Names::check(report, "second_factor", second);
        let identity = self.identity.check(report);
        let client_references = clients::References { clients: &client_names, first_factors: &first_factors };
        let dictionary = dictionary::check(&self.dictionaries, &self.attributes, report, around);
        let policy_references = policies::References {
            clients: &client_names,
            first_factors: &first_factors,
            dictionary: &dictionary,
            second_factors: &second_factors,
            identity: &identity,
            now: around.now,
        };
        let policies = policies::check(&self.policies, report, &policy_references);
        let health = self.health.check(report, around, &first_factors, &policies, &Rules::from(&identity));
        let state_dir = around.resolve(self.state_dir.as_deref().unwrap_or(Path::new("")));
        let accounting = self.accounting.check(report, around, &state_dir);
        let listen = self.listen.check(report);
        let clients = clients::check(&self.clients, report, around, &client_references, accounting.max_sessions);
        listen::warn_of_unheard(report, "listen.authentication", &listen.authentication, &clients);
        listen::warn_of_unheard(report, "accounting.listen", &accounting.listen, &clients);
        let config = Config {
            state_dir,
            reload_on_change: self.reload_on_change.unwrap_or(true),
            drain_deadline: self.drain_deadline.map(|deadline| {
                report.within("drain_deadline", &deadline, Span::secs(1), Span::secs(600));
                deadline.0
            }),
            listen,
            clients,
            first_factors: first_factor::check(&self.first_factor, report, around, &first_factors),
            second_factors: second_factor::check(&self.second_factor, report, around, &second_factors),
            policy_index: policy::Index::new(&policies),
            reads_attributes: policies.iter().any(Policy::reads_attributes),
            policies,
            dictionary,
            identity,
            accounting,
            audit: self.audit.check(report, around),
            attempts: self.attempts.check(report),
            limits: self.limits.check(report),
            cluster: self.cluster.check(report, around),
            health,
            admin: self.admin.check(report, around),
            telemetry: self.telemetry.check(report, around),
            version: self.version(),
        };
        doors::check(&config.clients, &config.policies, &config.second_factors, report);
        let (faults, warnings) = std::mem::take(report).into_parts(&Self::sections());
        if faults.0.is_empty() { Ok((config, warnings)) } else { Err((faults, warnings)) }
    }

    /// The keys at the top of the file, in the order in which a request meets them.
    fn sections() -> Vec<String> {
        let schema = Self::schema();
        let keys =
            schema.get("properties").and_then(|properties| properties.as_object()).map(|keys| keys.keys().cloned());
        keys.into_iter().flatten().collect()
    }

    /// The JSON schema of a configuration file. Beside the standard words it holds `x-type` (what a value is called),
    /// `x-default` (what a key that is left out means), `x-min` and `x-max` (bounds of a value with a unit) and
    /// `x-reload` (`"no"` where a change needs a restart).
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// The files whose content must stay secret, each with the key that names it.
    pub fn secret_files(&self) -> Vec<(String, &Path)> {
        let clients = self.clients.iter().enumerate().flat_map(|(index, client)| {
            let section = format!("clients[{index}]");
            [
                (format!("{section}.secret_file"), &client.secret_file),
                (format!("{section}.previous_secret_file"), &client.previous_secret_file),
                (format!("{section}.dynamic_authorization.secret_file"), &client.dynamic_authorization.secret_file),
            ]
        });
        let first = self.first_factor.iter().enumerate();
        let first = first.map(|(index, factor)| (format!("first_factor[{index}].users_file"), &factor.users_file));
        let second = self.second_factor.iter().enumerate();
        let second = second.flat_map(|(index, factor)| {
            let section = format!("second_factor[{index}]");
            let entra = format!("{section}.entra");
            let keys = factor.entra.certificates.iter().enumerate();
            let keys = keys.map(|(place, pair)| (format!("{entra}.certificates[{place}].key_file"), &pair.key_file));
            let keys: Vec<_> = keys.collect();
            let password = (format!("{entra}.proxy_password_file"), &factor.entra.proxy_password_file);
            [(format!("{section}.tokens_file"), &factor.tokens_file), password].into_iter().chain(keys)
        });
        let shared = &self.cluster;
        let cluster = [
            ("cluster.key_file".to_owned(), &shared.key_file),
            ("cluster.second_key_file".to_owned(), &shared.second_key_file),
            ("cluster.names_key_file".to_owned(), &shared.names_key_file),
            ("cluster.redis.password_file".to_owned(), &shared.redis.password_file),
            ("cluster.redis.sentinel_password_file".to_owned(), &shared.redis.sentinel_password_file),
            ("cluster.redis.tls_key_file".to_owned(), &shared.redis.tls_key_file),
            ("cluster.peers.key_file".to_owned(), &shared.peers.key_file),
            ("admin.token_file".to_owned(), &self.admin.token_file),
            ("health.sign_in.password_file".to_owned(), &self.health.sign_in.password_file),
        ];
        let forward = ("accounting.forward_secret_file".to_owned(), &self.accounting.forward_secret_file);
        let headers = [forward, ("telemetry.otlp_headers_file".to_owned(), &self.telemetry.otlp_headers_file)];
        let all = clients.chain(first).chain(second).chain(cluster).chain(headers);
        all.filter_map(|(path, file)| Some((path, file.as_deref()?))).collect()
    }

    /// The hash that [`Config::version`] describes.
    fn version(&self) -> String {
        let mut shared = self.clone();
        shared.cluster.node_id = None;
        (shared.cluster.peers.listen, shared.cluster.peers.address, shared.health.listen) = (None, None, None);
        // Maps are sorted and keys are text, so that this cannot fail and is the same everywhere.
        let text = serde_json::to_vec(&shared).unwrap_or_default();
        Sha256::digest(text).iter().take(8).map(|octet| format!("{octet:02x}")).collect()
    }
}

#[cfg(test)]
mod tests;
