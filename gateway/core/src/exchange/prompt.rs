//! Waiting for a prompt: a push or a call that a person answers elsewhere. The prompt is the attempt's; this packet only waits for
//! it, as long as its NAS does. Then the user is asked to come back for the outcome, where the NAS can show a question.

use super::leg::Permit;
use super::stage::Stage;
use super::verdict::{FirstProof, SecondProof};
use super::{Effect, Facts, News, Turn};
use crate::attempt::driver::Prompt;
use crate::attempt::record::{Authorization, Owner, Purpose, Settled};
use crate::attempt::state::Kind;
use crate::attempt::transition::{Change, NewChallenge, Outcome};
use crate::event::Step;
use crate::factor::{CodeWanted, Terms};
use crate::identity::Identity;
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// A packet without a time limit of its own waits until the prompt ends, and this long for the word of it.
const AFTER_THE_END: Duration = Duration::from_secs(5);

/// What waits for the outcome of a prompt.
#[derive(Debug)]
pub(super) struct Waiting {
    factor: Arc<str>,
    epoch: u64,
    deadline: Timestamp,
    first: Option<FirstProof>,
    authorization: Authorization,
    since: Timestamp,
}

impl Permit {
    /// The packet waits for the prompt of the attempt with this epoch and deadline.
    pub(super) fn waiting(self, epoch: u64, deadline: Timestamp, since: Timestamp) -> Waiting {
        let Self { factor, first, authorization, .. } = self;
        Waiting { factor, epoch, deadline, first, authorization, since }
    }
}

impl Facts {
    /// Whether this second factor prompts a person.
    pub(super) fn prompts(&self, factor: &str) -> bool {
        self.setting.config.prompts(factor)
    }

    /// The attempt is ours: have its prompt made.
    pub(super) fn drive(&mut self, permit: Permit, epoch: u64, claimed: Timestamp, turn: &mut Turn<'_>) -> Stage {
        let setting = self.setting.clone();
        let deadline = claimed.after(setting.config.attempts.deadline);
        let policy = setting.config.policies.get(permit.policy);
        let terms = Terms {
            push_users: policy.and_then(|policy| policy.push_users),
            unregistered: policy.and_then(|policy| policy.unregistered_at(turn.now)),
            ..self.terms()
        };
        turn.effects.push(Effect::Drive(Box::new(Prompt {
            key: self.key.clone(),
            epoch,
            rules: setting.rules.clone(),
            factor: permit.factor.clone(),
            user: self.identity.clone(),
            id: self.id,
            begun: self.begun,
            terms,
            deadline,
            session: None,
        })));
        self.wait(permit.waiting(epoch, deadline, turn.now), turn)
    }

    /// A repeat waits for the prompt that is out, which `owner` drives.
    pub(super) fn join(&mut self, waiting: Waiting, owner: Owner, turn: &mut Turn<'_>) -> Stage {
        turn.effects.push(Effect::Join { key: self.key.clone(), epoch: waiting.epoch, owner });
        self.wait(waiting, turn)
    }

    fn wait(&mut self, waiting: Waiting, turn: &mut Turn<'_>) -> Stage {
        self.prompted = true;
        let until = match self.request.client.answer_within {
            Some(patience) => self.request.received.after(patience),
            None => waiting.deadline.after(AFTER_THE_END),
        };
        turn.effects.push(Effect::WakeAt(until));
        Stage::Awaiting(waiting)
    }

    pub(super) fn news(&mut self, waiting: Waiting, news: News, turn: &mut Turn<'_>) -> Stage {
        match news {
            News::Look => self.collect(waiting, true, turn),
            News::Changed => self.collect(waiting, false, turn),
            News::OwnerDied(dead) => {
                let (epoch, packet, owner) = (waiting.epoch, self.request.digest, self.setting.owner.clone());
                turn.apply(self.transition(Change::TakeOver { epoch, dead, owner, packet }));
                Stage::TakingOver(waiting)
            }
            News::Superseded => self.silence(Reason::Superseded, turn),
            News::NotBegun(reason) => self.silence(reason, turn),
            News::CodeWanted(wanted) => self.code_wanted(waiting, wanted, turn),
        }
    }

    fn code_wanted(&mut self, waiting: Waiting, wanted: CodeWanted, turn: &mut Turn<'_>) -> Stage {
        if let Err(reason) = self.can_have_code() {
            return self.refuse(reason, turn);
        }
        self.prompted = false;
        self.second_factor_took = turn.now.since(waiting.since);
        let Waiting { factor, authorization, epoch, .. } = waiting;
        self.issue(factor, authorization, wanted, epoch, Some(epoch), turn)
    }

    /// The code is asked for: the driver need not offer it any longer.
    pub(super) fn code_issued(&self, offered: Option<u64>, turn: &mut Turn<'_>) {
        if let Some(epoch) = offered {
            turn.effects.push(Effect::Answered { key: self.key.clone(), epoch });
        }
    }

    fn collect(&mut self, waiting: Waiting, lost: bool, turn: &mut Turn<'_>) -> Stage {
        let (epoch, packet) = (waiting.epoch, self.request.digest);
        turn.apply(self.transition(Change::Collect { epoch, packet, challenge: None }));
        Stage::Collecting { waiting, lost }
    }

