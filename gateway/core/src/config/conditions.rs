//! The conditions of a policy: from the keys of the file to what a decision can be made with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::{
    health::SELF_CLIENT,
    identity::{Case, Identity, realm},
    networks::networks,
    policies::{RawPolicy, References, Values},
    report::Report,
    unseen,
};
use crate::identity::{lower, nfc};
use crate::policy::{Claim, Conditions, Hours, Matcher, Test};
use crate::radius::{AttributeDef, AttributeNumber, Layout, attribute};

/// What an attribute must be: one text or several, of which one is enough, or a table of tests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline, extend("x-type" = "text, list of texts, or table"))]
pub enum RawTest {
    /// One of these values.
    Equals(Values),
    /// Other tests.
    Tests(RawTests),
}

/// Tests of an attribute; one that holds is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(inline)]
pub struct RawTests {
    /// One of these values: a text, a name or number, an address. ASCII capitals do not matter.
    pub equals: Option<Values>,
    /// The value, as it is printed, begins with one of these. ASCII capitals do not matter.
    pub prefix: Option<Values>,
    /// One of these patterns describes the whole value, as it is printed. Capitals matter, unless it begins with `(?i)`.
    pub regex: Option<Values>,
    /// Whether the packet has the attribute at all.
    pub present: Option<bool>,
}

/// The protocols in which a first factor can be proved; what begins with `eap-` names a method.
const PROTOCOLS: [&str; 5] = ["none", "pap", "chap", "mschapv2", "eap-*"];

impl RawPolicy {
    pub(super) fn conditions(&self, report: &mut Report, section: &str, references: &References<'_>) -> Conditions {
        let path = |key: &str| format!("{section}.{key}");
        let at = |key: &str, position: usize| format!("{section}.{key}[{position}]");
        let texts = [
            ("groups", &self.groups),
            ("not_groups", &self.not_groups),
            ("users", &self.users),
            ("not_users", &self.not_users),
        ];
        for (key, texts) in texts {
            for (position, _) in texts.iter().enumerate().filter(|(_, text)| text.trim() != **text || text.is_empty()) {
                let remedy = "Remove it, or the white space around it.";
                report.fault(at(key, position), "is empty, or has white space around it", remedy);
            }
        }
        for (key, texts) in texts {
            for (position, text) in texts.iter().enumerate() {
                unseen::warn(report, &at(key, position), "the name", text.trim().as_bytes());
            }
        }
        if references.identity.strip_realm && !self.realms.is_empty() {
            let problem = "identity.strip_realm is set: the realm is what the user typed and separates nobody";
            report.warn(path("realms"), problem, "Use groups or users, or remove strip_realm.");
        }
        let mut clients = |key: &str, names: &[String]| -> Vec<Arc<str>> {
            let names = names.iter().enumerate();
            names
                .filter_map(|(place, name)| match name.as_str() {
                    SELF_CLIENT => Some(SELF_CLIENT.into()),
                    name => references.clients.find(report, &at(key, place), name),
                })
                .collect()
        };
        let (clients, not_clients) = (clients("clients", &self.clients), clients("not_clients", &self.not_clients));
        let mut users = |key: &str, names: &[String]| -> Vec<String> {
            let names = names.iter().enumerate();
            names.map(|(place, text)| user(report, &at(key, place), text, references.identity)).collect()
        };
        let (users, not_users) = (users("users", &self.users), users("not_users", &self.not_users));
        let realms = self.realms.iter().enumerate();
        let realms = realms.map(|(place, text)| realm(report, &at("realms", place), text)).collect();
        let first_factors = self.first_factors.iter().enumerate();
        let first_factors = first_factors
            .filter_map(|(place, name)| references.first_factors.find(report, &at("first_factors", place), name));
        let first_factors = first_factors.collect();
        let folded = |texts: &[String]| texts.iter().map(|text| text.to_lowercase()).collect();
        let mut nets = |key: &str, texts: &[String]| {
            networks(report, &path(key), texts).into_iter().map(|(_, net)| net).collect::<Vec<_>>()
        };
        let source_networks = nets("source_networks", &self.source_networks);
        let not_source_networks = nets("not_source_networks", &self.not_source_networks);
        let nas_addresses = nets("nas_addresses", &self.nas_addresses);
        Conditions {
            clients,
            not_clients,
            source_networks,
            not_source_networks,
            first_factors,
            protocols: self.protocols(report, section),
            users,
            not_users,
            realms,
            groups: folded(&self.groups),
            not_groups: folded(&self.not_groups),
            times: self.times(report, section),
            nas_addresses,
            claims: self.claims(report, section, references),
        }
    }

    fn protocols(&self, report: &mut Report, section: &str) -> Vec<String> {
        for (place, text) in self.protocols.iter().enumerate() {
            let path = format!("{section}.protocols[{place}]");
            if text.strip_prefix("eap-").is_some_and(|method| !method.is_empty()) {
                let remedy = "Remove it until the gateway speaks EAP.";
                report.warn(path, format!("`{text}` fits nobody: EAP is not spoken"), remedy);
            } else if !PROTOCOLS.contains(&text.as_str()) {
                report.fault(
                    path,
                    format!("there is no protocol `{text}`"),
                    format!("They are {}.", PROTOCOLS.join(", ")),
                );
            }
        }
        self.protocols.clone()
    }

