//! One connection, its thread, and the users that lie on it. All transitions of one user on this node run one after another on
//! one lane, so that the node never races itself, and its copy of the records is mostly right.

use super::change::{Terms, Then};
use super::link::Link;
use super::memory::{self, Memory, Trouble};
use super::packet::PacketJob;
use super::settings::WhenLost;
use super::{Shared, clock, shift};
use crate::StoreError;
use crate::keys::{SIGNS, UserName};
use crate::sealed::{HEADER, Header};
use gateway_core::attempt::holds::Hold;
use gateway_core::attempt::record::{AttemptId, AttemptKey};
use gateway_core::attempt::records::Records;
use gateway_core::attempt::transition::{Change, Outcome, Transition};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use redis::RedisError;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

/// A copy that nobody asked for in this time is dropped, unless this node has to see to its end.
const COPY_IDLE: Duration = Duration::from_secs(120);

/// Claims of unknown fate that are kept in mind; each took a store that failed in the middle of it.
const MOST_ABANDONED: usize = 10_000;

/// What runs on a lane's thread.
pub(super) type LocalFuture = std::pin::Pin<Box<dyn Future<Output = ()>>>;

pub(super) enum Job {
    /// A transition. `now` is the store's; `None`: by this node's clock.
    Apply { transition: Box<Transition>, now: Option<Timestamp>, done: oneshot::Sender<Result<Outcome, StoreError>> },
    /// Somebody wants to hear of this channel.
    Watch(String),
    /// Nobody does any more.
    Unwatch(String),
    /// Something else to ask the store.
    Ask(Box<dyn FnOnce(Option<Link>) -> LocalFuture + Send>),
    /// The connection was lost.
    Lost,
}

