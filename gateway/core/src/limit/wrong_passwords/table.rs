//! Failures by scope, at most so many scopes. Whoever names users that do not exist, or a new station each time, fills the table; so
//! what is forgotten first is what the client that fills it most has least of.

use super::{Barred, Lift, Pause, Rules, Scope};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Failures beyond those that are free which are remembered: as many doublings as any pause has.
const BEYOND: u32 = 16;

/// What is known of one scope.
#[derive(Debug, Default)]
struct Entry {
    /// When the last failure will be forgotten: each takes its share of the window.
    forgotten: Timestamp,
    until: Timestamp,
    last: Timestamp,
    /// Passwords that are being looked at.
    pending: u32,
    /// The group of clients that is charged with the entry.
    charged: Arc<str>,
    /// Its place in the order of forgetting; none while nothing has failed.
    order: Option<(u32, Timestamp)>,
}

impl Entry {
    fn failures(&self, free: u32, rules: &Rules, now: Timestamp) -> u32 {
        let share = share(free, rules);
        // A clock that was set back must not make a failure last.
        let left = self.forgotten.since(now).min(share.saturating_mul(free.saturating_add(BEYOND)));
        u32::try_from(left.as_micros().div_ceil(share.as_micros())).unwrap_or(u32::MAX)
    }

    fn until(&self, rules: &Rules, now: Timestamp) -> Timestamp {
        self.until.min(now.after(rules.longest_pause))
    }

    fn matters(&self, now: Timestamp) -> bool {
        self.pending > 0 || self.forgotten > now || self.until > now
    }
}

/// The time after which one of `free` failures is forgotten.
fn share(free: u32, rules: &Rules) -> Duration {
    (rules.window / free.max(1)).max(Duration::from_micros(1))
}

/// The scopes that something is known of.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<Scope, Entry>,
    /// For each group of clients its entries with failures, by number of failures and by age.
    order: BTreeMap<Arc<str>, BTreeSet<(u32, Timestamp, Scope)>>,
    swept: Timestamp,
    evicted: u64,
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What keeps a scope from having one more password looked at: a pause; between two pauses another password; before the first one
    /// as many as would be free if all of them were wrong.
    pub(super) fn bars(&self, scope: &Scope, rules: &Rules, now: Timestamp) -> Option<Barred> {
        let (entry, free) = (self.entries.get(scope)?, rules.free(scope));
        let (failures, until) = (entry.failures(free, rules, now), entry.until(rules, now));
        if failures < free {
            return (failures.saturating_add(entry.pending) >= free).then_some(Barred::Busy);
        }
        let barred = until > now || entry.pending > 0;
        barred.then(|| Barred::Paused(Pause { scope: scope.clone(), failures, until: until.max(now) }))
    }

    pub(super) fn reserve(&mut self, scope: &Scope, group: &Arc<str>) {
        let fresh = || Entry { charged: group.clone(), ..Entry::default() };
        let entry = self.entries.entry(scope.clone()).or_insert_with(fresh);
        entry.pending = entry.pending.saturating_add(1);
    }

    pub(super) fn release(&mut self, scope: &Scope) {
        let Some(entry) = self.entries.get_mut(scope) else { return };
        entry.pending = entry.pending.saturating_sub(1);
        if entry.pending == 0 && entry.order.is_none() {
            self.entries.remove(scope);
        }
    }

    /// One more failure. The pause that begins with it.
    pub(super) fn fail(&mut self, scope: Scope, group: &Arc<str>, rules: &Rules, now: Timestamp) -> Option<Pause> {
        let free = rules.free(&scope);
        let mut entry = self.take(&scope).unwrap_or_else(|| Entry { charged: group.clone(), ..Entry::default() });
        let share = share(free, rules);
        let most = now.after(share.saturating_mul(free.saturating_add(BEYOND)));
        entry.forgotten = entry.forgotten.max(now).after(share).min(most);
        let failures = entry.failures(free, rules, now);
        let pause = failures.checked_sub(free).map(|beyond| {
            let doubled = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX);
            let until = now.after(rules.first_pause.saturating_mul(doubled).min(rules.longest_pause));
            entry.until = until;
            Pause { scope: scope.clone(), failures, until }
        });
        (entry.last, entry.order) = (now, Some((failures, now)));
        self.order.entry(entry.charged.clone()).or_default().insert((failures, now, scope.clone()));
        self.entries.insert(scope, entry);
        if self.entries.len() > rules.kept {
            self.make_room(rules.kept, now);
        }
        pause
    }

    pub(super) fn forget(&mut self, scope: &Scope) {
        if let Some(entry) = self.take(scope)
            && entry.pending > 0
        {
            let (pending, charged) = (entry.pending, entry.charged);
            self.entries.insert(scope.clone(), Entry { pending, charged, ..Entry::default() });
        }
    }

    pub(super) fn paused(&self, rules: &Rules, now: Timestamp, most: usize) -> (Vec<Pause>, usize) {
        let (mut found, mut more) = (Vec::new(), 0);
        for (scope, entry) in self.entries.iter().filter(|(_, entry)| entry.until(rules, now) > now) {
            if found.len() < most {
                let failures = entry.failures(rules.free(scope), rules, now);
                found.push(Pause { scope: scope.clone(), failures, until: entry.until(rules, now) });
            } else {
                more += 1;
            }
        }
        (found, more)
    }

    pub(super) fn lift(&mut self, lift: &Lift) -> usize {
        let meant = |scope: &Scope, entry: &Entry| match (lift, scope) {
            (Lift::All, _) => true,
            (Lift::User(name), Scope::Place { user, .. } | Scope::User(user)) => user == name,
            (Lift::Group(name), Scope::Place { group, .. } | Scope::Station { group, .. }) => group == name,
            (Lift::Group(name), Scope::Source(_)) => entry.charged == *name,
            (Lift::Source(address), Scope::Source(source)) => source == address,
            _ => false,
        };
        let found = self.entries.iter().filter(|(scope, entry)| entry.order.is_some() && meant(scope, entry));
        let scopes: Vec<Scope> = found.map(|(scope, _)| scope.clone()).collect();
        scopes.iter().for_each(|scope| self.forget(scope));
        scopes.len()
    }

    pub(super) fn sweep(&mut self, now: Timestamp) {
        self.swept = now;
        let over = self.entries.iter().filter(|(_, entry)| !entry.matters(now)).map(|(scope, _)| scope.clone());
        let over: Vec<Scope> = over.collect();
        over.iter().for_each(|scope| drop(self.take(scope)));
    }

    pub(super) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    fn take(&mut self, scope: &Scope) -> Option<Entry> {
        let entry = self.entries.remove(scope)?;
        if let Some((failures, at)) = entry.order
            && let Some(of_group) = self.order.get_mut(&entry.charged)
        {
            of_group.remove(&(failures, at, scope.clone()));
            if of_group.is_empty() {
                self.order.remove(&entry.charged);
            }
        }
        Some(entry)
    }

    /// Forgets of the group that has most the scopes that failed least, the oldest first. Those that are being looked at are bounded by
    /// the queue of passwords, and stay.
    fn make_room(&mut self, kept: usize, now: Timestamp) {
        // A look at all of them pays only from time to time.
        if now.since(self.swept) > Duration::from_secs(1) || now < self.swept {
            self.sweep(now);
        }
        while self.entries.len() > kept {
            let greediest = self.order.values().max_by_key(|of_group| of_group.len());
            let Some((.., scope)) = greediest.and_then(BTreeSet::first).cloned() else { return };
            self.forget(&scope);
            self.evicted = self.evicted.saturating_add(1);
        }
    }
}
