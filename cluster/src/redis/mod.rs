//! The store that nodes share: Redis, standalone, with Sentinels, or a Redis Cluster.
//!
//! All records of one user are one value. A node runs the pure transition on the copy that it has, and one script puts the
//! result in place if the store still holds what the copy was taken from; otherwise it answers what it holds, and the node
//! runs the transition again on that. So there is one text of the rules, and the bodies stay sealed from the store.
//!
//! ```text
//!  apply ──► lane of the user (thread, connection) ──► transition on the copy ──► script: still the same? ── yes ─► done
//!                                                            ▲                                          │ no
//!                                                            └────────── open, keep as copy ◄───────────┘
//! ```

mod change;
mod lane;
mod link;
mod locks;
mod memory;
mod node;
mod packet;
mod reassert;
mod reports;
mod scripts;
mod sessions;
mod settings;
#[cfg(test)]
mod tests;
mod watch;
mod wrong_passwords;

pub use settings::{Mode, Settings, Tls, WhenLost};
pub use watch::Watch;

use crate::certificates::Certificate;
use crate::keys::Keys;
use crate::locks::{HeardLocks, TellingLocks};
use crate::membership::{Member, Members, Says};
use crate::sealed::{HEADER, Header, NEWEST, Sealer, Unopened};
use crate::sessions::{Heard, Telling};
use crate::stats::Stats;
use crate::wrong_passwords::{HeardGuesses, TellingGuesses};
use crate::{Applied, Health, Journal, PacketSeen, Store, StoreError, Ticket};
use gateway_core::attempt::bundle::{decode_bundle, encode_bundle};
use gateway_core::attempt::codec::Undecodable;
use gateway_core::attempt::record::{Owner, PacketDigest};
use gateway_core::attempt::records::Records;
use gateway_core::attempt::transition::{Rules, Transition, Unanswered};
use gateway_core::factor::CodeUse;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use lane::{Job, Known, Lane};
use link::{Connector, Link};
use packet::{Ended, PacketJob};
use redis::{Pipeline, RedisError, cmd};
use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, mpsc, oneshot};

/// In `state_dir`: this node has seen the store's memory of used codes, so that one without it has lost it.
const SEEN: &str = "store-seen";

/// The keys of a cluster.
#[derive(Debug)]
pub struct ClusterKeys {
    /// Seals.
    pub key: Secret,
    /// Opens as well.
    pub second: Option<Secret>,
    /// Names users in the store; `None`: the first.
    pub names: Option<Secret>,
}

/// What the lanes of a store share.
struct Shared {
    settings: Settings,
    keys: Keys,
    sealer: Sealer,
    connector: Connector,
    stats: Arc<Stats>,
    owner: Owner,
    members: Members,
    journal: Journal,
    /// What the journal knows, and what was added since.
    counters: Mutex<HashMap<Arc<str>, Vec<CodeUse>>>,
    /// A lane was connected once.
    connected: AtomicBool,
    seen: AtomicBool,
    seen_file: std::path::PathBuf,
    held: AtomicUsize,
    lost_lanes: AtomicUsize,
    warned_of_eviction: AtomicBool,
    watchers: Mutex<HashMap<String, Vec<Arc<Notify>>>>,
    unanswered: Mutex<Vec<Unanswered>>,
}

/// Records in Redis.
pub struct RedisStore {
    shared: Arc<Shared>,
    lanes: Vec<mpsc::UnboundedSender<Job>>,
    /// To the first lane, which shares the packets of all: the more go together, the less each costs.
    packets: mpsc::UnboundedSender<PacketJob>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// The wall clock of this node.
fn clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

fn shift(at: Timestamp, by: i64) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add_signed(by))
}

/// For a transition that looks at no rule.
fn no_rules() -> Rules {
    Rules {
        deadline: Duration::ZERO,
        tries: 0,
        challenge_lifetime: Duration::ZERO,
        challenge_repeat: Duration::ZERO,
        repeat_window: Duration::ZERO,
        answer_repeats: false,
        wrong_codes: u32::MAX,
        wrong_codes_window: Duration::ZERO,
        ..Rules::default()
    }
}

impl Shared {
    fn skew(&self) -> i64 {
        self.stats.skew.load(Ordering::Relaxed)
    }

    fn learn_time(&self, time: Timestamp, asked: Timestamp, heard: Timestamp) {
        self.stats.learn_time(time, asked, heard);
    }

