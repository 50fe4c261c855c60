//! After a fail-over, a loss, or a time without the store: each node says again what it holds.

use super::change::{Terms, Then};
use super::lane::{Known, Lane, Work};
use super::link::Link;
use super::memory::{self, Memory, Trouble};
use crate::keys::UserName;
use crate::{Counter, StoreError};
use gateway_core::attempt::records::Records;
use gateway_core::factor::{CodeUse, TokenId};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// After a fail-over nobody begins a prompt for this long.
const SETTLES: Duration = Duration::from_secs(2);

impl Lane {
    /// Puts down again what the store has lost, or was without.
    pub(super) async fn reassert(self: &Rc<Self>, name: &UserName, user: &Arc<str>) {
        let Some(mine) = self.copies.borrow().get(name).cloned() else { return };
        // The copy is forgotten first, so that the first exchange brings what is there. What comes between that and the second
        // runs the second again.
        self.keep(name, Known { identity: None, dirty: false, ..mine.clone() });
        let stats = self.shared.stats.clone();
        let told = Cell::new(None);
        let put = |records: &mut Records, _| {
            let found = self.copies.borrow().get(name).map(|found| (found.head.serial, found.identity));
            told.set(None);
            match found {
                Some((serial, identity)) if (serial, identity) == (mine.head.serial, mine.identity) && !mine.dirty => {}
                Some((serial, identity))
                    if serial > mine.head.serial || (serial == mine.head.serial && identity != mine.identity) =>
                {
                    merge_used(records, &mine.records);
                    told.set(mine.dirty.then_some(&stats.diverged));
                }
                _ => {
                    let theirs = std::mem::replace(records, mine.records.clone());
                    merge_used(records, &theirs);
                    told.set(Some(&stats.reasserted));
                }
            }
            ((), Then { told: true, lasts: false })
        };
        let terms = Terms { after: mine.head.serial, ..Terms::default() };
        let outcome = match self.change(name, user, Terms::default(), |_, _| ((), Then::default())).await {
            Ok(()) => self.change(name, user, terms, put).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => told.take().into_iter().for_each(Counter::inc),
            // It is lost again: later.
            Err(_) => self.keep(name, mine.clone()),
        }
    }

    pub(super) async fn refresh(self: &Rc<Self>, link: &mut Link, group: u8) -> Result<(), StoreError> {
        match memory::refresh(&self.shared, link, group).await {
            Ok((memory, _)) => {
                self.adopt(group, memory);
                Ok(())
            }
            Err(Trouble::Link(error)) => {
                self.failed(&error);
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(())
            }
            Err(Trouble::NotOurs) => Err(StoreError::Tampered),
        }
    }

    /// Another memory than before means that the store has lost something: say again what this node knows.
    pub(super) fn adopt(self: &Rc<Self>, group: u8, memory: Memory) {
        let before = self.memories.borrow_mut().insert(group, Rc::new(memory));
        let Some(now) = self.memory(group) else { return };
        if before.is_some_and(|before| before.value != now.value) {
            self.settling();
            let copies = self.copies.borrow();
            let here = copies.iter().filter(|(name, _)| name.group == group);
            let here: Vec<_> = here.map(|(name, copy)| (name.clone(), copy.user.clone())).collect();
            drop(copies);
            for (name, user) in here {
                self.enqueue(name, Work::Reassert(user));
            }
        }
    }

    pub(super) fn memory(&self, group: u8) -> Option<Rc<Memory>> {
        self.memories.borrow().get(&group).cloned()
    }

    /// Looks whether the store is still the one that this node knows, without waiting for somebody to sign in: the owner of
    /// an attempt must have said again what it holds before others may prompt.
    pub(super) async fn look_at_primaries(self: Rc<Self>, mut link: Link) {
        if self.looking.replace(true) {
            return;
        }
        // One group for each primary there is.
        let mut primaries: BTreeMap<String, u8> = BTreeMap::new();
        for (group, memory) in self.memories.borrow().iter() {
            primaries.entry(memory.body.primary.clone()).or_insert(*group);
        }
        for (primary, group) in primaries {
            let value = |group| self.memory(group).map(|memory| memory.value.clone());
            let before = value(group);
            if self.refresh(&mut link, group).await.is_err() || value(group) == before {
                continue;
            }
            let same: Vec<u8> = {
                let memories = self.memories.borrow();
                let same = memories.iter().filter(|(_, memory)| memory.body.primary == primary);
                same.map(|(group, _)| *group).collect()
            };
            for group in same {
                if self.refresh(&mut link, group).await.is_err() {
                    break;
                }
            }
        }
        self.looking.set(false);
    }

    fn settling(&self) {
        let until = self.store_now(None).after(SETTLES);
        if self.quiet_until.get() < self.store_now(None) {
            self.shared.stats.failovers.inc();
            tracing::warn!(
                "the store has failed over or lost its data: nobody is prompted for 2 s, and codes of time \
                steps that have begun are refused"
            );
        }
        self.quiet_until.set(until);
    }
}

/// What either of two knows of codes that were used.
fn merge_used(into: &mut Records, from: &Records) {
    for (user, record) in &from.users {
        for (token, next, forget) in &record.used {
            let Some(factor) = next.checked_sub(1) else { continue };
            let token = TokenId(*token);
            into.remember(user, CodeUse { token, factor, forget: *forget });
        }
    }
}
