//! `[[clients]]`: the RADIUS clients (NAS), their secrets, and what each of them can do.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use super::{
    DynamicAuthorization, RawDynamicAuthorization, Surroundings,
    names::{Names, label},
    networks::networks as networks_at,
    report::Report,
    secrets::{Reference, fetch, warn_if_weak},
    units::Span,
};
use crate::factor::appended;
use crate::radius::SharedSecret;

/// A RADIUS client (NAS): a VPN server, or a network of them, that may ask for sign-ins. Whoever is not listed gets no
/// answer. A packet belongs to the entry with the longest prefix that contains its source address.
///
/// ```toml
/// [[clients]]
/// name = "vpn-berlin"
/// addresses = ["192.0.2.10", "2001:db8:7::/64"]
/// secret_file = "secrets/vpn-berlin"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawClient {
    /// The name by which policies, logs and metrics call this client: 1 to 64 letters, digits, dots, underscores and
    /// hyphens; unique. Keep it when the address changes, or its history in metrics starts anew.
    #[schemars(required, extend("x-default" = "required", "x-type" = "name"))]
    pub name: Option<String>,
    /// Addresses and networks (`192.0.2.10`, `192.0.2.0/24`, `2001:db8::/32`) from which this client sends. The same
    /// network may stand in one client only. Too narrow, and packets are dropped and counted as from an unknown source; too
    /// wide, and every machine in it that learns the secret is trusted as a VPN server.
    #[schemars(required, extend("x-default" = "required", "x-type" = "list of addresses and networks"))]
    pub addresses: Option<Vec<String>>,
    /// File that holds the shared secret, without a trailing newline (one is stripped). Exactly one of `secret_file` and
    /// `secret_env` is needed. Use 32 or more random characters, another secret for each client: everything RADIUS over
    /// UDP protects hangs on it, and whoever records one packet can try short secrets at leisure.
    #[schemars(extend("x-type" = "path"))]
    pub secret_file: Option<PathBuf>,
    /// Environment variable that holds the shared secret. Prefer the file: the environment is shown to every process of
    /// the same user and is inherited by child processes.
    pub secret_env: Option<String>,
    /// File that holds the secret used before. Both are accepted at once, so that a secret changes without an outage. Remove
    /// it when the VPN server has the new one: until then the old secret still opens the door.
    #[schemars(extend("x-type" = "path"))]
    pub previous_secret_file: Option<PathBuf>,
    /// Environment variable that holds the secret used before.
    pub previous_secret_env: Option<String>,
    /// Whether requests without a Message-Authenticator (RFC 3579 §3.2) are dropped. Without one, someone between the VPN
    /// server and the gateway can turn a reject into an accept (Blast-RADIUS, CVE-2024-3596). A VPN server that sends none
    /// gets no answer under `"yes"`: update it. `"auto"` starts open and locks for each source address that has shown that
    /// it sends one.
    pub require_message_authenticator: Require,
    /// Whether a request that carries Proxy-State and no Message-Authenticator is dropped, because that is how
    /// CVE-2024-3596 is exploited. Only for clients that do not require a Message-Authenticator anyway; set it to
    /// `false` only for a real RADIUS proxy that cannot be updated.
    pub limit_proxy_state: bool,
    /// Whether this client can ask the user a second question (Access-Challenge). Set it to `false` where the VPN server
    /// takes a challenge for a reject. Its users can then not be asked for a code, and a policy that requires one refuses
    /// them; left at `true` for such a VPN server, they are refused without a word of the cause.
    pub challenge: bool,
    /// Whether users of this client may write a code in one line with their password, where it cannot show a question:
    /// `password,123456`, or with `"before"` `123456,password`. Instead of a code they may write how they want to be asked:
    /// `push`, `phone`, or `sms` to be sent a code and sign in again with it. A password that itself ends (or begins) like that is
    /// cut, so that its user must always add a code.
    pub appended_code: AppendedCode,
    /// With `appended_code`: what stands between password and code, at most 8 octets. May be empty; then a code has six digits and
    /// there are no words.
    pub appended_code_separator: String,
    /// How long this client waits for an answer, less two seconds. A user who has not answered a push or a call by then is
    /// asked to come back for the outcome (Access-Challenge, "approve, then press Enter"), so that a VPN server with a short time
    /// limit loses nobody. Too long, and it gives up first; too short, and users see a question that they need not have seen. Left
    /// out, a packet waits until `attempts.deadline`: good where the VPN server waits 60 s or more. Where `challenge = false`,
    /// nothing is sent then, and a repeat of the sign-in gets the outcome.
    #[schemars(extend("x-min" = "2s", "x-max" = "10m", "x-default" = "none"))]
    pub answer_within: Option<Span>,
    /// Name of the `[[first_factor]]` that checks passwords for this client, or `"none"` if the VPN server has checked the
    /// user already. With `"none"` the second factor is all that protects it, and a policy that waives the second
    /// factor for it is refused as an open door. May be left out while only one is defined.
    #[schemars(extend("x-default" = "the only one defined"))]
    pub first_factor: Option<String>,
    /// Clients with the same group share attempts: a user who is asked by way of one VPN server is not asked again by the
    /// other. Use it for the members of one VPN cluster only, as an approval given to one serves the other.
    #[schemars(extend("x-type" = "name", "x-default" = "the client's own name"))]
    pub attempt_group: Option<String>,
    /// Whether this client's accounting is taken, where `[accounting]` has a sink. With `false` its records are dropped, and it is
    /// unknown who is connected through it.
    pub accounting: bool,
    /// Open sessions that one user may have before a sign-in by way of this client is refused; 0 means any number. Left out,
    /// `accounting.max_sessions` holds.
    #[schemars(range(min = 0, max = 10_000), extend("x-default" = "accounting.max_sessions"))]
    pub max_sessions: Option<u64>,
    /// How sessions are ended or changed at this client; see below.
    pub dynamic_authorization: RawDynamicAuthorization,
}