    pub(super) fn outcome(&mut self, waiting: Waiting, lost: bool, outcome: &Outcome, turn: &mut Turn<'_>) -> Stage {
        match outcome {
            Outcome::Collected { verdict, .. } => self.speak(waiting, *verdict, outcome, turn),
            Outcome::Pending { .. } if lost => {
                // Nobody asks the provider any more. The next sign-in must not wait for that.
                let (epoch, verdict) = (waiting.epoch, Settled::Failed(Reason::PromptLost));
                turn.leave(self.transition(Change::Settle { epoch, taken: None, verdict, code: None }));
                self.refuse(Reason::PromptLost, turn)
            }
            Outcome::Offered(wanted) => self.code_wanted(waiting, wanted.clone(), turn),
            Outcome::Pending { owner } => self.join(waiting, owner.clone(), turn),
            Outcome::Refused(reason) => self.refuse(*reason, turn),
            Outcome::Discarded(reason) => self.silence(*reason, turn),
            _ => self.silence(Reason::Unexpected, turn),
        }
    }

    /// The prompt of a dead node is ours: go on with its session. Or nobody can, and the attempt was refused.
    pub(super) fn taken_over(&mut self, mut waiting: Waiting, outcome: Outcome, turn: &mut Turn<'_>) -> Stage {
        let Outcome::TakenOver { epoch, id, begun, deadline, session } = outcome else {
            return match outcome {
                Outcome::Committed { .. } => self.collect(waiting, false, turn),
                Outcome::Offered(wanted) => self.code_wanted(waiting, wanted, turn),
                _ => self.silence(Reason::Unexpected, turn),
            };
        };
        self.tell(Step::TakenOver { epoch }, turn);
        waiting.epoch = epoch;
        turn.effects.push(Effect::Drive(Box::new(Prompt {
            key: self.key.clone(),
            epoch,
            rules: self.setting.rules.clone(),
            factor: waiting.factor.clone(),
            user: self.identity.clone(),
            id,
            begun,
            terms: self.terms(),
            deadline,
            session: Some(session),
        })));
        self.wait(waiting, turn)
    }

    /// Says what was committed for this packet.
    pub(super) fn speak(
        &mut self,
        waiting: Waiting,
        verdict: Settled,
        outcome: &Outcome,
        turn: &mut Turn<'_>,
    ) -> Stage {
        self.second_factor_took = turn.now.since(waiting.since);
        self.tell(Step::Committed, turn);
        match verdict {
            Settled::Passed => {
                let second = SecondProof::collected(outcome);
                self.accept_remembered(waiting.first.as_ref(), second, &waiting.authorization.reply, turn)
            }
            Settled::Failed(reason) => self.refuse(reason, turn),
        }
    }

    /// The NAS is about to give up, or the prompt's time is long over.
    pub(super) fn wait_is_over(&mut self, waiting: Waiting, turn: &mut Turn<'_>) -> Stage {
        let packet = self.request.digest;
        if turn.now >= waiting.deadline {
            return self.collect(waiting, true, turn);
        }
        if self.can_ask().is_err() {
            return self.silence(Reason::NasPatienceOver, turn);
        }
        let Waiting { factor, epoch, authorization, .. } = &waiting;
        let (epoch, client) = (*epoch, self.request.client.name.clone());
        let purpose = Purpose::Collect { epoch, client, factor: factor.clone(), authorization: authorization.clone() };
        let message = self.setting.config.attempts.prompt_approve.as_str().into();
        let challenge = self.new_challenge(Kind::Collect, purpose, message, turn);
        turn.apply(self.transition(Change::Collect { epoch, packet, challenge: Some(challenge.clone()) }));
        Stage::Postponing { waiting, challenge }
    }

    pub(super) fn postponed(
        &mut self,
        waiting: Waiting,
        challenge: &NewChallenge,
        outcome: &Outcome,
        turn: &mut Turn<'_>,
    ) -> Stage {
        match outcome {
            Outcome::Done => {
                self.tell(Step::Postponed, turn);
                self.challenge(&challenge.wire, &challenge.message, waiting.factor, false, turn)
            }
            other => self.outcome(waiting, false, other, turn),
        }
    }

    /// Whether the packet may bring back the State of a prompt. It carries no other proof, so that it must at least come from the
    /// client: with a Message-Authenticator, or with a User-Password that the shared secret turns into text or nothing.
    pub(super) fn may_collect(&self, password: Option<&Secret>) -> bool {
        let text = |password: &Secret| {
            std::str::from_utf8(password.expose()).is_ok_and(|text| !text.chars().any(char::is_control))
        };
        self.request.signed || password.is_some_and(text)
    }

    /// The user came back for the outcome: with what the first packet earned, and nothing else.
    pub(super) fn come_back(
        &mut self,
        factor: Arc<str>,
        authorization: Authorization,
        epoch: u64,
        deadline: Timestamp,
        turn: &mut Turn<'_>,
    ) -> Stage {
        self.remember(&factor, &authorization);
        self.prompted = true;
        self.tell(Step::Answered, turn);
        let first = FirstProof::remembered(&authorization);
        let since = turn.now;
        self.collect(Waiting { factor, epoch, deadline, first, authorization, since }, false, turn)
    }

    /// What the first leg knew, which this packet does not say.
    pub(super) fn remember(&mut self, factor: &Arc<str>, authorization: &Authorization) {
        if *self.identity.upn != *authorization.upn {
            let upn = authorization.upn.as_ref().to_owned();
            self.identity = Arc::new(Identity { upn, ..(*self.identity).clone() });
        }
        self.first_factor = authorization.first_factor.clone();
        self.policy = Some(authorization.policy.clone());
        self.second_factor = Some(factor.clone());
    }
}
