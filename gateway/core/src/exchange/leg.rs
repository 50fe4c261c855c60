//! What happens between the stages: the first leg from password to prompt, the second from State to outcome.

use super::stage::Stage;
use super::verdict::{FirstProof, SecondProof, accept};
use super::{Facts, Held, Question, Turn};
use crate::attempt::record::{Authorization, Marks, Purpose, Settled};
use crate::attempt::state::{Kind, LENGTH, State, StateId};
use crate::attempt::transition::{CLAIM_HOLDS, Change, NewChallenge, Outcome, Taken};
use crate::config::{Policy, SecondFactorNeed};
use crate::entropy::draw;
use crate::event::Step;
use crate::factor::appended::{Appended, Way};
use crate::factor::{
    BeginAnswer, BeginQuestion, CodeAnswer, CodeQuestion, CodeUse, CodeWanted, Enrolment, FirstFactorAnswer,
    FirstFactorQuestion, NeedMore, Offer, Proved, Terms,
};
use crate::planted::{self, Fault};
use crate::policy::{self, Decision, Unrendered, Values};
use crate::radius::Attributes;
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::Timestamp;
use std::sync::Arc;

/// What a policy permits once the second factor is passed.
#[derive(Debug)]
pub(super) struct Permit {
    pub(super) policy: usize,
    pub(super) factor: Arc<str>,
    pub(super) first: Option<FirstProof>,
    pub(super) authorization: Authorization,
}

/// A code challenge, taken.
#[derive(Debug)]
pub(super) struct TakenCode {
    state: StateId,
    epoch: u64,
    factor: Arc<str>,
    session: Vec<u8>,
    authorization: Authorization,
    last_try: bool,
}

impl Facts {
    /// Password or State: which leg is it?
    pub(super) fn start(&mut self, turn: &mut Turn<'_>) -> Stage {
        if self.request.locked {
            return self.refuse(Reason::LockedByOperator, turn);
        }
        let offer = self.request.offer.take();
        if let Some(state) = self.state.take() {
            let Some(state) = state else { return self.refuse(Reason::StateForged, turn) };
            if state.slot != self.setting.keyring.slot(&self.identity.canonical) {
                return self.refuse(Reason::StateOtherUser, turn);
            }
            let secret = match offer {
                Some(Offer::Pap(secret)) => Some(secret),
                None if state.kind == Kind::Collect => None,
                Some(Offer::Chap(_) | Offer::MsChap2(_)) => return self.refuse(Reason::ProtocolWithoutCode, turn),
                None => return self.refuse(Reason::UnsupportedProtocol, turn),
            };
            if state.kind == Kind::Collect && !self.may_collect(secret.as_ref()) {
                return self.refuse(Reason::CollectUnproved, turn);
            }
            return self.take(state.id, secret, turn);
        }
        let Some(factor) = self.request.client.first_factor.clone() else {
            return self.decide(None, &Proved::default(), turn);
        };
        match offer {
            Some(Offer::Pap(line)) => {
                let parts = self.request.client.appended.as_ref().and_then(|rule| rule.split(&line));
                let (password, appended) = parts.map_or((line, None), |(password, beside)| (password, Some(beside)));
                self.appended = appended;
                self.ask_first_factor(factor, Offer::Pap(password), None, turn)
            }
            Some(offer) => self.ask_first_factor(factor, offer, None, turn),
            None => self.refuse(Reason::UnsupportedProtocol, turn),
        }
    }

    /// A challenge is to be answered by this packet.
    fn take(&mut self, state: StateId, secret: Option<Secret>, turn: &mut Turn<'_>) -> Stage {
        let (packet, client) = (self.request.digest, self.request.client.name.clone());
        turn.apply(self.transition(Change::Take { state, packet, client }));
        self.held = Some(Held { state, round: false, judged: false });
        Stage::Taking { secret, state }
    }

