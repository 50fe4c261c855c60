//! Who needs what: an ordered list of policies, the first whose conditions all hold decides. A pure function from facts to
//! a decision; where no policy fits, the decision is to refuse.
//!
//! Some conditions look at what the gateway knows itself: which RADIUS client, which source address, what the first factor
//! said, what time it is. Others look at what the packet says of itself ([`claims`]), which the RADIUS client, and in part whoever
//! signs in, could write as they like; the check of the configuration warns where such a claim alone waives a factor.

mod claims;
mod conditions;
mod hours;
mod index;
mod reply;
mod template;

pub use claims::{Claim, Matcher, Test};
pub use conditions::Conditions;
pub use hours::{Hours, instant, written};
pub use index::Index;
pub(crate) use reply::push;
pub use reply::{Item, MOST_OCTETS, Reply, Unrendered};
pub use template::{Fault as TemplateFault, Template, Values};
pub(crate) use template::{RESERVED, is_key};

use crate::config::{Outcome, Policy};
use crate::identity::Identity;
use crate::radius::Attributes;
use crate::time::Timestamp;
use conditions::View;
use std::net::IpAddr;

/// What policies look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The configured name of the RADIUS client.
    pub client: &'a str,
    /// Where the packet came from.
    pub source: IpAddr,
    /// The first factor that was passed; `None` where the client has none.
    pub first_factor: Option<&'a str>,
    /// In which protocol it was proved: `pap`, or `none`.
    pub protocol: &'a str,
    /// Who signs in.
    pub identity: &'a Identity,
    /// The user's groups, as the first factor told them; none where there is no first factor.
    pub groups: &'a [String],
    /// What the packet says of itself; only kept where a policy looks at it.
    pub attributes: Option<&'a Attributes>,
    /// When.
    pub now: Timestamp,
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

/// The condition of `policy` that does not hold, by its key in the configuration; `None` if the policy fits.
pub fn failed<'a>(policy: &'a Policy, facts: &Facts<'_>) -> Option<&'a str> {
    let view = View::new(facts);
    policy.conditions.indexed_failed(&view).or_else(|| policy.conditions.other_failed(&view))
}

/// `text` in lower case, by way of `buffer`. Directories of the Windows world do not tell `Staff` from `staff`.
fn lower<'a>(text: &str, buffer: &'a mut String) -> &'a str {
    buffer.clear();
    if text.is_ascii() {
        buffer.push_str(text);
        buffer.make_ascii_lowercase();
    } else {
        buffer.push_str(&text.to_lowercase());
    }
    buffer
}

/// The decision of the first policy that fits. `index` was made of the same policies.
pub fn decide<'a>(policies: &'a [Policy], index: &Index, facts: &Facts<'_>) -> Decision<'a> {
    let view = View::new(facts);
    let fits = |place: usize| policies.get(place).is_some_and(|policy| policy.conditions.other_failed(&view).is_none());
    match index.first(&view, fits).and_then(|place| policies.get(place)) {
        Some(policy) if policy.outcome == Outcome::Permit => Decision::Permit(policy),
        Some(policy) => Decision::Deny(policy),
        None => Decision::NoMatch,
    }
}

#[cfg(test)]
mod tests;