impl Default for RawClient {
    fn default() -> Self {
        Self {
            name: None,
            addresses: None,
            secret_file: None,
            secret_env: None,
            previous_secret_file: None,
            previous_secret_env: None,
            require_message_authenticator: Require::Yes,
            limit_proxy_state: true,
            challenge: true,
            appended_code: AppendedCode::No,
            appended_code_separator: ",".into(),
            answer_within: None,
            first_factor: None,
            attempt_group: None,
            accounting: true,
            max_sessions: None,
            dynamic_authorization: RawDynamicAuthorization::default(),
        }
    }
}

/// Where a code stands in one line with the password.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum AppendedCode {
    /// A password is a password.
    #[default]
    No,
    /// Behind the password.
    After,
    /// Before the password.
    Before,
}

/// Whether a client's requests must carry a Message-Authenticator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Require {
    /// Requests without one are dropped.
    #[default]
    Yes,
    /// Requests without one are answered.
    No,
    /// Requests without one are answered until their source address has first sent a right one. What was learned is kept in
    /// `state_dir/signing-sources`, survives restarts, and is never unlearned by itself: only an operator who removes the
    /// address from that file and sends SIGHUP opens it again.
    Auto,
}

/// A RADIUS client, checked.
#[derive(Debug)]
pub struct Client {
    /// Its name: unique, and a metric label.
    pub name: Arc<str>,
    /// Where it sends from; IPv4-mapped addresses are plain IPv4 here.
    pub networks: Vec<IpNet>,
    /// Shared secrets, none of them empty: the current one first, then the previous one if it is still accepted.
    pub secrets: Vec<SharedSecret>,
    /// Whether requests without Message-Authenticator are dropped.
    pub require_message_authenticator: Require,
    /// Whether requests with Proxy-State and without Message-Authenticator are dropped.
    pub limit_proxy_state: bool,
    /// Whether it can show an Access-Challenge.
    pub challenge: bool,
    /// How its users write a code in one line with their password; `None`: they do not.
    pub appended: Option<appended::Rule>,
    /// How long a packet waits for a prompt; `None`: as long as the prompt.
    pub answer_within: Option<Duration>,
    /// The first factor that checks its users; `None` if it has checked them itself.
    pub first_factor: Option<Arc<str>>,
    /// Clients of one group share attempts.
    pub attempt_group: Arc<str>,
    /// Whether its accounting is taken.
    pub accounting: bool,
    /// Open sessions that one user may have before a sign-in is refused; `None`: any number.
    pub max_sessions: Option<usize>,
    /// How its sessions are ended or changed.
    pub dynamic_authorization: DynamicAuthorization,
}