    pub(super) fn ask_first_factor(
        &mut self,
        factor: Arc<str>,
        offer: Offer,
        session: Option<Vec<u8>>,
        turn: &mut Turn<'_>,
    ) -> Stage {
        self.first_factor = Some(factor.clone());
        // An empty password is a successful anonymous bind at some directories (RFC 4513 §5.1.2): it never gets there.
        if matches!(&offer, Offer::Pap(password) if password.is_empty()) && session.is_none() {
            return self.refuse(Reason::EmptyPassword, turn);
        }
        let (user, client, guess) = (self.identity.clone(), self.request.client.name.clone(), self.guess());
        let question = FirstFactorQuestion { factor: factor.clone(), user, client, guess, offer, session };
        turn.ask(Question::FirstFactor(question));
        Stage::CheckingFirstFactor { factor, asked: turn.now }
    }

    pub(super) fn first_factor_answered(
        &mut self,
        factor: Arc<str>,
        asked: Timestamp,
        answer: FirstFactorAnswer,
        turn: &mut Turn<'_>,
    ) -> Stage {
        self.first_factor_took = turn.now.since(asked);
        let answer = match answer {
            FirstFactorAnswer::Refused(_) if planted::is(Fault::WrongPasswordIsRight) => {
                FirstFactorAnswer::Proved(Proved::default())
            }
            answer => answer,
        };
        let failure = match &answer {
            FirstFactorAnswer::Refused(reason) | FirstFactorAnswer::Unavailable(reason) => Some(*reason),
            FirstFactorAnswer::Proved(_) | FirstFactorAnswer::NeedMore(_) => None,
        };
        self.tell(Step::FirstFactor { factor: factor.clone(), failure, took: self.first_factor_took }, turn);
        match answer {
            FirstFactorAnswer::Proved(mut proved) => {
                (self.session, self.change) = (proved.session.take(), proved.change.take());
                let first = FirstProof::answered(factor, &proved);
                self.decide(Some(first), &proved, turn)
            }
            FirstFactorAnswer::Refused(reason) => self.refuse(reason, turn),
            FirstFactorAnswer::Unavailable(reason) => self.silence(reason, turn),
            FirstFactorAnswer::NeedMore(NeedMore { session, message }) => {
                if let Err(reason) = self.can_ask() {
                    return self.refuse(reason, turn);
                }
                let purpose = Purpose::Round { factor: factor.clone(), session };
                let challenge = self.new_challenge(Kind::FirstFactor, purpose, message.into(), turn);
                let (id, begun) = (self.id, self.begun);
                turn.apply(self.transition(Change::IssueRound { id, begun, challenge: challenge.clone() }));
                Stage::IssuingRound { factor, challenge }
            }
        }
    }

    fn decide(&mut self, first: Option<FirstProof>, proved: &Proved, turn: &mut Turn<'_>) -> Stage {
        if let Some(upn) = &proved.upn {
            self.identity = Arc::new(crate::identity::Identity { upn: upn.clone(), ..(*self.identity).clone() });
        }
        let setting = self.setting.clone();
        let attributes = self.request.attributes.take();
        let facts = policy::Facts {
            client: &self.request.client.name,
            source: self.request.source.ip(),
            first_factor: first.as_ref().map(|first| &**first.factor()),
            protocol: self.protocol,
            identity: &self.identity,
            groups: &proved.groups,
            attributes: attributes.as_ref(),
            now: turn.now,
        };
        let policies = &setting.config.policies;
        let (policy, failure) = match policy::decide(policies, &setting.config.policy_index, &facts) {
            Decision::Permit(policy) => (Some(policy), None),
            Decision::Deny(policy) => (Some(policy), Some(Reason::DeniedByPolicy)),
            Decision::NoMatch => (None, Some(Reason::NoPolicy)),
        };
        self.policy = policy.map(|policy| policy.name.clone());
        self.tell(Step::Policy { policy: self.policy.clone(), failure }, turn);
        let Some(policy) = policy else { return self.refuse(Reason::NoPolicy, turn) };
        let rendered = policy.reply.render(&Values { facts: &facts, data: &proved.data });
        if let Err(Unrendered { reason, attribute, problem }) = &rendered {
            let (attribute, problem) = (attribute.clone(), problem.clone());
            self.tell(Step::Unrendered { policy: policy.name.clone(), attribute, reason: *reason, problem }, turn);
        }
        let reply = match (failure, rendered) {
            (None, Ok(reply)) => reply,
            (None, Err(fault)) => return self.refuse(fault.reason, turn),
            // Who is denied is denied, with or without the policy's own words.
            (Some(reason), reply) => return self.reject(reason, reply.unwrap_or_default(), turn),
        };
        // Before anybody is prompted: a person who approves must not be refused for what was known before.
        if self.request.client.max_sessions.is_some_and(|most| self.request.sessions >= most) {
            return self.refuse(Reason::SessionLimit, turn);
        }
        if let Some(waived) = SecondProof::waived(policy, None) {
            return self.accept(accept(&self.request.client, first.as_ref(), Some(waived), reply), turn);
        }
        let Some(factor) = policy.second_factor_name.clone() else {
            // The configuration's check refuses such a policy; without a factor to ask nothing is proved.
            return self.refuse(Reason::NoProof, turn);
        };
        if self.request.synthetic {
            return self.refuse(Reason::SelfSignInSecondFactor, turn);
        }
        self.second_factor = Some(factor.clone());
        turn.ask(Question::Enrolment { factor: factor.clone(), user: self.identity.clone() });
        let authorization = Authorization {
            first_factor: first.as_ref().map(|first| first.factor().clone()),
            policy: policy.name.clone(),
            reply: reply.to_record().into(),
            upn: self.identity.upn.as_str().into(),
        };
        let policy = policies.iter().position(|other| std::ptr::eq(other, policy)).unwrap_or(usize::MAX);
        Stage::AskingEnrolment(Permit { policy, factor, first, authorization })
    }

