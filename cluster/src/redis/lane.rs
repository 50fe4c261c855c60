//! One connection, its thread, and the users that lie on it. All transitions of one user on this node run one after another on
//! one lane, so that the node never races itself, and its copy of the records is mostly right.

use super::link::Link;
use super::memory::{self, Memory, Trouble};
use super::settings::WhenLost;
use super::{Shared, clock, shift};
use crate::StoreError;
use crate::keys::UserName;
use crate::sealed::{HEADER, Header};
use gateway_core::attempt::records::Records;
use gateway_core::attempt::transition::{Change, Outcome, Transition};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use redis::{Pipeline, RedisError, Value, cmd};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};

/// A copy that nobody asked for in this time is dropped, unless this node has to see to its end.
const COPY_IDLE: Duration = Duration::from_secs(120);
/// After a fail-over nobody begins a prompt for this long.
pub(super) const SETTLES: Duration = Duration::from_secs(2);
/// How long a claim whose fate is unknown is looked for, to give it up.
const LOOK_FOR_CLAIM: Duration = Duration::from_secs(90);

/// What runs on a lane's thread.
pub(super) type LocalFuture = std::pin::Pin<Box<dyn Future<Output = ()>>>;

pub(super) enum Job {
    /// A transition. `now` is the store's; `None`: by this node's clock.
    Apply { transition: Box<Transition>, now: Option<Timestamp>, done: oneshot::Sender<Result<Outcome, StoreError>> },
    /// Somebody wants to hear of this channel.
    Watch(String),
    /// Nobody does any more.
    Unwatch(String),
    /// A second has passed.
    Tick,
    /// Something else to ask the store.
    Ask(Box<dyn FnOnce(Option<Link>) -> LocalFuture + Send>),
    /// The connection was lost.
    Lost,
}

/// What is done with one user's records, one after another.
enum Work {
    Apply {
        transition: Box<Transition>,
        now: Option<Timestamp>,
        done: oneshot::Sender<Result<Outcome, StoreError>>,
    },
    /// Find out which attempts nobody answered.
    Tidy(Arc<str>),
    /// The store may have lost what this node knows, or was without it.
    Reassert(Arc<str>),
}

/// This node's copy of one user's records: what it knows of them.
#[derive(Clone)]
pub(super) struct Known {
    /// The header of the write that it is a copy of; `None`: there was nothing.
    pub(super) identity: Option<[u8; HEADER]>,
    pub(super) head: Header,
    pub(super) records: Records,
    pub(super) user: Arc<str>,
    pub(super) used: Instant,
    /// Changed by this node alone.
    pub(super) dirty: bool,
}

pub(super) struct Lane {
    pub(super) shared: Arc<Shared>,
    index: usize,
    pub(super) copies: RefCell<HashMap<UserName, Known>>,
    queues: RefCell<HashMap<UserName, VecDeque<Work>>>,
    pub(super) link: RefCell<Option<Link>>,
    memories: RefCell<HashMap<u8, Rc<Memory>>>,
    channels: RefCell<BTreeSet<String>>,
    /// Somebody waits for a connection, or there is one.
    linked: Notify,
    wanted: Notify,
    pub(super) lost: Cell<bool>,
    timeouts: Cell<u32>,
    quiet_until: Cell<Timestamp>,
    inbox: mpsc::WeakUnboundedSender<Job>,
}

/// What one exchange of records is about.
#[derive(Clone, Copy, Default)]
struct Terms {
    now: Option<Timestamp>,
    /// A replica is to have it before it is believed, and the primary is to be the one that is known.
    acknowledged: bool,
    /// The write is to count as later than this one.
    after: u64,
}

