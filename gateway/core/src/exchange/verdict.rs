//! The one place that builds an accept (invariant A1). It takes the proofs as arguments, and the proofs are made only from
//! a back end's answer, from the store's word that the outcome is committed, or from a policy that waives the factor.

use crate::attempt::record::{Authorization, Settled};
use crate::attempt::transition::Outcome;
use crate::config::{Client, Policy, SecondFactorNeed};
use crate::factor::mschap::{self, Session};
use crate::factor::{Enrolment, Proved};
use crate::radius::{Attributes, Code, attribute};
use crate::reason::Reason;
use crate::time::Timestamp;
use std::sync::Arc;

/// That the first factor was passed.
#[derive(Clone, Debug)]
pub(super) struct FirstProof {
    factor: Arc<str>,
}

impl FirstProof {
    /// From the back end's own answer.
    pub(super) fn answered(factor: Arc<str>, _proved: &Proved) -> Self {
        Self { factor }
    }

    /// From what the first leg left under the State, if it had a first factor.
    pub(super) fn remembered(authorization: &Authorization) -> Option<Self> {
        authorization.first_factor.clone().map(|factor| Self { factor })
    }

    /// The configured name of the factor.
    pub(super) fn factor(&self) -> &Arc<str> {
        &self.factor
    }
}

/// That the second factor was passed, or that the policy wants none.
#[derive(Debug)]
pub(super) struct SecondProof(Kind);

#[derive(Debug)]
enum Kind {
    Committed,
    Waived,
}

impl SecondProof {
    /// The provider approved and the store has committed it.
    pub(super) fn committed(outcome: &Outcome) -> Option<Self> {
        matches!(outcome, Outcome::Done).then_some(Self(Kind::Committed))
    }

    /// The attempt passed a moment ago, and the rules give a repeat the same verdict.
    pub(super) fn repeated(outcome: &Outcome) -> Option<Self> {
        matches!(outcome, Outcome::PassedAlready { .. }).then_some(Self(Kind::Committed))
    }

    /// The prompt was approved, and the store has committed that for this packet.
    pub(super) fn collected(outcome: &Outcome) -> Option<Self> {
        matches!(outcome, Outcome::Collected { verdict: Settled::Passed, .. }).then_some(Self(Kind::Committed))
    }

    /// The policy wants no second factor, or wants one only of those who have it.
    pub(super) fn waived(policy: &Policy, enrolment: Option<Enrolment>) -> Option<Self> {
        let waived = match policy.second_factor {
            SecondFactorNeed::Off => true,
            SecondFactorNeed::IfEnrolled => enrolment == Some(Enrolment::NotEnrolled),
            SecondFactorNeed::Required => false,
        };
        waived.then_some(Self(Kind::Waived))
    }
}

/// A reply that may be sent. Its fields are closed: an accept comes from `accept` alone.
#[derive(Debug)]
pub struct Verdict {
    code: Code,
    attributes: Attributes,
    not_before: Option<Timestamp>,
    session: Option<Arc<Session>>,
}

impl Verdict {
    /// The same with what belongs to this packet's own proof.
    pub(super) fn with_session(self, session: Option<Arc<Session>>) -> Self {
        Self { session, ..self }
    }

    /// What the edge adds: keys, which only it can hide.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_deref()
    }

    /// The same with MS-CHAP-Error. A text for the user stays.
    pub(super) fn with_error(mut self, value: &[u8]) -> Self {
        // It is cut to what fits.
        let _ = mschap::push_error(&mut self.attributes, value);
        self
    }

    /// The same, but sent no sooner.
    pub(super) fn not_before(self, time: Timestamp) -> Self {
        Self { not_before: Some(time), ..self }
    }

    /// The soonest it may be sent; `None`: at once.
    pub fn send_at(&self) -> Option<Timestamp> {
        self.not_before
    }

    /// The packet's code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Its attributes, without Message-Authenticator and Proxy-State, which every reply gets.
    pub fn attributes(&self) -> &Attributes {
        &self.attributes
    }
}

/// An Access-Accept. Where the client leaves the first factor to us nothing stands in for it, not even the second: the record
/// of a challenge may have been made by way of a client that has none. Where it does not, a waived second factor would prove
/// nothing at all.
pub(super) fn accept(
    client: &Client,
    first: Option<&FirstProof>,
    second: Option<SecondProof>,
    attributes: Attributes,
) -> Result<Verdict, Reason> {
    match (first, second) {
        (Some(_), Some(_)) => Ok(Verdict { code: Code::ACCESS_ACCEPT, attributes, not_before: None, session: None }),
        (None, Some(SecondProof(Kind::Committed))) if client.first_factor.is_none() => {
            Ok(Verdict { code: Code::ACCESS_ACCEPT, attributes, not_before: None, session: None })
        }
        (None, Some(_)) | (_, None) => Err(Reason::NoProof),
    }
}

/// An Access-Reject, with a text unless it carries attributes already.
pub(super) fn reject(message: &str, mut attributes: Attributes) -> Verdict {
    if !message.is_empty() && attributes.is_empty() {
        attributes.push_text(attribute::REPLY_MESSAGE, message);
    }
    Verdict { code: Code::ACCESS_REJECT, attributes, not_before: None, session: None }
}

/// An Access-Challenge: State and text and nothing else, because a careless NAS may take it for success.
pub(super) fn challenge(state: &[u8], message: &str) -> Verdict {
    let mut attributes = Attributes::default();
    attributes.push_text(attribute::REPLY_MESSAGE, message);
    // A State of 48 octets always fits.
    if attributes.push(attribute::STATE, state).is_err() {
        return reject("", Attributes::default());
    }
    Verdict { code: Code::ACCESS_CHALLENGE, attributes, not_before: None, session: None }
}
