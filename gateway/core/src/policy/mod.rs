//! Who needs what: an ordered list of policies, the first whose conditions all hold decides. A pure function from facts to
//! a decision; where no policy fits, the decision is to refuse.
//!
//! Conditions look at what the gateway knows itself: which RADIUS client, which source address, what the first factor said.
//! Nothing that a NAS or a user merely claims can waive a factor.

use crate::config::{Outcome, Policy};
use crate::identity::Identity;
use std::net::IpAddr;

/// What policies look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The configured name of the RADIUS client.
    pub client: &'a str,
    /// Where the packet came from.
    pub source: IpAddr,
    /// Who signs in.
    pub identity: &'a Identity,
    /// The user's groups, as the first factor told them; none where there is no first factor.
    pub groups: &'a [String],
}

/// What the policies say.
#[derive(Clone, Copy, Debug)]
pub enum Decision<'a> {
    /// The first that fits permits.
    Permit(&'a Policy),
    /// The first that fits denies.
    Deny(&'a Policy),
    /// None fits.
    NoMatch,
}

/// The condition of a policy that does not hold, by its key in the configuration.
pub type Failed = &'static str;

/// The first condition of `policy` that does not hold.
pub fn failed(policy: &Policy, facts: &Facts<'_>) -> Option<Failed> {
    let any = |list_is_empty: bool, holds: bool| list_is_empty || holds;
    let checks: [(Failed, bool); 5] = [
        ("clients", any(policy.clients.is_empty(), policy.clients.iter().any(|name| &**name == facts.client))),
        (
            "source_networks",
            any(
                policy.source_networks.is_empty(),
                policy.source_networks.iter().any(|net| net.contains(&facts.source)),
            ),
        ),
        ("users", any(policy.users.is_empty(), policy.users.contains(&facts.identity.canonical))),
        (
            "realms",
            any(
                policy.realms.is_empty(),
                facts.identity.realm.as_ref().is_some_and(|realm| policy.realms.contains(realm)),
            ),
        ),
        (
            "groups",
            any(
                policy.groups.is_empty(),
                policy.groups.iter().any(|wanted| facts.groups.iter().any(|group| same_group(group, wanted))),
            ),
        ),
    ];
    checks.into_iter().find_map(|(name, holds)| (!holds).then_some(name))
}

/// Directories of the Windows world do not tell `Staff` from `staff`.
fn same_group(a: &str, b: &str) -> bool {
    a == b || a.eq_ignore_ascii_case(b) || a.to_lowercase() == b.to_lowercase()
}

/// The decision of the first policy that fits.
pub fn decide<'a>(policies: &'a [Policy], facts: &Facts<'_>) -> Decision<'a> {
    match policies.iter().find(|policy| failed(policy, facts).is_none()) {
        Some(policy) if policy.outcome == Outcome::Permit => Decision::Permit(policy),
        Some(policy) => Decision::Deny(policy),
        None => Decision::NoMatch,
    }
}

#[cfg(test)]
mod tests;
