//! Which policies can fit at all: for each client, network, group, user, realm and value of an attribute that a policy names, one
//! bit for each policy. A decision looks its facts up and combines bits, sixty-four policies at a time, so that hundreds of them
//! cost no more than the few that are left to look at.

use super::claims::{Claim, Claimed};
use super::{Hours, View, lower};
use crate::config::Policy;
use ipnet::IpNet;
use std::collections::HashMap;

type Table = HashMap<Box<str>, Box<[u64]>, foldhash::fast::FixedState>;

/// Bits of policies by octets.
pub(super) type Octets = HashMap<Box<[u8]>, Box<[u64]>, foldhash::fast::FixedState>;

/// The bits of all policies, made once for a configuration.
#[derive(Debug, Default)]
pub struct Index {
    words: usize,
    clients: Option<Key>,
    users: Option<Key>,
    realms: Option<Key>,
    groups: Option<Key>,
    first_factors: Option<Key>,
    not_clients: Option<Key>,
    not_users: Option<Key>,
    not_groups: Option<Key>,
    networks: Option<Rare<IpNet>>,
    times: Option<Rare<Hours>>,
    attributes: Vec<Claimed>,
}

/// Values of which there are few, such as networks: each is looked at once, however many policies name it.
#[derive(Debug)]
struct Rare<T> {
    any: Box<[u64]>,
    by: Vec<(T, Box<[u64]>)>,
}

impl<T: Clone + PartialEq> Rare<T> {
    /// `None` if no policy has such a condition.
    fn new<'a>(policies: &'a [Policy], values: impl Fn(&'a Policy) -> &'a [T]) -> Option<Self>
    where
        T: 'a,
    {
        let words = policies.len().div_ceil(64);
        let mut rare = Self { any: vec![0; words].into(), by: Vec::new() };
        for (place, policy) in policies.iter().enumerate() {
            for value in values(policy) {
                match rare.by.iter_mut().find(|(known, _)| known == value) {
                    Some((_, bits)) => set(bits, place),
                    None => {
                        let mut bits: Box<[u64]> = vec![0; words].into();
                        set(&mut bits, place);
                        rare.by.push((value.clone(), bits));
                    }
                }
            }
            if values(policy).is_empty() {
                set(&mut rare.any, place);
            }
        }
        (!rare.by.is_empty()).then_some(rare)
    }

    fn look(&self, holds: impl Fn(&T) -> bool) -> Found<'_> {
        let rows = self.by.iter().filter(|(value, _)| holds(value)).map(|(_, row)| &**row);
        Found { any: &self.any, rows: rows.collect() }
    }
}

/// One kind of condition.
#[derive(Debug)]
struct Key {
    /// Policies without such a condition.
    any: Box<[u64]>,
    /// Policies that name this value.
    by: Table,
}

impl Key {
    /// `None` if no policy has such a condition.
    fn new<'a, I: Iterator<Item = &'a str>>(policies: &'a [Policy], values: impl Fn(&'a Policy) -> I) -> Option<Self> {
        let words = policies.len().div_ceil(64);
        let mut key = Self { any: vec![0; words].into(), by: Table::default() };
        for (place, policy) in policies.iter().enumerate() {
            let mut named = false;
            for value in values(policy) {
                named = true;
                let bits = key.by.entry(value.into()).or_insert_with(|| vec![0; words].into());
                set(bits, place);
            }
            if !named {
                set(&mut key.any, place);
            }
        }
        (!key.by.is_empty()).then_some(key)
    }

    fn row(&self, value: &str) -> Option<&[u64]> {
        self.by.get(value).map(|row| &**row)
    }

    /// What these groups find.
    fn rows(&self, groups: &[String]) -> Vec<&[u64]> {
        let mut buffer = String::new();
        let mut rows = Vec::with_capacity(groups.len());
        rows.extend(groups.iter().filter_map(|group| self.by.get(lower(group, &mut buffer)).map(|row| &**row)));
        rows
    }
}

pub(super) fn set(bits: &mut [u64], place: usize) {
    if let Some(word) = bits.get_mut(place / 64) {
        *word |= 1 << (place % 64);
    }
}

/// One kind of condition, with what the facts say of it.
struct Found<'a> {
    any: &'a [u64],
    rows: Vec<&'a [u64]>,
}