/// What a client refers to elsewhere.
pub(super) struct References<'a> {
    pub(super) clients: &'a Names,
    pub(super) first_factors: &'a Names,
}

/// Checks every client, and then what they must not have in common.
pub(super) fn check(
    raw: &[RawClient],
    report: &mut Report,
    around: &Surroundings<'_>,
    references: &References<'_>,
    max_sessions: Option<usize>,
) -> Vec<Arc<Client>> {
    if raw.is_empty() {
        let remedy = "Add a [[clients]] section for each VPN server.";
        report.fault("clients", "there is no RADIUS client, so that nobody would be answered", remedy);
    }
    let mut owners: HashMap<IpNet, String> = HashMap::new();
    let mut users_of_secret: HashMap<[u8; 32], String> = HashMap::new();
    let mut clients = Vec::with_capacity(raw.len());
    for (index, entry) in raw.iter().enumerate() {
        let section = format!("clients[{index}]");
        let networks = entry.networks(report, &section, &mut owners);
        let secrets = entry.secrets(report, around, &section, &mut users_of_secret);
        entry.warn_of_forgery(report, &section);
        let name = references.clients.at(index);
        clients.push(Arc::new(Client {
            networks,
            secrets,
            require_message_authenticator: entry.require_message_authenticator,
            limit_proxy_state: entry.limit_proxy_state,
            challenge: entry.challenge,
            appended: entry.appended(report, &section),
            answer_within: entry.answer_within(report, &section),
            first_factor: entry.first_factor(report, &section, references.first_factors),
            attempt_group: match &entry.attempt_group {
                Some(group) => label(report, &format!("{section}.attempt_group"), group),
                None => Arc::clone(&name),
            },
            accounting: entry.accounting,
            max_sessions: entry.max_sessions(report, &section, max_sessions),
            dynamic_authorization: entry.dynamic_authorization.check(report, around, &section),
            name,
        }));
    }
    clients
}

impl RawClient {
    fn networks(&self, report: &mut Report, section: &str, owners: &mut HashMap<IpNet, String>) -> Vec<IpNet> {
        let path = format!("{section}.addresses");
        let texts = self.addresses.as_deref().unwrap_or_default();
        if texts.is_empty() {
            let remedy = "List the addresses or networks that the VPN server sends from.";
            report.fault(path.as_str(), "there is no address, so that nothing would be taken for this client", remedy);
        }
        let mut networks = Vec::new();
        for (path, net) in networks_at(report, &path, texts) {
            match owners.get(&net) {
                Some(owner) => {
                    let remedy = "Let one entry have it; a longer prefix may stand inside a shorter one.";
                    report.fault(path, format!("{net} stands at {owner} already"), remedy);
                }
                None => {
                    if net.prefix_len() == 0 {
                        let problem = format!("{net} is everybody: whoever learns this secret is a VPN server");
                        report.warn(path.as_str(), problem, "List the addresses of your VPN servers.");
                    }
                    owners.insert(net, path);
                    networks.push(net);
                }
            }
        }
        networks
    }