    pub(super) fn enrolment_answered(&mut self, permit: Permit, enrolment: Enrolment, turn: &mut Turn<'_>) -> Stage {
        let setting = self.setting.clone();
        let Some(policy): Option<&Policy> = setting.config.policies.get(permit.policy) else {
            return self.refuse(Reason::NoPolicy, turn);
        };
        match enrolment {
            Enrolment::Unavailable(reason) => self.silence(reason, turn),
            Enrolment::NotEnrolled if policy.second_factor == SecondFactorNeed::IfEnrolled => {
                let waived = SecondProof::waived(policy, Some(enrolment));
                self.accept_remembered(permit.first.as_ref(), waived, &permit.authorization.reply, turn)
            }
            Enrolment::NotEnrolled => self.refuse(Reason::NotEnrolled, turn),
            Enrolment::Enrolled => {
                let owner = setting.owner.clone();
                let (id, begun, factor) = (self.id, self.begun, permit.factor.clone());
                let authorization = permit.authorization.clone();
                let (packet, port) = (self.request.digest, self.request.port);
                let prompts = self.prompts(&factor);
                let codes = prompts && setting.config.asks_codes(&factor) && self.can_have_code().is_ok();
                let marks = if prompts { self.request.session_marks() } else { Marks::default() };
                let claim =
                    Change::Claim { owner, id, begun, factor, authorization, packet, port, marks, prompts, codes };
                turn.apply(self.transition(claim));
                Stage::Claiming { permit, asked: turn.now }
            }
        }
    }

