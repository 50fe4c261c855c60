//! One node: what the edge does with the core's effects (`gateway/src/actors`, `gateway/src/pending.rs`), and nothing that decides.
//! All effects of one input are performed before the next is fed.

use crate::event::{Back, Event};
use crate::store::PacketSeen;
use crate::world::World;
use gateway_core::attempt::driver::{self, Driver, Load, Prompt};
use gateway_core::attempt::record::{AttemptId, AttemptKey, Owner, PacketDigest};
use gateway_core::attempt::transition::{Change, Outcome, Transition};
use gateway_core::event::{self, Finished, Step};
use gateway_core::exchange::duplicates::{Duplicates, End, Key, Seen, Telling};
use gateway_core::exchange::{Effect, Exchange, Input, News, PACKET_DEADLINE, Request, Setting, Verdict};
use gateway_core::factor::{CodeWanted, Offer};
use gateway_core::radius::Code;
use gateway_core::reason::Reason;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Whoever waits for a prompt of another node looks by itself after this.
const LOOK_ANYWAY: Duration = Duration::from_secs(2);
/// After this a claim has its driver, or was given up (`CLAIM_HOLDS`).
const CLAIM_UNDER_WAY: Duration = Duration::from_millis(1_500);
/// Without a sign of life for this long, a node is dead.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(5);

/// One exchange under way.
pub(crate) struct Run {
    core: Exchange,
    pub(crate) packet: usize,
    serial: u64,
    key: Key,
    pub(crate) began: Timestamp,
    wake: Option<u32>,
    wakes: u32,
    waits_for: Option<AttemptKey>,
    /// Waits for a prompt that this owner drives.
    elsewhere: Option<Owner>,
    subscribed: bool,
    /// Other nodes know that this one has the packet.
    pub(crate) taken: bool,
    /// They have it, or its reply came from them.
    theirs: bool,
    /// How often it found no driver.
    looks: u8,
    /// What it says was committed in the store.
    pub(crate) committed: bool,
    ended: bool,
}

/// One driver under way.
pub(crate) struct Drive {
    core: Driver,
    wakes: u32,
}

struct Entry {
    key: AttemptKey,
    epoch: u64,
    driver: usize,
    waiter: Option<(usize, PacketDigest)>,
    offer: Option<CodeWanted>,
}

/// One node in one of its lives, or down.
pub(crate) struct Node {
    pub(crate) setting: Arc<Setting>,
    pub(crate) life: u32,
    pub(crate) up: bool,
    /// When it can first have missed another node's sign of life.
    pub(crate) since: Timestamp,
    pub(crate) paused_until: Timestamp,
    /// Since when it gives no sign of life.
    pub(crate) silent_since: Option<Timestamp>,
    pub(crate) skew: i64,
    runs: Vec<Option<Run>>,
    drivers: Vec<Option<Drive>>,
    pending: Vec<Entry>,
    duplicates: Duplicates,
}

impl Node {
    pub(crate) fn new(setting: Arc<Setting>, life: u32, skew: i64, now: Timestamp) -> Self {
        let limits = &setting.config.limits;
        let duplicates = Duplicates::new(limits.cached_replies, limits.reply_lifetime);
        Self {
            setting,
            life,
            up: true,
            since: now,
            paused_until: Timestamp::default(),
            silent_since: None,
            skew,
            runs: Vec::new(),
            drivers: Vec::new(),
            pending: Vec::new(),
            duplicates,
        }
    }

    pub(crate) fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_micros(now.as_micros().saturating_add_signed(self.skew))
    }

    /// Which packet an exchange is about.
    fn packet(&self, r: usize) -> Option<usize> {
        self.runs.get(r)?.as_ref().map(|run| run.packet)
    }

    fn entry(&mut self, key: &AttemptKey, epoch: u64) -> Option<&mut Entry> {
        self.pending.iter_mut().find(|entry| entry.key == *key && entry.epoch == epoch)
    }
}

