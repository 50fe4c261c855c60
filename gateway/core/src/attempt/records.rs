//! The records of some users, and how each change works on them: the body of the transitions.

use super::record::{
    Attempt, AttemptId, AttemptKey, Authorization, Challenge, PacketDigest, Phase, Progress, Purpose, Settled, Spent,
    UserRecord,
};
use super::state::StateId;
use super::transition::{Change, NewChallenge, Outcome, Rules, Taken, Transition};
use crate::factor::{CodeUse, TokenId, UsedCodes};
use crate::planted::{self, Fault};
use crate::reason::Reason;
use crate::time::Timestamp;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// After this a claim that never prompted is anybody's: twice [`CLAIM_HOLDS`](super::transition::CLAIM_HOLDS), so that two clocks may differ by as much.
const CLAIM_LAPSES: Duration = Duration::from_secs(2);
/// After this an exchange that checks an answer is dead, and another packet may check again; the dead one's verdict no
/// longer commits, because the challenge names the new packet.
const CHECK_LAPSES: Duration = Duration::from_secs(30);
/// How long it is remembered that a State has served, to tell a replay from one that came too late. Both are refused.
const SPENT_IS_KNOWN: Duration = Duration::from_secs(60);
/// A record outlives its deadline by this much, so that late packets get a reason instead of a riddle.
pub(super) const AFTERLIFE: Duration = Duration::from_secs(10);

/// Keyed by names of users who have proved a password and by numbers that we drew ourselves: nobody can aim at collisions, and
/// the standard library's hash cost more than the transitions.
type Map<K, V> = HashMap<K, V, RandomState>;

/// The records of some slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Attempts.
    pub attempts: Map<AttemptKey, Box<Attempt>>,
    /// Challenges that wait, by the name in their State.
    pub challenges: Map<StateId, Box<Challenge>>,
    /// Users by canonical name.
    pub users: Map<Arc<str>, UserRecord>,
    /// Since when the memory of used codes is complete.
    pub used_since: Timestamp,
    /// The same of counters (HOTP), which outlive a fail-over of the store.
    pub counters_since: Timestamp,
    /// An attempt without a record before it gets an epoch above this: a record that was forgotten must not make an old
    /// owner's epoch current again.
    pub epoch_floor: u64,
}

/// What undoes a settlement.
#[derive(Debug)]
pub struct Undo {
    key: AttemptKey,
    epoch: u64,
    state: StateId,
    code: CodeUse,
    attempt: Box<Attempt>,
    challenge: Box<Challenge>,
    next: Option<([u8; 16], u64, Option<Timestamp>)>,
}

impl Transition {
    /// Runs it on `records`.
    pub fn apply(&self, records: &mut Records, now: Timestamp) -> Outcome {
        let Self { key, change, rules } = self;
        match change {
            Change::Claim { .. } => records.claim(key, change, rules, now),
            Change::Issue { epoch, challenge } => records.issue(key, *epoch, challenge, rules, now),
            Change::IssueRound { id, begun, challenge } => {
                records.make_room_for_round(&key.user, rules, now);
                records.put(key, *id, *begun, 0, challenge, now.after(rules.challenge_lifetime));
                Outcome::Done
            }
            Change::Abandon { epoch } => records.abandon(key, *epoch),
            Change::Await { epoch, session } => records.await_answer(key, *epoch, session, now),
            Change::Offer { epoch, wanted } => records.offer(key, *epoch, wanted, now),
            Change::Collect { epoch, packet, challenge } => {
                records.collect(key, *epoch, *packet, challenge.as_ref(), rules, now)
            }
            Change::TakeOver { epoch, dead, owner, packet } => {
                records.take_over(key, *epoch, (dead, owner), *packet, rules, now)
            }
            Change::Detach { packet } => records.detach(key, *packet),
            Change::Take { state, packet, client } => records.take(key, *state, *packet, client, rules, now),
            Change::Release { state, packet, judged } => records.release(key, *state, *packet, *judged),
            Change::Retry { state, packet, challenge } => records.retry(key, *state, *packet, challenge, rules, now),
            Change::Settle { epoch, taken, verdict, code } => {
                records.settle(key, *epoch, *taken, *verdict, *code, rules, now)
            }
            Change::FinishRound { state, packet } => {
                if records.checked(*state, *packet).is_none() {
                    return Outcome::Discarded(Reason::Superseded);
                }
                records.spend(*state, now);
                Outcome::Done
            }
            Change::Look => Outcome::Holds(records.holds(&key.user, rules, now)),
            Change::Lift => Outcome::Holds(records.lift(&key.user, rules, now)),
            Change::End { reason } => Outcome::Ended(records.end_all(&key.user, *reason, now)),
        }
    }
}

