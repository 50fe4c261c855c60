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

pub(super) fn check(clients: &[Arc<Client>], policies: &[Policy], factors: &[SecondFactor], report: &mut Report) {
    // A condition that is faulty is missing from the policy, which would then seem to fit everybody.
    let conditions = ["clients", "groups", "users", "realms", "source_networks"];
    let is_sound =
        |position: usize| !conditions.iter().any(|key| report.has_fault(&format!("policies[{position}].{key}")));
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
        decided |= fits_everybody(policy) && policy.source_networks.is_empty();
        reached
    })
}

fn may_fit(policy: &Policy, client: &Client) -> bool {
    let named = policy.clients.is_empty() || policy.clients.contains(&client.name);
    let near = policy.source_networks.is_empty()
        || policy.source_networks.iter().any(|net| client.networks.iter().any(|other| overlap(net, other)));
    named && near
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// Whether it asks nothing of the user.
fn fits_everybody(policy: &Policy) -> bool {
    policy.groups.is_empty() && policy.users.is_empty() && policy.realms.is_empty()
}

fn warn_of_unreachable(policies: &[(usize, &Policy)], report: &mut Report) {
    for (count, (position, policy)) in policies.iter().enumerate() {
        if let Some((place, first)) = policies.iter().take(count).find(|(_, earlier)| covers(earlier, policy)) {
            let problem =
                format!("nobody reaches `{}`: policies[{place}], `{}`, decides before it", policy.name, first.name);
            report.warn(format!("policies[{position}]"), problem, "Move it up, or remove it.");
        }
    }
}

/// Whether `earlier` fits whatever `later` fits.
fn covers(earlier: &Policy, later: &Policy) -> bool {
    let same_networks = earlier.source_networks.is_empty()
        || (!later.source_networks.is_empty()
            && later.source_networks.iter().all(|net| earlier.source_networks.iter().any(|wide| wide.contains(net))));
    same_networks
        && superset(&earlier.clients, &later.clients)
        && superset(&earlier.groups, &later.groups)
        && superset(&earlier.users, &later.users)
        && superset(&earlier.realms, &later.realms)
}

/// Whether the condition `wide` holds wherever `narrow` holds; an empty one holds everywhere.
fn superset<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.contains(item)))
}
