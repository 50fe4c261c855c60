//! What clients and policies say together: doors that stand open, policies that nobody reaches, codes that nobody can
//! enter.
//!
//! A door is open where the VPN server is trusted with the first factor (`first_factor = "none"`) and a policy waives the second: then
//! nobody proves anything to the gateway. The check asks whether such a policy *may* fit a request of that client; who is in
//! which group is not known here, so that it errs on the safe side.

use ipnet::IpNet;
use std::sync::Arc;

use super::{
    clients::Client,
    policies::{Outcome, Policy, SecondFactorNeed},
    report::Report,
    second_factor::{SecondFactor, SecondFactorKind},
};

/// The keys that are conditions.
const CONDITIONS: [&str; 20] = [
    "clients",
    "groups",
    "users",
    "realms",
    "source_networks",
    "not_clients",
    "not_source_networks",
    "not_users",
    "not_groups",
    "first_factors",
    "protocols",
    "times",
    "nas_port_types",
    "nas_addresses",
    "nas_identifiers",
    "called_stations",
    "calling_stations",
    "framed_protocols",
    "service_types",
    "attributes",
];

pub(super) fn check(clients: &[Arc<Client>], policies: &[Policy], factors: &[SecondFactor], report: &mut Report) {
    // A condition that is faulty is missing from the policy, which would then seem to fit everybody.
    let is_sound =
        |position: usize| !CONDITIONS.iter().any(|key| report.has_fault(&format!("policies[{position}].{key}")));
    let sound: Vec<_> = policies.iter().enumerate().filter(|(position, _)| is_sound(*position)).collect();
    for (index, client) in clients.iter().enumerate() {
        let section = format!("clients[{index}]");
        // The checks above have said what is wrong with it; it has no first factor only because of that.
        let unchecked = client.first_factor.is_none() && !report.has_fault(&format!("{section}.first_factor"));
        for (position, policy) in reaching(client, &sound).filter(|(_, policy)| policy.outcome == Outcome::Permit) {
            let path = format!("policies[{position}].second_factor");
            if unchecked && policy.second_factor != SecondFactorNeed::Required {
                let problem = format!(
                    "an open door: `{}` has first_factor = \"none\", and here no second factor is required of its users",
                    client.name
                );
                let remedy = format!(
                    "Write \"required\", give `{}` a first factor, or name the other clients under `clients`.",
                    client.name
                );
                report.fault(path.as_str(), problem, remedy);
            }
            if !client.challenge && policy.second_factor != SecondFactorNeed::Off && asks_for_code(policy, factors) {
                let problem = format!(
                    "`{}` has challenge = false: its users cannot be asked for a code and are refused",
                    client.name
                );
                let remedy = "Set challenge = true if the VPN server can ask, or choose another second factor.";
                report.warn(path, problem, remedy);
            }
        }
    }
    warn_of_unreachable(&sound, report);
    for (position, policy) in &sound {
        warn_of_claims(*position, policy, report);
    }
    for (position, policy) in policies.iter().enumerate() {
        check_terms(position, policy, factors, report);
    }
}

fn factor_of<'a>(policy: &Policy, factors: &'a [SecondFactor]) -> Option<&'a SecondFactorKind> {
    let factor = factors.iter().find(|factor| Some(&factor.name) == policy.second_factor_name.as_ref());
    factor.map(|factor| &factor.kind)
}

/// Whether users are refused where no code can be asked for. Users of Entra whose own default is a code are, everywhere; that is
/// not known here.
fn asks_for_code(policy: &Policy, factors: &[SecondFactor]) -> bool {
    match factor_of(policy, factors) {
        Some(SecondFactorKind::Oath(_)) => true,
        Some(SecondFactorKind::Entra(entra)) => entra.insists_on_codes(policy.push_users),
        _ => false,
    }
}

/// What a policy says of its second factor must be something that this factor knows.
fn check_terms(position: usize, policy: &Policy, factors: &[SecondFactor], report: &mut Report) {
    let path = |key: &str| format!("policies[{position}].{key}");
    match factor_of(policy, factors) {
        Some(SecondFactorKind::Entra(_)) => {
            // The cloud tells who has registered only once somebody is prompted: whoever has nothing would pass, for ever and
            // uncounted.
            if policy.second_factor == SecondFactorNeed::IfEnrolled {
                let problem =
                    "is \"if_enrolled\", and with kind = \"entra\" nobody knows before the prompt who has registered";
                let remedy =
                    "Write \"required\", and for a roll-out unregistered = \"allow_by_code\" with unregistered_until.";
                report.fault(path("second_factor"), problem, remedy);
            }
        }
        _ => {
            let keys = [("push_users", policy.push_users.is_some()), ("unregistered", policy.unregistered.is_some())];
            for (key, _) in keys.into_iter().filter(|(_, set)| *set) {
                let problem = "means nothing here: only a second factor of kind = \"entra\" knows it";
                report.warn(path(key), problem, "Remove it, or choose such a second factor.");
            }
        }
    }
}

/// The policies that may decide for a request of this client: those that fit it, up to the first that fits all of its
/// users.
fn reaching<'a>(client: &'a Client, policies: &'a [(usize, &'a Policy)]) -> impl Iterator<Item = (usize, &'a Policy)> {
    let mut decided = false;
    policies.iter().copied().filter(|(_, policy)| may_fit(policy, client)).take_while(move |(_, policy)| {
        let reached = !decided;
        decided |= policy.conditions.fit_everybody();
        reached
    })
}

fn may_fit(Policy { conditions, .. }: &Policy, client: &Client) -> bool {
    let named = conditions.clients.is_empty() || conditions.clients.contains(&client.name);
    let near = conditions.source_networks.is_empty()
        || conditions.source_networks.iter().any(|net| client.networks.iter().any(|other| overlap(net, other)));
    let asked = &conditions.first_factors;
    let asked = asked.is_empty() || client.first_factor.as_ref().is_some_and(|factor| asked.contains(factor));
    named && near && asked && !conditions.not_clients.contains(&client.name)
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// A factor is waived for whoever says the right words: the VPN server writes the attributes of a packet, in part from what the
/// user's device says.
fn warn_of_claims(position: usize, policy: &Policy, report: &mut Report) {
    let conditions = &policy.conditions;
    let waives = policy.outcome == Outcome::Permit && policy.second_factor != SecondFactorNeed::Required;
    if waives && conditions.reads_attributes() && !conditions.rest_on_knowledge() {
        let problem = "no second factor is required, and only what the packet says of itself decides for whom: every VPN server, \
                       and in part every user, can say that";
        let remedy = "Add `clients`, `source_networks`, `groups` or `users`, or require the second factor.";
        report.warn(format!("policies[{position}].second_factor"), problem, remedy);
    }
}

fn warn_of_unreachable(policies: &[(usize, &Policy)], report: &mut Report) {
    for (count, (position, policy)) in policies.iter().enumerate() {
        if let Some((place, first)) =
            policies.iter().take(count).find(|(_, earlier)| earlier.conditions.cover(&policy.conditions))
        {
            let problem =
                format!("nobody reaches `{}`: policies[{place}], `{}`, decides before it", policy.name, first.name);
            report.warn(format!("policies[{position}]"), problem, "Move it up, or remove it.");
        }
    }
}
