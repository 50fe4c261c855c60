//! `[[policies]]`: who needs what, and which attributes the reply carries.

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

use super::{
    identity::{Case, Identity, realm},
    names::Names,
    networks::networks,
    onboarding::{self, Onboarding},
    reply,
    report::Report,
    terms::{PushUsers, Unregistered},
};
use crate::radius::Attributes;
use crate::time::Timestamp;

/// Who may sign in, who needs a second factor, and what the reply tells the VPN server. The first policy whose conditions
/// all hold decides; a condition that is left out holds for everybody. Where no policy fits, the user is refused.
///
/// ```toml
/// [[policies]]
/// name = "administrators"
/// groups = ["vpn-admins"]
/// second_factor_name = "code"
/// reply = { Class = "admins", Session-Timeout = "28800" }
///
/// [[policies]]
/// name = "everybody"
/// clients = ["vpn-berlin"]
/// second_factor_name = "phone"
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawPolicy {
    /// The name by which logs and `simulate` call it: 1 to 64 letters, digits, dots, underscores and hyphens; unique.
    #[schemars(required, extend("x-default" = "required", "x-type" = "name"))]
    pub name: Option<String>,
    /// Condition: the request came from one of these `[[clients]]`.
    #[schemars(extend("x-type" = "list of names", "x-default" = "any"))]
    pub clients: Vec<String>,
    /// Condition: the first factor says that the user is in one of these groups. Capitals do not matter. A client with
    /// `first_factor = "none"` tells no groups, so such a policy never fits its users.
    #[schemars(extend("x-default" = "any"))]
    pub groups: Vec<String>,
    /// Condition: the user is one of these, written as `[identity]` makes them (`anna@corp.example`).
    #[schemars(extend("x-default" = "any"))]
    pub users: Vec<String>,
    /// Condition: the user's realm is one of these.
    #[schemars(extend("x-type" = "list of realms", "x-default" = "any"))]
    pub realms: Vec<String>,
    /// Condition: the packet came from one of these networks. This is the address of the VPN server as the gateway sees it,
    /// never an attribute that somebody could choose.
    #[schemars(extend("x-type" = "list of addresses and networks", "x-default" = "any"))]
    pub source_networks: Vec<String>,
    /// What happens to those for whom the conditions hold.
    pub outcome: Outcome,
    /// Whether they need a second factor.
    pub second_factor: SecondFactorNeed,
    /// Name of the `[[second_factor]]`. May be left out while only one is defined.
    #[schemars(extend("x-type" = "name", "x-default" = "the only one defined"))]
    pub second_factor_name: Option<String>,
    /// For a second factor of kind `entra`: what happens to those of these users whose default is a push.
    #[schemars(extend("x-default" = "as the second factor says"))]
    pub push_users: Option<PushUsers>,
    /// For a second factor of kind `entra`: what happens to those of these users who have registered none. It takes the place of
    /// the factor's `unregistered` and `unregistered_until`.
    #[schemars(extend("x-default" = "as the second factor says"))]
    pub unregistered: Option<Unregistered>,
    /// The last day, in UTC, on which `unregistered` of this policy lets anybody pass: `2026-03-31`.
    #[schemars(extend("x-type" = "date"))]
    pub unregistered_until: Option<String>,
    /// RADIUS attributes for the reply: name to value, or to a list of values. They are sent sorted by name, and the values of
    /// one name in the order of the list. At most 3500 octets together. An attribute without a name is written by number:
    /// `Attr-18`, `Vendor-9-Attr-1`. Names that belong to the protocol itself
    /// (passwords, keys, State, Proxy-State, Message-Authenticator, EAP-Message, CHAP) are refused. In a `deny` only
    /// Reply-Message is allowed (RFC 2865 §5.44).
    #[schemars(extend("x-type" = "table of attribute = text or list of texts"))]
    pub reply: BTreeMap<String, Values>,
}

/// One text, or several in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline, extend("x-type" = "text or list of texts"))]
pub enum Values {
    /// One value.
    One(String),
    /// Several values, sent in this order.
    Several(Vec<String>),
}

impl Values {
    /// The values in order.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Several(values) => values,
        }
    }
}

/// What a policy does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Outcome {
    /// They may sign in once the factors are proved.
    #[default]
    Permit,
    /// They are refused.
    Deny,
}

/// Whether a policy asks for a second factor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum SecondFactorNeed {
    /// Nobody signs in without it; who has none enrolled is refused.
    #[default]
    Required,
    /// Only those who have one enrolled are asked: for the weeks of a roll-out. Until a user enrols, the password alone
    /// opens the door.
    IfEnrolled,
    /// Nobody is asked: the password alone opens the door.
    Off,
}

/// A policy, checked.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Condition on the client's name; empty means any.
    pub clients: Vec<Arc<str>>,
    /// Condition on the user's groups; empty means any.
    pub groups: Vec<String>,
    /// Condition on the canonical user; empty means any.
    pub users: Vec<String>,
    /// Condition on the realm, in lower case; empty means any.
    pub realms: Vec<String>,
    /// Condition on the source address of the packet; empty means any.
    pub source_networks: Vec<IpNet>,
    /// What it does.
    pub outcome: Outcome,
    /// Whether a second factor is needed.
    pub second_factor: SecondFactorNeed,
    /// Which one; `Some` whenever the policy permits and `second_factor` is not `Off`.
    pub second_factor_name: Option<Arc<str>>,
    /// What happens to users whose default is a push; `None` leaves it to the factor.
    pub push_users: Option<PushUsers>,
    /// What happens to users who are not registered; `None` leaves it to the factor.
    pub unregistered: Option<Onboarding>,
    /// What the reply carries, encoded; nothing in it collides with what the protocol adds.
    pub reply: Attributes,
}

