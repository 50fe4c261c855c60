//! Which policies can fit at all: for each client, network, group, user and realm that a policy names, one bit for each policy. A
//! decision looks its facts up and combines bits, sixty-four policies at a time, so that hundreds of them cost no more than the
//! few that are left to look at.

use super::{Facts, lower};
use crate::config::Policy;
use ipnet::IpNet;
use std::collections::HashMap;

type Table = HashMap<Box<str>, Box<[u64]>, foldhash::fast::FixedState>;

/// The bits of all policies, made once for a configuration.
#[derive(Debug, Default)]
pub struct Index {
    words: usize,
    clients: Option<Key>,
    users: Option<Key>,
    realms: Option<Key>,
    groups: Option<Key>,
    networks: Option<Networks>,
}

/// Networks, of which there are few: each is looked at once, however many policies name it.
#[derive(Debug)]
struct Networks {
    any: Box<[u64]>,
    by: Vec<(IpNet, Box<[u64]>)>,
}

impl Networks {
    fn new(policies: &[Policy]) -> Option<Self> {
        let words = policies.len().div_ceil(64);
        let mut networks = Self { any: vec![0; words].into(), by: Vec::new() };
        let mut places: HashMap<IpNet, usize> = HashMap::new();
        for (place, policy) in policies.iter().enumerate() {
            for net in &policy.conditions.source_networks {
                let row = *places.entry(*net).or_insert_with(|| {
                    networks.by.push((*net, vec![0; words].into()));
                    networks.by.len() - 1
                });
                if let Some((_, bits)) = networks.by.get_mut(row) {
                    set(bits, place);
                }
            }
            if policy.conditions.source_networks.is_empty() {
                set(&mut networks.any, place);
            }
        }
        (!networks.by.is_empty()).then_some(networks)
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
}

fn set(bits: &mut [u64], place: usize) {
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
            networks: Networks::new(policies),
        }
    }

    /// The first policy, by its place, whose indexed conditions hold and for which `rest` is true.
    pub(super) fn first(&self, facts: &Facts<'_>, rest: impl Fn(usize) -> bool) -> Option<usize> {
        let mut found: Vec<Found<'_>> = Vec::with_capacity(5);
        found.extend(self.clients.as_ref().map(|key| look(key, Some(facts.client))));
        found.extend(self.users.as_ref().map(|key| look(key, Some(&facts.identity.canonical))));
        found.extend(self.realms.as_ref().map(|key| look(key, facts.identity.realm.as_deref())));
        if let Some(key) = &self.groups {
            let mut buffer = String::new();
            let mut rows = Vec::with_capacity(facts.groups.len());
            rows.extend(
                facts.groups.iter().filter_map(|group| key.by.get(lower(group, &mut buffer)).map(|row| &**row)),
            );
            found.push(Found { any: &key.any, rows });
        }
        if let Some(Networks { any, by }) = &self.networks {
            let near = by.iter().filter(|(net, _)| net.contains(&facts.source));
            found.push(Found { any, rows: near.map(|(_, row)| &**row).collect() });
        }
        (0..self.words).find_map(|word| {
            let at = |bits: &[u64]| bits.get(word).copied().unwrap_or_default();
            let mut bits = found.iter().fold(u64::MAX, |bits, Found { any, rows }| {
                bits & rows.iter().fold(at(any), |bits, row| bits | at(row))
            });
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
    let row = value.and_then(|value| key.by.get(value));
    Found { any: &key.any, rows: row.map(|row| &**row).into_iter().collect() }
}
