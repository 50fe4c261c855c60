//! What a reply carries: attributes that were encoded when the configuration was read, and those whose values are only known
//! at the sign-in. Nothing is cut and nothing is left out: what cannot be sent as it was meant is a refusal.

use super::template::{Template, Values};
use crate::radius::{AttributeDef, AttributeNumber, Attributes, attribute};
use crate::reason::Reason;
use std::sync::Arc;

/// Leaves room in the 4096 octets of a packet (RFC 2865 §3) for what the protocol itself adds: Message-Authenticator,
/// Proxy-State, EAP-Message, keys.
pub const MOST_OCTETS: usize = 3500;

/// What a policy's reply carries.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The same for everybody, encoded.
    Fixed(Attributes),
    /// Something that depends on who signs in, in the order in which it is sent.
    Made(Arc<[Item]>),
}

/// A part of a reply.
#[derive(Clone, Debug)]
pub enum Item {
    /// Encoded already.
    Encoded(Attributes),
    /// One attribute.
    Made {
        /// As the configuration calls it.
        name: Arc<str>,
        /// Which attribute.
        def: Arc<AttributeDef>,
        /// The tag of its value.
        tag: Option<u8>,
        /// Its value.
        template: Template,
    },
}

/// Why a reply cannot be made for this user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrendered {
    /// Why.
    pub reason: Reason,
    /// The attribute, as the configuration calls it; empty where it is all of them together.
    pub attribute: Arc<str>,
    /// What exactly, as a clause.
    pub problem: String,
}

impl Default for Reply {
    fn default() -> Self {
        Self::Fixed(Attributes::new())
    }
}

impl From<Attributes> for Reply {
    fn from(attributes: Attributes) -> Self {
        Self::Fixed(attributes)
    }
}

impl FromIterator<Item> for Reply {
    fn from_iter<I: IntoIterator<Item = Item>>(items: I) -> Self {
        let mut joined: Vec<Item> = Vec::new();
        for item in items {
            match (joined.last_mut(), item) {
                (Some(Item::Encoded(last)), Item::Encoded(more)) => last.append(&more),
                (_, item) => joined.push(item),
            }
        }
        match joined.as_slice() {
            [] => Self::default(),
            [Item::Encoded(all)] => Self::Fixed(all.clone()),
            _ => Self::Made(joined.into()),
        }
    }
}

impl Reply {
    /// The octets that are the same for everybody.
    pub fn fixed_octets(&self) -> usize {
        match self {
            Self::Fixed(attributes) => attributes.as_bytes().len(),
            Self::Made(items) => {
                let octets = |item: &Item| if let Item::Encoded(list) = item { list.as_bytes().len() } else { 0 };
                items.iter().map(octets).sum()
            }
        }
    }

    /// Whether the packet's attributes are looked at.
    pub fn reads_attributes(&self) -> bool {
        let reads = |item: &Item| matches!(item, Item::Made { template, .. } if template.reads_attributes());
        matches!(self, Self::Made(items) if items.iter().any(reads))
    }

    /// The attributes for one sign-in.
    ///
    /// # Errors
    ///
    /// A datum is missing, a value does not fit its attribute, or all of it together does not fit a packet.
    pub fn render(&self, values: &Values<'_>) -> Result<Attributes, Unrendered> {
        let items = match self {
            Self::Fixed(attributes) => return Ok(attributes.clone()),
            Self::Made(items) => items,
        };
        let mut attributes = Attributes::new();
        for item in &**items {
            match item {
                Item::Encoded(list) => attributes.append(list),
                Item::Made { name, def, tag, template } => {
                    let fault = |reason, problem| Unrendered { reason, attribute: name.clone(), problem };
                    let text = template.fill(values).map_err(|datum| {
                        fault(Reason::DatumMissing, format!("the user has no {{{datum}}} and it has no default"))
                    })?;
                    // A control character could end one statement and begin another where the NAS reads a list of them.
                    if text.chars().any(char::is_control) {
                        return Err(fault(Reason::DatumUnfit, "the value has control characters".to_owned()));
                    }
                    push(&mut attributes, def, *tag, &text).map_err(|problem| fault(Reason::DatumUnfit, problem))?;
                }
            }
        }
        let octets = attributes.as_bytes().len();
        if octets > MOST_OCTETS {
            let problem =
                format!("the attributes take {octets} octets, and a packet has room for {MOST_OCTETS} of them");
            return Err(Unrendered { reason: Reason::ReplyTooLong, attribute: "".into(), problem });
        }
        Ok(attributes)
    }
}

/// The shortest time between two interim reports of a session, in seconds (RFC 2869 §5.16).
const SHORTEST_INTERIM: u32 = 60;

/// The Service-Type by which a NAS asks for an authorization anew (RFC 5176 §3.2): no answer to a sign-in.
const AUTHORIZE_ONLY: u32 = 17;