/// What is done with one user's records, one after another.
pub(super) enum Work {
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

/// Does a user's work. If it panics, what waited for it is told, and the user's next transition finds no queue without a worker.
struct Worker {
    lane: Rc<Lane>,
    name: UserName,
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Ok(mut queues) = self.lane.queues.try_borrow_mut() {
            queues.remove(&self.name);
        }
    }
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
    /// Claims that may stand in the store, and that nobody goes on with.
    pub(super) abandoned: RefCell<HashMap<UserName, Vec<(AttemptKey, AttemptId)>>>,
    pub(super) memories: RefCell<HashMap<u8, Rc<Memory>>>,
    channels: RefCell<BTreeSet<String>>,
    /// Somebody waits for a connection, or there is one.
    linked: Notify,
    wanted: Notify,
    pub(super) lost: Cell<bool>,
    timeouts: Cell<u32>,
    pub(super) quiet_until: Cell<Timestamp>,
    pub(super) looking: Cell<bool>,
    inbox: mpsc::WeakUnboundedSender<Job>,
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>, index: usize, inbox: mpsc::WeakUnboundedSender<Job>) -> Rc<Self> {
        Rc::new(Self {
            shared,
            index,
            copies: RefCell::default(),
            queues: RefCell::default(),
            link: RefCell::default(),
            abandoned: RefCell::default(),
            memories: RefCell::default(),
            channels: RefCell::default(),
            linked: Notify::new(),
            wanted: Notify::new(),
            lost: Cell::new(false),
            timeouts: Cell::new(0),
            quiet_until: Cell::default(),
            looking: Cell::new(false),
            inbox,
        })
    }

    pub(super) async fn run(
        self: Rc<Self>,
        mut jobs: mpsc::UnboundedReceiver<Job>,
        packets: Option<mpsc::UnboundedReceiver<PacketJob>>,
    ) {
        tokio::task::spawn_local(self.clone().keep_connected());
        if let Some(packets) = packets {
            tokio::task::spawn_local(self.clone().share_packets(packets));
        }
        let mut ticks = tokio::time::interval(self.shared.settings.dead_after / SIGNS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let job = tokio::select! {
                job = jobs.recv() => job,
                _ = ticks.tick() => {
                    self.tick();
                    continue;
                }
            };
            let Some(job) = job else { return };
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
                Job::Ask(ask) => {
                    let lane = self.clone();
                    tokio::task::spawn_local(async move {
                        let patience = Instant::now() + lane.shared.settings.timeout;
                        ask(lane.link_until(patience).await).await;
                    });
                }
                Job::Lost => self.broken("the connection was closed"),
            }
        }
    }

    pub(super) fn enqueue(self: &Rc<Self>, name: UserName, work: Work) {
        let mut queues = self.queues.borrow_mut();
        if let Some(queue) = queues.get_mut(&name) {
            queue.push_back(work);
            return;
        }
        queues.insert(name.clone(), VecDeque::from([work]));
        let worker = Worker { lane: self.clone(), name };
        tokio::task::spawn_local(async move {
            let (lane, name) = (&worker.lane, &worker.name);
            loop {
                let next = {
                    let mut queues = lane.queues.borrow_mut();
                    let next = queues.get_mut(name).and_then(VecDeque::pop_front);
                    if next.is_none() {
                        queues.remove(name);
                    }
                    next
                };
                let Some(work) = next else { return };
                lane.perform(name, work).await;
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
                    let _ = self.change(name, &user, Terms::default(), |_, _| ((), Then::default())).await;
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
            return Err(StoreError::Settling);
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
        let tells = |outcome: &Outcome| {
            matches!(
                transition.change,
                Change::Settle { .. } | Change::TakeOver { .. } | Change::Offer { .. } | Change::End { .. }
            ) && !matches!(outcome, Outcome::Discarded(_) | Outcome::Refused(_))
        };
        let run = |records: &mut Records, now: Timestamp| {
            let outcome = transition.apply(records, now);
            let then = Then { told: tells(&outcome), lasts: transition.change.must_last(&outcome) };
            (outcome, then)
        };
        let tried = !self.lost.get();
        let mut outcome = if !tried {
            Err(StoreError::Unavailable)
        } else {
            self.change(name, &user, Terms { now: given, prompts, proves, after: 0 }, run).await
        };
        if outcome == Err(StoreError::Unavailable) && self.lost.get() {
            outcome = match self.shared.settings.when_lost {
                WhenLost::Refuse => Err(StoreError::Unavailable),
                // Another node may have taken the same code a moment ago.
                WhenLost::Local if proves => Ok(Outcome::Refused(Reason::CodeWhileStoreLost)),
                WhenLost::Local => Ok(self.alone(name, &user, given, run)),
            };
        }
        if let (Err(StoreError::Unavailable | StoreError::Settling), Change::Claim { id, .. }) =
            (&outcome, &transition.change)
            && tried
        {
            let claim = (transition.key.clone(), *id);
            let mut abandoned = self.abandoned.borrow_mut();
            if abandoned.len() < MOST_ABANDONED {
                abandoned.entry(name.clone()).or_default().push(claim);
            }
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

    fn tick(self: &Rc<Self>) {
        if let Some(link) = self.link.borrow().clone() {
            tokio::task::spawn_local(self.clone().look_at_primaries(link));
        }
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
            // What cannot be seen to an end is no reason to keep it for ever.
            let live = ours.is_some_and(|at| now.since(at) < COPY_IDLE);
            copy.dirty || live || copy.used.elapsed() < COPY_IDLE
        });
        self.shared.held.fetch_sub(before - copies.len(), Ordering::Relaxed);
        drop(copies);
        for (name, claims) in self.abandoned.borrow().iter() {
            due.extend(claims.first().map(|(key, _)| (name.clone(), key.user.clone())));
        }
        for (name, user) in due {
            self.enqueue(name, Work::Tidy(user));
        }
    }

    pub(super) async fn link_until(&self, patience: Instant) -> Option<Link> {
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

    pub(super) fn failed(&self, error: &RedisError) {
        self.shared.stats.errors.inc();
        let timeouts = self.timeouts.get() + 1;
        self.timeouts.set(timeouts);
        if !error.is_timeout() || timeouts > 2 {
            self.broken(&error.to_string());
        }
    }

    pub(super) fn answered(&self) {
        self.timeouts.set(0);
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

    async fn keep_connected(self: Rc<Self>) {
        let mut pause = Duration::from_millis(50);
        let mut said = String::new();
        let mut since = Instant::now();
        loop {
            if self.link.borrow().is_some() {
                self.wanted.notified().await;
                since = Instant::now();
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
                    // Said also where nobody signs in, who would find out.
                    if since.elapsed() >= self.shared.settings.timeout * 2 {
                        self.lose(&said);
                    }
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

/// An outcome's times by this node's clock.
fn unshift(mut outcome: Outcome, skew: i64) -> Outcome {
    let skew = skew.saturating_neg();
    match &mut outcome {
        Outcome::Joined { begun, deadline, .. } | Outcome::TakenOver { begun, deadline, .. } => {
            (*begun, *deadline) = (shift(*begun, skew), shift(*deadline, skew));
        }
        Outcome::Collected { begun, .. } => *begun = shift(*begun, skew),
        Outcome::ClaimedForCode { until, .. } | Outcome::Withheld { until } => *until = until.map(|at| shift(at, skew)),
        Outcome::Holds(holds) => {
            for until in holds.iter_mut().filter_map(Hold::until_mut) {
                *until = shift(*until, skew);
            }
        }
        Outcome::Taken(taken) => {
            (taken.begun, taken.deadline) = (shift(taken.begun, skew), shift(taken.deadline, skew))
        }
        _ => {}
    }
    outcome
}