    pub(super) fn claim_answered(
        &mut self,
        permit: Permit,
        asked: Timestamp,
        outcome: Outcome,
        turn: &mut Turn<'_>,
    ) -> Stage {
        match outcome {
            Outcome::Claimed { epoch } | Outcome::ClaimedForCode { epoch, .. }
                if turn.now.since(asked) > CLAIM_HOLDS =>
            {
                turn.leave(self.transition(Change::Abandon { epoch }));
                self.silence(Reason::ClaimTooOld, turn)
            }
            Outcome::Claimed { epoch } => {
                self.tell(Step::Claimed { epoch }, turn);
                if self.prompts(&permit.factor) {
                    return self.drive(permit, epoch, asked, turn);
                }
                let user = self.identity.clone();
                let factor = permit.factor.clone();
                let (terms, deadline) = (self.terms(), asked.after(self.setting.config.attempts.deadline));
                turn.ask(Question::Begin(BeginQuestion { factor, user, id: self.id, terms, deadline }));
                Stage::Beginning { permit, epoch, asked: turn.now }
            }
            Outcome::ClaimedForCode { epoch, until } => {
                self.tell(Step::Claimed { epoch }, turn);
                self.tell(Step::Withheld { until, code: true }, turn);
                self.withheld = true;
                let (user, factor) = (self.identity.clone(), permit.factor.clone());
                let terms = Terms { codes_only: true, ..self.terms() };
                let deadline = asked.after(self.setting.config.attempts.deadline);
                turn.ask(Question::Begin(BeginQuestion { factor, user, id: self.id, terms, deadline }));
                Stage::Beginning { permit, epoch, asked: turn.now }
            }
            Outcome::Withheld { until } => {
                self.tell(Step::Withheld { until, code: false }, turn);
                self.refuse(if until.is_some() { Reason::PromptWithheld } else { Reason::PromptReported }, turn)
            }
            Outcome::Joined { id, begun, epoch, deadline, owner } => {
                (self.id, self.begun) = (id, begun);
                self.tell(Step::Joined, turn);
                self.join(permit.waiting(epoch, deadline, turn.now), owner, turn)
            }
            Outcome::Collected { id, begun, verdict } => {
                (self.id, self.begun, self.prompted) = (id, begun, true);
                self.speak(permit.waiting(0, turn.now, turn.now), verdict, &outcome, turn)
            }
            Outcome::ChallengedAlready { id, wire, message } => {
                self.id = id;
                match self.appended.take() {
                    // It is the answer.
                    Some(Appended::Code(code)) => {
                        return match self.setting.keyring.open(&wire) {
                            Some(state) => self.take(state.id, Some(code), turn),
                            None => self.silence(Reason::Unexpected, turn),
                        };
                    }
                    Some(Appended::Way(Way::Sms)) if self.can_ask().is_err() => {
                        return self.refuse(Reason::CodeSent, turn);
                    }
                    Some(Appended::Way(_)) | None => {}
                }
                // The challenge may have gone out by way of another client of the group, which can show it.
                if let Err(reason) = self.can_ask() {
                    return self.refuse(reason, turn);
                }
                self.challenge(&wire, &message, permit.factor, true, turn)
            }
            Outcome::PassedAlready { id } => {
                self.id = id;
                let second = SecondProof::repeated(&outcome);
                self.accept_remembered(permit.first.as_ref(), second, &permit.authorization.reply, turn)
            }
            Outcome::Refused(reason) => self.refuse(reason, turn),
            Outcome::Discarded(reason) => self.silence(reason, turn),
            Outcome::Done
            | Outcome::Holds(_)
            | Outcome::Ended(_)
            | Outcome::Offered(_)
            | Outcome::Pending { .. }
            | Outcome::TakenOver { .. }
            | Outcome::Committed { .. }
            | Outcome::Taken(_) => self.silence(Reason::Unexpected, turn),
        }
    }

    pub(super) fn begin_answered(
        &mut self,
        permit: Permit,
        epoch: u64,
        asked: Timestamp,
        answer: BeginAnswer,
        turn: &mut Turn<'_>,
    ) -> Stage {
        self.second_factor_took = turn.now.since(asked);
        let verdict = match answer {
            BeginAnswer::Approved(_) => Settled::Passed,
            BeginAnswer::Waiting { .. } => return self.silence(Reason::Unexpected, turn),
            // The user has registered what may not be used now, and nothing that gives codes.
            BeginAnswer::Denied(Reason::NotRegistered | Reason::MethodUnusable) if self.withheld => {
                Settled::Failed(Reason::PromptWithheld)
            }
            BeginAnswer::Denied(reason) => Settled::Failed(reason),
            BeginAnswer::Unavailable(reason) => return self.silence(reason, turn),
            BeginAnswer::CodeWanted(wanted) => match self.can_have_code() {
                Ok(()) => {
                    let Permit { factor, authorization, .. } = permit;
                    return self.issue(factor, authorization, wanted, epoch, None, turn);
                }
                Err(reason) => Settled::Failed(reason),
            },
        };
        turn.apply(self.transition(Change::Settle { epoch, taken: None, verdict, code: None }));
        Stage::Settling { verdict, first: permit.first, reply: permit.authorization.reply, taken: None }
    }