    fn times(&self, report: &mut Report, section: &str) -> Vec<Hours> {
        let mut times = Vec::with_capacity(self.times.len());
        for (place, text) in self.times.iter().enumerate() {
            match Hours::parse(text) {
                Ok(hours) => times.push(hours),
                Err(problem) => {
                    let remedy = "Write days, hours and an IANA time zone: `Mon-Fri 08:00-18:00 Europe/Berlin`.";
                    report.fault(format!("{section}.times[{place}]"), problem, remedy);
                }
            }
        }
        times
    }

    fn claims(&self, report: &mut Report, section: &str, references: &References<'_>) -> Vec<Claim> {
        let values = [
            ("nas_port_types", attribute::NAS_PORT_TYPE, &self.nas_port_types),
            ("service_types", attribute::SERVICE_TYPE, &self.service_types),
            ("framed_protocols", attribute::FRAMED_PROTOCOL, &self.framed_protocols),
            ("nas_identifiers", attribute::NAS_IDENTIFIER, &self.nas_identifiers),
            ("called_stations", attribute::CALLED_STATION_ID, &self.called_stations),
            ("calling_stations", attribute::CALLING_STATION_ID, &self.calling_stations),
        ];
        let mut claims = Vec::new();
        for (key, number, texts) in values.into_iter().filter(|(_, _, texts)| !texts.is_empty()) {
            let def = Arc::new(references.dictionary.definition(AttributeNumber::Standard(number)).into_owned());
            let path = format!("{section}.{key}");
            let test = Test::AnyOf(matchers(
                report,
                |place| format!("{path}[{place}]"),
                texts,
                |text| match text.strip_suffix('*') {
                    Some(head) if !head.is_empty() => Ok(Matcher::Prefix(head.into())),
                    _ => Matcher::equals(&def, text),
                },
            ));
            claims.push(Claim { key: key.into(), def, tag: None, test });
        }
        for (name, raw) in &self.attributes {
            let path = format!("{section}.attributes.{name}");
            let Some((def, tag)) = super::reply::find(report, &path, name, references.dictionary) else { continue };
            if def.is_secret() {
                report.fault(path, format!("`{name}` is a secret, and nobody may ask for it"), "Remove it.");
                continue;
            }
            if matches!(def.number, AttributeNumber::Inner { .. }) || def.layout != Layout::PLAIN {
                let problem = format!("`{name}` has a form that conditions do not look into");
                report.fault(path, problem, "Take another attribute: this one can be sent and is shown in the log.");
                continue;
            }
            let def = Arc::new(def);
            if let Some(test) = test(report, &path, raw, &def) {
                claims.push(Claim { key: format!("attributes.{name}").into(), def, tag, test });
            }
        }
        claims
    }
}

/// The test at `path`; `None` where it says nothing that could hold, which is a fault.
fn test(report: &mut Report, path: &str, raw: &RawTest, def: &AttributeDef) -> Option<Test> {
    let remedy = "Write a value, or { equals = …, prefix = …, regex = … }, or { present = true }.";
    let tests = match raw {
        RawTest::Equals(values) => RawTests { equals: Some(values.clone()), ..RawTests::default() },
        RawTest::Tests(tests) => tests.clone(),
    };
    let RawTests { equals, prefix, regex, present } = tests;
    if let Some(present) = present {
        if equals.is_some() || prefix.is_some() || regex.is_some() {
            let problem = "`present` stands beside other tests";
            report.fault(path, problem, "Keep one of them: a value that passes a test is present.");
        }
        return Some(Test::Present(present));
    }
    let mut all = Vec::new();
    let mut add = |values: Option<Values>, read: &dyn Fn(&str) -> Result<Matcher, String>| {
        if let Some(values) = values {
            all.extend(matchers(report, |_| path.to_owned(), values.as_slice(), read));
        }
    };
    add(equals, &|text| Matcher::equals(def, text));
    add(prefix, &|text| {
        if text.is_empty() {
            Err("an empty prefix fits every value".to_owned())
        } else {
            Ok(Matcher::Prefix(text.into()))
        }
    });
    add(regex, &Matcher::pattern);
    if all.is_empty() && !report.has_fault(path) {
        report.fault(path, "there is no value to compare with", remedy);
    }
    Some(Test::AnyOf(all))
}

fn matchers(
    report: &mut Report,
    path: impl Fn(usize) -> String,
    texts: &[String],
    read: impl Fn(&str) -> Result<Matcher, String>,
) -> Vec<Matcher> {
    let mut all = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        match read(text) {
            Ok(_) if text.is_empty() => report.fault(path(place), "is empty", "Remove it, or write a value."),
            Ok(matcher) => all.push(matcher),
            Err(problem) => report.fault(path(place), problem, "Correct the value."),
        }
    }
    all
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
        Case::Fold => lower(text),
        Case::Keep => nfc(text).into_owned(),
    }
}