/// Whether two packets may come from one station. Some NASes name it in the first packet of a sign-in only (pam_radius 1.3):
/// absence contradicts nothing, and the State that the packet brings tells whose it is.
fn agree(one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// Whether `at` is less than `span` ago. A clock that was set back must not make a moment last for hours.
pub(super) fn within(at: Timestamp, now: Timestamp, span: Duration) -> bool {
    at <= now && now.since(at) < span
}

impl Records {
    fn claim(&mut self, key: &AttemptKey, change: &Change, rules: &Rules, now: Timestamp) -> Outcome {
        let Change::Claim { owner, id, begun, factor, authorization, packet, port, marks, prompts, codes } = change
        else {
            return Outcome::Discarded(Reason::Unexpected);
        };
        if self.locked(&key.user, rules, now) {
            return Outcome::Refused(Reason::TooManyWrongCodes);
        }
        let floor = if planted::is(Fault::EpochComesAgain) { 0 } else { self.epoch_floor };
        let mut epoch = floor.saturating_add(1);
        if let Some(attempt) = self.attempts.get_mut(key) {
            epoch = epoch.max(attempt.epoch.saturating_add(1));
            let live = now < attempt.deadline;
            let same = attempt.factor == *factor;
            match &attempt.phase {
                Phase::Settled { .. } if same => {
                    let session = (*port, marks);
                    if let Some(again) = attempt.settled_lately(key, authorization, *packet, session, rules, now) {
                        return again;
                    }
                }
                Phase::Begun | Phase::Waiting { .. } | Phase::Offered { .. }
                    if live && attempt.prompts && !planted::is(Fault::ClaimIgnoresPrompt) =>
                {
                    return if same {
                        self.join(key, *packet, (*port, marks), now)
                    } else {
                        Outcome::Refused(Reason::PromptPending)
                    };
                }
                Phase::Begun if live && within(attempt.claimed, now, CLAIM_LAPSES) => {
                    return Outcome::Discarded(Reason::RepeatWhilePending);
                }
                Phase::Challenged { state, since } if live => {
                    let fresh = same && within(*since, now, rules.challenge_repeat);
                    let state = *state;
                    if let Some(again) = self.challenge_again(state, fresh, authorization, now) {
                        return again;
                    }
                }
                _ => {}
            }
        }
        let mut prompts = *prompts;
        let withheld = if prompts { self.withheld(&key.user, rules, now) } else { None };
        if prompts && self.is_prompted(&key.user, now) {
            return Outcome::Refused(Reason::PromptPending);
        }
        match withheld {
            Some(until) if !*codes => return Outcome::Withheld { until },
            Some(_) => prompts = false,
            None if prompts => self.users.entry(key.user.clone()).or_default().prompted_by = Some(key.clone()),
            None => {}
        }
        self.burn_collector(key, now);
        self.make_room(key, rules, now);
        let deadline = now.after(rules.deadline);
        let attempt = Attempt {
            epoch,
            owner: owner.clone(),
            id: *id,
            begun: *begun,
            claimed: now,
            prompts,
            port: *port,
            waiting: Some(*packet),
            collector: None,
            factor: factor.clone(),
            deadline,
            phase: Phase::Begun,
            wrong: 0,
            expires: deadline.after(AFTERLIFE),
            marks: marks.clone(),
        };
        self.insert_attempt(key.clone(), Box::new(attempt));
        // When this record is forgotten, its owner may still be about to write: that must not fit the attempt that comes next.
        self.epoch_floor = epoch;
        match withheld {
            Some(until) => Outcome::ClaimedForCode { epoch, until },
            None => Outcome::Claimed { epoch },
        }
    }

    /// The challenge that is out, for a repeat of the first leg; or `None` once it is burnt, for a new beginning.
    fn challenge_again(
        &mut self,
        state: StateId,
        fresh: bool,
        authorization: &Authorization,
        now: Timestamp,
    ) -> Option<Outcome> {
        let challenge = self.challenges.get_mut(&state)?;
        if let Progress::Checking { since, .. } = challenge.progress
            && within(since, now, CHECK_LAPSES)
        {
            return Some(Outcome::Discarded(Reason::RepeatWhilePending));
        }
        if challenge.progress == Progress::Issued && fresh {
            // The repeat proved the first factor and ran policy by itself: its authorization is the one that counts.
            if let Purpose::Code { authorization: remembered, .. } = &mut challenge.purpose {
                *remembered = authorization.clone();
            }
            return Some(Outcome::ChallengedAlready {
                id: challenge.id,
                wire: challenge.wire.clone(),
                message: challenge.message.clone(),
            });
        }
        self.spend(state, now);
        None
    }

    /// A State serves once.
    pub(super) fn spend(&mut self, state: StateId, now: Timestamp) {
        self.spend_as(state, false, now);
    }

    pub(super) fn spend_as(&mut self, state: StateId, burnt: bool, now: Timestamp) {
        if planted::is(Fault::StateServesTwice) {
            return;
        }
        if let Some(challenge) = self.remove_challenge(state)
            && let Some(record) = self.users.get_mut(&challenge.key.user)
        {
            record.spend(Spent { state, until: now.after(SPENT_IS_KNOWN), burnt });
        }
    }

    fn issue(&mut self, key: &AttemptKey, epoch: u64, new: &NewChallenge, rules: &Rules, now: Timestamp) -> Outcome {
        let Some(attempt) = self.attempts.get_mut(key).filter(|attempt| attempt.epoch == epoch) else {
            return Outcome::Discarded(Reason::Superseded);
        };
        if !matches!(attempt.phase, Phase::Begun | Phase::Offered { .. }) {
            return Outcome::Discarded(Reason::Superseded);
        }
        let expires = now.after(rules.challenge_lifetime);
        attempt.phase = Phase::Challenged { state: new.state, since: now };
        attempt.deadline = attempt.deadline.max(expires);
        attempt.expires = attempt.deadline.after(AFTERLIFE);
        let (id, begun) = (attempt.id, attempt.begun);
        // From here on it waits for a code, which disturbs nobody.
        if std::mem::take(&mut attempt.prompts) {
            self.prompt_is_over(key);
        }
        self.put(key, id, begun, epoch, new, expires);
        Outcome::Done
    }

    pub(super) fn put(
        &mut self,
        key: &AttemptKey,
        id: AttemptId,
        begun: Timestamp,
        epoch: u64,
        new: &NewChallenge,
        expires: Timestamp,
    ) {
        let challenge = Challenge {
            key: key.clone(),
            id,
            begun,
            epoch,
            purpose: new.purpose.clone(),
            progress: Progress::Issued,
            wire: new.wire.clone(),
            message: new.message.clone(),
            expires,
        };
        self.insert_challenge(new.state, Box::new(challenge));
    }

    fn take(
        &mut self,
        key: &AttemptKey,
        state: StateId,
        packet: PacketDigest,
        client: &str,
        rules: &Rules,
        now: Timestamp,
    ) -> Outcome {
        let locked = self.locked(&key.user, rules, now);
        let used = self.used(&key.user);
        let Some(challenge) = self.challenges.get_mut(&state) else {
            let spent = self.users.get(&key.user).and_then(|user| user.spent.iter().find(|spent| spent.state == state));
            return Outcome::Refused(match spent {
                Some(spent) if now >= spent.until => Reason::StateUnknown,
                Some(spent) if spent.burnt => Reason::ChallengeBurnt,
                Some(_) => Reason::StateSpent,
                None => Reason::StateUnknown,
            });
        };
        if challenge.key.user != key.user {
            return Outcome::Refused(Reason::StateOtherUser);
        }
        if challenge.key.group != key.group {
            return Outcome::Refused(Reason::StateOtherClient);
        }
        if !agree(challenge.key.station.as_deref(), key.station.as_deref()) {
            return Outcome::Refused(Reason::StateOtherStation);
        }
        let mut attempt = self.attempts.get_mut(&challenge.key);
        let wrong = attempt.as_ref().map_or(0, |attempt| attempt.wrong);
        if now >= challenge.expires {
            return Outcome::Refused(Reason::StateUnknown);
        }
        if let Purpose::Collect { epoch, client: sent_to, .. } = &challenge.purpose {
            if **sent_to != *client {
                return Outcome::Refused(Reason::StateOtherClient);
            }
            // It brings nothing that could be tried twice, so that a repeat of it waits instead of the packet before.
            challenge.progress = Progress::Issued;
            match attempt.as_mut().filter(|attempt| attempt.epoch == *epoch) {
                Some(attempt) => attempt.waiting = Some(packet),
                None => return Outcome::Refused(Reason::StateUnknown),
            }
        }
        // The same packet again means that its exchange died: as long as that one lives, the listener knows the packet.
        if let Progress::Checking { since, packet: holder } = challenge.progress
            && holder != packet
            && within(since, now, CHECK_LAPSES)
        {
            return Outcome::Discarded(Reason::StateChecking);
        }
        if locked {
            return Outcome::Refused(Reason::TooManyWrongCodes);
        }
        let guess = matches!(challenge.purpose, Purpose::Code { .. });
        if guess && wrong >= rules.tries {
            self.spend(state, now);
            return Outcome::Refused(Reason::TriesSpent);
        }
        challenge.progress = Progress::Checking { packet, since: now };
        let taken = Outcome::Taken(Box::new(Taken {
            key: challenge.key.clone(),
            id: challenge.id,
            begun: challenge.begun,
            epoch: challenge.epoch,
            purpose: challenge.purpose.clone(),
            deadline: attempt.map_or(challenge.expires, |attempt| attempt.deadline),
            last_try: wrong.saturating_add(1) >= rules.tries,
            used,
        }));
        if let Outcome::Taken(of) = &taken
            && guess
            && !planted::is(Fault::GuessPaidLate)
        {
            self.pay(&of.key, rules, now);
        }
        taken
    }

    /// A guess is paid when it is taken, so that no number of answers at once is judged beyond the limits.
    fn pay(&mut self, key: &AttemptKey, rules: &Rules, now: Timestamp) {
        self.count_wrong(&key.user, rules, now);
        if let Some(attempt) = self.attempts.get_mut(key) {
            attempt.wrong = attempt.wrong.saturating_add(1);
        }
    }

    /// The packet that took a challenge goes without a verdict, and another may take it. A code that surely was not judged is given
    /// back; one of which nobody knows stays paid, or whoever can cut an answer off would guess for nothing.
    fn release(&mut self, key: &AttemptKey, state: StateId, packet: PacketDigest, judged: bool) -> Outcome {
        let Some(challenge) = self.checked(state, packet) else {
            return Outcome::Discarded(Reason::Superseded);
        };
        challenge.progress = Progress::Issued;
        let (epoch, guess) = (challenge.epoch, matches!(challenge.purpose, Purpose::Code { .. }));
        if guess && !judged && !planted::is(Fault::GuessPaidLate) {
            if let Some(record) = self.users.get_mut(&key.user) {
                record.wrong_codes = record.wrong_codes.saturating_sub(1);
            }
            if let Some(attempt) = self.attempts.get_mut(key).filter(|attempt| attempt.epoch == epoch) {
                attempt.wrong = attempt.wrong.saturating_sub(1);
            }
        }
        Outcome::Done
    }

    /// Codes of the user that are being judged. They are looked for only where more than one is paid and not judged wrong for sure.
    fn in_flight(&self, user: &str) -> u32 {
        let judged = |challenge: &&Challenge| {
            *challenge.key.user == *user
                && matches!(challenge.purpose, Purpose::Code { .. })
                && matches!(challenge.progress, Progress::Checking { .. })
        };
        u32::try_from(self.challenges.values().map(AsRef::as_ref).filter(judged).count()).unwrap_or(u32::MAX)
    }

    /// The challenge that `packet` took and nobody took from it since.
    fn checked(&mut self, state: StateId, packet: PacketDigest) -> Option<&mut Challenge> {
        let challenge = self.challenges.get_mut(&state)?.as_mut();
        matches!(challenge.progress, Progress::Checking { packet: holder, .. } if holder == packet).then_some(challenge)
    }

    fn retry(
        &mut self,
        key: &AttemptKey,
        state: StateId,
        packet: PacketDigest,
        new: &NewChallenge,
        rules: &Rules,
        now: Timestamp,
    ) -> Outcome {
        let Some(challenge) = self.checked(state, packet) else {
            return Outcome::Discarded(Reason::Superseded);
        };
        let epoch = challenge.epoch;
        let Some(attempt) = self.attempts.get_mut(key).filter(|attempt| attempt.epoch == epoch) else {
            return Outcome::Discarded(Reason::Superseded);
        };
        attempt.phase = Phase::Challenged { state: new.state, since: now };
        let (id, begun) = (attempt.id, attempt.begun);
        // The time for the whole dialogue does not grow with each wrong code.
        let expires = now.after(rules.challenge_lifetime).min(attempt.deadline);
        self.spend(state, now);
        self.put(key, id, begun, epoch, new, expires);
        if planted::is(Fault::GuessPaidLate) {
            self.pay(key, rules, now);
        }
        Outcome::Done
    }

    #[allow(clippy::too_many_arguments, reason = "two callers, which take variants apart")]
    pub(super) fn settle(
        &mut self,
        key: &AttemptKey,
        epoch: u64,
        taken: Option<(StateId, PacketDigest)>,
        verdict: Settled,
        code: Option<CodeUse>,
        rules: &Rules,
        now: Timestamp,
    ) -> Outcome {
        let again = planted::is(Fault::StateServesTwice);
        let ours = self.attempts.get(key).is_some_and(|attempt| {
            let settled = matches!(attempt.phase, Phase::Settled { .. });
            attempt.epoch == epoch && (!settled || again) && now < attempt.expires
        });
        if !ours || taken.is_some_and(|(state, packet)| self.checked(state, packet).is_none()) {
            return Outcome::Discarded(Reason::Superseded);
        }
        if let Some(code) = code.filter(|_| !planted::is(Fault::UsedCodeIsForgotten)) {
            if code.factor < self.used(&key.user).next(code.token) {
                return Outcome::Refused(Reason::CodeReplayed);
            }
            self.remember(&key.user, code);
        }
        if let Some((state, _)) = taken {
            self.spend(state, now);
            match verdict {
                Settled::Passed => {
                    self.forgive(&key.user, 1);
                    if let Some(record) = self.users.get_mut(&key.user) {
                        record.prompts.forgive();
                    }
                }
                Settled::Failed(_) if planted::is(Fault::GuessPaidLate) => self.count_wrong(&key.user, rules, now),
                // It was paid when it was taken.
                Settled::Failed(_) => {}
            }
        }
        let Some(attempt) = self.attempts.get_mut(key) else {
            return Outcome::Discarded(Reason::Superseded);
        };
        let to = if let Some((_, packet)) = taken { Some(packet) } else { attempt.waiting };
        attempt.phase = Phase::Settled { verdict, at: now, to };
        attempt.expires = attempt.deadline.max(now.after(rules.repeat_window)).after(AFTERLIFE);
        if !attempt.prompts {
            return Outcome::Done;
        }
        self.prompt_is_over(key);
        if let Some(record) = self.users.get_mut(&key.user) {
            match verdict {
                Settled::Passed => record.prompts.forgive(),
                Settled::Failed(reason) => record.prompts.end(reason, rules, now),
            }
        }
        Outcome::Committed { to }
    }

    fn locked(&self, user: &str, rules: &Rules, now: Timestamp) -> bool {
        self.users.get(user).is_some_and(|record| record.is_locked(rules, now))
    }

    fn count_wrong(&mut self, user: &Arc<str>, rules: &Rules, now: Timestamp) {
        let over = self
            .users
            .get(user)
            .is_some_and(|record| record.wrong_codes > 0 && now.since(record.window_began) >= rules.wrong_codes_window);
        // What is being judged is counted in the window that begins.
        let carried = if over { self.in_flight(user).saturating_sub(1) } else { 0 };
        let record = self.users.entry(user.clone()).or_default();
        if over || record.wrong_codes == 0 {
            record.wrong_codes = carried;
            record.window_began = now;
        }
        record.wrong_codes = record.wrong_codes.saturating_add(1);
    }

    /// Forgives wrong codes, but not those that are being judged: they stay paid, whatever comes of them.
    pub(super) fn forgive(&mut self, user: &str, own: u32) {
        let Some(paid) = self.users.get(user).map(|record| record.wrong_codes) else { return };
        // Mostly there is none but the one that was just found right.
        let stays = if paid > own { self.in_flight(user).min(paid) } else { 0 };
        if let Some(record) = self.users.get_mut(user) {
            record.wrong_codes = stays;
        }
    }

    pub(super) fn used(&self, user: &str) -> UsedCodes {
        let next = self.users.get(user).map(|record| &record.used).into_iter().flatten();
        let (since, counters_since) = (self.used_since, self.counters_since);
        UsedCodes { since, counters_since, next: next.map(|(token, next, _)| (TokenId(*token), *next)).collect() }
    }

    /// Remembers that `code` was used: the store loads its durable memory through this as well.
    pub fn remember(&mut self, user: &Arc<str>, code: CodeUse) {
        let record = self.users.entry(user.clone()).or_default();
        let next = code.factor.saturating_add(1);
        match record.used.iter_mut().find(|(token, ..)| *token == code.token.0) {
            Some(used) => *used = (code.token.0, used.1.max(next), code.forget),
            None => record.used.push((code.token.0, next, code.forget)),
        }
    }

    /// Undoes a settlement that could not be made durable, as far as nothing has happened since: the same packet may be judged
    /// again.
    pub fn undo(&mut self, undo: Undo) {
        let Undo { key, epoch, state, code, attempt, challenge, next } = undo;
        // Only this very use: where a later code was used meanwhile, the memory must not run backwards.
        let ours = (code.token.0, code.factor.saturating_add(1));
        if let Some(user) = self.users.get_mut(&key.user)
            && let Some(at) = user.used.iter().position(|(token, used, _)| (*token, *used) == ours)
        {
            user.used.remove(at);
            user.used.extend(next);
        }
        if self.attempts.get(&key).is_some_and(|now| now.epoch == epoch) {
            if let Some(user) = self.users.get_mut(&key.user) {
                user.spent.retain(|spent| spent.state != state);
                // It is being judged again, and what is being judged is paid.
                user.wrong_codes = user.wrong_codes.saturating_add(1);
            }
            self.insert_attempt(key, attempt);
            self.insert_challenge(state, challenge);
        }
    }

    /// What undoes a settlement by `code`, to be taken before it.
    pub fn before(&self, key: &AttemptKey, state: StateId, code: CodeUse) -> Option<Undo> {
        let attempt = self.attempts.get(key)?.clone();
        let challenge = self.challenges.get(&state)?.clone();
        let used = self.users.get(&key.user).map(|user| &user.used);
        let next = used.into_iter().flatten().find(|(token, ..)| *token == code.token.0).copied();
        Some(Undo { key: key.clone(), epoch: attempt.epoch, state, code, attempt, challenge, next })
    }
}
