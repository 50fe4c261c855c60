//! The reply attributes of a policy: found in the dictionary, allowed, and encoded once where they are the same for everybody,
//! so that a sign-in cannot fail on them. Those with gaps are checked as far as they can be.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    policies::{Outcome, Values},
    report::Report,
};
use crate::policy::{Item, MOST_OCTETS, Reply, Template};
use crate::radius::{AttributeDef, AttributeNumber, Attributes, Dictionary, Occurrence, attribute, in_access_accept};

/// The attribute and the tag that `name`, written at `path`, means.
pub(super) fn find(
    report: &mut Report,
    path: &str,
    name: &str,
    dictionary: &Dictionary,
) -> Option<(AttributeDef, Option<u8>)> {
    let Some((def, tag)) = dictionary.find_tagged(name) else {
        let remedy = match dictionary.nearest(name) {
            Some(meant) => format!("Did you mean `{meant}`?"),
            None => "Write it by number: Attr-18, Attr-241.1 or, for a vendor's, Vendor-9-Attr-1.".to_owned(),
        };
        report.fault(path, format!("there is no attribute `{name}`"), remedy);
        return None;
    };
    if tag.is_some() && !def.has_tag {
        report.fault(path, format!("`{}` has no tag (RFC 2868 has those that do)", def.name), "Write it without.");
        return None;
    }
    Some((def.into_owned(), tag))
}

/// Checks `reply`, whose keys stand at `path`.
pub(super) fn check(
    report: &mut Report,
    path: &str,
    outcome: Outcome,
    reply: &BTreeMap<String, Values>,
    dictionary: &Dictionary,
) -> Reply {
    let mut items = Vec::new();
    let mut given: Vec<AttributeNumber> = Vec::new();
    for (name, values) in reply {
        let path = format!("{path}.{name}");
        let Some((def, tag)) = find(report, &path, name, dictionary) else { continue };
        let data = values.as_slice().iter().all(|text| Template::parse(text).is_ok_and(|text| text.fixed().is_none()));
        if let Some((problem, remedy)) = refusal(&def, outcome, data) {
            report.fault(path, format!("`{name}` {problem}"), remedy);
            continue;
        }
        if values.as_slice().is_empty() {
            report.fault(path.as_str(), "the list is empty", "Write a value, or leave the attribute out.");
        }
        let count = values.as_slice().len() + given.iter().filter(|number| **number == def.number).count();
        if count > 1 && in_access_accept(def.number) == Occurrence::Once {
            let problem = format!("`{}` may stand in an Access-Accept once, and here it does {count} times", def.name);
            report.fault(path.as_str(), problem, "Keep one value (RFC 2865 §5.44).");
        }
        given.extend(values.as_slice().iter().map(|_| def.number));
        let def = Arc::new(def);
        for (index, text) in values.as_slice().iter().enumerate() {
            let path = if matches!(values, Values::One(_)) { path.clone() } else { format!("{path}[{index}]") };
            item(report, &path, name, (&def, tag), text, &mut items);
        }
    }
    let reply: Reply = items.into_iter().collect();
    let octets = reply.fixed_octets();
    if octets > MOST_OCTETS {
        let problem = format!("the attributes take {octets} octets, and a packet has room for {MOST_OCTETS} of them");
        report.fault(path, problem, "Send fewer or shorter ones.");
    }
    reply
}

fn item(
    report: &mut Report,
    path: &str,
    name: &str,
    (def, tag): (&Arc<AttributeDef>, Option<u8>),
    text: &str,
    items: &mut Vec<Item>,
) {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(fault) => return report.fault(path, fault.problem, fault.remedy),
    };
    let Some(fixed) = template.fixed() else {
        return items.push(Item::Made { name: name.into(), def: Arc::clone(def), tag, template });
    };
    if def.number == AttributeNumber::Standard(attribute::ACCT_INTERIM_INTERVAL)
        && fixed.parse::<u32>().is_ok_and(|seconds| (60..600).contains(&seconds))
    {
        let problem = "reports more often than every 600 s: each session is another packet each time";
        report.warn(path, problem, "Write 600 or more (RFC 2869 §5.16), if the load matters.");
    }
    // Into one list, where what lies in the same TLV finds its neighbours.
    if !matches!(items.last(), Some(Item::Encoded(_))) {
        items.push(Item::Encoded(Attributes::new()));
    }
    if let Some(Item::Encoded(list)) = items.last_mut()
        && let Err(problem) = crate::policy::push(list, def, tag, fixed)
    {
        report.fault(path, problem, "Correct the value.");
    }
}

/// Returns why a policy may not set an attribute, and what to do instead. `data` says that its values come from the user's and the group's
/// data alone.
fn refusal(def: &AttributeDef, outcome: Outcome, data: bool) -> Option<(&'static str, &'static str)> {
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
    // What may not be sent may not be sent in pieces either.
    match AttributeNumber::from(def.number.parts().0) {
        AttributeNumber::Standard(kind) if BY_PROTOCOL.contains(&kind) => {
            Some(("belongs to the protocol, which sets it itself", "Remove it."))
        }
        AttributeNumber::Standard(attribute::VENDOR_SPECIFIC | attribute::EXTENDED_1..=attribute::LONG_EXTENDED_2) => {
            Some(("is a frame for others", "Write what stands in it: its name, Vendor-9-Attr-1 or Attr-241.1."))
        }
        AttributeNumber::Vendor { vendor: attribute::vendor::MICROSOFT, .. }
            if def.name.starts_with("MS-CHAP") || matches!(def.number, AttributeNumber::Inner { .. }) =>
        {
            Some(("belongs to MS-CHAP, which sets it itself", "Remove it."))
        }
        number if in_access_accept(number) == Occurrence::Never => Some((
            "may not stand in an Access-Accept (RFC 2865 §5.44)",
            "Remove it: requests and other answers have it.",
        )),
        AttributeNumber::Vendor { vendor: attribute::vendor::MICROSOFT, .. } if def.is_secret() => {
            Some(("is a secret that the protocol sets itself", "Remove it."))
        }
        _ if def.is_hidden() && !data => Some((
            "is a secret, and none may stand in the file",
            "Take it from the data of users or groups, such as {user.tunnel_password}; it is sent hidden.",
        )),
        _ if def.is_secret() && !def.is_hidden() => Some(("is a secret, and would be sent as it is", "Remove it.")),
        AttributeNumber::Standard(attribute::REPLY_MESSAGE) => None,
        _ if outcome == Outcome::Deny => {
            Some(("may not stand in a reject (RFC 2865 §5.44)", "Remove it; only Reply-Message may."))
        }
        _ => None,
    }
}
