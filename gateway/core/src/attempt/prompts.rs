//! The rules of attempts that prompt a person: one prompt at a time, packets that join and are superseded, and an outcome that
//! is one packet's.

use super::record::{Attempt, AttemptKey, Authorization, Marks, Owner, PacketDigest, Phase, Purpose, Settled};
use super::records::{Records, within};
use super::transition::{NewChallenge, Outcome, Rules};
use crate::factor::CodeWanted;
use crate::planted::{self, Fault};
use crate::reason::Reason;
use crate::time::Timestamp;
use std::sync::Arc;

impl Attempt {
    /// What a repeat gets from an attempt that is settled; `None`: it begins anew.
    pub(super) fn settled_lately(
        &mut self,
        key: &AttemptKey,
        authorization: &Authorization,
        packet: PacketDigest,
        session: (Option<u32>, &Marks),
        rules: &Rules,
        now: Timestamp,
    ) -> Option<Outcome> {
        let ours = self.is_of_session(session);
        let Phase::Settled { verdict, at, to } = &mut self.phase else { return None };
        // Without a station nobody can tell a repeat from another device of the same user, and where no first factor was asked
        // the repeat has proved nothing at all.
        let told = key.station.is_some() && authorization.first_factor.is_some();
        let lately = within(*at, now, rules.repeat_window);
        let collected = Outcome::Collected { id: self.id, begun: self.begun, verdict: *verdict };
        match (*verdict, *to) {
            // Its exchange died before it could speak.
            (_, Some(same)) if same == packet && self.prompts && planted::is(Fault::OutcomeChanges) => {
                let verdict = Settled::Failed(Reason::PromptUnanswered);
                Some(Outcome::Collected { id: self.id, begun: self.begun, verdict })
            }
            (_, Some(same)) if same == packet && self.prompts => Some(collected),
            // Another session of the user does not collect what was approved for this one, nor ends it.
            (Settled::Passed, None) if told && now < self.deadline && !ours => {
                Some(Outcome::Refused(Reason::PromptPending))
            }
            // Nobody waited when the user approved: a repeat collects it, once.
            (Settled::Passed, None) if told && now < self.deadline && !planted::is(Fault::ApprovalIsDropped) => {
                (*to, self.waiting) = (Some(packet), Some(packet));
                Some(collected)
            }
            (Settled::Passed, None) => None,
            (Settled::Passed, Some(_)) if self.prompts && planted::is(Fault::ApprovalForAll) => Some(collected),
            (Settled::Passed, Some(_)) if lately && rules.answer_repeats && told && ours => {
                Some(Outcome::PassedAlready { id: self.id })
            }
            (Settled::Passed, Some(_)) if lately => Some(Outcome::Discarded(Reason::RepeatAfterSuccess)),
            // A NAS that lost the refusal must not have the user prompted again. A wrong code may be followed by another.
            (Settled::Failed(_), _) if lately && told && self.prompts => Some(collected),
            _ => None,
        }
    }

    /// Whether everything that tells sessions apart, and that both the attempt and the packet say, agrees. A NAS that starts over
    /// with new identifiers and ports of its own still says the same of its user's session.
    pub(super) fn is_of_session(&self, (port, marks): (Option<u32>, &Marks)) -> bool {
        if planted::is(Fault::RideOnApproval) {
            return true;
        }
        let same_port = self.port.is_none() || port.is_none() || self.port == port;
        same_port && self.marks.agree_with(marks)
    }
}

impl Marks {
    /// Whether nothing that both say differs.
    pub fn agree_with(&self, other: &Self) -> bool {
        self.0.iter().all(|(kind, mark)| other.0.iter().all(|(of, theirs)| of != kind || theirs == mark))
    }

    /// Takes what only `other` says.
    fn learn(&mut self, other: &Self) {
        for mark in &other.0 {
            if self.0.iter().all(|(kind, _)| *kind != mark.0) {
                self.0.push(*mark);
            }
        }
    }
}