impl Policy {
    /// What this policy says at `now` of users who are not registered: what `Terms` of a prompt carry. `None` leaves it to the
    /// factor.
    pub fn unregistered_at(&self, now: Timestamp) -> Option<Unregistered> {
        self.unregistered.map(|onboarding| onboarding.at(now))
    }
}

/// What policies refer to elsewhere.
pub(super) struct References<'a> {
    pub(super) clients: &'a Names,
    pub(super) second_factors: &'a Names,
    pub(super) identity: &'a Identity,
    pub(super) now: Timestamp,
}

pub(super) fn check(raw: &[RawPolicy], report: &mut Report, references: &References<'_>) -> Vec<Policy> {
    let names = Names::check(report, "policies", raw.iter().map(|entry| entry.name.as_deref()));
    if raw.is_empty() {
        let remedy = "Add a [[policies]] section that permits those who may sign in.";
        report.warn("policies", "there is no policy, so that everybody is refused", remedy);
    }
    raw.iter().enumerate().map(|(index, entry)| entry.check(report, names.at(index), index, references)).collect()
}

impl RawPolicy {
    fn check(&self, report: &mut Report, name: Arc<str>, index: usize, references: &References<'_>) -> Policy {
        let section = format!("policies[{index}]");
        let at = |key: &str, position: usize| format!("{section}.{key}[{position}]");
        for (key, texts) in [("groups", &self.groups), ("users", &self.users)] {
            for (position, _) in texts.iter().enumerate().filter(|(_, text)| text.trim() != **text || text.is_empty()) {
                let remedy = "Remove it, or the white space around it.";
                report.fault(at(key, position), "is empty, or has white space around it", remedy);
            }
        }
        let clients = self.clients.iter().enumerate();
        let clients = clients.filter_map(|(place, name)| references.clients.find(report, &at("clients", place), name));
        let clients = clients.collect();
        let users = self.users.iter().enumerate();
        let users = users.map(|(place, text)| user(report, &at("users", place), text, references.identity)).collect();
        let realms = self.realms.iter().enumerate();
        let realms = realms.map(|(place, text)| realm(report, &at("realms", place), text)).collect();
        if references.identity.strip_realm && !self.realms.is_empty() {
            let problem = "identity.strip_realm is set: the realm is what the user typed and separates nobody";
            report.warn(format!("{section}.realms"), problem, "Use groups or users, or remove strip_realm.");
        }
        let source_networks = networks(report, &format!("{section}.source_networks"), &self.source_networks);
        Policy {
            clients,
            groups: self.groups.clone(),
            users,
            realms,
            source_networks: source_networks.into_iter().map(|(_, net)| net).collect(),
            outcome: self.outcome,
            second_factor: self.second_factor,
            reply: reply::encode(report, &format!("{section}.reply"), self.outcome, &self.reply),
            second_factor_name: self.second_factor_name(report, &section, references.second_factors),
            push_users: self.push_users,
            unregistered: self.unregistered(report, &section, references.now),
            name,
        }
    }

    fn unregistered(&self, report: &mut Report, section: &str, now: Timestamp) -> Option<Onboarding> {
        let until = self.unregistered_until.as_deref();
        if let (None, Some(_)) = (self.unregistered, until) {
            let problem = "is set, and `unregistered` of this policy is not";
            report.fault(
                format!("{section}.unregistered_until"),
                problem,
                "Set both, or leave both to the second factor.",
            );
        }
        self.unregistered.map(|rule| onboarding::check(report, section, rule, until, now))
    }

    fn second_factor_name(&self, report: &mut Report, section: &str, factors: &Names) -> Option<Arc<str>> {
        let path = format!("{section}.second_factor_name");
        let named = self.second_factor_name.as_deref().and_then(|name| factors.find(report, &path, name));
        match (self.outcome, self.second_factor) {
            (Outcome::Deny, _) | (_, SecondFactorNeed::Off) => None,
            _ if self.second_factor_name.is_some() => named,
            _ => factors.only(report, &path, "set second_factor = \"off\" for users who need none"),
        }
    }
}

/// A user as the rules of `[identity]` leave them, with a warning where no sign-in can ever have that name.
fn user(report: &mut Report, path: &str, text: &str, identity: &Identity) -> String {
    let never = if text.contains('\\') {
        Some("a user is never known by a name with a backslash")
    } else if identity.strip_realm && text.contains('@') {
        Some("identity.strip_realm is set, so that users are known without their realm")
    } else if !identity.strip_realm && identity.default_realm.is_some() && !text.contains('@') {
        Some("identity.default_realm is set, so that every user is known with a realm")
    } else {
        None
    };
    if let Some(never) = never {
        let remedy = "Write the name as [identity] makes it.";
        report.warn(path, format!("`{text}` fits nobody: {never}"), remedy);
    }
    match identity.case {
        Case::Fold => text.to_lowercase(),
        Case::Keep => text.to_owned(),
    }
}
