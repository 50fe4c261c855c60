//! The store of one node alone: no server needed. It runs the transitions as they are, and makes used codes durable through
//! the journal before the accept is spoken (invariant A5).

use crate::{Applied, Health, Journal, Store, StoreError};
use foldhash::fast::RandomState;
use gateway_core::attempt::record::AttemptKey;
use gateway_core::attempt::records::Records;
use gateway_core::attempt::transition::{Change, Outcome, Transition, Unanswered};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::collections::HashSet;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Users are spread over this many locks, so that threads rarely meet.
const SHARDS: usize = 64;

/// What a memory store needs to know.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Records at most; a claim beyond it is refused.
    pub limit: usize,
    /// How long wrong codes count.
    pub wrong_codes_window: Duration,
}

/// Records in this process's memory.
pub struct MemoryStore {
    shards: Arc<Shards>,
    held: AtomicUsize,
    settings: Settings,
    journal: Journal,
    /// Attempts whose code is on its way to the disk.
    writing: Arc<Mutex<HashSet<AttemptKey>>>,
}

/// One attempt whose code is on its way to the disk.
struct Writing {
    all: Arc<Mutex<HashSet<AttemptKey>>>,
    key: AttemptKey,
}

impl Writing {
    fn new(all: Arc<Mutex<HashSet<AttemptKey>>>, key: AttemptKey) -> Self {
        all.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        Self { all, key }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

struct Shards {
    shards: Vec<Mutex<Records>>,
    hasher: RandomState,
}

impl Shards {
    /// All of a user's records lie in one shard. The shard always exists; `None` keeps the wall against indexing whole.
    fn of(&self, user: &str) -> Option<MutexGuard<'_, Records>> {
        let at = usize::try_from(self.hasher.hash_one(user) % SHARDS as u64).ok()?;
        // A panic while the lock was held left no half-done transition behind: each works on values.
        self.shards.get(at).map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MemoryStore {
    /// A store that goes on from what `journal` remembers.
    pub fn new(journal: Journal, settings: Settings) -> Self {
        let used_since = journal.since();
        let shards = || Mutex::new(Records { used_since, counters_since: used_since, ..Records::default() });
        let shards = std::iter::repeat_with(shards).take(SHARDS).collect();
        let store = Self {
            shards: Arc::new(Shards { shards, hasher: RandomState::default() }),
            held: AtomicUsize::new(0),
            settings,
            journal,
            writing: Arc::default(),
        };
        for (user, code) in store.journal.remembered() {
            if let Some(mut records) = store.shards.of(&user) {
                records.remember(&user, code);
            }
        }
        store
    }

    fn is_writing(&self, key: &AttemptKey) -> bool {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }
}

impl Store for MemoryStore {
    fn apply(&self, transition: Transition, now: Timestamp) -> Applied {
        let adds = matches!(transition.change, Change::Claim { .. } | Change::IssueRound { .. });
        if adds && self.held.load(Ordering::Relaxed) >= self.settings.limit {
            return Applied::Now(Err(StoreError::Full));
        }
        let Some(mut records) = self.shards.of(&transition.key.user) else {
            return Applied::Now(Err(StoreError::Unavailable));
        };
        let undo = match &transition.change {
            Change::Settle { taken: Some((state, _)), code: Some(code), .. } => {
                records.before(&transition.key, *state, *code)
            }
            _ => None,
        };
        let before = records.len();
        let outcome = transition.apply(&mut records, now);
        let after = records.len();
        // Marked under the lock, so that nobody sees the success without the mark.
        let writing = match (&transition.change, &outcome) {
            (Change::Settle { code: Some(code), .. }, Outcome::Done) => {
                Some((*code, Writing::new(self.writing.clone(), transition.key.clone())))
            }
            _ => None,
        };
        drop(records);
        if after > before {
            self.held.fetch_add(after - before, Ordering::Relaxed);
        }
        if let Some((code, writing)) = writing {
            let durable = self.journal.write(transition.key.user, code);
            let shards = self.shards.clone();
            return Applied::Later(Box::pin(async move {
                if let Ok(Ok(())) = durable.await {
                    return Ok(outcome);
                }
                // Nothing was passed that nobody may know of: the same packet may come again.
                if let Some(undo) = undo
                    && let Some(mut records) = shards.of(&writing.key.user)
                {
                    records.undo(undo);
                }
                Err(StoreError::Unavailable)
            }));
        }
        match (&transition.change, &outcome) {
            // What is not durable yet is not spoken by another packet either.
            (Change::Claim { .. }, Outcome::PassedAlready { .. }) if self.is_writing(&transition.key) => {
                Applied::Now(Ok(Outcome::Discarded(Reason::RepeatWhilePending)))
            }
            _ => Applied::Now(Ok(outcome)),
        }
    }

    fn sweep(&self, now: Timestamp) -> Vec<Unanswered> {
        let mut unanswered = Vec::new();
        let mut held = 0;
        for shard in &self.shards.shards {
            let mut records = shard.lock().unwrap_or_else(PoisonError::into_inner);
            unanswered.extend(records.sweep(now, self.settings.wrong_codes_window));
            held += records.len();
        }
        self.held.store(held, Ordering::Relaxed);
        unanswered
    }

    fn health(&self) -> Health {
        Health {
            failing: self.journal.is_failing(),
            records: self.held.load(Ordering::Relaxed),
            lost: false,
            conflict: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_core::attempt::record::{AttemptId, AttemptKey, Authorization, Owner, PacketDigest, Purpose, Settled};
    use gateway_core::attempt::state::StateId;
    use gateway_core::attempt::transition::{NewChallenge, Rules};
    use gateway_core::factor::{CodeUse, TokenId};
    use std::path::Path;

    fn store(dir: &Path, limit: usize) -> MemoryStore {
        let journal = Journal::open(dir, "0011223344556677", at(0)).unwrap();
        MemoryStore::new(journal, Settings { limit, wrong_codes_window: Duration::from_secs(900) })
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000 + secs)
    }

    fn transition(user: &str, change: Change) -> Transition {
        let rules = Rules {
            deadline: Duration::from_secs(90),
            tries: 3,
            challenge_lifetime: Duration::from_secs(180),
            challenge_repeat: Duration::from_secs(30),
            repeat_window: Duration::ZERO,
            answer_repeats: false,
            wrong_codes: 10,
            wrong_codes_window: Duration::from_secs(900),
            ..Rules::default()
        };
        let key = AttemptKey { group: "vpn".into(), user: user.into(), station: None };
        Transition { key, change, rules: Arc::new(rules) }
    }

    fn claim(user: &str) -> Transition {
        let authorization = Authorization { first_factor: None, policy: "p".into(), reply: [].into(), upn: "".into() };
        let owner = Owner { node: "a".into(), incarnation: 1 };
        transition(
            user,
            Change::Claim {
                owner,
                id: AttemptId([0; 16]),
                begun: at(0),
                factor: "oath".into(),
                authorization,
                packet: PacketDigest([0; 16]),
                port: None,
                marks: Default::default(),
                prompts: false,
                codes: false,
            },
        )
    }

    async fn apply(store: &MemoryStore, transition: Transition, secs: u64) -> Result<Outcome, StoreError> {
        match store.apply(transition, at(secs)) {
            Applied::Now(outcome) => outcome,
            Applied::Later(outcome) => outcome.await,
        }
    }

    async fn sign_in(store: &MemoryStore, user: &str, factor: u64, secs: u64) -> Result<Outcome, StoreError> {
        let Ok(Outcome::Claimed { epoch }) = apply(store, claim(user), secs).await else { panic!("no claim") };
        let authorization = Authorization { first_factor: None, policy: "p".into(), reply: [].into(), upn: "".into() };
        let purpose = Purpose::Code { factor: "oath".into(), session: vec![], authorization };
        let state = StateId([1; 16]);
        let challenge = NewChallenge { state, wire: vec![], purpose, message: "".into() };
        apply(store, transition(user, Change::Issue { epoch, challenge }), secs).await.unwrap();
        let packet = PacketDigest([1; 16]);
        apply(store, transition(user, Change::Take { state, packet, client: "vpn".into() }), secs).await.unwrap();
        let code = Some(CodeUse { token: TokenId([5; 16]), factor, forget: None });
        let change = Change::Settle { epoch, taken: Some((state, packet)), verdict: Settled::Passed, code };
        apply(store, transition(user, change), secs).await
    }

    #[tokio::test]
    async fn a_used_code_is_refused_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = store(dir.path(), 100);
        assert_eq!(sign_in(&first, "alice", 7, 0).await, Ok(Outcome::Done));
        drop(first);
        let second = store(dir.path(), 100);
        assert_eq!(sign_in(&second, "alice", 7, 1).await, Ok(Outcome::Refused(Reason::CodeReplayed)));
        assert_eq!(sign_in(&second, "bob", 7, 1).await, Ok(Outcome::Done), "another user's token");
        drop(second);
        let third = store(dir.path(), 100);
        assert_eq!(sign_in(&third, "alice", 8, 2).await, Ok(Outcome::Done));
    }

    #[tokio::test]
    async fn the_limit_refuses_claims_until_records_expire() {
        let dir = tempfile::tempdir().unwrap();
        // Each claim is a record, and its user is another.
        let store = store(dir.path(), 4);
        assert!(apply(&store, claim("a"), 0).await.is_ok());
        assert!(apply(&store, claim("b"), 0).await.is_ok());
        assert_eq!(apply(&store, claim("c"), 0).await, Err(StoreError::Full));
        store.sweep(at(200));
        assert!(apply(&store, claim("c"), 200).await.is_ok());
        assert_eq!(store.health(), Health { failing: false, records: 2, lost: false, conflict: false });
    }

    #[tokio::test]
    async fn what_the_disk_refuses_is_silent_and_the_same_packet_may_come_again() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { limit: 100, wrong_codes_window: Duration::from_secs(900) };
        let store = MemoryStore::new(Journal::broken(dir.path()), settings);
        assert_eq!(sign_in(&store, "alice", 7, 0).await, Err(StoreError::Unavailable));
        assert!(store.health().failing);
        let take = Change::Take { state: StateId([1; 16]), packet: PacketDigest([1; 16]), client: "vpn".into() };
        assert!(matches!(apply(&store, transition("alice", take), 1).await, Ok(Outcome::Taken(_))));
        std::fs::remove_dir(dir.path().join("used-codes.new")).unwrap();
        let code = Some(CodeUse { token: TokenId([5; 16]), factor: 7, forget: None });
        let taken = Some((StateId([1; 16]), PacketDigest([1; 16])));
        let change = Change::Settle { epoch: 1, taken, verdict: Settled::Passed, code };
        assert_eq!(apply(&store, transition("alice", change), 1).await, Ok(Outcome::Done));
        assert!(!store.health().failing);
    }
}