/// What the script made of it.
enum Exchanged {
    Done,
    Other(Option<Vec<u8>>),
    Memory,
    Huge,
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>, index: usize, inbox: mpsc::WeakUnboundedSender<Job>) -> Rc<Self> {
        Rc::new(Self {
            shared,
            index,
            copies: RefCell::default(),
            queues: RefCell::default(),
            link: RefCell::default(),
            memories: RefCell::default(),
            channels: RefCell::default(),
            linked: Notify::new(),
            wanted: Notify::new(),
            lost: Cell::new(false),
            timeouts: Cell::new(0),
            quiet_until: Cell::default(),
            inbox,
        })
    }

    pub(super) async fn run(self: Rc<Self>, mut jobs: mpsc::UnboundedReceiver<Job>) {
        tokio::task::spawn_local(self.clone().keep_connected());
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Apply { transition, now, done } => {
                    let name = self.shared.keys.name(&transition.key.user);
                    self.enqueue(name, Work::Apply { transition, now, done });
                }
                Job::Watch(channel) => {
                    self.channels.borrow_mut().insert(channel.clone());
                    let lane = self.clone();
                    tokio::task::spawn_local(async move { lane.subscribe(channel).await });
                }
                Job::Unwatch(channel) => {
                    self.channels.borrow_mut().remove(&channel);
                    let link = self.link.borrow().clone();
                    tokio::task::spawn_local(async move {
                        if let Some(mut link) = link {
                            let _ = link.unsubscribe(&channel).await;
                        }
                    });
                }
                Job::Tick => self.tick(),
                Job::Ask(ask) => drop(tokio::task::spawn_local(ask(self.link.borrow().clone()))),
                Job::Lost => self.broken("the connection was closed"),
            }
        }
    }

    fn enqueue(self: &Rc<Self>, name: UserName, work: Work) {
        let mut queues = self.queues.borrow_mut();
        if let Some(queue) = queues.get_mut(&name) {
            queue.push_back(work);
            return;
        }
        queues.insert(name.clone(), VecDeque::from([work]));
        let lane = self.clone();
        tokio::task::spawn_local(async move {
            loop {
                let next = {
                    let mut queues = lane.queues.borrow_mut();
                    let next = queues.get_mut(&name).and_then(VecDeque::pop_front);
                    if next.is_none() {
                        queues.remove(&name);
                    }
                    next
                };
                let Some(work) = next else { return };
                lane.perform(&name, work).await;
            }
        });
    }

    async fn perform(self: &Rc<Self>, name: &UserName, work: Work) {
        match work {
            Work::Apply { transition, now, done } => {
                let outcome = self.transition(name, *transition, now).await;
                let _ = done.send(outcome);
            }
            Work::Tidy(user) => {
                if !self.lost.get() {
                    let _ = self.change(name, &user, Terms::default(), |_, _| ((), false)).await;
                }
            }
            Work::Reassert(user) => self.reassert(name, &user).await,
        }
    }

    async fn transition(
        self: &Rc<Self>,
        name: &UserName,
        mut transition: Transition,
        given: Option<Timestamp>,
    ) -> Result<Outcome, StoreError> {
        let skew = if given.is_some() { 0 } else { self.shared.skew() };
        if let Change::Claim { begun, .. } | Change::IssueRound { begun, .. } = &mut transition.change {
            *begun = shift(*begun, skew);
        }
        let prompts = matches!(transition.change, Change::Claim { prompts: true, .. });
        if prompts && self.store_now(given) < self.quiet_until.get() {
            return Ok(Outcome::Discarded(Reason::StoreSettling));
        }
        let adds = matches!(transition.change, Change::Claim { .. } | Change::IssueRound { .. });
        if adds && self.shared.held.load(Ordering::Relaxed) >= self.shared.settings.limit {
            return Err(StoreError::Full);
        }
        let user = transition.key.user.clone();
        let proves = matches!(transition.change, Change::Settle { code: Some(_), .. });
        let counter = match transition.change {
            Change::Settle { code: Some(code), .. } if code.forget.is_none() => Some(code),
            _ => None,
        };
        let acknowledged = (prompts || proves || matches!(transition.change, Change::TakeOver { .. }))
            && self.shared.settings.mode.has_replicas();
        let tells = |outcome: &Outcome| {
            matches!(transition.change, Change::Settle { .. } | Change::TakeOver { .. })
                && !matches!(outcome, Outcome::Discarded(_) | Outcome::Refused(_))
        };
        let run = |records: &mut Records, now: Timestamp| {
            let outcome = transition.apply(records, now);
            let told = tells(&outcome);
            (outcome, told)
        };
        let mut outcome = if self.lost.get() {
            Err(StoreError::Unavailable)
        } else {
            self.change(name, &user, Terms { now: given, acknowledged, after: 0 }, run).await
        };
        if outcome == Err(StoreError::Unavailable) && self.lost.get() {
            outcome = match self.shared.settings.when_lost {
                WhenLost::Refuse => Err(StoreError::Unavailable),
                // Another node may have taken the same code a moment ago.
                WhenLost::Local if proves => Ok(Outcome::Refused(Reason::CodeWhileStoreLost)),
                WhenLost::Local => Ok(self.alone(name, &user, given, run)),
            };
        }
        if let (Ok(Outcome::Done), Some(code)) = (&outcome, counter)
            && !self.shared.journal_counter(&user, code).await
        {
            return Err(StoreError::Unavailable);
        }
        outcome.map(|outcome| unshift(outcome, skew))
    }

    /// By the clock of the store, as far as this node knows it.
    pub(super) fn store_now(&self, given: Option<Timestamp>) -> Timestamp {
        given.unwrap_or_else(|| shift(clock(), self.shared.skew()))
    }

    /// The records to run on, with what the store knows beside them.
    fn base(
        &self,
        name: &UserName,
        user: &Arc<str>,
        now: Timestamp,
        memory: Option<&memory::Body>,
    ) -> (Known, Records) {
        let copy = self.copies.borrow().get(name).cloned().unwrap_or_else(|| Known {
            identity: None,
            head: Header { serial: 0, epoch: 0, expires: Timestamp::default() },
            records: Records::default(),
            user: user.clone(),
            used: Instant::now(),
            dirty: false,
        });
        let mut records = copy.records.clone();
        // Without the store nothing is known of codes.
        records.used_since = memory.map_or(now, |memory| memory.since);
        records.counters_since = memory.map_or(now, |memory| memory.counters_since);
        // An epoch that was given before the record was forgotten must not come again.
        records.epoch_floor = if copy.identity.is_some() { copy.head.epoch } else { now.as_micros() };
        for code in self.shared.counters_of(user) {
            records.remember(user, code);
        }
        (copy, records)
    }

    /// Runs `step` on the records and puts the result in place, again where somebody else has written meanwhile. `step` may so
    /// run more than once, each time on records as they were; it says whether whoever waits for the user is to be told.
    async fn change<T: Clone>(
        self: &Rc<Self>,
        name: &UserName,
        user: &Arc<str>,
        terms: Terms,
        step: impl Fn(&mut Records, Timestamp) -> (T, bool),
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        let window = shared.settings.wrong_codes_window;
        let patience = Instant::now() + shared.settings.timeout * 2;
        let (key, memory_key) = (shared.keys.user(name), shared.keys.memory(name.group));
        let mut by_digest = true;
        // Writes of ours whose fate is unknown: one of them may be what the store shows next.
        let mut unknown: Vec<([u8; HEADER], Known, T)> = Vec::new();
        loop {
            let Some(mut link) = self.link_until(patience).await else {
                self.lose("it does not answer");
                self.give_up(unknown, name);
                return Err(StoreError::Unavailable);
            };
            let memory = self.memories.borrow().get(&name.group).cloned();
            let Some(memory) = memory else {
                self.refresh(&mut link, name.group).await?;
                continue;
            };
            let now = self.store_now(terms.now);
            let (copy, mut records) = self.base(name, user, now, Some(&memory.body));
            let unanswered = records.sweep(now, window);
            let (outcome, told) = step(&mut records, now);
            let floor = std::mem::take(&mut records.epoch_floor);
            (records.used_since, records.counters_since) = (Timestamp::default(), Timestamp::default());
            let empty = records.is_empty() && records.spent.is_empty();
            let head = Header {
                serial: copy.head.serial.max(terms.after).saturating_add(1),
                epoch: copy.head.epoch.max(floor).max(records.highest_epoch()),
                expires: records.lasts_until(window).unwrap_or_default(),
            };
            let (what, value) = if records == copy.records {
                ("read", Vec::new())
            } else if empty {
                ("delete", Vec::new())
            } else {
                ("write", shared.seal(&key, head, &records)?)
            };
            let lifetime = match records.lasts_until(window) {
                Some(until) => (until.since(now) + crate::keys::USER_OUTLIVES).as_millis().to_string(),
                None => "0".to_owned(),
            };
            let mut call = super::scripts::EXCHANGE.call(by_digest, &[&key, &memory_key]);
            call.arg(&memory.value).arg(copy.identity.as_ref().map_or(&[][..], |identity| identity));
            call.arg(what).arg(&value).arg(lifetime);
            call.arg(if told { shared.keys.channel(name) } else { String::new() });
            let mut pipeline = Pipeline::new();
            pipeline.add_command(call);
            let acknowledged = terms.acknowledged && what != "read";
            if acknowledged {
                let wait = shared.settings.timeout.as_millis() / 2;
                pipeline.add_command(cmd("WAIT").arg(1).arg(wait.to_string()).to_owned());
                pipeline.add_command(cmd("INFO").arg("replication").to_owned());
            }
            let next = Known { head, records, user: user.clone(), used: Instant::now(), ..copy.clone() };
            let next = match what {
                "read" => Known { records: next.records, used: next.used, ..copy },
                "delete" => Known { identity: None, dirty: false, ..next },
                _ => Known { identity: value.first_chunk().copied(), dirty: false, ..next },
            };
            shared.stats.round_trips.inc();
            let asked = clock();
            let answers = match link.run(&key, pipeline).await {
                Ok(answers) => answers,
                Err(error) => {
                    if let Some(identity) = value.first_chunk() {
                        unknown.push((*identity, next, outcome));
                    }
                    self.failed(&error);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            self.timeouts.set(0);
            let mut answers = answers.into_iter();
            let exchanged = match self.exchanged(answers.next().unwrap_or_default(), asked) {
                Ok(exchanged) => exchanged,
                Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
                    by_digest = false;
                    continue;
                }
                Err(error) => {
                    self.failed(&error);
                    if error.code() == Some("WRONGTYPE") {
                        shared.stats.tampered.inc();
                        return Err(StoreError::Tampered);
                    }
                    if Instant::now() >= patience
                        || !matches!(
                            error.kind(),
                            redis::ErrorKind::Server(
                                redis::ServerErrorKind::Moved
                                    | redis::ServerErrorKind::Ask
                                    | redis::ServerErrorKind::TryAgain
                                    | redis::ServerErrorKind::ClusterDown
                                    | redis::ServerErrorKind::ReadOnly
                            )
                        )
                    {
                        self.lose(&error.to_string());
                        return Err(StoreError::Unavailable);
                    }
                    self.broken("it may not be written");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            match exchanged {
                Exchanged::Done => {
                    self.keep(name, next);
                    shared.tell_unanswered(unanswered);
                    if acknowledged {
                        let acks: i64 = answers.next().and_then(|v| redis::from_redis_value(v).ok()).unwrap_or(0);
                        let primary = answers.next().map(memory::primary);
                        if acks < 1 {
                            shared.stats.unacknowledged.inc();
                            self.lose("no replica acknowledges what is written: look at the replicas");
                            return Err(StoreError::Unavailable);
                        }
                        if !matches!(primary, Some(Ok(primary)) if primary == memory.body.primary) {
                            // Another primary: who knows what went down with the old one.
                            self.memories.borrow_mut().clear();
                            return Err(StoreError::Unavailable);
                        }
                    }
                    return Ok(outcome);
                }
                Exchanged::Other(value) => {
                    let header = value.as_deref().and_then(|value| value.first_chunk::<HEADER>().copied());
                    if let Some(at) = unknown.iter().position(|(identity, ..)| Some(*identity) == header) {
                        let (_, copy, outcome) = unknown.swap_remove(at);
                        self.keep(name, copy);
                        return Ok(outcome);
                    }
                    shared.stats.conflicts.inc();
                    let copy = shared.open(&key, user, value.as_deref())?;
                    self.keep(name, copy);
                }
                Exchanged::Memory => self.refresh(&mut link, name.group).await?,
                Exchanged::Huge => {
                    shared.stats.tampered.inc();
                    return Err(StoreError::Tampered);
                }
            }
            if Instant::now() >= patience {
                return Err(StoreError::Unavailable);
            }
        }
    }

    fn exchanged(&self, answer: Value, asked: Timestamp) -> Result<Exchanged, RedisError> {
        type Answer = (i64, u64, u64, Option<Vec<u8>>);
        let (status, seconds, micros, value): Answer = redis::from_redis_value(answer.extract_error()?)?;
        let time = Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros));
        self.shared.learn_time(time, asked, clock());
        Ok(match status {
            0 => Exchanged::Done,
            1 => Exchanged::Other(value),
            2 => Exchanged::Memory,
            _ => Exchanged::Huge,
        })
    }

    /// The transition by this node alone: on its copy, which the store will be told of when it is back.
    fn alone<T>(
        &self,
        name: &UserName,
        user: &Arc<str>,
        given: Option<Timestamp>,
        step: impl Fn(&mut Records, Timestamp) -> (T, bool),
    ) -> T {
        self.shared.stats.alone.inc();
        let now = self.store_now(given);
        let (copy, mut records) = self.base(name, user, now, None);
        let unanswered = records.sweep(now, self.shared.settings.wrong_codes_window);
        let (outcome, _) = step(&mut records, now);
        records.epoch_floor = 0;
        (records.used_since, records.counters_since) = (Timestamp::default(), Timestamp::default());
        self.shared.tell_unanswered(unanswered);
        self.keep(name, Known { records, dirty: true, used: Instant::now(), ..copy });
        self.shared.notify(&self.shared.keys.channel(name));
        outcome
    }

    pub(super) fn keep(&self, name: &UserName, copy: Known) {
        let mut copies = self.copies.borrow_mut();
        let before = copies.len();
        if copy.identity.is_none() && !copy.dirty {
            copies.remove(name);
        } else {
            copies.insert(name.clone(), copy);
        }
        let (held, after) = (&self.shared.held, copies.len());
        if after > before {
            held.fetch_add(1, Ordering::Relaxed)
        } else {
            held.fetch_sub(before - after, Ordering::Relaxed)
        };
    }

    /// A claim that may or may not stand in the store, and that nobody will go on with, must not keep the user from signing in.
    fn give_up<T>(self: &Rc<Self>, unknown: Vec<([u8; HEADER], Known, T)>, name: &UserName) {
        let owner = &self.shared.owner;
        for (_, copy, _) in unknown {
            for (key, attempt) in copy.records.attempts {
                use gateway_core::attempt::record::Phase;
                if attempt.owner != *owner || attempt.phase != Phase::Begun {
                    continue;
                }
                let (lane, name, epoch) = (self.clone(), name.clone(), attempt.epoch);
                tokio::task::spawn_local(async move {
                    let until = Instant::now() + LOOK_FOR_CLAIM;
                    while Instant::now() < until {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        let rules = Arc::new(super::no_rules());
                        let transition = Transition { key: key.clone(), change: Change::Abandon { epoch }, rules };
                        let abandon = |records: &mut Records, now| (transition.apply(records, now), false);
                        if !lane.lost.get() && lane.change(&name, &key.user, Terms::default(), abandon).await.is_ok() {
                            return;
                        }
                    }
                });
            }
        }
    }

    /// Puts down again what the store has lost, or was without.
    async fn reassert(self: &Rc<Self>, name: &UserName, user: &Arc<str>) {
        let Some(copy) = self.copies.borrow().get(name).cloned() else { return };
        let clean = Known { dirty: false, ..copy.clone() };
        self.keep(name, clean);
        let window = self.shared.settings.wrong_codes_window;
        let mine = copy.clone();
        let shared = self.shared.clone();
        // What is in the store comes from `change`; it is replaced where it is older than what this node knows.
        let outcome = self
            .change_from_store(
                name,
                user,
                copy.head.serial,
                move |found: Option<&Known>, records: &mut Records, now| {
                    let known = |copy: &Known| (copy.head.serial, copy.identity);
                    match found {
                        Some(found) if known(found) == known(&mine) && !mine.dirty => {}
                        Some(found) if found.head.serial > mine.head.serial => {
                            if mine.dirty {
                                shared.stats.diverged.inc();
                            }
                            merge_used(records, &mine.records);
                        }
                        Some(found) if found.head.serial == mine.head.serial && found.identity != mine.identity => {
                            shared.stats.diverged.inc();
                            merge_used(records, &mine.records);
                        }
                        _ => {
                            let theirs = std::mem::replace(records, mine.records.clone());
                            merge_used(records, &theirs);
                            records.sweep(now, window);
                            shared.stats.reasserted.inc();
                        }
                    }
                },
            )
            .await;
        if outcome.is_err() && copy.dirty {
            // It is lost again: later.
            if let Some(kept) = self.copies.borrow_mut().get_mut(name) {
                kept.dirty = true;
            }
        }
    }

    async fn change_from_store(
        self: &Rc<Self>,
        name: &UserName,
        user: &Arc<str>,
        after: u64,
        step: impl Fn(Option<&Known>, &mut Records, Timestamp),
    ) -> Result<(), StoreError> {
        // The copy is forgotten first, so that the first exchange brings what is there.
        self.copies.borrow_mut().remove(name).map(|_| self.shared.held.fetch_sub(1, Ordering::Relaxed));
        let read = self.change(name, user, Terms::default(), |_, _| ((), false)).await;
        read?;
        let found = self.copies.borrow().get(name).cloned();
        self.change(name, user, Terms { after, ..Terms::default() }, |records, now| {
            step(found.as_ref(), records, now);
            ((), true)
        })
        .await
    }

    fn tick(self: &Rc<Self>) {
        if self.index == 0 {
            let (lane, link) = (self.clone(), self.link.borrow().clone());
            tokio::task::spawn_local(async move {
                let beat = match link {
                    Some(mut link) => lane.shared.beat(&mut link).await,
                    None => return lane.shared.members.unreachable(),
                };
                if let Err(error) = beat {
                    lane.shared.members.unreachable();
                    lane.failed(&error);
                }
            });
        }
        let now = self.store_now(None);
        let mut due = Vec::new();
        let mut copies = self.copies.borrow_mut();
        let before = copies.len();
        copies.retain(|name, copy| {
            let ours = copy.records.next_due();
            if ours.is_some_and(|at| at <= now) {
                due.push((name.clone(), copy.user.clone()));
            }
            copy.dirty || ours.is_some() || copy.used.elapsed() < COPY_IDLE
        });
        self.shared.held.fetch_sub(before - copies.len(), Ordering::Relaxed);
        drop(copies);
        for (name, user) in due {
            self.enqueue(name, Work::Tidy(user));
        }
    }

    async fn link_until(&self, patience: Instant) -> Option<Link> {
        loop {
            if let Some(link) = self.link.borrow().clone() {
                return (Instant::now() < patience).then_some(link);
            }
            self.wanted.notify_one();
            let left = patience.saturating_duration_since(Instant::now());
            if left.is_zero() || tokio::time::timeout(left, self.linked.notified()).await.is_err() {
                return None;
            }
        }
    }

    fn failed(&self, error: &RedisError) {
        self.shared.stats.errors.inc();
        let timeouts = self.timeouts.get() + 1;
        self.timeouts.set(timeouts);
        if !error.is_timeout() || timeouts > 2 {
            self.broken(&error.to_string());
        }
    }

    /// The connection is of no use any more.
    pub(super) fn broken(&self, why: &str) {
        if self.link.borrow_mut().take().is_some() {
            tracing::warn!(why, "a connection to the store is made anew");
        }
        self.wanted.notify_one();
    }

    pub(super) fn lose(&self, why: &str) {
        if !self.lost.replace(true) {
            self.shared.lose(why);
        }
        self.broken(why);
    }

    async fn refresh(self: &Rc<Self>, link: &mut Link, group: u8) -> Result<(), StoreError> {
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
    fn adopt(self: &Rc<Self>, group: u8, memory: Memory) {
        let before = self.memories.borrow_mut().insert(group, Rc::new(memory));
        let Some(now) = self.memories.borrow().get(&group).cloned() else { return };
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

    async fn keep_connected(self: Rc<Self>) {
        let mut pause = Duration::from_millis(50);
        let mut said = String::new();
        loop {
            if self.link.borrow().is_some() {
                self.wanted.notified().await;
                continue;
            }
            match self.connect().await {
                Ok(()) => {
                    (pause, said) = (Duration::from_millis(50), String::new());
                    self.linked.notify_waiters();
                }
                Err(error) => {
                    self.shared.stats.errors.inc();
                    if error != said {
                        tracing::error!(error, "the store cannot be used");
                        said = error;
                    }
                    self.linked.notify_waiters();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    async fn connect(self: &Rc<Self>) -> Result<(), String> {
        let text = |error: RedisError| error.to_string();
        let inbox = self.inbox.clone();
        let shared = self.shared.clone();
        let told = Arc::new(move |channel: Option<String>| match channel {
            Some(channel) => shared.notify(&channel),
            None => drop(inbox.upgrade().map(|inbox| inbox.send(Job::Lost))),
        });
        let timeout = self.shared.settings.timeout;
        let mut link = self.shared.connector.connect(timeout, told).await.map_err(text)?;
        self.shared.probe(&mut link).await.map_err(text)?;
        let refreshed = futures_util::future::join_all((0..=u8::MAX).map(|group| {
            let (shared, mut link) = (self.shared.clone(), link.clone());
            async move { (group, memory::refresh(&shared, &mut link, group).await) }
        }));
        for (group, refreshed) in refreshed.await {
            match refreshed {
                Ok((memory, _)) => self.adopt(group, memory),
                Err(Trouble::Link(error)) => return Err(text(error)),
                Err(Trouble::NotOurs) => {
                    return Err(
                        "the memory of used codes in it does not open under this node's key: give every node the \
                                same cluster.key_file"
                            .to_owned(),
                    );
                }
            }
        }
        self.shared.was_seen();
        let channels: Vec<String> = self.channels.borrow().iter().cloned().collect();
        for channel in channels {
            link.subscribe(&channel).await.map_err(text)?;
            self.shared.notify(&channel);
        }
        *self.link.borrow_mut() = Some(link);
        self.timeouts.set(0);
        if self.lost.replace(false) {
            self.shared.found();
            let copies = self.copies.borrow();
            let dirty = copies.iter().filter(|(_, copy)| copy.dirty);
            let dirty: Vec<_> = dirty.map(|(name, copy)| (name.clone(), copy.user.clone())).collect();
            drop(copies);
            for (name, user) in dirty {
                self.enqueue(name, Work::Reassert(user));
            }
        }
        Ok(())
    }

    async fn subscribe(&self, channel: String) {
        let link = self.link.borrow().clone();
        if let Some(mut link) = link
            && link.subscribe(&channel).await.is_ok()
        {
            // What happened before the subscription was not heard.
            self.shared.notify(&channel);
        }
    }
}

/// What either of two knows of codes that were used.
fn merge_used(into: &mut Records, from: &Records) {
    for (user, record) in &from.users {
        for (token, next, forget) in &record.used {
            let Some(factor) = next.checked_sub(1) else { continue };
            let token = gateway_core::factor::TokenId(*token);
            into.remember(user, gateway_core::factor::CodeUse { token, factor, forget: *forget });
        }
    }
}

/// An outcome's times by this node's clock.
fn unshift(mut outcome: Outcome, skew: i64) -> Outcome {
    let skew = skew.saturating_neg();
    match &mut outcome {
        Outcome::Joined { begun, deadline, .. } | Outcome::TakenOver { begun, deadline, .. } => {
            (*begun, *deadline) = (shift(*begun, skew), shift(*deadline, skew));
        }
        Outcome::Collected { begun, .. } => *begun = shift(*begun, skew),
        Outcome::Taken(taken) => {
            (taken.begun, taken.deadline) = (shift(taken.begun, skew), shift(taken.deadline, skew))
        }
        _ => {}
    }
    outcome
}
