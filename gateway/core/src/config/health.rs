//! `[health]`: what balancers look at.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use super::{
    Surroundings,
    names::Names,
    networks::socket_address,
    policies::{Outcome, Policy, SecondFactorNeed},
    report::Report,
    secrets::{Reference, fetch},
    units::Span,
};
use crate::identity::{Identity, Rules};
use crate::secret::Secret;

/// The name of the RADIUS client inside the process that signs the user of `[health.sign_in]` in. No `[[clients]]` entry can have
/// it; policies may name it.
pub const SELF_CLIENT: &str = "(self)";

/// What balancers look at that cannot ask a RADIUS server itself.
///
/// ```toml
/// [health]
/// listen = "192.0.2.5:9814"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawHealth {
    /// The TCP address of the health port, as `address:port`. It takes connections while the node is ready, and refuses them while
    /// it is not; whoever speaks HTTP there is told 200 or 503, and why. It says which check fails and nothing else.
    #[schemars(extend("x-type" = "socket address", "x-default" = "none", "x-reload" = "no"))]
    pub listen: Option<String>,
    /// Connections that may be open at the health port. When there are more, the address that holds the most loses its oldest one,
    /// so that nobody keeps a balancer out.
    #[schemars(range(min = 1, max = 4096), extend("x-reload" = "no"))]
    pub connections: u64,
    /// A sign-in of its own.
    pub sign_in: RawSelfSignIn,
}

impl Default for RawHealth {
    fn default() -> Self {
        Self { listen: None, connections: 64, sign_in: RawSelfSignIn::default() }
    }
}

/// A user whom the node signs in by itself, to see that it can. The packet takes the way of every other, from encoding over first
/// factor and policy to the check of the reply; it comes from a RADIUS client inside the process, whose secret is drawn at each
/// start and which no address leads to. When `failures` sign-ins in a row have failed, the node is not ready.
///
/// Take a user of its own, and a policy for it that names the client inside the process, `(self)`, and waives the second factor: a
/// second factor is never asked, and the sign-in fails instead. Without `clients = ["(self)"]` the user could sign in by every VPN
/// server with the password alone: such a policy is a fault. Packets from outside with the user's name, or with `(self)` as
/// NAS-Identifier, are refused (`ORT-125`) whatever the policies say. If the first factor is one that all nodes share, all of them
/// leave the balancer when it fails.
///
/// ```toml
/// [health.sign_in]
/// user = "orthrus-health"
/// password_file = "secrets/health-password"
///
/// [[policies]]
/// name = "health"
/// clients = ["(self)"]
/// users = ["orthrus-health"]
/// second_factor = "off"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSelfSignIn {
    /// Who is signed in. Without it nobody is. No VPN server can sign this user in.
    #[schemars(extend("x-type" = "name", "x-default" = "none"))]
    pub user: Option<String>,
    /// File with the password. One trailing newline is not part of it.
    #[schemars(extend("x-type" = "path", "x-default" = "required with user"))]
    pub password_file: Option<PathBuf>,
    /// The first factor that checks it.
    #[schemars(extend("x-type" = "name", "x-default" = "the only one"))]
    pub first_factor: Option<String>,
    /// From one sign-in to the next.
    #[schemars(extend("x-min" = "1s", "x-max" = "10m"))]
    pub interval: Span,
    /// How long a sign-in may take. A first factor that hashes passwords takes its time under load.
    #[schemars(extend("x-min" = "100ms", "x-max" = "25s"))]
    pub timeout: Span,
    /// How many failures in a row make the node not ready; one success makes it ready again.
    #[schemars(range(min = 1, max = 100))]
    pub failures: u64,
}

impl Default for RawSelfSignIn {
    fn default() -> Self {
        Self {
            user: None,
            password_file: None,
            first_factor: None,
            interval: Span::secs(10),
            timeout: Span::secs(5),
            failures: 3,
        }
    }
}

/// What balancers look at, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Health {
    /// The health port.
    pub listen: Option<SocketAddr>,
    /// Connections that may be open there.
    pub connections: usize,
    /// A sign-in of its own.
    pub sign_in: Option<SelfSignIn>,
}

/// A sign-in of its own, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct SelfSignIn {
    /// Its name, as it is sent.
    pub user: String,
    /// The same as the rules of `[identity]` leave it.
    pub identity: Identity,
    /// With which password.
    pub password: Secret,
    /// Who checks it.
    pub first_factor: Arc<str>,
    /// From one to the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// How many failures in a row count.
    pub failures: u32,
}

impl SelfSignIn {
    /// Whether this is the user, in whatever spelling.
    pub fn is(&self, identity: &Identity) -> bool {
        identity.canonical == self.identity.canonical || identity.upn == self.identity.upn
    }
}