impl Records {
    /// Whether another attempt of the user has a prompt out.
    pub(super) fn is_prompted(&self, user: &Arc<str>, now: Timestamp) -> bool {
        if planted::is(Fault::ClaimIgnoresPrompt) {
            return false;
        }
        let by = self.users.get(user).and_then(|record| record.prompted_by.as_ref());
        by.and_then(|key| self.attempts.get(key)).is_some_and(|attempt| {
            let out = matches!(attempt.phase, Phase::Begun | Phase::Waiting { .. } | Phase::Offered { .. });
            out && attempt.prompts && now < attempt.deadline
        })
    }

    /// A repeat of the first leg while the prompt is out: it proved the first factor by itself and waits instead of the packet
    /// before. Without a station nobody can tell a repeat from another session of the user; what says that it is another session is
    /// refused as busy.
    pub(super) fn join(
        &mut self,
        key: &AttemptKey,
        packet: PacketDigest,
        (port, marks): (Option<u32>, &Marks),
        now: Timestamp,
    ) -> Outcome {
        let Some(attempt) = self.attempts.get_mut(key) else {
            return Outcome::Discarded(Reason::Unexpected);
        };
        if attempt.waiting != Some(packet) {
            if !attempt.is_of_session((port, marks)) {
                return Outcome::Refused(Reason::PromptPending);
            }
            if key.station.is_none() {
                return Outcome::Discarded(Reason::RepeatWhilePending);
            }
            // Who comes third must agree with both.
            attempt.port = attempt.port.or(port);
            attempt.marks.learn(marks);
        }
        attempt.waiting = Some(packet);
        let joined = Outcome::Joined {
            id: attempt.id,
            begun: attempt.begun,
            epoch: attempt.epoch,
            deadline: attempt.deadline,
            owner: attempt.owner.clone(),
        };
        // Whoever proves the password anew does not know the challenge, or has given it up.
        self.burn_collector(key, now);
        joined
    }

    pub(super) fn burn_collector(&mut self, key: &AttemptKey, now: Timestamp) {
        if let Some(state) = self.attempts.get_mut(key).and_then(|attempt| attempt.collector.take()) {
            self.spend(state, now);
        }
    }

    pub(super) fn abandon(&mut self, key: &AttemptKey, epoch: u64) -> Outcome {
        if !self.attempts.get(key).is_some_and(|attempt| attempt.epoch == epoch && attempt.phase == Phase::Begun) {
            return Outcome::Discarded(Reason::Superseded);
        }
        self.remove_attempt(key);
        self.prompt_is_over(key);
        Outcome::Done
    }

    pub(super) fn await_answer(
        &mut self,
        key: &AttemptKey,
        epoch: u64,
        session: &Arc<[u8]>,
        now: Timestamp,
    ) -> Outcome {
        match self.attempts.get_mut(key) {
            Some(attempt) if attempt.epoch == epoch && attempt.phase == Phase::Begun && now < attempt.deadline => {
                attempt.phase = Phase::Waiting { session: session.clone() };
                Outcome::Done
            }
            _ => Outcome::Discarded(Reason::Superseded),
        }
    }

    pub(super) fn collect(
        &mut self,
        key: &AttemptKey,
        epoch: u64,
        packet: PacketDigest,
        challenge: Option<&NewChallenge>,
        rules: &Rules,
        now: Timestamp,
    ) -> Outcome {
        let Some(attempt) = self.attempts.get_mut(key).filter(|attempt| attempt.epoch == epoch) else {
            return Outcome::Discarded(Reason::Superseded);
        };
        let (id, begun, deadline) = (attempt.id, attempt.begun, attempt.deadline);
        if let Phase::Settled { verdict, to, .. } = &mut attempt.phase {
            let newest = attempt.waiting == Some(packet);
            return match to {
                Some(other) if *other != packet && !planted::is(Fault::ApprovalForAll) => {
                    Outcome::Discarded(Reason::Superseded)
                }
                None if !newest => Outcome::Discarded(Reason::Superseded),
                None if now >= deadline => Outcome::Refused(Reason::ApprovalUncollected),
                _ => {
                    *to = Some(packet);
                    Outcome::Collected { id, begun, verdict: *verdict }
                }
            };
        }
        if attempt.waiting != Some(packet) {
            return Outcome::Discarded(Reason::Superseded);
        }
        if let Phase::Offered { session, prompt } = &attempt.phase {
            return Outcome::Offered(CodeWanted { session: session.clone(), prompt: prompt.clone() });
        }
        let Some(challenge) = challenge else {
            return Outcome::Pending { owner: attempt.owner.clone() };
        };
        if now >= deadline {
            return Outcome::Refused(Reason::PromptUnanswered);
        }
        attempt.waiting = None;
        let old = attempt.collector.replace(challenge.state);
        if let Some(old) = old {
            self.spend(old, now);
        }
        self.put(key, id, begun, epoch, challenge, now.after(rules.challenge_lifetime).min(deadline));
        Outcome::Done
    }