/// Adds an attribute whose value is given as text.
///
/// # Errors
///
/// The text is no value of it, or none that an Access-Accept may carry.
pub(crate) fn push(attributes: &mut Attributes, def: &AttributeDef, tag: Option<u8>, text: &str) -> Result<(), String> {
    let octets = def.encode_tagged(text, tag).map_err(|error| error.to_string())?;
    let number = <[u8; 4]>::try_from(octets.as_ref()).map(u32::from_be_bytes).unwrap_or_default();
    match def.number {
        AttributeNumber::Standard(attribute::ACCT_INTERIM_INTERVAL) if number < SHORTEST_INTERIM => {
            return Err(format!("{number} s is below the {SHORTEST_INTERIM} s that RFC 2869 §5.16 allows"));
        }
        AttributeNumber::Standard(attribute::SERVICE_TYPE) if number == AUTHORIZE_ONLY => {
            return Err("Authorize-Only is no service that an Access-Accept grants (RFC 5176 §3.2)".to_owned());
        }
        _ => {}
    }
    attributes.push_def(def, &octets).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::factor::Data;
    use crate::identity::Identity;
    use crate::policy::Facts;
    use crate::radius::{describe_attributes, dictionary};
    use crate::time::Timestamp;
    use std::collections::BTreeMap;

    fn made(name: &str, tag: Option<u8>, text: &str) -> Item {
        let def = Arc::new(dictionary().by_name(name).unwrap().clone());
        Item::Made { name: name.into(), def, tag, template: Template::parse(text).unwrap() }
    }

    fn render(items: impl IntoIterator<Item = Item>, data: &[(&str, &str)]) -> Result<Vec<String>, Unrendered> {
        let identity = Identity::nobody(b"alice");
        let facts = Facts {
            client: "vpn",
            source: [192, 0, 2, 10].into(),
            first_factor: None,
            protocol: "none",
            identity: &identity,
            groups: &[],
            attributes: None,
            now: Timestamp::default(),
        };
        let table: BTreeMap<String, String> =
            data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let data = Data { user: Some(Arc::new(table)), group: None };
        let reply: Reply = items.into_iter().collect();
        reply.render(&Values { facts: &facts, data: &data }).map(|list| describe_attributes(list.iter()))
    }

    fn encoded(text: &str) -> Item {
        let mut list = Attributes::new();
        list.push(25, text.as_bytes()).unwrap();
        Item::Encoded(list)
    }

    #[test]
    fn values_are_made_in_order() {
        let items = [
            encoded("a"),
            made("Tunnel-Private-Group-ID", Some(1), "{user.vlan}"),
            made("Tunnel-Type", Some(1), "{user.tunnel|VLAN}"),
            encoded("b"),
            made("Session-Timeout", None, "{user.hours}600"),
        ];
        assert_eq!(
            render(items, &[("vlan", "120"), ("hours", "3")]).unwrap(),
            [
                "Class = \"a\"",
                "Tunnel-Private-Group-ID:1 = \"120\"",
                "Tunnel-Type:1 = VLAN",
                "Class = \"b\"",
                "Session-Timeout = 3600"
            ]
        );
        assert!(
            matches!([encoded("a"), encoded("b")].into_iter().collect(), Reply::Fixed(list) if list.iter().count() == 2)
        );
    }

    #[test]
    fn secrets_and_rules_come_from_data() {
        let items = [
            made("NAS-Filter-Rule", None, "{user.rule}"),
            made("NAS-Filter-Rule", None, "deny"),
            made("Tunnel-Password", Some(1), "{user.tunnel}"),
        ];
        let shown = render(items, &[("rule", "permit"), ("tunnel", "hunter2")]).unwrap();
        assert_eq!(shown, ["NAS-Filter-Rule = \"permit\\0deny\"", "Tunnel-Password:1 = [secret]"]);
        let items = [made("Tunnel-Password", Some(1), "{user.tunnel}")];
        let fault = render(items, &[("tunnel", &"x".repeat(240))]).unwrap_err();
        assert_eq!(fault.problem, "Tunnel-Password: hidden value of 240 octets; at most 239 fit");
    }

    #[test]
    fn what_cannot_be_made_names_its_attribute() {
        let fault = |items: Vec<Item>, data: &[(&str, &str)]| {
            let fault = render(items, data).unwrap_err();
            (fault.reason, fault.attribute.to_string())
        };
        let timeout = || vec![made("Session-Timeout", None, "{user.timeout}")];
        assert_eq!(fault(timeout(), &[]), (Reason::DatumMissing, "Session-Timeout".into()));
        for unfit in ["soon", "-1", "4294967296", "", "1 "] {
            assert_eq!(
                fault(timeout(), &[("timeout", unfit)]),
                (Reason::DatumUnfit, "Session-Timeout".into()),
                "{unfit}"
            );
        }
        for (name, text) in [("Acct-Interim-Interval", "{user.x}"), ("Service-Type", "{user.x}")] {
            let items = || vec![made(name, None, text)];
            for unfit in ["59", "0", "17", "Authorize-Only"] {
                if name == "Service-Type" && unfit.starts_with(['5', '0']) {
                    continue;
                }
                assert_eq!(fault(items(), &[("x", unfit)]), (Reason::DatumUnfit, name.into()), "{name} {unfit}");
            }
        }
        let filter = || vec![made("Filter-Id", None, "{user.filter}")];
        assert_eq!(fault(filter(), &[("filter", "a\nb")]), (Reason::DatumUnfit, "Filter-Id".into()));
        assert_eq!(fault(filter(), &[("filter", &"x".repeat(254))]), (Reason::DatumUnfit, "Filter-Id".into()));
        let many = (0..14).flat_map(|_| filter()).collect();
        assert_eq!(fault(many, &[("filter", &"x".repeat(253))]), (Reason::ReplyTooLong, String::new()));
    }
}
