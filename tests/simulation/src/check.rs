//! What must never happen (DESIGN: A1 to A5), looked at whenever it could: at each reply that is spoken, at each prompt, at each
//! transition, at each exchange that ends. What is true is known from the world itself, which knows who typed what and who tapped;
//! the core's own word counts for nothing here.

use crate::figures::Limit;
use crate::nas::{Carries, Spoken, Typed};
use crate::node::Run;
use crate::provider::{code_of, has_token};
use crate::setup::{Nas, STEP, USERS};
use crate::store::user_of;
use crate::world::World;
use gateway_core::attempt::driver::Prompt;
use gateway_core::attempt::record::{Attempt, AttemptId, AttemptKey, PacketDigest, Phase, Settled};
use gateway_core::attempt::transition::{Change, Outcome, Transition};
use gateway_core::config::AfterSuccess;
use gateway_core::event::{Ending, Finished};
use gateway_core::exchange::session_marks;
use gateway_core::radius::Code;
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A pause that may make others take a node for dead.
const LONG: Duration = Duration::from_secs(4);
/// An approval this long before the deadline is seen in time, whatever polls and networks take.
const IN_TIME: Duration = Duration::from_secs(20);

/// What must never happen, and did.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The invariant, or `core`.
    pub rule: &'static str,
    /// What happened.
    pub what: String,
}

/// What is true of one prompt.
#[derive(Clone, Debug)]
pub(crate) struct PromptFact {
    pub(crate) id: AttemptId,
    key: AttemptKey,
    epoch: u64,
    pub(crate) user: usize,
    /// Who asked for it: node, life, driver.
    pub(crate) home: (usize, u32, usize),
    /// Who drives it.
    owner: (usize, u32),
    begun: Timestamp,
    pub(crate) deadline: Timestamp,
    /// The provider asks for a code instead: no phone rings.
    pub(crate) code: bool,
    pub(crate) approves: bool,
    /// When the user tapped.
    pub(crate) answered: Option<Timestamp>,
    /// It rings no longer.
    pub(crate) silent: bool,
    /// The provider has given its answer away, and to whom.
    pub(crate) consumed: bool,
    pub(crate) heard_by: Option<(usize, u32)>,
    /// Its session is in the store.
    saved: bool,
    settled: Option<(Settled, Timestamp, Option<PacketDigest>)>,
    /// It is asked for a code, or was abandoned.
    closed: bool,
    owner_died: bool,
    taken_over: Option<Timestamp>,
    /// The records were lost with the owner.
    lost: bool,
    /// Its owner stood still for long.
    paused: bool,
}

impl PromptFact {
    /// Where its sign-in comes from, if from a device that is known.
    pub(crate) fn session(&self) -> Option<(Nas, u8)> {
        let nas = match &*self.key.group {
            "push" => Nas::Push,
            "short" => Nas::Short,
            _ => Nas::Mute,
        };
        Some((nas, *self.key.station.as_deref()?.last()?))
    }

    pub(crate) fn new(prompt: &Prompt, user: usize, home: (usize, u32, usize), begun: Timestamp, code: bool) -> Self {
        Self {
            id: prompt.id,
            key: prompt.key.clone(),
            epoch: prompt.epoch,
            user,
            home,
            owner: (home.0, home.1),
            begun,
            deadline: prompt.deadline,
            code,
            approves: false,
            answered: None,
            silent: false,
            consumed: false,
            heard_by: None,
            saved: false,
            settled: None,
            closed: code,
            owner_died: false,
            taken_over: None,
            lost: false,
            paused: false,
        }
    }

    fn is_out(&self, now: Timestamp) -> bool {
        !self.closed && !self.lost && now < self.deadline
    }

    fn is_open(&self, now: Timestamp) -> bool {
        self.settled.is_none() && self.is_out(now)
    }

    /// When the user approved.
    fn approved(&self) -> Option<Timestamp> {
        self.answered.filter(|_| self.approves)
    }
}

/// Ends of an exchange that say nothing of the attempt: something was not to be had, and the packet may come again.
fn is_passing(reason: Option<Reason>) -> bool {
    matches!(
        reason,
        Some(
            Reason::StoreUnavailable
                | Reason::StoreSettling
                | Reason::FirstFactorUnavailable
                | Reason::DeadlinePassed
                | Reason::ClaimTooOld
                | Reason::TooManyWrongCodes
                | Reason::SupersededDuplicate
        )
    )
}

