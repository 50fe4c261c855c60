//! `[[policies]]`: who needs what, and which attributes the reply carries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

use super::{
    conditions::RawTest,
    identity::Identity,
    names::Names,
    onboarding::{self, Onboarding},
    reply,
    report::Report,
    terms::{PushUsers, Unregistered},
};
use crate::policy::{Conditions, Reply};
use crate::radius::Dictionary;
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
    /// Condition: the request came from one of these `[[clients]]`. `(self)` is the client inside the process that signs the user of
    /// `[health.sign_in]` in.
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
    /// Condition: the request came from none of these `[[clients]]`.
    #[schemars(extend("x-type" = "list of names", "x-default" = "none"))]
    pub not_clients: Vec<String>,
    /// Condition: the packet came from none of these networks.
    #[schemars(extend("x-type" = "list of addresses and networks", "x-default" = "none"))]
    pub not_source_networks: Vec<String>,
    /// Condition: the user is none of these.
    #[schemars(extend("x-default" = "none"))]
    pub not_users: Vec<String>,
    /// Condition: the first factor says that the user is in none of these groups. Where the client has no first factor, nobody
    /// tells groups, and the condition does not hold.
    #[schemars(extend("x-default" = "none"))]
    pub not_groups: Vec<String>,
    /// Condition: one of these `[[first_factor]]` has proved the user.
    #[schemars(extend("x-type" = "list of names", "x-default" = "any"))]
    pub first_factors: Vec<String>,
    /// Condition: the first factor was proved in one of these protocols: `pap`, `chap`, `mschapv2`, `eap-…`, or `none` where the
    /// packet brings no proof.
    #[schemars(extend("x-default" = "any"))]
    pub protocols: Vec<String>,
    /// Condition: it is one of these hours, each written as days, hours and IANA time zone: `Mon-Fri 08:00-18:00 Europe/Berlin`,
    /// `Sat,Sun 00:00-24:00 UTC`, `daily 22:00-06:00 America/New_York`. Hours that end before they begin go on into the
    /// next day. Daylight saving is the zone's.
    #[schemars(extend("x-default" = "always"))]
    pub times: Vec<String>,
    /// Condition: NAS-Port-Type is one of these, by name or number: `Virtual`. This key and those below look at what the packet
    /// says of itself. The VPN server writes it, in part from what the user's device says: it tells one door from another and proves
    /// nothing.
    #[schemars(extend("x-default" = "any"))]
    pub nas_port_types: Vec<String>,
    /// Condition: NAS-IP-Address or NAS-IPv6-Address lies in one of these networks. It is what the VPN server says of itself;
    /// `source_networks` is what the gateway sees.
    #[schemars(extend("x-type" = "list of addresses and networks", "x-default" = "any"))]
    pub nas_addresses: Vec<String>,
    /// Condition: NAS-Identifier is one of these. ASCII capitals do not matter, and a `*` at the end stands for any rest.
    #[schemars(extend("x-default" = "any"))]
    pub nas_identifiers: Vec<String>,
    /// Condition: Called-Station-Id is one of these, compared like `nas_identifiers`.
    #[schemars(extend("x-default" = "any"))]
    pub called_stations: Vec<String>,
    /// Condition: Calling-Station-Id is one of these, compared like `nas_identifiers`.
    #[schemars(extend("x-default" = "any"))]
    pub calling_stations: Vec<String>,
    /// Condition: Framed-Protocol is one of these, by name or number: `PPP`.
    #[schemars(extend("x-default" = "any"))]
    pub framed_protocols: Vec<String>,
    /// Condition: Service-Type is one of these, by name or number: `Framed-User`.
    #[schemars(extend("x-default" = "any"))]
    pub service_types: Vec<String>,
    /// Conditions on any other attributes of the packet: name to value, to a list of values of which one is enough, or to
    /// `{ equals = …, prefix = …, regex = … }` or `{ present = true }`. A regular expression describes the whole value; look-around
    /// and references back do not exist, so that none takes long. A secret attribute cannot be asked for.
    #[schemars(extend("x-type" = "table of attribute = text, list of texts, or table", "x-default" = "any"))]
    pub attributes: BTreeMap<String, RawTest>,
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
    /// `Attr-18`, `Vendor-9-Attr-1`; one with a tag (RFC 2868) with it: `Tunnel-Type:1`. `{user.name}`, `{user.department}`,
    /// `{group.vlan}`, `{client.name}` and others are filled in at the sign-in, `{user.vlan|100}` with a value for those who have
    /// none; without one, who lacks a datum is refused. `{{` and `}}` are braces. What is hidden on the wire (Tunnel-Password)
    /// takes its value from such data alone. Names that belong to the protocol itself (passwords, keys, State, Proxy-State,
    /// Message-Authenticator, EAP-Message, CHAP) are refused. In a `deny` only Reply-Message is allowed (RFC 2865 §5.44).
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
    /// What must hold for it to fit.
    pub conditions: Conditions,
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
    /// What the reply carries; nothing in it collides with what the protocol adds.
    pub reply: Reply,
}

impl Policy {
    /// Whether the packet's attributes are looked at.
    pub fn reads_attributes(&self) -> bool {
        self.conditions.reads_attributes() || self.reply.reads_attributes()
    }

    /// What this policy says at `now` of users who are not registered: what `Terms` of a prompt carry. `None` leaves it to the
    /// factor.
    pub fn unregistered_at(&self, now: Timestamp) -> Option<Unregistered> {
        self.unregistered.map(|onboarding| onboarding.at(now))
    }
}

/// What policies refer to elsewhere.
pub(super) struct References<'a> {
    pub(super) clients: &'a Names,
    pub(super) first_factors: &'a Names,
    pub(super) dictionary: &'a Dictionary,
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
        Policy {
            conditions: self.conditions(report, &section, references),
            outcome: self.outcome,
            second_factor: self.second_factor,
            reply: reply::check(report, &format!("{section}.reply"), self.outcome, &self.reply, references.dictionary),
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
