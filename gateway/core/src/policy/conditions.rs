//! The conditions of one policy, compiled: all of them must hold, and each has the name of its key.

use super::claims::{self, Claim};
use super::hours::Hours;
use super::{Facts, lower};
use crate::radius::{Numbered, numbered};
use ipnet::IpNet;
use std::cell::OnceCell;
use std::sync::Arc;

/// What must hold for a policy to fit. An empty list holds for everybody.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The RADIUS client is one of these.
    pub clients: Vec<Arc<str>>,
    /// The RADIUS client is none of these.
    pub not_clients: Vec<Arc<str>>,
    /// The packet came from one of these.
    pub source_networks: Vec<IpNet>,
    /// The packet came from none of these.
    pub not_source_networks: Vec<IpNet>,
    /// This first factor was passed.
    pub first_factors: Vec<Arc<str>>,
    /// The proof came in one of these protocols; one that ends in `*` stands for all that begin like it.
    pub protocols: Vec<String>,
    /// The canonical user is one of these.
    pub users: Vec<String>,
    /// The canonical user is none of these.
    pub not_users: Vec<String>,
    /// The user's realm is one of these, in lower case.
    pub realms: Vec<String>,
    /// The user is in one of these groups, in lower case.
    pub groups: Vec<String>,
    /// The user is in none of these groups, in lower case; never so where nobody tells groups.
    pub not_groups: Vec<String>,
    /// It is one of these hours.
    pub times: Vec<Hours>,
    /// The address that the NAS gives for itself lies in one of these.
    pub nas_addresses: Vec<IpNet>,
    /// What the packet says of itself.
    pub claims: Vec<Claim>,
}

/// The facts, with what is only worked out where a condition asks for it.
pub(super) struct View<'a> {
    pub(super) facts: &'a Facts<'a>,
    claims: OnceCell<Vec<Numbered<'a>>>,
}

impl<'a> View<'a> {
    pub(super) fn new(facts: &'a Facts<'a>) -> Self {
        Self { facts, claims: OnceCell::new() }
    }

    /// The packet's attributes, unpacked.
    pub(super) fn claims(&self) -> &[Numbered<'a>] {
        self.claims.get_or_init(|| self.facts.attributes.map(|list| numbered(list.iter())).unwrap_or_default())
    }

    fn in_group(&self, wanted: &[String]) -> bool {
        let mut buffer = String::new();
        self.facts.groups.iter().any(|group| {
            let group = lower(group, &mut buffer);
            wanted.iter().any(|wanted| wanted == group)
        })
    }
}

fn any(list_is_empty: bool, holds: impl FnOnce() -> bool) -> bool {
    list_is_empty || holds()
}

impl Conditions {
    /// The first of the conditions that the index knows and that does not hold.
    pub(super) fn indexed_failed(&self, view: &View<'_>) -> Option<&str> {
        let facts = view.facts;
        if !any(self.clients.is_empty(), || self.clients.iter().any(|name| &**name == facts.client)) {
            return Some("clients");
        }
        if !any(self.users.is_empty(), || self.users.contains(&facts.identity.canonical)) {
            return Some("users");
        }
        let realm = facts.identity.realm.as_ref();
        if !any(self.realms.is_empty(), || realm.is_some_and(|realm| self.realms.contains(realm))) {
            return Some("realms");
        }
        let grouped = any(self.groups.is_empty(), || view.in_group(&self.groups));
        (!grouped).then_some("groups")
    }

    /// The first of the others that does not hold.
    pub(super) fn other_failed(&self, view: &View<'_>) -> Option<&str> {
        let facts = view.facts;
        if self.not_clients.iter().any(|name| &**name == facts.client) {
            return Some("not_clients");
        }
        if !any(self.source_networks.is_empty(), || self.source_networks.iter().any(|net| net.contains(&facts.source)))
        {
            return Some("source_networks");
        }
        if self.not_source_networks.iter().any(|net| net.contains(&facts.source)) {
            return Some("not_source_networks");
        }
        let passed = |name: &Arc<str>| facts.first_factor == Some(&**name);
        if !any(self.first_factors.is_empty(), || self.first_factors.iter().any(passed)) {
            return Some("first_factors");
        }
        let spoken = |known: &String| match known.strip_suffix('*') {
            Some(head) => facts.protocol.starts_with(head),
            None => facts.protocol == known,
        };
        if !any(self.protocols.is_empty(), || self.protocols.iter().any(spoken)) {
            return Some("protocols");
        }
        if self.not_users.contains(&facts.identity.canonical) {
            return Some("not_users");
        }
        // Who is in which group is unknown where no first factor was asked: nobody is taken for one who is in none.
        if !self.not_groups.is_empty() && (facts.first_factor.is_none() || view.in_group(&self.not_groups)) {
            return Some("not_groups");
        }
        if !any(self.times.is_empty(), || self.times.iter().any(|hours| hours.contain(facts.now))) {
            return Some("times");
        }
        if !any(self.nas_addresses.is_empty(), || claims::nas_address_in(&self.nas_addresses, view)) {
            return Some("nas_addresses");
        }
        self.claims.iter().find(|claim| !claim.holds(view)).map(|claim| &*claim.key)
    }

    /// Whether the packet's attributes are looked at.
    pub fn reads_attributes(&self) -> bool {
        !self.claims.is_empty() || !self.nas_addresses.is_empty()
    }

    /// Whether something that the gateway knows itself narrows down for whom they hold.
    pub fn rest_on_knowledge(&self) -> bool {
        !(self.clients.is_empty()
            && self.source_networks.is_empty()
            && self.first_factors.is_empty()
            && self.users.is_empty()
            && self.realms.is_empty()
            && self.groups.is_empty())
    }

    /// Whether they ask nothing but which client sent the packet.
    pub fn fit_everybody(&self) -> bool {
        let Self { clients: _, source_networks, not_source_networks, first_factors, protocols, not_clients, .. } = self;
        let Self { users, not_users, realms, groups, not_groups, times, nas_addresses, claims, .. } = self;
        source_networks.is_empty()
            && not_source_networks.is_empty()
            && first_factors.is_empty()
            && protocols.is_empty()
            && not_clients.is_empty()
            && [users, not_users, realms, groups, not_groups].into_iter().all(Vec::is_empty)
            && times.is_empty()
            && nas_addresses.is_empty()
            && claims.is_empty()
    }

    /// Whether these hold wherever `narrow` hold, as far as that can be told without comparing hours and attributes.
    pub fn cover(&self, narrow: &Self) -> bool {
        let networks = self.source_networks.is_empty()
            || (!narrow.source_networks.is_empty()
                && narrow.source_networks.iter().all(|net| self.source_networks.iter().any(|wide| wide.contains(net))));
        networks
            && superset(&self.clients, &narrow.clients)
            && superset(&self.first_factors, &narrow.first_factors)
            && superset(&self.protocols, &narrow.protocols)
            && superset(&self.users, &narrow.users)
            && superset(&self.realms, &narrow.realms)
            && superset(&self.groups, &narrow.groups)
            && subset(&self.not_clients, &narrow.not_clients)
            && subset(&self.not_source_networks, &narrow.not_source_networks)
            && subset(&self.not_users, &narrow.not_users)
            && subset(&self.not_groups, &narrow.not_groups)
            && self.times.is_empty()
            && !self.reads_attributes()
    }
}

/// Whether the condition `wide` holds wherever `narrow` holds; an empty one holds everywhere.
fn superset<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|item| wide.contains(item)))
}

/// The same for conditions that leave somebody out.
fn subset<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    wide.iter().all(|item| narrow.contains(item))
}