    fn count(&self, unopened: Unopened) -> StoreError {
        match unopened {
            Unopened::Version(version) => {
                self.stats.other_version.inc();
                tracing::error!(
                    version,
                    "a value in the store was written by a release that this one does not know: run \
                    the newer release on every node"
                );
                StoreError::OtherVersion
            }
            _ => {
                self.stats.tampered.inc();
                tracing::error!(%unopened, "a value in the store cannot be believed: give every node the same \
                    cluster.key_file, and see who else may write to the store");
                StoreError::Tampered
            }
        }
    }

    fn seal(&self, key: &str, head: Header, records: &Records) -> Result<Vec<u8>, StoreError> {
        let version = self.members.records().min(NEWEST);
        let body = encode_bundle(version, records).map_err(|_| StoreError::Unavailable)?;
        self.sealer.seal(version, key, head, &body).map_err(|_| StoreError::Full)
    }

    /// What the store holds of `user`; whatever cannot be believed is an error, and stays as it is.
    fn open(&self, key: &str, user: &Arc<str>, value: Option<&[u8]>) -> Result<Known, StoreError> {
        let nothing = Header { serial: 0, epoch: 0, expires: Timestamp::default() };
        let (identity, head, records) = match value {
            None => (None, nothing, Records::default()),
            Some(value) => {
                let (head, body) = self.sealer.open(key, value).map_err(|unopened| self.count(unopened))?;
                let records = decode_bundle(user, &body).map_err(|undecodable| match undecodable {
                    Undecodable::Version(version) => self.count(Unopened::Version(version)),
                    _ => self.count(Unopened::Tampered),
                })?;
                (value.first_chunk::<HEADER>().copied(), head, records)
            }
        };
        Ok(Known { identity, head, records, user: user.clone(), used: Instant::now(), dirty: false })
    }

    fn counters_of(&self, user: &str) -> Vec<CodeUse> {
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        counters.get(user).cloned().unwrap_or_default()
    }

    /// A counter is on this node's disk before the accept is spoken, because it must outlive the store.
    async fn journal_counter(&self, user: &Arc<str>, code: CodeUse) -> bool {
        let durable = self.journal.write(user.clone(), code);
        if !matches!(durable.await, Ok(Ok(()))) {
            return false;
        }
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counters.entry(user.clone()).or_default();
        known.retain(|other| other.token != code.token);
        known.push(code);
        true
    }

    /// Since when this node's own memory is complete, if it never saw the store's.
    fn first_start(&self) -> Option<Timestamp> {
        (!self.seen.load(Ordering::Relaxed)).then(|| self.journal.since())
    }

    fn was_seen(&self) {
        self.connected.store(true, Ordering::Relaxed);
        if !self.seen.swap(true, Ordering::Relaxed)
            && let Err(error) = std::fs::write(&self.seen_file, "")
        {
            tracing::error!(%error, path = %self.seen_file.display(), "cannot be written: after a restart this node would \
                take an empty store for a new one");
        }
    }

    fn lose(&self, why: &str) {
        if self.lost_lanes.fetch_add(1, Ordering::Relaxed) == 0 {
            self.stats.lost.store(true, Ordering::Relaxed);
            let then = match self.settings.when_lost {
                WhenLost::Local => "this node goes on alone, and refuses local OATH codes",
                WhenLost::Refuse => "second factors stay unanswered, so that NASes try another server",
            };
            tracing::error!(why, then, "the store is lost: look at Redis, and at the network to it");
        }
    }

    fn found(&self) {
        if self.lost_lanes.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.stats.lost.store(false, Ordering::Relaxed);
            tracing::warn!("the store is back");
        }
    }

    /// Whether the store may be written, and holds what it is told.
    async fn probe(&self, link: &mut Link) -> Result<(), RedisError> {
        let key = format!("{}:{{nodes}}:probe", self.settings.prefix);
        let mut pipeline = Pipeline::new();
        pipeline.add_command(cmd("SET").arg(&key).arg(1).arg("PX").arg(5_000).to_owned());
        pipeline.add_command(cmd("TIME").to_owned());
        pipeline.add_command(cmd("INFO").arg("memory").to_owned());
        if self.settings.mode.has_replicas() {
            pipeline
                .add_command(cmd("WAIT").arg(1).arg((self.settings.timeout.as_millis() / 2).to_string()).to_owned());
        }
        self.stats.round_trips.inc();
        let asked = clock();
        let mut answers = link.run(&key, pipeline).await?.into_iter();
        answers.next().unwrap_or_default().extract_error()?;
        let time = memory::time_of(answers.next().unwrap_or_default())?;
        self.learn_time(time, asked, clock());
        // An ACL may forbid it.
        let info: String = answers.next().and_then(|info| redis::from_redis_value(info).ok()).unwrap_or_default();
        let evicts = info.lines().any(|line| line.starts_with("maxmemory_policy:") && !line.contains("noeviction"))
            && !info.lines().any(|line| line.trim() == "maxmemory:0");
        if evicts && !self.warned_of_eviction.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the store forgets records when its memory is full: set maxmemory-policy noeviction in Redis"
            );
        }
        if self.settings.mode.has_replicas() {
            let acks: i64 = redis::from_redis_value(answers.next().unwrap_or_default())?;
            if acks < 1 {
                return Err(link::odd("no replica acknowledges what is written: look at the replicas"));
            }
        }
        Ok(())
    }

    fn tell_unanswered(&self, unanswered: Vec<Unanswered>) {
        if !unanswered.is_empty() {
            self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).extend(unanswered);
        }
    }

    /// Tells whoever on this node waits for news on `channel`.
    fn notify(&self, channel: &str) {
        let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        for watcher in watchers.get(channel).into_iter().flatten() {
            watcher.notify_one();
        }
    }
}