    /// A code challenge goes into the store, then out.
    pub(super) fn issue(
        &mut self,
        factor: Arc<str>,
        authorization: Authorization,
        wanted: CodeWanted,
        epoch: u64,
        offered: Option<u64>,
        turn: &mut Turn<'_>,
    ) -> Stage {
        let message = match wanted.prompt {
            Some(prompt) => prompt.into(),
            None => self.setting.config.attempts.prompt.as_str().into(),
        };
        let purpose = Purpose::Code { factor: factor.clone(), session: wanted.session, authorization };
        let challenge = self.new_challenge(Kind::Code, purpose, message, turn);
        turn.apply(self.transition(Change::Issue { epoch, challenge: challenge.clone() }));
        Stage::Issuing { factor, challenge, offered }
    }

    /// The challenge is in the store: what stood beside the password answers it at once, or the user is asked, or signs in again.
    pub(super) fn issued(
        &mut self,
        factor: Arc<str>,
        challenge: &NewChallenge,
        offered: Option<u64>,
        turn: &mut Turn<'_>,
    ) -> Stage {
        self.code_issued(offered, turn);
        match self.appended.take() {
            Some(Appended::Code(code)) => self.take(challenge.state, Some(code), turn),
            _ if self.can_ask().is_err() => self.refuse(Reason::CodeSent, turn),
            _ => self.challenge(&challenge.wire, &challenge.message, factor, false, turn),
        }
    }

    /// The challenge is ours: on with what it waited for.
    pub(super) fn taken(&mut self, secret: Option<Secret>, state: StateId, taken: Taken, turn: &mut Turn<'_>) -> Stage {
        (self.id, self.begun) = (taken.id, taken.begun);
        // What the packet leaves out, the State knows: from here on the exchange is that attempt's.
        self.key = taken.key.clone();
        match (taken.purpose, secret) {
            (Purpose::Collect { epoch, factor, authorization, .. }, _) => {
                // Nothing else spends it, as with a round of a first factor.
                self.held = Some(Held { state, round: true, judged: false });
                self.come_back(factor, authorization, epoch, taken.deadline, turn)
            }
            (Purpose::Round { factor, session }, Some(secret)) => {
                self.held = Some(Held { state, round: true, judged: false });
                self.ask_first_factor(factor, Offer::Pap(secret), Some(session), turn)
            }
            (purpose, Some(secret)) => self.ask_code(secret, state, Taken { purpose, ..taken }, turn),
            (_, None) => self.refuse(Reason::UnsupportedProtocol, turn),
        }
    }

    fn ask_code(&mut self, code: Secret, state: StateId, taken: Taken, turn: &mut Turn<'_>) -> Stage {
        let Taken { epoch, purpose, last_try, used, .. } = taken;
        let Purpose::Code { factor, session, authorization } = purpose else {
            return self.silence(Reason::Unexpected, turn);
        };
        self.remember(&factor, &authorization);
        self.tell(Step::Answered, turn);
        if let Some(held) = &mut self.held {
            held.judged = true;
        }
        turn.ask(Question::Code(CodeQuestion {
            factor: factor.clone(),
            user: self.identity.clone(),
            id: self.id,
            session: session.clone(),
            code,
            used,
        }));
        let taken = TakenCode { state, epoch, factor, session, authorization, last_try };
        Stage::CheckingCode { taken, asked: turn.now }
    }

