//! The reply attributes of a policy: found in the dictionary, allowed, and encoded once, so that a sign-in cannot fail on
//! them.

use std::collections::BTreeMap;

use super::{
    policies::{Outcome, Values},
    report::Report,
};
use crate::radius::{AttributeDef, AttributeNumber, Attributes, attribute, dictionary};

/// Leaves room in the 4096 octets of a packet (RFC 2865 §3) for what the protocol itself adds: Message-Authenticator,
/// Proxy-State, EAP-Message, keys.
const MOST_OCTETS: usize = 3500;

/// Encodes `reply`, whose keys stand at `path`.
pub(super) fn encode(
    report: &mut Report,
    path: &str,
    outcome: Outcome,
    reply: &BTreeMap<String, Values>,
) -> Attributes {
    let mut attributes = Attributes::new();
    for (name, values) in reply {
        let path = format!("{path}.{name}");
        let Some(def) = dictionary().find(name) else {
            let remedy = match dictionary().nearest(name) {
                Some(meant) => format!("Did you mean `{meant}`?"),
                None => "Write it by number: Attr-18, Attr-241.1 or, for a vendor's, Vendor-9-Attr-1.".to_owned(),
            };
            report.fault(path, format!("there is no attribute `{name}`"), remedy);
            continue;
        };
        if let Some((problem, remedy)) = refusal(&def, outcome) {
            report.fault(path, format!("`{name}` {problem}"), remedy);
            continue;
        }
        if values.as_slice().is_empty() {
            report.fault(path.as_str(), "the list is empty", "Write a value, or leave the attribute out.");
        }
        for (index, text) in values.as_slice().iter().enumerate() {
            let pushed = def.encode_value(text).and_then(|octets| attributes.push_def(&def, &octets));
            if let Err(error) = pushed {
                let path = if matches!(values, Values::One(_)) { path.clone() } else { format!("{path}[{index}]") };
                report.fault(path, error.to_string(), "Correct the value.");
            }
        }
    }
    let octets = attributes.as_bytes().len();
    if octets > MOST_OCTETS {
        let problem = format!("the attributes take {octets} octets, and a packet has room for {MOST_OCTETS} of them");
        report.fault(path, problem, "Send fewer or shorter ones.");
    }
    attributes
}

/// Why a policy may not set an attribute, and what to do instead.
fn refusal(def: &AttributeDef, outcome: Outcome) -> Option<(&'static str, &'static str)> {
    const BY_PROTOCOL: [u8; 8] = [
        attribute::USER_PASSWORD,
        attribute::CHAP_PASSWORD,
        attribute::STATE,
        attribute::PROXY_STATE,
        attribute::CHAP_CHALLENGE,
        attribute::ARAP_PASSWORD,
        attribute::EAP_MESSAGE,
        attribute::MESSAGE_AUTHENTICATOR,
    ];
    match def.number {
        AttributeNumber::Standard(kind) if BY_PROTOCOL.contains(&kind) => {
            Some(("belongs to the protocol, which sets it itself", "Remove it."))
        }
        AttributeNumber::Standard(attribute::VENDOR_SPECIFIC | attribute::EXTENDED_1..=attribute::LONG_EXTENDED_2) => {
            Some(("is a frame for others", "Write what stands in it: its name, Vendor-9-Attr-1 or Attr-241.1."))
        }
        AttributeNumber::Vendor { vendor: attribute::vendor::MICROSOFT, .. } if def.name.starts_with("MS-CHAP") => {
            Some(("belongs to MS-CHAP, which sets it itself", "Remove it."))
        }
        _ if def.is_secret() => Some(("is a secret, and none may stand in the file", "Remove it.")),
        AttributeNumber::Standard(attribute::REPLY_MESSAGE) => None,
        _ if outcome == Outcome::Deny => {
            Some(("may not stand in a reject (RFC 2865 §5.44)", "Remove it; only Reply-Message may."))
        }
        _ => None,
    }
}
