//! The stages of an exchange and which input leads where. What happens on the way is in [`super::leg`].

use super::leg::{Permit, TakenCode};
use super::prompt::Waiting;
use super::verdict::{FirstProof, Verdict};
use super::{Facts, Input, Turn, Unexpected};
use crate::attempt::record::Settled;
use crate::attempt::transition::{NewChallenge, Outcome};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::Timestamp;
use std::sync::Arc;

/// Where an exchange stands.
#[derive(Debug)]
pub(super) enum Stage {
    /// Nothing was done yet.
    Fresh {
        /// The reason to refuse it: the packet or the user's name cannot be taken.
        bad: Option<Reason>,
    },
    /// The first factor is asked.
    CheckingFirstFactor {
        /// Its configured name.
        factor: Arc<str>,
        /// Since when.
        asked: Timestamp,
    },
    /// A further round of the first factor goes into the store before it is sent.
    IssuingRound {
        /// Its configured name.
        factor: Arc<str>,
        /// What will be sent.
        challenge: NewChallenge,
    },
    /// The provider is asked whether the user has a second factor.
    AskingEnrolment(Permit),
    /// The attempt is being claimed.
    Claiming {
        /// What the policy permits.
        permit: Permit,
        /// Since when: a claim does not hold for ever.
        asked: Timestamp,
    },
    /// The provider is asked to prompt.
    Beginning {
        /// What the policy permits.
        permit: Permit,
        /// The claim's epoch.
        epoch: u64,
        /// Since when.
        asked: Timestamp,
    },
    /// A code challenge goes into the store before it is sent.
    Issuing {
        /// The second factor.
        factor: Arc<str>,
        /// What will be sent.
        challenge: NewChallenge,
        /// The epoch of the attempt, where a driver offered the code.
        offered: Option<u64>,
    },
    /// The prompt is out, and the packet waits for its outcome.
    Awaiting(Waiting),
    /// The store is asked for the outcome.
    Collecting {
        /// What waits.
        waiting: Waiting,
        /// Whether a prompt without outcome is lost: nobody drives it.
        lost: bool,
    },
    /// The node that drove the prompt is dead: the store decides who goes on.
    TakingOver(Waiting),
    /// The packet's wait is over: the store decides between the outcome and a challenge to come back for it.
    Postponing {
        /// What waits.
        waiting: Waiting,
        /// What will be sent.
        challenge: NewChallenge,
    },
    /// A State came back and is being taken.
    Taking {
        /// What the packet brings.
        secret: Option<Secret>,
        /// The challenge's name.
        state: crate::attempt::state::StateId,
    },
    /// The provider judges a code.
    CheckingCode {
        /// The challenge.
        taken: TakenCode,
        /// Since when.
        asked: Timestamp,
    },
    /// The code was wrong; the next challenge goes into the store before it is sent.
    Retrying {
        /// The second factor.
        factor: Arc<str>,
        /// What will be sent.
        challenge: NewChallenge,
    },
    /// The outcome is being committed.
    Settling {
        /// What is committed.
        verdict: Settled,
        /// The first factor's proof, where the client has one.
        first: Option<FirstProof>,
        /// The reply attributes of an accept, encoded.
        reply: Arc<[u8]>,
        /// The challenge, where the outcome came by a code: a code that was used meanwhile counts as wrong.
        taken: Option<TakenCode>,
    },
    /// The first factor sets a new password.
    Changing {
        /// Its configured name.
        factor: Arc<str>,
        /// What is sent then.
        verdict: Verdict,
    },
    /// It replied, or will not.
    Over,
}