impl World<'_> {
    /// A datagram comes in.
    pub(crate) fn arrive(&mut self, n: usize, packet: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        let clock = node.clock(now);
        let key = self.packets[packet].key();
        let digest = self.packets[packet].digest();
        node.duplicates.expire(clock);
        match node.duplicates.look(&key, digest) {
            Seen::New => {}
            Seen::Finished(reply) => {
                self.figures.duplicates += 1;
                self.trace(|| format!("node {n}: packet {packet} again: the same reply"));
                return self.reply(packet, &reply);
            }
            Seen::InProgress => {
                self.figures.duplicates += 1;
                node.duplicates.repeated(&key, clock);
                return self.trace(|| format!("node {n}: packet {packet} again: in progress"));
            }
        }
        let serial = node.duplicates.begin(key, digest, clock);
        let setting = node.setting.clone();
        let facts = &self.packets[packet];
        let request = Request {
            client: setting.config.clients[facts.nas.index()].clone(),
            source: key.source,
            digest,
            user_name: format!("u{}", facts.user).into_bytes(),
            offer: facts.password().map(|text| Offer::Pap(Secret::new(text.into_bytes()))),
            state: facts.state().map(|state| self.states[state].wire.clone()),
            attributes: None,
            proxy_state: 0,
            sessions: 0,
            locked: false,
            station: facts.device.map(|device| vec![b'd', device].into()),
            port: None,
            marks: facts.session(),
            signed: true,
            refusal: None,
            synthetic: false,
            received: clock,
            thread: 0,
        };
        let core = Exchange::new(request, setting, &mut self.random);
        let r = self.nodes[n].runs.len();
        let run = Run {
            core,
            packet,
            serial,
            key,
            began: now,
            wake: None,
            wakes: 0,
            waits_for: None,
            elsewhere: None,
            subscribed: false,
            taken: false,
            theirs: false,
            looks: 0,
            committed: false,
            ended: false,
        };
        self.nodes[n].runs.push(Some(run));
        if self.shares(packet) && !self.store.is_down(now) {
            let (at, life) = (self.soon(), self.nodes[n].life);
            return self.at(at, Event::AskPacket { node: n, life, run: r });
        }
        self.feed(n, r, Input::Start);
    }

    /// What other nodes know of the packet.
    pub(crate) fn packet_seen(&mut self, n: usize, r: usize, seen: PacketSeen) {
        let Some(mut run) = self.nodes[n].runs.get_mut(r).and_then(Option::take) else { return };
        match seen {
            PacketSeen::New => {
                run.taken = true;
                self.nodes[n].runs[r] = Some(run);
                self.feed(n, r, Input::Start);
            }
            PacketSeen::Away => {
                self.nodes[n].runs[r] = Some(run);
                self.feed(n, r, Input::Start);
            }
            PacketSeen::Pending => self.end_as_theirs(n, r, run, End::Forgotten),
            PacketSeen::Replied(reply) => self.end_as_theirs(n, r, run, End::Replied(reply)),
        }
    }

    /// Whether nodes share this packet: any, or what brings back a State.
    pub(crate) fn shares(&self, packet: usize) -> bool {
        self.plan.shared && (self.plan.share_packets || self.packets[packet].state().is_some())
    }

    /// Feeds one input to an exchange, performs all its effects, then feeds what was answered at once.
    pub(crate) fn feed(&mut self, n: usize, r: usize, first: Input) {
        let mut inputs = VecDeque::from([first]);
        while let Some(input) = inputs.pop_front() {
            let Some(mut run) = self.nodes[n].runs.get_mut(r).and_then(Option::take) else { return };
            let clock = self.nodes[n].clock(self.now);
            if self.tracing() {
                let line = format!("node {n}: packet {}: {}", run.packet, short(&input));
                self.trace(|| line);
            }
            match run.core.step(input, clock, &mut self.random) {
                Ok(effects) => {
                    for effect in effects {
                        self.perform(n, r, &mut run, effect, &mut inputs);
                    }
                }
                Err(unexpected) => {
                    self.fail("core", || format!("packet {} on node {n}: {unexpected}", run.packet));
                    run.ended = true;
                }
            }
            if !run.ended {
                self.nodes[n].runs[r] = Some(run);
            }
        }
    }

    fn perform(&mut self, n: usize, r: usize, run: &mut Run, effect: Effect, inputs: &mut VecDeque<Input>) {
        let life = self.nodes[n].life;
        match effect {
            Effect::Ask(question) => {
                self.wait(n, r, run);
                self.ask(n, r, run.packet, question);
            }
            Effect::Apply(transition) => {
                if let Some(outcome) = self.send(n, transition, run.core.id(), Back::Exchange(r)) {
                    inputs.push_back(Input::Applied(outcome));
                } else {
                    self.wait(n, r, run);
                }
            }
            Effect::Leave(transition) => drop(self.send(n, transition, run.core.id(), Back::Nobody)),
            Effect::Drive(prompt) => self.drive(n, r, run, prompt),
            Effect::Join { key, owner, .. } if owner != self.nodes[n].setting.owner => {
                self.figures.joins += 1;
                self.wait_elsewhere(n, r, run, &key, owner, inputs);
            }
            Effect::Join { key, epoch, .. } => {
                self.figures.joins += 1;
                let digest = self.packets[run.packet].digest();
                match self.nodes[n].entry(&key, epoch) {
                    None => self.no_driver(n, r, run, inputs),
                    Some(entry) => {
                        let before = entry.waiter.replace((r, digest)).filter(|(_, before)| *before != digest);
                        let offer = entry.offer.clone();
                        if let Some((before, _)) = before {
                            self.tell(n, before, News::Superseded);
                        }
                        inputs.extend(offer.map(|offer| Input::News(News::CodeWanted(offer))));
                    }
                }
                run.waits_for = Some(key);
            }
            Effect::Answered { key, epoch } => {
                let at = self.nodes[n].pending.iter().position(|entry| entry.key == key && entry.epoch == epoch);
                if let Some(at) = at {
                    let entry = self.nodes[n].pending.swap_remove(at);
                    self.nodes[n].drivers[entry.driver] = None;
                }
            }
            Effect::WakeAt(at) => self.wake(n, r, run, at),
            Effect::Reply(verdict) => {
                let octets = encode(&verdict);
                self.spoken(n, run, &verdict, &octets, run.core.id(), life);
                self.finish(n, r, run, End::Replied(octets));
            }
            Effect::Silence => self.finish(n, r, run, End::Forgotten),
            Effect::Discard => self.finish(n, r, run, End::Discarded),
            Effect::Emit(event::Event::Step { step: Step::Committed, .. }) => run.committed = true,
            Effect::Emit(event::Event::Finished(finished)) => self.finished(n, run, &finished),
            Effect::Emit(_) => {}
        }
    }

    fn wait(&mut self, n: usize, r: usize, run: &mut Run) {
        if run.wake.is_none() {
            let at = self.nodes[n].clock(self.now).after(PACKET_DEADLINE);
            self.wake(n, r, run, at);
        }
    }

    fn wake(&mut self, n: usize, r: usize, run: &mut Run, at: Timestamp) {
        run.wakes += 1;
        run.wake = Some(run.wakes);
        let (node, wake) = (&self.nodes[n], run.wakes);
        let at = self.now.after(at.since(node.clock(self.now)));
        self.at(at, Event::Wake { node: n, life: node.life, run: r, wake });
    }

    /// A timer of an exchange.
    pub(crate) fn woken(&mut self, n: usize, r: usize, wake: u32) {
        if self.nodes[n].runs.get(r).is_some_and(|run| run.as_ref().is_some_and(|run| run.wake == Some(wake))) {
            self.feed(n, r, Input::Wake);
        }
    }

    fn tell(&mut self, n: usize, r: usize, news: News) {
        let (now, life) = (self.now, self.nodes[n].life);
        self.at(now, Event::Exchange { node: n, life, run: r, input: Box::new(Input::News(news)) });
    }

    /// The prompt may have ended just now, or a claim of this node's own is on its way: its driver comes with the store's answer.
    fn no_driver(&mut self, n: usize, r: usize, run: &mut Run, inputs: &mut VecDeque<Input>) {
        run.looks = run.looks.saturating_add(1);
        match run.looks {
            1 => inputs.push_back(Input::News(News::Changed)),
            2 => {
                let (at, life) = (self.now.after(CLAIM_UNDER_WAY), self.nodes[n].life);
                let input = Box::new(Input::News(News::Changed));
                self.at(at, Event::Exchange { node: n, life, run: r, input });
            }
            _ => inputs.push_back(Input::News(News::Look)),
        }
    }

    fn wait_elsewhere(
        &mut self,
        n: usize,
        r: usize,
        run: &mut Run,
        key: &AttemptKey,
        owner: Owner,
        inputs: &mut VecDeque<Input>,
    ) {
        if !self.plan.shared {
            // Nobody else writes into this store, so that nobody drives the prompt any more.
            return inputs.push_back(Input::News(News::Look));
        }
        let _ = key;
        run.elsewhere = Some(owner);
        // The first word is that of the subscription itself.
        let at = if std::mem::replace(&mut run.subscribed, true) { self.now.after(LOOK_ANYWAY) } else { self.soon() };
        self.at(at, Event::Heard { node: n, life: self.nodes[n].life, run: r });
    }

    /// Word of the user's records, or the time to look anyway.
    pub(crate) fn heard(&mut self, n: usize, r: usize) {
        let Some(Some(run)) = self.nodes[n].runs.get_mut(r) else { return };
        let Some(owner) = run.elsewhere.take() else { return };
        let news = if self.is_dead(n, &owner) { News::OwnerDied(owner) } else { News::Changed };
        self.feed(n, r, Input::News(news));
    }

    /// The store tells that an outcome or a new owner was written for the user.
    pub(crate) fn publish(&mut self, user: usize) {
        for n in 0..self.nodes.len() {
            for r in 0..self.nodes[n].runs.len() {
                let hears = self.nodes[n].runs[r]
                    .as_ref()
                    .is_some_and(|run| run.elsewhere.is_some() && self.packets[run.packet].user == user);
                // Word may get lost with a connection.
                if hears && !self.random.chance(50) {
                    let (at, life) = (self.soon(), self.nodes[n].life);
                    self.at(at, Event::Heard { node: n, life, run: r });
                }
            }
        }
    }

    fn drive(&mut self, n: usize, r: usize, run: &mut Run, prompt: Box<Prompt>) {
        let (key, epoch) = (prompt.key.clone(), prompt.epoch);
        let core = Driver::new(prompt, self.nodes[n].clock(self.now));
        let waiter = Some((r, self.packets[run.packet].digest()));
        let node = &mut self.nodes[n];
        let driver = node.drivers.len();
        node.drivers.push(Some(Drive { core, wakes: 0 }));
        let old = node.pending.iter().position(|entry| entry.key == key).map(|at| node.pending.swap_remove(at));
        node.pending.push(Entry { key: key.clone(), epoch, driver, waiter, offer: None });
        run.waits_for = Some(key);
        let life = node.life;
        if let Some((before, _)) = old.and_then(|old| old.waiter) {
            self.tell(n, before, News::Look);
        }
        let now = self.now;
        self.at(now, Event::Driver { node: n, life, driver, input: Box::new(driver::Input::Start) });
    }

    /// Feeds one input to a driver.
    pub(crate) fn feed_driver(&mut self, n: usize, d: usize, first: driver::Input) {
        let mut inputs = VecDeque::from([first]);
        while let Some(input) = inputs.pop_front() {
            let node = &mut self.nodes[n];
            let Some(mut drive) = node.drivers.get_mut(d).and_then(Option::take) else { return };
            let (clock, life) = (node.clock(self.now), node.life);
            let load = Load { pending: node.pending.len(), limit: node.setting.config.limits.pending_prompts };
            if self.tracing() {
                let line =
                    format!("node {n}: driver of {} {}: {input:?}", drive.core.prompt().id, drive.core.prompt().epoch);
                self.trace(|| line);
            }
            let mut over = false;
            for effect in drive.core.step(input, load, clock) {
                match effect {
                    driver::Effect::Begin(question) => self.begin(n, d, drive.core.prompt(), &question),
                    driver::Effect::Poll(question) => {
                        let at = self.provider_takes();
                        self.at(at, Event::Poll { node: n, life, driver: d, session: question.session });
                    }
                    driver::Effect::Apply(transition) => {
                        let outcome = self.send(n, transition, drive.core.prompt().id, Back::Driver(d));
                        inputs.extend(outcome.map(driver::Input::Applied));
                    }
                    driver::Effect::WakeAt(at) => {
                        drive.wakes += 1;
                        let at = self.now.after(at.since(clock));
                        self.at(at, Event::DriverWake { node: n, life, driver: d, wake: drive.wakes });
                    }
                    driver::Effect::Offer(wanted) => self.offer(n, drive.core.prompt(), wanted),
                    effect @ (driver::Effect::End | driver::Effect::NotBegun(_)) => {
                        let news = match effect {
                            driver::Effect::NotBegun(reason) => News::NotBegun(reason),
                            _ => News::Look,
                        };
                        let (key, epoch) = (&drive.core.prompt().key, drive.core.prompt().epoch);
                        let pending = &mut self.nodes[n].pending;
                        let at = pending.iter().position(|entry| entry.key == *key && entry.epoch == epoch);
                        let entry = at.map(|at| pending.swap_remove(at));
                        if let Some((waiter, _)) = entry.and_then(|entry| entry.waiter) {
                            self.tell(n, waiter, news);
                        }
                        over = true;
                    }
                    driver::Effect::Emit(_) => {}
                }
            }
            if !over {
                self.nodes[n].drivers[d] = Some(drive);
            }
        }
    }

    /// A timer of a driver.
    pub(crate) fn driver_woken(&mut self, n: usize, d: usize, wake: u32) {
        let drive = self.nodes[n].drivers.get(d).and_then(Option::as_ref);
        if drive.is_some_and(|drive| drive.wakes == wake) {
            self.feed_driver(n, d, driver::Input::Wake);
        }
    }

    fn offer(&mut self, n: usize, prompt: &Prompt, wanted: CodeWanted) {
        let (key, epoch) = (prompt.key.clone(), prompt.epoch);
        if self.plan.shared {
            let change = Change::Offer { epoch, wanted };
            let transition = Transition { key: key.clone(), change, rules: prompt.rules.clone() };
            self.send(n, Box::new(transition), prompt.id, Back::Offer(key, epoch));
            return;
        }
        if let Some(entry) = self.nodes[n].entry(&key, epoch) {
            entry.offer = Some(wanted.clone());
            if let Some((waiter, _)) = entry.waiter {
                self.tell(n, waiter, News::CodeWanted(wanted));
            }
        }
    }

    /// The offer is in the store: whoever waits here is to look.
    pub(crate) fn offered(&mut self, n: usize, key: &AttemptKey, epoch: u64) {
        if let Some((waiter, _)) = self.nodes[n].entry(key, epoch).and_then(|entry| entry.waiter) {
            self.tell(n, waiter, News::Changed);
        }
    }

    /// Another node decides, or has decided.
    fn end_as_theirs(&mut self, n: usize, r: usize, mut run: Run, end: End) {
        run.theirs = true;
        self.finish(n, r, &mut run, end);
    }

    fn finish(&mut self, n: usize, r: usize, run: &mut Run, end: End) {
        let digest = self.packets[run.packet].digest();
        run.ended = true;
        if let Some(key) = run.waits_for.take() {
            for entry in self.nodes[n].pending.iter_mut().filter(|entry| entry.key == key) {
                entry.waiter.take_if(|(_, packet)| *packet == digest);
            }
        }
        let _ = r;
        if self.shares(run.packet) && !run.theirs {
            let told = match end.telling(run.taken) {
                Telling::Reply(reply) => Some(Some(reply)),
                Telling::Free => Some(None),
                Telling::Nothing => None,
            };
            if let Some(reply) = told {
                let at = self.soon();
                let owner = run.taken.then(|| self.nodes[n].setting.owner.clone());
                self.at(at, Event::PacketEnded { digest, owner, reply });
            }
        }
        let node = &mut self.nodes[n];
        let clock = node.clock(self.now);
        let wanted = node.duplicates.finish(run.key, run.serial, end.clone(), clock);
        match end {
            End::Replied(octets) if wanted => self.reply(run.packet, &octets),
            End::Replied(_) | End::Forgotten | End::Discarded => {}
        }
    }

    fn spoken(&mut self, n: usize, run: &Run, verdict: &Verdict, octets: &Arc<[u8]>, id: AttemptId, life: u32) {
        self.figures.count(verdict.code());
        self.trace(|| format!("node {n}: packet {} gets {:?}, attempt {id}", run.packet, verdict.code()));
        self.check_reply((n, life), run, octets, id);
        match verdict.code() {
            Code::ACCESS_ACCEPT => self.check_accept(run.packet, id),
            Code::ACCESS_CHALLENGE => self.challenged(run.packet, verdict, id),
            _ => {}
        }
    }

    fn finished(&mut self, n: usize, run: &Run, finished: &Finished) {
        self.figures.exchanges += 1;
        if matches!(finished.ending, event::Ending::Silence) {
            self.figures.silences += 1;
        }
        let Finished { ending, reason, .. } = finished;
        self.trace(|| format!("node {n}: packet {} ends: {} {reason:?}", run.packet, ending.label()));
        self.check_end(run, finished);
    }

    /// The packet of an exchange, in that life of the node.
    pub(crate) fn packet_of(&self, n: usize, life: u32, r: usize) -> Option<PacketDigest> {
        let node = &self.nodes[n];
        let packet = node.packet(r).filter(|_| node.up && node.life == life)?;
        Some(self.packets[packet].digest())
    }

    /// Whether `owner` is surely gone, as far as node `n` can know.
    pub(crate) fn is_dead(&self, n: usize, owner: &Owner) -> bool {
        let node = &self.nodes[n];
        let reachable = node.since.max(self.store.up_since).after(DEAD_AFTER) <= self.now;
        reachable && self.silent(owner).is_some_and(|since| self.now.since(since) > DEAD_AFTER)
    }

    /// Since when this owner gives no sign of life.
    pub(crate) fn silent(&self, owner: &Owner) -> Option<Timestamp> {
        match self.nodes.iter().find(|node| node.setting.owner == *owner) {
            Some(node) => node.silent_since,
            None => self.ended_lives.iter().find(|(life, _)| life == owner).map(|(_, at)| *at),
        }
    }

    /// Sends a transition to the store. At once, where it is in memory. `of`: the attempt that whoever sends it knows.
    pub(crate) fn send(
        &mut self,
        n: usize,
        transition: Box<Transition>,
        of: AttemptId,
        back: Back,
    ) -> Option<Result<Outcome, Reason>> {
        let life = self.nodes[n].life;
        if self.plan.shared {
            let at = self.reaches_store(n, &transition.key);
            self.at(at, Event::Apply { node: n, life, transition, of, back });
            return None;
        }
        let mut applied = self.apply(n, &transition, of);
        // What is not durable yet is not spoken by another packet either.
        if matches!(applied.outcome, Ok(Outcome::PassedAlready { .. })) && self.writing.contains(&transition.key) {
            applied.outcome = Ok(Outcome::Discarded(Reason::RepeatWhilePending));
        }
        let code = match &transition.change {
            Change::Settle { code: Some(code), .. } => Some(*code),
            _ => None,
        };
        // A code is on the disk before anybody is told.
        if let (Some(code), Ok(Outcome::Done)) = (code, &applied.outcome) {
            let at = self.soon();
            self.writing.push(transition.key.clone());
            self.at(at, Event::Journal { node: n, life, key: transition.key, code });
            self.at(at, Event::Applied { node: n, life, back, outcome: applied.outcome, believed: None });
            return None;
        }
        match back {
            Back::Exchange(_) | Back::Driver(_) => Some(applied.outcome),
            Back::Offer(..) | Back::Nobody => None,
        }
    }
}

/// What is sent, without what every reply gets.
fn encode(verdict: &Verdict) -> Arc<[u8]> {
    [&[verdict.code().into()], verdict.attributes().as_bytes()].concat().into()
}

fn short(input: &Input) -> String {
    let text = format!("{input:?}");
    text.chars().take(200).collect()
}
