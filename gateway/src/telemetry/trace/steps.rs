//! The steps of one packet or prompt: one begins, one ends, and all are written together.

use super::{Part, Tracing};
use gateway_core::attempt::record::AttemptId;
use gateway_core::attempt::transition::{Change, Outcome};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, SpanKind};

/// A step, which lasts until the next one begins if nothing else ends it.
pub(super) struct Step {
    name: &'static str,
    start: Timestamp,
    end: Option<Timestamp>,
    pub(super) attributes: Vec<KeyValue>,
    pub(super) reason: Option<Reason>,
}

/// Steps in their order.
#[derive(Default)]
pub(super) struct Steps(Vec<Step>);

impl Steps {
    /// One begins, and whichever is open ends.
    pub(super) fn begin(&mut self, name: &'static str, now: Timestamp) -> &mut Step {
        self.end(now);
        self.0.push_mut(Step { name, start: now, end: None, attributes: Vec::new(), reason: None })
    }

    /// What is open ends; the step, if there was one.
    pub(super) fn end(&mut self, now: Timestamp) -> Option<&mut Step> {
        let step = self.0.last_mut().filter(|step| step.end.is_none())?;
        step.end = Some(now);
        Some(step)
    }

    /// The store has answered.
    pub(super) fn applied(&mut self, applied: &Result<Outcome, Reason>, now: Timestamp) {
        let Some(step) = self.end(now) else { return };
        step.reason = match applied {
            Ok(Outcome::Refused(reason) | Outcome::Discarded(reason)) | Err(reason) => Some(*reason),
            Ok(_) => None,
        };
        step.attributes.push(KeyValue::new("orthrus.result", applied.as_ref().map_or("failed", outcome)));
    }

    /// The newest one.
    pub(super) fn last(&mut self) -> Option<&mut Step> {
        self.0.last_mut()
    }

    /// All have ended: writes them under `parent`.
    pub(super) fn write(&mut self, tracing: &Tracing, id: AttemptId, parent: SpanId, now: Timestamp) {
        for Step { name, start, end, attributes, reason } in self.0.drain(..) {
            let (span, end) = (tracing.draw(), end.unwrap_or(now));
            let (parent, kind) = (Some(parent), SpanKind::Internal);
            tracing.write(id, Part { id: span, parent, kind, name, start, end, attributes, reason });
        }
    }
}

/// What a change of the store is called.
pub(super) fn name(change: &Change) -> &'static str {
    match change {
        Change::Claim { .. } => "claim",
        Change::Abandon { .. } => "abandon",
        Change::Await { .. } => "save",
        Change::Collect { .. } => "collect",
        Change::Offer { .. } => "offer",
        Change::TakeOver { .. } => "take_over",
        Change::Detach { .. } => "detach",
        Change::Issue { .. } | Change::IssueRound { .. } => "issue",
        Change::Take { .. } => "take",
        Change::Release { .. } => "release",
        Change::Retry { .. } => "retry",
        Change::Settle { .. } => "commit",
        Change::FinishRound { .. } => "finish",
        Change::Look => "look",
        Change::Lift => "lift",
        Change::End { .. } => "end",
    }
}

fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Claimed { .. } => "claimed",
        Outcome::ClaimedForCode { .. } => "claimed_for_code",
        Outcome::Withheld { .. } => "withheld",
        Outcome::ChallengedAlready { .. } => "challenged_already",
        Outcome::PassedAlready { .. } => "passed_already",
        Outcome::Joined { .. } => "joined",
        Outcome::Collected { .. } => "collected",
        Outcome::Offered(_) => "offered",
        Outcome::TakenOver { .. } => "taken_over",
        Outcome::Pending { .. } => "pending",
        Outcome::Committed { .. } => "committed",
        Outcome::Holds(_) => "holds",
        Outcome::Ended(_) => "ended",
        Outcome::Done => "done",
        Outcome::Taken(_) => "taken",
        Outcome::Refused(_) => "refused",
        Outcome::Discarded(_) => "discarded",
    }
}