impl RedisStore {
    /// A store at the servers of `settings`. It serves at once, and connects as soon as it can.
    ///
    /// # Errors
    ///
    /// What is configured cannot be used, or there are no threads.
    pub fn open(
        settings: Settings,
        keys: &ClusterKeys,
        owner: Owner,
        journal: Journal,
        state_dir: &Path,
    ) -> std::io::Result<Self> {
        let connector = Connector::new(&settings).map_err(std::io::Error::other)?;
        let seen_file = state_dir.join(SEEN);
        let mut counters: HashMap<Arc<str>, Vec<CodeUse>> = HashMap::new();
        for (user, code) in journal.remembered() {
            counters.entry(user).or_default().push(code);
        }
        let stats = Arc::new(Stats::default());
        let names = keys.names.as_ref().unwrap_or(&keys.key);
        let shared = Arc::new(Shared {
            keys: Keys::new(&settings.prefix, names.expose()),
            sealer: Sealer::new(keys.key.expose(), keys.second.as_ref().map(Secret::expose)),
            connector,
            members: Members::new(owner.clone(), clock(), settings.dead_after, settings.newest_records.min(NEWEST)),
            stats,
            owner,
            journal,
            counters: Mutex::new(counters),
            connected: AtomicBool::new(false),
            seen: AtomicBool::new(seen_file.exists()),
            seen_file,
            held: AtomicUsize::new(0),
            lost_lanes: AtomicUsize::new(0),
            warned_of_eviction: AtomicBool::new(false),
            watchers: Mutex::default(),
            unanswered: Mutex::default(),
            settings,
        });
        let (mut lanes, mut threads) = (Vec::new(), Vec::new());
        let (packets, packet_jobs) = mpsc::unbounded_channel();
        let mut packet_jobs = Some(packet_jobs);
        for index in 0..shared.settings.connections.max(1) {
            let runtime = crate::threads::warmed(tokio::runtime::Builder::new_current_thread().enable_all())?;
            let (inbox, jobs) = mpsc::unbounded_channel();
            let (shared, to_itself) = (shared.clone(), inbox.downgrade());
            let packet_jobs = packet_jobs.take();
            let thread = std::thread::Builder::new().name(format!("store-{index}")).spawn(move || {
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, Lane::new(shared, index, to_itself).run(jobs, packet_jobs));
            })?;
            lanes.push(inbox);
            threads.push(thread);
        }
        Ok(Self { shared, lanes, packets, threads })
    }

    fn lane(&self, user: &str) -> Option<&mpsc::UnboundedSender<Job>> {
        let digest = self.shared.keys.name(user).digest;
        let at = usize::from(digest.first().copied().unwrap_or_default()) % self.lanes.len().max(1);
        self.lanes.get(at)
    }

    fn send(
        &self,
        transition: Transition,
        now: Option<Timestamp>,
    ) -> oneshot::Receiver<Result<crate::Outcome, StoreError>> {
        let (done, outcome) = oneshot::channel();
        if let Some(lane) = self.lane(&transition.key.user) {
            // A lane that died drops the sender, which the receiver takes for a failure.
            let _ = lane.send(Job::Apply { transition: Box::new(transition), now, done });
        }
        outcome
    }

    /// Asks the store by way of a lane, which knows its connection.
    fn ask<T: Send + 'static, F>(
        &self,
        lane: usize,
        question: impl FnOnce(Arc<Shared>, Link) -> F + Send + 'static,
    ) -> crate::Asked<T>
    where
        F: Future<Output = Result<T, RedisError>> + 'static,
    {
        let (done, answer) = oneshot::channel();
        let shared = self.shared.clone();
        let job = Job::Ask(Box::new(move |link| {
            Box::pin(async move {
                let Some(link) = link else { return };
                shared.stats.round_trips.inc();
                let answer = question(shared.clone(), link).await;
                let _ = done.send(answer);
            })
        }));
        if let Some(lane) = self.lanes.get(lane % self.lanes.len().max(1)) {
            let _ = lane.send(job);
        }
        Box::pin(async move {
            match answer.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the store did not answer a question");
                    Err(StoreError::Unavailable)
                }
                Err(_) => Err(StoreError::Unavailable),
            }
        })
    }
}