    fn secrets(
        &self,
        report: &mut Report,
        around: &Surroundings<'_>,
        section: &str,
        users: &mut HashMap<[u8; 32], String>,
    ) -> Vec<SharedSecret> {
        let current = Reference { file: self.secret_file.as_ref(), env: self.secret_env.as_ref(), key: "secret" };
        let previous = Reference {
            file: self.previous_secret_file.as_ref(),
            env: self.previous_secret_env.as_ref(),
            key: "previous_secret",
        };
        if current.file.is_none() && current.env.is_none() && !report.is_unreadable(&format!("{section}.secret_env")) {
            let remedy = "Set secret_file or secret_env to where the shared secret is.";
            report.fault(format!("{section}.secret_file"), "there is no shared secret", remedy);
        }
        let current = fetch(report, around, section, &current);
        let previous = fetch(report, around, section, &previous);
        if let (Some((_, current)), Some((path, previous))) = (&current, &previous)
            && current == previous
        {
            report.warn(path, "the previous secret is the current one", "Remove it.");
        }
        let mut secrets = Vec::new();
        if let Some((path, secret)) = current {
            warn_if_weak(report, &path, &secret);
            if let Some(other) = users.insert(Sha256::digest(secret.expose()).into(), section.to_owned()) {
                let problem = format!("{other} has the same secret: whoever breaks into one can speak for the other");
                report.warn(path, problem, "Give each client a secret of its own.");
            }
            secrets.push(SharedSecret::new(secret));
        }
        if let Some((path, secret)) = previous {
            warn_if_weak(report, &path, &secret);
            secrets.push(SharedSecret::new(secret));
        }
        secrets
    }

    /// CVE-2024-3596: what lies between the VPN server and the gateway can forge an accept.
    fn warn_of_forgery(&self, report: &mut Report, section: &str) {
        let problem = match self.require_message_authenticator {
            Require::Yes => return,
            Require::No => {
                "requests without a Message-Authenticator are answered, and a reject to them can be forged into an accept \
                 (Blast-RADIUS, CVE-2024-3596)"
            }
            Require::Auto => {
                "until this client has sent a Message-Authenticator, and again after each start, a reject can be forged \
                 into an accept (Blast-RADIUS, CVE-2024-3596)"
            }
        };
        let remedy = "Update the VPN server so that it sends one, then set this to \"yes\".";
        report.warn(format!("{section}.require_message_authenticator"), problem, remedy);
    }

    fn answer_within(&self, report: &mut Report, section: &str) -> Option<Duration> {
        let path = format!("{section}.answer_within");
        let patience = self.answer_within?;
        report.within(&path, &patience, Span::secs(2), Span::secs(600));
        if !self.challenge && patience < Span::secs(30) {
            let problem = format!(
                "users have {patience} to find their phone, and this client cannot be told to come back for the outcome"
            );
            report.warn(path, problem, "Raise the time limit of the VPN server, and this with it.");
        }
        Some(patience.0)
    }

    fn appended(&self, report: &mut Report, section: &str) -> Option<appended::Rule> {
        let separator = &self.appended_code_separator;
        if separator.len() > 8 || separator.chars().any(|c| c.is_control() || c.is_alphanumeric()) {
            let problem = "is longer than 8 octets, or has letters, digits or control characters";
            let remedy = "Write one sign that passwords and codes do not have, such as \",\".";
            report.fault(format!("{section}.appended_code_separator"), problem, remedy);
        }
        if self.appended_code != AppendedCode::No && self.first_factor.as_deref() == Some("none") {
            let problem = "there is no password to append a code to: the client has no first factor";
            report.fault(format!("{section}.appended_code"), problem, "Leave it out, or choose a first factor.");
        }
        let before = match self.appended_code {
            AppendedCode::No => return None,
            AppendedCode::After => false,
            AppendedCode::Before => true,
        };
        Some(appended::Rule { before, separator: separator.as_str().into() })
    }

    fn max_sessions(&self, report: &mut Report, section: &str, otherwise: Option<usize>) -> Option<usize> {
        match self.max_sessions {
            None => otherwise,
            Some(most) => {
                let most: usize = report.number(&format!("{section}.max_sessions"), most, 0..=10_000);
                (most > 0).then_some(most)
            }
        }
    }

    fn first_factor(&self, report: &mut Report, section: &str, factors: &Names) -> Option<Arc<str>> {
        let path = format!("{section}.first_factor");
        match self.first_factor.as_deref() {
            Some("none") => None,
            Some(name) => factors.find(report, &path, name),
            None => factors.only(report, &path, "write \"none\" if the VPN server checks passwords itself"),
        }
    }
}