/// The longest User-Password (RFC 2865 §5.2).
const LONGEST_PASSWORD: usize = 128;

impl RawHealth {
    pub(super) fn check(
        &self,
        report: &mut Report,
        around: &Surroundings<'_>,
        first_factors: &Names,
        policies: &[Policy],
        rules: &Rules,
    ) -> Health {
        let listen = self.listen.as_ref().and_then(|text| socket_address(report, "health.listen", text));
        let connections = report.number("health.connections", self.connections, 1..=4096);
        Health { listen, connections, sign_in: self.sign_in.check(report, around, first_factors, policies, rules) }
    }
}

impl RawSelfSignIn {
    fn check(
        &self,
        report: &mut Report,
        around: &Surroundings<'_>,
        first_factors: &Names,
        policies: &[Policy],
        rules: &Rules,
    ) -> Option<SelfSignIn> {
        const HERE: &str = "health.sign_in";
        let path = |key: &str| format!("{HERE}.{key}");
        report.within(&path("interval"), &self.interval, Span::secs(1), Span::secs(600));
        report.within(&path("timeout"), &self.timeout, Span(Duration::from_millis(100)), Span::secs(25));
        let failures = report.number(&path("failures"), self.failures, 1..=100);
        let user = self.user.as_ref()?;
        let Ok(identity) = rules.read(user.as_bytes()) else {
            report.fault(path("user"), format!("`{user}` cannot be a user's name"), "Write one that [identity] takes.");
            return None;
        };
        if self.password_file.is_none() {
            report.fault(path("password_file"), "is left out", "Name the file with the user's password.");
        }
        let reference = Reference { file: self.password_file.as_ref(), env: None, key: "password" };
        let password = fetch(report, around, HERE, &reference).map(|(path, password)| {
            if password.expose().len() > LONGEST_PASSWORD {
                let problem = format!("the password is longer than the {LONGEST_PASSWORD} octets that RADIUS carries");
                report.fault(path, problem, "Give the user a shorter one.");
            }
            password
        });
        let first_factor = match &self.first_factor {
            Some(name) => first_factors.find(report, &path("first_factor"), name),
            None => first_factors.only(report, &path("first_factor"), "name the one that knows the user"),
        };
        refuse_elsewhere(report, policies, &identity);
        // Who is in which groups is not known here: a policy that asks for groups may fit.
        let may_fit = |policy: &&Policy| {
            let conditions = &policy.conditions;
            let here = |clients: &[Arc<str>]| clients.iter().any(|client| **client == *SELF_CLIENT);
            (conditions.clients.is_empty() || here(&conditions.clients))
                && !here(&conditions.not_clients)
                && conditions.source_networks.is_empty()
                && (conditions.users.is_empty() || conditions.users.contains(&identity.canonical))
                && !conditions.not_users.contains(&identity.canonical)
        };
        let waives =
            |policy: &&Policy| policy.outcome == Outcome::Permit && policy.second_factor == SecondFactorNeed::Off;
        if !policies.is_empty() && !policies.iter().filter(may_fit).any(|policy| waives(&policy)) {
            let problem = format!("no policy lets `{user}` in without a second factor, which nobody is asked for here");
            let remedy = "Add a policy with clients = [\"(self)\"], users = [that name] and second_factor = \"off\" before \
                          the others.";
            report.fault(path("user"), problem, remedy);
        } else if let Some(first) = policies.iter().find(may_fit).filter(|policy| !waives(policy)) {
            let problem = format!("policy `{}` stands before those that let `{user}` in, and may fit", first.name);
            report.warn(path("user"), problem, "Move the policy for this user before it.");
        }
        Some(SelfSignIn {
            user: user.clone(),
            identity,
            password: password?,
            first_factor: first_factor?,
            interval: self.interval.0,
            timeout: self.timeout.0,
            failures,
        })
    }
}

/// A policy that names the user, waives the second factor, and is not for the client inside the process alone: whoever reads the
/// password file would get in by every VPN server.
fn refuse_elsewhere(report: &mut Report, policies: &[Policy], identity: &Identity) {
    for (position, policy) in policies.iter().enumerate() {
        let conditions = &policy.conditions;
        let waives = policy.outcome == Outcome::Permit && policy.second_factor != SecondFactorNeed::Required;
        let alone = !conditions.clients.is_empty() && conditions.clients.iter().all(|name| **name == *SELF_CLIENT);
        let path = format!("policies[{position}].clients");
        if waives && !alone && conditions.users.contains(&identity.canonical) && !report.has_fault(&path) {
            let problem = format!(
                "`{}` waives the second factor of `{}`, the user of [health.sign_in], for other clients than the node's own",
                policy.name, identity.canonical
            );
            report.fault(path, problem, "Write clients = [\"(self)\"]; give other users a policy of their own.");
        }
    }
}
