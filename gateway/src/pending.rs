//! The prompts that are out on this node, and which packet waits for each: one at a time, the newest. The table belongs to the
//! process, because a repeat may reach another thread than the packet before. What is said here is only a hint to look into
//! the store, or an offer; nothing is decided here.

use crate::actors::messages::{OfferTaken, PromptNews};
use actix::Recipient;
use gateway_core::attempt::record::AttemptKey;
use gateway_core::exchange::News;
use gateway_core::factor::CodeWanted;
use gateway_core::reason::Reason;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The exchange of a packet that waits.
pub type Waiter = Recipient<PromptNews>;

struct Entry {
    epoch: u64,
    driver: Recipient<OfferTaken>,
    waiter: Option<Waiter>,
    /// Boxed: most prompts offer no code.
    offer: Option<Box<CodeWanted>>,
}

impl Entry {
    fn tell(&self, news: News) {
        // Bounded: a few for each exchange in progress.
        if let Some(waiter) = &self.waiter {
            waiter.do_send(PromptNews(news));
        }
    }
}

/// The prompts of this node.
#[derive(Default)]
pub struct Pending {
    /// Keyed by users who have proved a password.
    entries: Mutex<HashMap<AttemptKey, Entry>>,
}

impl Pending {
    fn entries(&self) -> MutexGuard<'_, HashMap<AttemptKey, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A prompt begins, and its first packet waits.
    pub fn begin(&self, key: &AttemptKey, epoch: u64, driver: Recipient<OfferTaken>, waiter: Waiter) {
        let entry = Entry { epoch, driver, waiter: Some(waiter), offer: None };
        if let Some(old) = self.entries().insert(key.clone(), entry) {
            old.tell(News::Look);
        }
    }

    /// A packet waits instead of the one before. What there is to tell it at once.
    pub fn join(&self, key: &AttemptKey, epoch: u64, waiter: Waiter) -> Option<News> {
        let mut entries = self.entries();
        let Some(entry) = entries.get_mut(key).filter(|entry| entry.epoch == epoch) else {
            return Some(News::Look);
        };
        // The same packet by way of another port is another exchange too.
        if entry.waiter.as_ref().is_some_and(|before| *before != waiter) {
            entry.tell(News::Superseded);
        }
        entry.waiter = Some(waiter);
        entry.offer.as_deref().cloned().map(News::CodeWanted)
    }

    /// A packet waits no longer.
    pub fn leave(&self, key: &AttemptKey, exchange: &Waiter) {
        if let Some(entry) = self.entries().get_mut(key) {
            entry.waiter.take_if(|waiter| waiter == exchange);
        }
    }

    /// A code is wanted, from whoever waits now or later.
    pub fn offer(&self, key: &AttemptKey, epoch: u64, wanted: CodeWanted) {
        if let Some(entry) = self.entries().get_mut(key).filter(|entry| entry.epoch == epoch) {
            entry.tell(News::CodeWanted(wanted.clone()));
            entry.offer = Some(Box::new(wanted));
        }
    }

    /// There is something in the store for whoever waits, and the prompt goes on.
    pub fn look(&self, key: &AttemptKey, epoch: u64) {
        if let Some(entry) = self.entries().get(key).filter(|entry| entry.epoch == epoch) {
            entry.tell(News::Changed);
        }
    }

    /// There may be something in the store for every packet of `user` that waits here.
    pub fn look_for(&self, user: &str) {
        for (_, entry) in self.entries().iter().filter(|(key, _)| *key.user == *user) {
            entry.tell(News::Changed);
        }
    }

    /// The code that was offered is asked for.
    pub fn answered(&self, key: &AttemptKey, epoch: u64) {
        if let Some(entry) = self.remove(key, epoch) {
            entry.driver.do_send(OfferTaken);
        }
    }

    /// The prompt has ended, well or not: whoever waits is to look.
    pub fn end(&self, key: &AttemptKey, epoch: u64) {
        if let Some(entry) = self.remove(key, epoch) {
            entry.tell(News::Look);
        }
    }

    /// Nobody was prompted, and nothing of the attempt is left to look at.
    pub fn not_begun(&self, key: &AttemptKey, epoch: u64, reason: Reason) {
        if let Some(entry) = self.remove(key, epoch) {
            entry.tell(News::NotBegun(reason));
        }
    }

    fn remove(&self, key: &AttemptKey, epoch: u64) -> Option<Entry> {
        let mut entries = self.entries();
        if entries.get(key)?.epoch != epoch {
            return None;
        }
        entries.remove(key)
    }
}
