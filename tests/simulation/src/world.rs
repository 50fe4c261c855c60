//! One run: the queue, the clock, and what breaks. A node that crashes loses its memory and comes back in another life; a node that
//! pauses does everything later; what is addressed to a life that is over is lost.

use crate::check::{Failure, PromptFact};
use crate::event::{Back, Event, Queue};
use crate::figures::{Figures, Limit};
use crate::nas::{Packet, SignIn, StateFact};
use crate::node::Node;
use crate::plan::Plan;
use crate::random::Random;
use crate::setup::{STEP, Setup, USERS};
use crate::store::{Applied, Store, user_of};
use gateway_core::attempt::driver;
use gateway_core::attempt::record::{AttemptId, AttemptKey, Owner, PacketDigest};
use gateway_core::attempt::transition::{Change, Outcome, Transition};
use gateway_core::exchange::{Input, Setting};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// When runs begin: any time will do, at the beginning of a time step of tokens.
const BEGIN: Timestamp = Timestamp::from_secs(1_800_000_000 / STEP * STEP);
/// How long a run lasts at most.
const LASTS: Duration = Duration::from_secs(420);
/// How many lines before a failure are shown.
const LAST_LINES: usize = 60;

pub(crate) struct World<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) now: Timestamp,
    queue: Queue,
    pub(crate) nodes: Vec<Node>,
    /// Owners that are no more, and since when.
    pub(crate) ended_lives: Vec<(Owner, Timestamp)>,
    incarnations: u64,
    pub(crate) store: Store,
    /// When the next transition of a user by a node can reach the store: they do not overtake each other.
    lanes: Vec<[Timestamp; USERS]>,
    /// Attempts whose code is on its way to the disk of a node alone.
    pub(crate) writing: Vec<AttemptKey>,
    pub(crate) prompts: Vec<PromptFact>,
    pub(crate) sign_ins: Vec<SignIn>,
    pub(crate) packets: Vec<Packet>,
    pub(crate) states: Vec<StateFact>,
    pub(crate) identifiers: [u8; 8],
    /// Which packet each attempt let in.
    pub(crate) accepted: BTreeMap<AttemptId, usize>,
    /// Which packet each code let in: user, time step.
    pub(crate) codes: BTreeMap<(usize, u64), usize>,
    /// Attempts whose code was right.
    pub(crate) passed: BTreeSet<AttemptId>,
    /// Wrong codes of each user that were judged, since the last right one.
    pub(crate) judged: [u32; USERS],
    /// When the volley is fired.
    pub(crate) fires_at: Timestamp,
    /// Packets that were told an outcome which was committed for another.
    pub(crate) borrowed: Vec<PacketDigest>,
    /// Pauses that wait for a prompt, whose owner is to stand still over its end.
    pub(crate) late_owners: u64,
    /// Fail-overs that wait for their moment.
    ambushes: u64,
    /// When the store was last without an answer, or failed over.
    pub(crate) store_trouble: Option<Timestamp>,
    pub(crate) figures: Figures,
    pub(crate) failure: Option<Failure>,
    lines: Option<Vec<String>>,
}

impl<'a> World<'a> {
    pub(crate) fn new(setup: &'a Setup, seed: u64, trace: bool) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random, seed);
        let mut world = Self {
            setup,
            random,
            now: BEGIN,
            queue: Queue::default(),
            nodes: Vec::new(),
            ended_lives: Vec::new(),
            incarnations: 0,
            store: Store::new(plan.shared, plan.fail_overs > 0, plan.nodes, BEGIN),
            lanes: vec![[BEGIN; USERS]; plan.nodes],
            writing: Vec::new(),
            prompts: Vec::new(),
            sign_ins: Vec::new(),
            packets: Vec::new(),
            states: Vec::new(),
            identifiers: [0; 8],
            accepted: BTreeMap::new(),
            codes: BTreeMap::new(),
            passed: BTreeSet::new(),
            judged: [0; USERS],
            fires_at: BEGIN,
            borrowed: Vec::new(),
            late_owners: 0,
            ambushes: 0,
            store_trouble: None,
            figures: Figures::default(),
            failure: None,
            lines: trace.then(Vec::new),
            plan,
        };
        world.trace(|| format!("seed {seed}"));
        let plan = format!("{:?}", world.plan);
        world.trace(|| plan);
        for n in 0..world.plan.nodes {
            let most = i64::try_from(world.plan.skew.as_micros()).unwrap_or(0);
            let skew = if most == 0 { 0 } else { world.random.range(0, 2 * most.unsigned_abs()).cast_signed() - most };
            let node = world.born(n, 0, skew);
            world.nodes.push(node);
            // Everybody has known everybody for long.
            world.nodes[n].since = Timestamp::default();
        }
        world.foresee();
        world
    }