impl Stage {
    fn name(&self) -> &'static str {
        match self {
            Self::Fresh { .. } => "Fresh",
            Self::CheckingFirstFactor { .. } => "CheckingFirstFactor",
            Self::IssuingRound { .. } => "IssuingRound",
            Self::AskingEnrolment(_) => "AskingEnrolment",
            Self::Claiming { .. } => "Claiming",
            Self::Beginning { .. } => "Beginning",
            Self::Issuing { .. } => "Issuing",
            Self::Awaiting(_) => "Awaiting",
            Self::Collecting { .. } => "Collecting",
            Self::TakingOver(_) => "TakingOver",
            Self::Postponing { .. } => "Postponing",
            Self::Taking { .. } => "Taking",
            Self::CheckingCode { .. } => "CheckingCode",
            Self::Retrying { .. } => "Retrying",
            Self::Settling { .. } => "Settling",
            Self::Changing { .. } => "Changing",
            Self::Over => "Over",
        }
    }

    pub(super) fn step(self, input: Input, facts: &mut Facts, turn: &mut Turn<'_>) -> Result<Self, Unexpected> {
        Ok(match (self, input) {
            (Self::Fresh { bad: Some(reason) }, Input::Start) => facts.refuse(reason, turn),
            (Self::Fresh { bad: None }, Input::Start) => facts.start(turn),

            (Self::CheckingFirstFactor { factor, asked }, Input::FirstFactor(answer)) => {
                facts.first_factor_answered(factor, asked, answer, turn)
            }
            (Self::IssuingRound { factor, challenge }, Input::Applied(Ok(Outcome::Done))) => {
                facts.challenge(&challenge.wire, &challenge.message, factor, false, turn)
            }

            (Self::AskingEnrolment(permit), Input::Enrolment(enrolment)) => {
                facts.enrolment_answered(permit, enrolment, turn)
            }
            (Self::Claiming { permit, asked }, Input::Applied(Ok(outcome))) => {
                facts.claim_answered(permit, asked, outcome, turn)
            }
            (Self::Beginning { permit, epoch, asked }, Input::Begun(answer)) => {
                facts.begin_answered(permit, epoch, asked, answer, turn)
            }
            (Self::Issuing { factor, challenge, offered }, Input::Applied(Ok(Outcome::Done))) => {
                facts.issued(factor, &challenge, offered, turn)
            }

            (Self::Awaiting(waiting), Input::News(news)) => facts.news(waiting, news, turn),
            (Self::Awaiting(waiting), Input::Wake) => facts.wait_is_over(waiting, turn),
            (Self::Collecting { waiting, lost }, Input::Applied(Ok(outcome))) => {
                facts.outcome(waiting, lost, &outcome, turn)
            }
            (Self::Postponing { waiting, challenge }, Input::Applied(Ok(outcome))) => {
                facts.postponed(waiting, &challenge, &outcome, turn)
            }
            (
                Self::TakingOver(waiting),
                Input::Applied(Ok(
                    outcome @ (Outcome::TakenOver { .. } | Outcome::Committed { .. } | Outcome::Offered(_)),
                )),
            ) => facts.taken_over(waiting, outcome, turn),
            // What comes meanwhile is found out from the store, or when the user comes back.
            (stage, Input::News(_)) => stage,

            (Self::Taking { secret, state }, Input::Applied(Ok(Outcome::Taken(taken)))) => {
                facts.taken(secret, state, *taken, turn)
            }
            (Self::CheckingCode { taken, asked }, Input::Code(answer)) => facts.code_judged(taken, asked, answer, turn),
            (Self::Retrying { factor, challenge }, Input::Applied(Ok(Outcome::Done))) => {
                facts.challenge(&challenge.wire, &challenge.message, factor, false, turn)
            }

            (Self::Settling { taken: Some(taken), .. }, Input::Applied(Ok(Outcome::Refused(Reason::CodeReplayed)))) => {
                facts.code_wrong(taken, Reason::CodeReplayed, turn)
            }
            (Self::Settling { verdict, first, reply, .. }, Input::Applied(Ok(outcome @ Outcome::Done))) => {
                facts.settled(verdict, first, &reply, &outcome, turn)
            }

            (Self::Changing { factor, verdict }, Input::Changed(changed)) => {
                facts.changed(factor, verdict, changed, turn)
            }

            // Whoever waits for the store takes its refusals alike.
            (stage, Input::Applied(Ok(Outcome::Refused(reason)))) if stage.waits_for_store() => {
                facts.refuse(reason, turn)
            }
            (stage, Input::Applied(Ok(Outcome::Discarded(reason)) | Err(reason))) if stage.waits_for_store() => {
                facts.silence(reason, turn)
            }

            // The deadline never interrupts a commit: what is committed must be spoken. A transition that is on its way
            // ends by itself, and so does the writing of a password. Nor does it interrupt what makes an attempt this node's: without its exchange nobody would
            // drive the prompt, and a claim that was not heard of would keep everybody out until the attempt's deadline.
            (
                stage @ (Self::Settling { .. }
                | Self::Changing { .. }
                | Self::Claiming { .. }
                | Self::TakingOver(_)
                | Self::Over),
                Input::Wake,
            ) => stage,
            (_, Input::Wake) => facts.silence(Reason::DeadlinePassed, turn),

            (stage, input) => return Err(Unexpected { stage: stage.name(), input: input.name() }),
        })
    }

    fn waits_for_store(&self) -> bool {
        matches!(
            self,
            Self::IssuingRound { .. }
                | Self::Claiming { .. }
                | Self::Issuing { .. }
                | Self::Collecting { .. }
                | Self::TakingOver(_)
                | Self::Postponing { .. }
                | Self::Taking { .. }
                | Self::Retrying { .. }
                | Self::Settling { .. }
        )
    }
}