impl World<'_> {
    pub(crate) fn fail(&mut self, rule: &'static str, what: impl FnOnce() -> String) {
        if self.failure.is_none() {
            let what = what();
            self.trace(|| format!("{rule} BROKEN: {what}"));
            self.failure = Some(Failure { rule, what });
        }
    }

    fn answers_repeats(&self) -> bool {
        self.setup.configs[self.plan.config].attempts.after_success == AfterSuccess::Answer
    }

    fn attempt(&self, key: &AttemptKey) -> Option<&Attempt> {
        self.store.records(user_of(&key.user)).attempts.get(key).map(|attempt| &**attempt)
    }

    // A1 and A5.

    pub(crate) fn check_accept(&mut self, p: usize, id: AttemptId) {
        let packet = self.packets[p].clone();
        let origin = packet.state().map_or(p, |state| self.states[state].origin);
        let first = &self.packets[origin];
        if first.user != packet.user {
            self.fail("A1", || format!("packet {p} is accepted for what another user proved"));
        } else if packet.nas.has_first_factor() && !matches!(first.carries, Carries::Password { right: true }) {
            self.fail("A1", || format!("packet {p} is accepted without the password: packet {origin} had a wrong one"));
        } else if !self.second_factor_is_true(p, id) {
            self.fail("A1", || format!("packet {p} is accepted without a second factor (attempt {id})"));
        }
        if packet.nas == Nas::Plain || (packet.nas == Nas::Optional && !has_token(packet.user)) {
            return;
        }
        let prompt = self.prompts.iter().find(|prompt| prompt.id == id);
        let record = prompt.and_then(|prompt| self.attempt(&prompt.key)).filter(|attempt| attempt.id == id);
        // A code is a proof of the packet's own; without one the packet lives on what the user approved for a session.
        let typed = matches!(packet.carries, Carries::State { typed: Typed::Token { .. } | Typed::Cloud { .. }, .. });
        if !typed && record.is_some_and(|record| !record.marks.agree_with(&session_marks(&packet.session()))) {
            self.fail("A5", || format!("packet {p} rides on the approval of another session (attempt {id})"));
        }
        if let Some(other) = self.accepted.insert(id, p).filter(|other| *other != p)
            && !self.answers_repeats()
        {
            self.fail("A5", || format!("attempt {id} lets in packet {p}, after packet {other}"));
        }
        if let Some(state) = packet.state()
            && let Some(other) = self.states[state].accepted.replace(p).filter(|other| *other != p)
        {
            self.fail("A5", || format!("State {state} lets in packet {p}, after packet {other}"));
        }
        if let Carries::State { typed: Typed::Token { step, .. }, .. } = packet.carries
            && let Some(other) = self.codes.insert((packet.user, step), p).filter(|other| *other != p)
        {
            self.fail("A5", || format!("the code of time step {step} lets in packet {p}, after packet {other}"));
        }
    }

    fn second_factor_is_true(&self, p: usize, id: AttemptId) -> bool {
        let packet = &self.packets[p];
        if packet.nas == Nas::Plain || (packet.nas == Nas::Optional && !has_token(packet.user)) {
            return true;
        }
        let now_step = self.now.as_secs() / STEP;
        let typed = match &packet.carries {
            Carries::State { typed, .. } => Some(typed),
            Carries::Password { .. } => None,
        };
        let right = match typed {
            Some(Typed::Token { step, .. }) => !packet.nas.prompts() && now_step.abs_diff(*step) <= 2,
            Some(Typed::Cloud { prompt }) => {
                self.prompts[*prompt].id == id && self.prompts[*prompt].user == packet.user
            }
            // One guess in a million is right.
            Some(Typed::Wrong) if !packet.nas.prompts() => {
                (now_step - 2..=now_step + 2).any(|step| code_of(&self.setup.tokens[packet.user], step) == "000000")
            }
            _ => false,
        };
        let approved = packet.nas.prompts()
            && self.prompts.iter().any(|prompt| {
                let in_time = prompt.approved().is_some_and(|at| at <= self.now);
                prompt.id == id && prompt.user == packet.user && in_time
            });
        right || approved || (self.answers_repeats() && self.passed.contains(&id))
    }

    // A2.

    pub(crate) fn check_begin(&mut self, new: &mut PromptFact) {
        // By the clock of the store, which may be another than the node's.
        let record = self.attempt(&new.key).filter(|attempt| attempt.id == new.id);
        new.deadline = record.map_or(new.deadline, |attempt| attempt.deadline);
        let new = &*new;
        self.check_pause_of_prompts(new);
        if let Some(again) = self.prompts.iter().position(|prompt| prompt.id == new.id) {
            return self.fail("A2", || format!("attempt {} prompts again: prompt {again} was its first", new.id));
        }
        let is_open = |other: &PromptFact| {
            // A fail-over may have lost that it was settled.
            let record = self.attempt(&other.key).filter(|attempt| attempt.id == other.id);
            let settled = match record {
                Some(attempt) => matches!(attempt.phase, Phase::Settled { .. }),
                None => other.settled.is_some(),
            };
            other.user == new.user && other.is_out(self.now) && !settled
        };
        if let Some(open) = self.prompts.iter().position(is_open) {
            let other = self.prompts[open].id;
            return self.fail("A2", || {
                format!("u{} is prompted by attempt {} while prompt {open} of attempt {other} is out", new.user, new.id)
            });
        }
        let now = self.now;
        let rings = |other: &PromptFact| other.lost && other.user == new.user && now < other.deadline && !other.silent;
        if self.prompts.iter().any(rings) {
            self.figures.meet(Limit::ClaimLost);
        }
    }

    /// One more wrong code was judged.
    pub(crate) fn check_guess(&mut self, user: usize) {
        self.judged[user] += 1;
        let (judged, most) = (self.judged[user], self.setup.configs[self.plan.config].limits.wrong_codes);
        // What a fail-over takes back was judged all the same, and nobody knows.
        if judged > most && self.store_trouble.is_none() {
            self.fail("A1", || format!("{judged} wrong codes of u{user} were judged; the limit is {most}"));
        }
    }

    /// Nobody is prompted soon after a prompt that was not approved, from wherever.
    fn check_pause_of_prompts(&mut self, new: &PromptFact) {
        let config = &self.setup.configs[self.plan.config].attempts;
        let pause = config.prompt_pauses.first().copied().unwrap_or_default().max(config.repeat_window);
        let margin = self.plan.skew * 2 + Duration::from_secs(1);
        let of_user = || self.prompts.iter().filter(|prompt| prompt.user == new.user && !prompt.lost);
        let proved = self.codes.keys().any(|(user, _)| *user == new.user);
        let refused = of_user().find_map(|prompt| match prompt.settled {
            Some((Settled::Failed(Reason::PromptDenied | Reason::ProviderNoResponse), at, _)) => {
                (self.now.since(at) + margin < pause).then_some(at)
            }
            _ => None,
        });
        let approved = |since: Timestamp| {
            of_user().any(|prompt| matches!(prompt.settled, Some((Settled::Passed, at, _)) if at >= since))
        };
        if let Some(at) = refused
            && self.store_trouble.is_none()
            && !proved
            && self.passed.is_empty()
            && !approved(at)
        {
            let ago = self.now.since(at);
            self.fail("A2", || format!("u{} is prompted {ago:?} after a prompt that was not approved", new.user));
        }
    }

    // A3.

    pub(crate) fn check_reply(&mut self, (n, life): (usize, u32), run: &Run, octets: &Arc<[u8]>, id: AttemptId) {
        let (p, began, committed) = (run.packet, run.began, run.committed);
        let lifetime = self.setup.configs[self.plan.config].limits.reply_lifetime;
        // A refusal that was committed for another packet is told to this one too, for some seconds.
        let committed = committed && !self.borrowed.contains(&self.packets[p].digest());
        // A packet that came while the store was away is decided by what this node knows.
        let alone = self.shares(p) && !run.taken;
        let mut anew = false;
        for before in self.packets[p].spoken.clone() {
            if before.octets == *octets {
                continue;
            }
            let what = |octets: &[u8]| octets.first().copied().map(Code::from);
            let (was, is) = (what(&before.octets), what(octets));
            // Half a second for a clock that counts from when the exchange ended.
            let kept = self.now.since(before.at) + Duration::from_millis(500) < lifetime;
            if before.by == (n, life) && kept {
                return self.fail("A3", || format!("node {n} answers packet {p} with {is:?}, after {was:?}"));
            }
            // Alone, a node that crashes has forgotten what it committed.
            let remembered = self.plan.shared || before.by == (n, life);
            // Where packets are not shared, what was committed is known as long as its attempt.
            let remembered = remembered && (self.shares(p) || before.id == id);
            if before.committed && committed && remembered && kept && !alone {
                return self.fail("A3", || {
                    format!("packet {p} is answered with {is:?}, after {was:?}; both are committed (attempt {id})")
                });
            }
            // Where nodes share packets, each knows what was answered while the store was there, if it has been there since.
            let told = self.shares(p) && self.store_trouble.is_none_or(|at| at <= before.at);
            // One that was answered in two ways while the store was away is told as the first, and not for as long as the second.
            let told = told && !alone && self.packets[p].spoken.len() == 1;
            if told && kept && began > before.at.after(Duration::from_secs(2)) {
                return self.fail("A3", || {
                    format!("packet {p} is answered with {is:?}, after {was:?}, which node {n} should have known")
                });
            }
            anew = true;
        }
        if anew {
            self.figures.meet(Limit::DecidedAnew);
        }
        self.packets[p].spoken.push(Spoken { by: (n, life), octets: octets.clone(), committed, id, at: self.now });
    }

    /// The attempts whose outcome is settled and was spoken, as the store has them.
    pub(crate) fn settlements_spoken(&self) -> Vec<(AttemptKey, AttemptId, Phase)> {
        let spoken = self.packets.iter().flat_map(|packet| &packet.spoken).filter(|spoken| spoken.committed);
        let ids: BTreeSet<AttemptId> = spoken.map(|spoken| spoken.id).collect();
        let all = (0..USERS).flat_map(|user| &self.store.records(user).attempts);
        all.filter(|(_, attempt)| ids.contains(&attempt.id) && matches!(attempt.phase, Phase::Settled { .. }))
            .map(|(key, attempt)| (key.clone(), attempt.id, attempt.phase.clone()))
            .collect()
    }

    /// What was spoken was acknowledged by a replica before, so that no fail-over takes it back.
    pub(crate) fn check_settlements(&mut self, spoken: &[(AttemptKey, AttemptId, Phase)]) {
        let lost = spoken.iter().find(|(key, id, phase)| {
            !self.attempt(key).is_some_and(|attempt| attempt.id == *id && attempt.phase == *phase)
        });
        if let Some((_, id, phase)) = lost {
            self.fail("A3", || format!("attempt {id} was answered as {phase:?}, and a fail-over takes that back"));
        }
    }

    /// A write of one attempt never changes another, however late it comes.
    pub(crate) fn check_attempt(&mut self, transition: &Transition, outcome: &Outcome, of: AttemptId) {
        let writes = matches!(
            transition.change,
            Change::Await { .. }
                | Change::Offer { .. }
                | Change::Collect { .. }
                | Change::TakeOver { .. }
                | Change::Issue { .. }
                | Change::Retry { .. }
                | Change::Settle { .. }
        );
        let refused = matches!(outcome, Outcome::Discarded(_) | Outcome::Refused(_));
        let changed = self.attempt(&transition.key).map(|attempt| attempt.id).filter(|id| *id != of);
        if let Some(id) = changed.filter(|_| writes && !refused) {
            self.fail("A2", || format!("attempt {id} is changed by a late write of attempt {of}"));
        }
    }

    // A4, and what is true of prompts.

    pub(crate) fn check_applied(&mut self, n: usize, transition: &Transition, outcome: &Outcome) {
        let key = &transition.key;
        let life = self.nodes[n].life;
        let now = self.now;
        // Alone, a node counts epochs from one again when a record is forgotten.
        let record = self.attempt(key).map(|attempt| attempt.id);
        let find = |prompts: &[PromptFact], epoch: u64| {
            prompts.iter().rposition(|prompt| {
                let same = prompt.key == *key && prompt.epoch == epoch && !prompt.lost;
                same && record.is_none_or(|record| record == prompt.id)
            })
        };
        match (&transition.change, outcome) {
            (Change::Await { epoch, .. }, Outcome::Done) => {
                if let Some(p) = find(&self.prompts, *epoch) {
                    self.prompts[p].saved = true;
                }
            }
            (Change::Settle { verdict: Settled::Passed, taken: Some((_, packet)), .. }, _) => {
                // What follows from it is looked at by what was typed.
                let p = self.packets.iter().position(|other| other.digest() == *packet);
                let id = self.attempt(key).map(|attempt| attempt.id);
                if let (Some(p), Some(id), Outcome::Done | Outcome::Committed { .. }) = (p, id, outcome)
                    && self.second_factor_is_true(p, id)
                {
                    self.passed.insert(id);
                    self.judged[user_of(&key.user)] = 0;
                }
            }
            (Change::Settle { epoch, verdict, taken: None, .. }, Outcome::Committed { to }) => {
                if let Some(p) = find(&self.prompts, *epoch) {
                    self.prompt_settled(p, *verdict, *to);
                }
            }
            (Change::TakeOver { epoch, .. }, Outcome::Committed { to }) => {
                if let Some(p) = find(&self.prompts, *epoch) {
                    self.prompt_settled(p, Settled::Failed(Reason::OwnerDied), *to);
                }
            }
            (Change::TakeOver { epoch, .. }, Outcome::TakenOver { epoch: new, .. }) => {
                self.figures.taken_over += 1;
                if let Some(p) = find(&self.prompts, *epoch) {
                    let prompt = &mut self.prompts[p];
                    (prompt.epoch, prompt.owner, prompt.owner_died) = (*new, (n, life), false);
                    prompt.taken_over = Some(now);
                }
            }
            (Change::Issue { epoch, .. } | Change::Abandon { epoch }, Outcome::Done) => {
                if let Some(p) = find(&self.prompts, *epoch) {
                    self.prompts[p].closed = true;
                }
            }
            (Change::Collect { .. } | Change::Claim { .. }, Outcome::Collected { id, .. }) => {
                let (Change::Claim { packet, .. } | Change::Collect { packet, .. }) = &transition.change else {
                    return;
                };
                let Some(Phase::Settled { verdict, at, to }) = self.attempt(key).map(|attempt| attempt.phase.clone())
                else {
                    return;
                };
                if to != Some(*packet) {
                    self.borrowed.push(*packet);
                }
                if let Some(prompt) = self.prompts.iter_mut().find(|prompt| prompt.id == *id) {
                    prompt.settled = Some((verdict, at, to));
                }
            }
            (Change::Claim { prompts: true, .. }, Outcome::Claimed { .. }) => {
                // An approval that waited for a packet has been thrown away.
                let waits = self.prompts.iter().position(|prompt| {
                    let uncollected = matches!(prompt.settled, Some((Settled::Passed, _, None)));
                    let in_time = now < prompt.deadline.before(Duration::from_secs(1));
                    prompt.key == *key && uncollected && in_time && !prompt.lost
                });
                if let Some(p) =
                    waits.filter(|_| key.station.is_some() && !self.in_trouble(*waits.as_ref().unwrap_or(&0)))
                {
                    self.fail("A4", || {
                        format!("prompt {p} was approved, and its approval is thrown away for a new prompt")
                    });
                }
            }
            _ => {}
        }
    }

    fn prompt_settled(&mut self, p: usize, verdict: Settled, to: Option<PacketDigest>) {
        let trouble = self.in_trouble(p);
        let prompt = &mut self.prompts[p];
        prompt.settled = Some((verdict, self.now, to));
        let Settled::Failed(reason) = verdict else {
            let approved = prompt.approved().is_some_and(|at| at <= self.now);
            if !approved {
                self.fail("A1", || format!("prompt {p} is settled as passed, and nobody approved it"));
            }
            return;
        };
        // Whoever denies or sees nothing is refused. Whoever approves is not, but for the named limits.
        let prompt = prompt.clone();
        match reason {
            Reason::OwnerDied | Reason::PromptLost if prompt.owner_died && !prompt.saved => {
                return self.figures.meet(Limit::OwnerDied);
            }
            Reason::OwnerDied if !trouble && prompt.saved => {
                return self
                    .fail("A4", || format!("prompt {p}: its session was saved, and it is refused as its owner died"));
            }
            Reason::AnswerDiedWithOwner if prompt.consumed && prompt.heard_by != Some(prompt.owner) => {
                return self.figures.meet(Limit::AnswerDied);
            }
            _ => {}
        }
        let Some(at) = prompt.approved() else { return };
        let late = prompt.taken_over.is_some_and(|taken| self.now.since(taken) < Duration::from_secs(6));
        if trouble
            || late
            || prompt.owner_died
            || self.now.since(at) < Duration::from_secs(5)
            || at.after(IN_TIME) > prompt.deadline
        {
            return self.figures.meet(Limit::Trouble);
        }
        self.fail("A4", || format!("prompt {p} was approved in time, and is settled as {}", reason.label()));
    }

    /// The store was away or failed over, or the owner stood still, while the prompt was out.
    fn in_trouble(&self, p: usize) -> bool {
        let prompt = &self.prompts[p];
        prompt.paused || self.store_trouble.is_some_and(|at| at.after(Duration::from_secs(10)) >= prompt.begun)
    }

    /// An exchange ended without an accept: was there an approval that it should have got?
    pub(crate) fn check_end(&mut self, run: &Run, finished: &Finished) {
        let packet = self.packets[run.packet].clone();
        let proved = matches!(packet.carries, Carries::Password { right: true });
        if !matches!(finished.ending, Ending::Reject | Ending::Silence) || !packet.nas.prompts() || !proved {
            return;
        }
        if finished.reason == Some(Reason::RepeatAfterSuccess) {
            self.repeated_after_success();
        }
        let (p, digest, reason) = (run.packet, packet.digest(), finished.reason);
        let (user, device, nas) = (packet.user, packet.device, packet.nas);
        let group: &str = match nas {
            Nas::Twin | Nas::Push => "push",
            Nas::Short => "short",
            _ => "mute",
        };
        let key = AttemptKey {
            group: group.into(),
            user: self.setup.users[user].clone(),
            station: device.map(|device| vec![b'd', device].into()),
        };
        let Some(Attempt { phase: Phase::Settled { verdict: Settled::Passed, at, to }, deadline, id, marks, .. }) =
            self.attempt(&key)
        else {
            return;
        };
        // It is another session's.
        if !marks.agree_with(&session_marks(&packet.session())) {
            return;
        }
        let (at, to, deadline, id) = (*at, *to, *deadline, *id);
        let margin = self.plan.skew * 2 + Duration::from_secs(1);
        if run.began < at.after(margin) || self.now.after(margin) >= deadline || is_passing(reason) {
            return;
        }
        match to {
            None if key.station.is_some() => self
                .fail("A4", || format!("an approval waits (attempt {id}), and packet {p} ends without it: {reason:?}")),
            Some(to) if to == digest => self.fail("A4", || {
                format!("the approval is packet {p}'s (attempt {id}), which ends without it: {reason:?}")
            }),
            _ => {}
        }
    }

    pub(crate) fn check_crash(&mut self, n: usize) {
        let (life, now, shared) = (self.nodes[n].life, self.now, self.plan.shared);
        if !shared {
            self.judged = [0; USERS];
        }
        for prompt in self.prompts.iter_mut().filter(|prompt| prompt.owner == (n, life)) {
            prompt.owner_died = true;
            prompt.lost |= !shared && (prompt.is_open(now) || prompt.settled.is_some());
        }
    }

    pub(crate) fn check_pause(&mut self, n: usize, until: Timestamp) {
        let (life, now) = (self.nodes[n].life, self.now);
        if until.since(now) >= LONG {
            for prompt in self.prompts.iter_mut().filter(|prompt| prompt.owner == (n, life) && prompt.is_open(now)) {
                prompt.paused = true;
            }
        }
    }

    /// A claim is acknowledged by a replica before it prompts, so that no fail-over loses it.
    pub(crate) fn check_fail_over(&mut self) {
        let gone = self.prompts.iter().position(|prompt| {
            let there = self.attempt(&prompt.key).is_some_and(|attempt| attempt.id == prompt.id);
            prompt.is_open(self.now) && !there
        });
        if let Some(p) = gone {
            self.fail("A2", || format!("prompt {p} is out, and a fail-over has lost its claim"));
        }
    }

    /// At the end of a run: what became of every approval.
    pub(crate) fn check_all_ended(&mut self) {
        for p in 0..self.prompts.len() {
            let prompt = self.prompts[p].clone();
            let Some(at) = prompt.approved() else { continue };
            match prompt.settled {
                Some((Settled::Passed, _, None)) => self.figures.meet(Limit::Uncollected),
                Some(_) => {}
                None if prompt.owner_died || prompt.lost || self.in_trouble(p) => self.figures.meet(Limit::Trouble),
                None if prompt.closed || at.after(IN_TIME) > prompt.deadline || self.now < prompt.deadline => {}
                None => self.fail("A4", || format!("prompt {p} was approved, and nobody commits it")),
            }
        }
    }
}