    fn born(&mut self, n: usize, life: u32, skew: i64) -> Node {
        self.incarnations += 1;
        let owner = Owner { node: format!("n{n}").into(), incarnation: self.incarnations };
        let config = self.setup.configs[self.plan.config].clone();
        Node::new(Arc::new(Setting::new(config, self.setup.keyring.clone(), owner)), life, skew, self.now)
    }

    /// What breaks, and who wants in.
    fn foresee(&mut self) {
        let Plan { sign_ins, crashes, pauses, fail_overs, outages, .. } = self.plan;
        for _ in 0..sign_ins {
            self.plan_sign_in();
        }
        if self.plan.guesses {
            let user = self.random.index(self.plan.users);
            self.within(100_000, Event::Volley { user });
        }
        for _ in 0..crashes {
            let node = self.random.index(self.plan.nodes);
            self.within(150_000, Event::Crash { node });
        }
        for _ in 0..pauses {
            if self.random.chance(300) {
                self.late_owners += 1;
                continue;
            }
            let node = self.random.index(self.plan.nodes);
            self.within(150_000, Event::Pause { node, long: false });
        }
        for _ in 0..fail_overs {
            if self.random.chance(500) {
                self.ambushes += 1;
            } else {
                self.within(150_000, Event::FailOver);
            }
        }
        for _ in 0..outages {
            self.within(150_000, Event::Outage);
        }
    }

    /// Foresees something at some time in the first `millis`.
    pub(crate) fn within(&mut self, millis: u64, event: Event) {
        let at = self.later(0, millis);
        self.at(at, event);
    }

    pub(crate) fn at(&mut self, at: Timestamp, event: Event) {
        self.queue.push(at, event);
    }

    /// Some time between `low` and `high` milliseconds from now.
    pub(crate) fn later(&mut self, low: u64, high: u64) -> Timestamp {
        let span = Duration::from_micros(self.random.range(low * 1_000, high * 1_000));
        self.now.after(span)
    }

    /// What a network or a disk takes that works.
    pub(crate) fn soon(&mut self) -> Timestamp {
        let slow = self.random.chance(20);
        if slow { self.later(20, 900) } else { self.later(0, 12) }
    }

    /// When a transition of this node reaches the store.
    pub(crate) fn reaches_store(&mut self, n: usize, key: &AttemptKey) -> Timestamp {
        let at = self.soon();
        let lane = &mut self.lanes[n][user_of(&key.user)];
        *lane = at.max(*lane);
        *lane
    }

    pub(crate) fn tracing(&self) -> bool {
        self.lines.is_some()
    }