    pub(super) fn code_judged(
        &mut self,
        taken: TakenCode,
        asked: Timestamp,
        answer: CodeAnswer,
        turn: &mut Turn<'_>,
    ) -> Stage {
        self.second_factor_took = turn.now.since(asked);
        let answer = match answer {
            CodeAnswer::Wrong(Reason::WrongCode) if planted::is(Fault::WrongCodeIsRight) => CodeAnswer::Right(None),
            answer => answer,
        };
        let failure = match answer {
            CodeAnswer::Right(_) => None,
            CodeAnswer::Wrong(reason)
            | CodeAnswer::Ended(reason)
            | CodeAnswer::Unavailable(reason)
            | CodeAnswer::NotAsked(reason)
            | CodeAnswer::Unknown(reason) => Some(reason),
        };
        self.tell(Step::Code { factor: taken.factor.clone(), failure, took: self.second_factor_took }, turn);
        match answer {
            CodeAnswer::Right(code) => self.settle(taken, Settled::Passed, code, turn),
            CodeAnswer::Wrong(reason) => self.code_wrong(taken, reason, turn),
            CodeAnswer::Ended(reason) | CodeAnswer::Unknown(reason) => {
                self.settle(taken, Settled::Failed(reason), None, turn)
            }
            CodeAnswer::Unavailable(reason) => {
                if let Some(held) = &mut self.held {
                    held.judged = false;
                }
                self.silence(reason, turn)
            }
            CodeAnswer::NotAsked(reason) => {
                if let Some(Held { state, .. }) = self.held.take() {
                    let packet = self.request.digest;
                    turn.leave(self.transition(Change::Release { state, packet, judged: false }));
                }
                self.refuse(reason, turn)
            }
        }
    }

    /// Another try under a new State, or the end.
    pub(super) fn code_wrong(&mut self, taken: TakenCode, reason: Reason, turn: &mut Turn<'_>) -> Stage {
        // Without a question there is no other try within this attempt: the user signs in again.
        let single = self.setting.config.attempts.tries == 1 || self.can_ask().is_err();
        if taken.last_try || single {
            let reason = if single { reason } else { Reason::TriesSpent };
            return self.settle(taken, Settled::Failed(reason), None, turn);
        }
        let message: Arc<str> = self.setting.config.attempts.prompt_again.as_str().into();
        let TakenCode { state, factor, session, authorization, .. } = taken;
        let purpose = Purpose::Code { factor: factor.clone(), session, authorization };
        let challenge = self.new_challenge(Kind::Code, purpose, message, turn);
        let packet = self.request.digest;
        turn.apply(self.transition(Change::Retry { state, packet, challenge: challenge.clone() }));
        Stage::Retrying { factor, challenge }
    }

    fn settle(&mut self, taken: TakenCode, verdict: Settled, code: Option<CodeUse>, turn: &mut Turn<'_>) -> Stage {
        let holder = Some((taken.state, self.request.digest));
        turn.apply(self.transition(Change::Settle { epoch: taken.epoch, taken: holder, verdict, code }));
        let first = FirstProof::remembered(&taken.authorization);
        Stage::Settling { verdict, first, reply: taken.authorization.reply.clone(), taken: Some(taken) }
    }

    pub(super) fn settled(
        &mut self,
        verdict: Settled,
        first: Option<FirstProof>,
        reply: &[u8],
        outcome: &Outcome,
        turn: &mut Turn<'_>,
    ) -> Stage {
        self.tell(Step::Committed, turn);
        match verdict {
            Settled::Passed => self.accept_remembered(first.as_ref(), SecondProof::committed(outcome), reply, turn),
            Settled::Failed(reason) => self.refuse(reason, turn),
        }
    }

    /// An accept with the attributes that the first leg earned. Octets that are no attributes mean a damaged record.
    pub(super) fn accept_remembered(
        &mut self,
        first: Option<&FirstProof>,
        second: Option<SecondProof>,
        reply: &[u8],
        turn: &mut Turn<'_>,
    ) -> Stage {
        match Attributes::from_record(reply) {
            Some(attributes) => self.accept(accept(&self.request.client, first, second, attributes), turn),
            None => self.refuse(Reason::Unexpected, turn),
        }
    }

    pub(super) fn new_challenge(
        &self,
        kind: Kind,
        purpose: Purpose,
        message: Arc<str>,
        turn: &mut Turn<'_>,
    ) -> NewChallenge {
        let keyring = &self.setting.keyring;
        let id = StateId(draw(turn.entropy));
        let wire: [u8; LENGTH] = keyring.seal(&State {
            kind,
            slot: keyring.slot(&self.identity.canonical),
            incarnation: self.setting.owner.incarnation,
            thread: self.request.thread,
            id,
        });
        NewChallenge { state: id, wire: wire.to_vec(), purpose, message }
    }
}