    /// Goes on with the prompt of a node that is dead. Its session was saved, or else nobody can tell what became of the prompt
    /// and the attempt is refused. A dead node that comes back finds its epoch stale.
    pub(super) fn take_over(
        &mut self,
        key: &AttemptKey,
        epoch: u64,
        (dead, owner): (&Owner, &Owner),
        packet: PacketDigest,
        rules: &Rules,
        now: Timestamp,
    ) -> Outcome {
        let Some(attempt) = self.attempts.get_mut(key).filter(|attempt| {
            attempt.epoch == epoch
                && attempt.prompts
                && attempt.owner == *dead
                && attempt.waiting == Some(packet)
                && now < attempt.deadline
        }) else {
            return Outcome::Discarded(Reason::Superseded);
        };
        match &attempt.phase {
            Phase::Waiting { session } if !planted::is(Fault::SessionIsIgnored) => {
                let session = session.clone();
                attempt.epoch = epoch.saturating_add(1).max(self.epoch_floor.saturating_add(1));
                attempt.owner = owner.clone();
                let (epoch, collector) = (attempt.epoch, attempt.collector);
                self.epoch_floor = epoch;
                let (id, begun, deadline) = (attempt.id, attempt.begun, attempt.deadline);
                // Whoever was told to come back collects from the new epoch.
                if let Some(challenge) = collector.and_then(|state| self.challenges.get_mut(&state)) {
                    challenge.epoch = epoch;
                    if let Purpose::Collect { epoch: of, .. } = &mut challenge.purpose {
                        *of = epoch;
                    }
                }
                Outcome::TakenOver { epoch, id, begun, deadline, session }
            }
            Phase::Begun | Phase::Waiting { .. } => {
                self.settle(key, epoch, None, Settled::Failed(Reason::OwnerDied), None, rules, now)
            }
            // Nobody needs to drive it any more.
            Phase::Offered { session, prompt } => {
                Outcome::Offered(CodeWanted { session: session.clone(), prompt: prompt.clone() })
            }
            Phase::Challenged { .. } | Phase::Settled { .. } => Outcome::Discarded(Reason::Superseded),
        }
    }

    pub(super) fn offer(&mut self, key: &AttemptKey, epoch: u64, wanted: &CodeWanted, now: Timestamp) -> Outcome {
        match self.attempts.get_mut(key) {
            Some(attempt) if attempt.epoch == epoch && attempt.phase == Phase::Begun && now < attempt.deadline => {
                let CodeWanted { session, prompt } = wanted.clone();
                attempt.phase = Phase::Offered { session, prompt };
                Outcome::Done
            }
            _ => Outcome::Discarded(Reason::Superseded),
        }
    }

    pub(super) fn detach(&mut self, key: &AttemptKey, packet: PacketDigest) -> Outcome {
        match self.attempts.get_mut(key) {
            Some(attempt) if attempt.waiting == Some(packet) => {
                attempt.waiting = None;
                Outcome::Done
            }
            _ => Outcome::Discarded(Reason::Superseded),
        }
    }

    /// The user may be prompted by another attempt.
    pub(super) fn prompt_is_over(&mut self, key: &AttemptKey) {
        if let Some(record) = self.users.get_mut(&key.user) {
            record.prompted_by.take_if(|by| by == key);
        }
    }
}