impl Drop for RedisStore {
    fn drop(&mut self) {
        self.lanes.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Store for RedisStore {
    fn apply(&self, transition: Transition, _now: Timestamp) -> Applied {
        let outcome = self.send(transition, None);
        Applied::Later(Box::pin(async move { outcome.await.unwrap_or(Err(StoreError::Unavailable)) }))
    }

    fn sweep(&self, _now: Timestamp) -> Vec<Unanswered> {
        std::mem::take(&mut *self.shared.unanswered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn health(&self) -> Health {
        // Before the first connection nobody knows.
        let lost = self.shared.stats.lost.load(Ordering::Relaxed) || !self.shared.connected.load(Ordering::Relaxed);
        Health {
            failing: (lost && self.shared.settings.when_lost == WhenLost::Refuse) || self.shared.journal.is_failing(),
            records: self.shared.held.load(Ordering::Relaxed),
            lost,
            conflict: self.shared.stats.conflict.load(Ordering::Relaxed),
        }
    }

    fn watch(&self, user: &str) -> Option<Watch> {
        let channel = self.shared.keys.channel(&self.shared.keys.name(user));
        Some(Watch::new(self.shared.clone(), channel, self.lane(user)?.clone()))
    }

    fn is_dead(&self, owner: &Owner) -> bool {
        self.shared.members.is_dead(owner)
    }

    fn tell(&self, state: Says) {
        self.shared.members.tell(state);
    }

    fn nodes(&self) -> Vec<Member> {
        self.shared.members.list()
    }

    fn stats(&self) -> Option<Arc<Stats>> {
        Some(self.shared.stats.clone())
    }

    fn register(&self, certificate: Certificate) -> crate::Asked<()> {
        self.ask(0, move |shared, mut link| async move { shared.register(&mut link, &certificate).await })
    }

    fn certificates(&self) -> crate::Asked<Vec<Certificate>> {
        self.ask(0, |shared, mut link| async move { shared.certificates(&mut link).await })
    }

    fn packet(&self, digest: PacketDigest, answers: bool) -> Option<crate::Asked<PacketSeen>> {
        if !self.shared.shares(answers) {
            return None;
        }
        let (done, seen) = oneshot::channel();
        let _ = self.packets.send(PacketJob::Take { digest, done });
        Some(Box::pin(async move { seen.await.unwrap_or(Err(StoreError::Unavailable)) }))
    }

    fn packet_ended(&self, ticket: Ticket, reply: Option<Arc<[u8]>>) {
        let _ = self.packets.send(PacketJob::End(Ended { ticket, reply }));
    }

    fn packet_answered(&self, digest: PacketDigest, answers: bool, reply: Arc<[u8]>) {
        if self.shared.shares(answers) {
            let _ = self.packets.send(PacketJob::Answer { digest, reply });
        }
    }

    fn share_sessions(&self, telling: Telling) -> Option<crate::Asked<Heard>> {
        Some(self.ask(0, move |shared, mut link| async move { shared.share_sessions(&mut link, &telling).await }))
    }

    fn share_guesses(&self, telling: TellingGuesses) -> Option<crate::Asked<HeardGuesses>> {
        Some(self.ask(0, move |shared, mut link| async move { shared.share_guesses(&mut link, &telling).await }))
    }

    fn share_locks(&self, telling: TellingLocks) -> Option<crate::Asked<HeardLocks>> {
        Some(self.ask(0, move |shared, mut link| async move { shared.share_locks(&mut link, &telling).await }))
    }

    fn leave(&self) -> crate::Asked<()> {
        self.shared.members.leave();
        self.ask(0, |shared, mut link| async move { shared.beat(&mut link).await })
    }
}