impl Index {
    /// Of these policies, in this order.
    pub fn new(policies: &[Policy]) -> Self {
        Self {
            words: policies.len().div_ceil(64),
            clients: Key::new(policies, |policy| policy.conditions.clients.iter().map(|name| &**name)),
            users: Key::new(policies, |policy| policy.conditions.users.iter().map(String::as_str)),
            realms: Key::new(policies, |policy| policy.conditions.realms.iter().map(String::as_str)),
            groups: Key::new(policies, |policy| policy.conditions.groups.iter().map(String::as_str)),
            first_factors: Key::new(policies, |policy| policy.conditions.first_factors.iter().map(|name| &**name)),
            not_clients: Key::new(policies, |policy| policy.conditions.not_clients.iter().map(|name| &**name)),
            not_users: Key::new(policies, |policy| policy.conditions.not_users.iter().map(String::as_str)),
            not_groups: Key::new(policies, |policy| policy.conditions.not_groups.iter().map(String::as_str)),
            networks: Rare::new(policies, |policy| &policy.conditions.source_networks),
            times: Rare::new(policies, |policy| &policy.conditions.times),
            attributes: attributes(policies),
        }
    }

    /// The first policy, by its place, whose indexed conditions hold and for which `rest` is true.
    pub(super) fn first(&self, view: &View<'_>, rest: impl Fn(usize) -> bool) -> Option<usize> {
        let facts = view.facts;
        let mut found: Vec<Found<'_>> = Vec::with_capacity(7 + self.attributes.len());
        found.extend(self.clients.as_ref().map(|key| look(key, Some(facts.client))));
        found.extend(self.users.as_ref().map(|key| look(key, Some(&facts.identity.canonical))));
        found.extend(self.realms.as_ref().map(|key| look(key, facts.identity.realm.as_deref())));
        found.extend(self.first_factors.as_ref().map(|key| look(key, facts.first_factor)));
        found.extend(self.groups.as_ref().map(|key| Found { any: &key.any, rows: key.rows(facts.groups) }));
        found.extend(self.networks.as_ref().map(|nets| nets.look(|net| net.contains(&facts.source))));
        found.extend(self.times.as_ref().map(|times| times.look(|hours| hours.contain(facts.now))));
        found.extend(self.attributes.iter().map(|claimed| Found { any: &claimed.any, rows: claimed.look(view) }));

        let mut without: Vec<&[u64]> = Vec::new();
        without.extend(self.not_clients.iter().filter_map(|key| key.row(facts.client)));
        without.extend(self.not_users.iter().filter_map(|key| key.row(&facts.identity.canonical)));
        without.extend(self.not_groups.iter().flat_map(|key| key.rows(facts.groups)));

        (0..self.words).find_map(|word| {
            let at = |bits: &[u64]| bits.get(word).copied().unwrap_or_default();
            let mut bits = found.iter().fold(u64::MAX, |bits, Found { any, rows }| {
                bits & rows.iter().fold(at(any), |bits, row| bits | at(row))
            });
            bits = without.iter().fold(bits, |bits, row| bits & !at(row));
            while bits != 0 {
                let place = word * 64 + usize::try_from(bits.trailing_zeros()).unwrap_or_default();
                if rest(place) {
                    return Some(place);
                }
                bits &= bits - 1;
            }
            None
        })
    }
}

fn look<'a>(key: &'a Key, value: Option<&str>) -> Found<'a> {
    Found { any: &key.any, rows: value.and_then(|value| key.row(value)).into_iter().collect() }
}

/// Attributes that policies test for values.
fn attributes(policies: &[Policy]) -> Vec<Claimed> {
    let claims = || {
        let numbered = policies.iter().enumerate();
        numbered.flat_map(|(place, policy)| policy.conditions.claims.iter().map(move |claim| (place, claim)))
    };
    let mut all: Vec<Claimed> = Vec::new();
    for (_, claim) in claims().filter(|(_, claim)| claim.can_be_indexed()) {
        if !all.iter().any(|claimed| claimed.is_about(claim)) {
            all.push(Claimed::new(claim, policies.len().div_ceil(64)));
        }
    }
    for claimed in &mut all {
        for (place, policy) in policies.iter().enumerate() {
            let mine = |claim: &&Claim| claimed.is_about(claim) && claim.can_be_indexed();
            // One of them suffices: what it leaves is looked at as a whole.
            match policy.conditions.claims.iter().find(mine) {
                Some(claim) => claimed.add(claim, place),
                None => set(&mut claimed.any, place),
            }
        }
    }
    all
}