    pub(crate) fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            let since = self.now.since(BEGIN);
            lines.push(format!("{:>8.3} {}", since.as_secs_f64(), line()));
        }
    }

    /// All that was traced.
    pub(crate) fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// The lines before the end.
    pub(crate) fn last_lines(&self) -> &[String] {
        let lines = self.lines();
        &lines[lines.len().saturating_sub(LAST_LINES)..]
    }

    /// Runs to the end, or to the first thing that must never happen.
    pub(crate) fn run(&mut self) {
        while self.failure.is_none() {
            let Some((at, event)) = self.queue.pop() else { break };
            if at.since(BEGIN) > LASTS {
                break;
            }
            self.now = at;
            if let Some((n, life)) = event.node() {
                let node = &self.nodes[n];
                if !node.up || life.is_some_and(|life| life != node.life) {
                    continue;
                }
                if node.paused_until > at {
                    let until = node.paused_until;
                    self.queue.push(until, event);
                    continue;
                }
            }
            self.happen(event);
        }
        if self.failure.is_none() {
            self.check_all_ended();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::SignIn { sign_in } => self.sign_in(sign_in),
            Event::Retransmit { sign_in, serial } => self.retransmit(sign_in, serial),
            Event::UserActs { sign_in, serial } => self.user_acts(sign_in, serial),
            Event::Replied { packet, octets } => self.replied(packet, &octets),
            Event::Stray { packet } => self.transmit(packet, None),
            Event::Volley { user } => self.volley(user),
            Event::Arrive { node, packet } => self.arrive(node, packet),
            Event::Exchange { node, run, input, .. } => self.feed(node, run, *input),
            Event::Wake { node, run, wake, .. } => self.woken(node, run, wake),
            Event::Heard { node, run, .. } => self.heard(node, run),
            Event::Driver { node, driver, input, .. } => self.feed_driver(node, driver, *input),
            Event::DriverWake { node, driver, wake, .. } => self.driver_woken(node, driver, wake),
            Event::Applied { node, back, outcome, believed, .. } => self.applied(node, back, outcome, believed),
            Event::PacketSeen { node, run, seen, .. } => self.packet_seen(node, run, seen),
            Event::Apply { node, life, transition, of, back } => {
                self.apply_and_answer(node, life, transition, of, back);
            }
            Event::Journal { node, life, key, code } => {
                self.writing.retain(|other| *other != key);
                // A node that dies meanwhile has written it, or not.
                if self.nodes[node].life == life || self.random.chance(500) {
                    self.store.journal(key.user, code);
                }
            }
            Event::AskPacket { node, life, run } => self.ask_packet(node, life, run),
            Event::PacketEnded { digest, owner, reply } => {
                let lag = self.lag();
                self.store.packet_ended(digest, owner.as_ref(), reply, (self.now, lag));
            }
            Event::Look { node, .. } => self.store.notice(node, self.now),
            Event::Rings { prompt } => self.rings(prompt),
            Event::Taps { prompt } => self.taps(prompt),
            Event::GivesUp { prompt } => self.gives_up(prompt),
            Event::Poll { node, life, driver, session } => self.polled(node, life, driver, &session),
            Event::Crash { node } => self.crash(node),
            Event::Restart { node } => self.restart(node),
            Event::Pause { node, long } => self.pause(node, long),
            Event::Resume { node } => self.nodes[node].silent_since = None,
            Event::FailOver => self.fail_over(),
            Event::Outage => self.outage(),
        }
    }

    /// How long a replica takes.
    fn lag(&mut self) -> Duration {
        Duration::from_millis(if self.store.replicated { self.random.range(1, 300) } else { 0 })
    }

    /// The store runs a transition, now, which is about the attempt `of`.
    pub(crate) fn apply(&mut self, n: usize, transition: &Transition, of: AttemptId) -> Applied {
        let lag = self.lag();
        let applied = self.store.apply(n, transition, self.now, lag);
        if self.tracing() {
            let (change, outcome) = (format!("{:?}", transition.change), format!("{:?}", applied.ran));
            let (change, outcome): (String, String) =
                (change.chars().take(60).collect(), outcome.chars().take(110).collect());
            let answer = applied.outcome.as_ref().err().copied();
            self.trace(|| format!("store: node {n}: {change} -> {outcome} {answer:?}"));
        }
        if let Some(outcome) = &applied.ran {
            self.check_attempt(transition, outcome, of);
            self.check_applied(n, transition, outcome);
            self.ambush(transition, outcome);
        }
        applied
    }

    /// The store fails over at the worst moment, when what is about to be spoken is on no replica yet.
    fn ambush(&mut self, transition: &Transition, outcome: &Outcome) {
        let spoken = match outcome {
            Outcome::Collected { .. } | Outcome::PassedAlready { .. } => true,
            Outcome::Done => matches!(transition.change, Change::Settle { .. }),
            _ => false,
        };
        if spoken && self.ambushes > 0 && self.random.chance(300) {
            self.ambushes -= 1;
            let at = self.later(0, 400);
            self.at(at, Event::FailOver);
        }
    }

    fn apply_and_answer(&mut self, n: usize, life: u32, transition: Box<Transition>, of: AttemptId, back: Back) {
        let applied = self.apply(n, &transition, of);
        let tells = matches!(transition.change, Change::Settle { .. } | Change::TakeOver { .. } | Change::Offer { .. });
        if tells
            && matches!(&applied.ran, Some(outcome) if !matches!(outcome, Outcome::Discarded(_) | Outcome::Refused(_)))
        {
            self.publish(user_of(&transition.key.user));
        }
        let mut at = self.soon();
        let mut believed = None;
        if let Some((replicated, primary)) = applied.acknowledged {
            at = at.max(replicated);
            believed = Some((primary, transition));
        }
        self.at(at, Event::Applied { node: n, life, back, outcome: applied.outcome, believed });
    }

    /// The store's answer comes back.
    fn applied(
        &mut self,
        n: usize,
        back: Back,
        mut outcome: Result<Outcome, Reason>,
        believed: Option<(u32, Box<Transition>)>,
    ) {
        // It was to be acknowledged by a replica, and another primary answers.
        if let Some((primary, transition)) = believed.filter(|(primary, _)| *primary != self.store.primary()) {
            let _ = primary;
            self.store.notice(n, self.now);
            self.store.give_up(n, &transition);
            outcome = Err(Reason::StoreSettling);
        }
        match back {
            Back::Exchange(run) => self.feed(n, run, Input::Applied(outcome)),
            Back::Driver(driver) => self.feed_driver(n, driver, driver::Input::Applied(outcome)),
            Back::Offer(key, epoch) => self.offered(n, &key, epoch),
            Back::Nobody => {}
        }
    }

    fn ask_packet(&mut self, n: usize, life: u32, run: usize) {
        let Some(digest) = self.packet_of(n, life, run) else { return };
        let owner = self.nodes[n].setting.owner.clone();
        let mut store = std::mem::replace(&mut self.store, Store::new(false, false, 0, self.now));
        let lag = self.lag();
        let seen = store.packet(digest, &owner, (self.now, lag), |other| self.is_dead(n, other));
        self.store = store;
        let at = self.soon();
        self.at(at, Event::PacketSeen { node: n, life, run, seen });
    }

    fn crash(&mut self, n: usize) {
        if !self.nodes[n].up {
            return;
        }
        self.trace(|| format!("node {n} crashes"));
        self.figures.crashes += 1;
        let node = &mut self.nodes[n];
        (node.up, node.silent_since) = (false, Some(node.silent_since.unwrap_or(self.now)));
        self.check_crash(n);
        self.store.forget(n);
        let quick = self.random.chance(500);
        let at = if quick { self.later(200, 4_000) } else { self.later(4_000, 60_000) };
        self.at(at, Event::Restart { node: n });
    }

    fn restart(&mut self, n: usize) {
        self.trace(|| format!("node {n} is back"));
        let (life, skew) = (self.nodes[n].life + 1, self.nodes[n].skew);
        let new = self.born(n, life, skew);
        let old = std::mem::replace(&mut self.nodes[n], new);
        self.ended_lives.push((old.setting.owner.clone(), old.silent_since.unwrap_or(self.now)));
    }

    fn pause(&mut self, n: usize, long: bool) {
        if !self.nodes[n].up || self.nodes[n].paused_until > self.now {
            return;
        }
        let long = long || self.random.chance(150);
        let until = if long { self.later(20_000, 45_000) } else { self.later(500, 15_000) };
        let span = until.since(self.now);
        self.trace(|| format!("node {n} stops for {span:?}"));
        self.figures.pauses += 1;
        self.check_pause(n, until);
        let node = &mut self.nodes[n];
        (node.paused_until, node.silent_since) = (until, Some(self.now));
        self.at(until, Event::Resume { node: n });
    }

    fn fail_over(&mut self) {
        self.trace(|| "the store fails over".into());
        self.figures.fail_overs += 1;
        self.store_trouble = Some(self.now);
        let spoken = self.settlements_spoken();
        self.store.fail_over(self.now);
        self.check_fail_over();
        self.check_settlements(&spoken);
        for n in 0..self.nodes.len() {
            let (at, life) = (self.later(0, 1_000), self.nodes[n].life);
            self.at(at, Event::Look { node: n, life });
        }
    }

    fn outage(&mut self) {
        let until = self.later(200, 12_000);
        let span = until.since(self.now);
        self.trace(|| format!("the store is gone for {span:?}"));
        self.figures.meet(Limit::StoreOutage);
        self.store_trouble = Some(until);
        self.store.down_until = until;
        self.store.up_since = until;
        self.repeat_about(until);
    }
}
