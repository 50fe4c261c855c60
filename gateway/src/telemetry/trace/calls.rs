//! Questions to a second factor, as live spans: while the back end works on its answer its span is the current one.

use super::{TARGET, Tracing, is_error};
use crate::backends::Answer;
use gateway_core::attempt::record::AttemptId;
use gateway_core::exchange::Input;
use gateway_core::factor::{BeginAnswer, CodeAnswer, PollAnswer};
use gateway_core::reason::Reason;
use opentelemetry::trace::{SpanId, TraceContextExt};
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

impl Tracing {
    /// A span for a question about the attempt, under its packet or prompt; `None` where the attempt is not traced.
    pub(super) fn call(&self, name: &'static str, id: AttemptId, parent: SpanId, factor: &str) -> Option<Span> {
        if !self.takes(id) {
            return None;
        }
        let span = tracing::info_span!(
            target: TARGET, "call", otel.name = name, orthrus.second_factor = factor, orthrus.result = Empty,
            orthrus.reason = Empty, orthrus.reason_id = Empty, error.type = Empty, otel.status_description = Empty
        );
        let parent = opentelemetry::Context::new().with_remote_span_context(Self::context(id, parent));
        // Without our layer (tests that bring a subscriber of their own) the span goes nowhere.
        let _ = span.set_parent(parent);
        Some(span)
    }
}

/// Asks within a span, which ends with the answer.
pub fn within<T: Outcome + 'static>(span: Option<Span>, ask: impl FnOnce() -> Answer<T>) -> Answer<T> {
    let Some(span) = span else { return ask() };
    match span.in_scope(ask) {
        Answer::Now(answer) => {
            record(&span, &answer);
            Answer::Now(answer)
        }
        Answer::Later(answer) => {
            let inner = span.clone();
            let told = async move {
                let answer = answer.await;
                record(&inner, &answer);
                answer
            };
            Answer::Later(Box::pin(told.instrument(span)))
        }
    }
}

fn record(span: &Span, answer: &impl Outcome) {
    let (result, reason) = answer.outcome();
    span.record("orthrus.result", result);
    if let Some(reason) = reason {
        span.record("orthrus.reason", reason.label());
        span.record("orthrus.reason_id", reason.id());
        if is_error(reason) {
            span.record("error.type", reason.id());
            span.record("otel.status_description", reason.id());
        }
    }
}

/// What an answer is called in a span: never what it holds.
pub trait Outcome {
    /// One word, and why if it is a bad one.
    fn outcome(&self) -> (&'static str, Option<Reason>);
}

impl Outcome for BeginAnswer {
    fn outcome(&self) -> (&'static str, Option<Reason>) {
        match self {
            Self::Approved(_) => ("approved", None),
            Self::Denied(reason) => ("denied", Some(*reason)),
            Self::Waiting { .. } => ("waiting", None),
            Self::CodeWanted(_) => ("code_wanted", None),
            Self::Unavailable(reason) => ("unavailable", Some(*reason)),
        }
    }
}

impl Outcome for PollAnswer {
    fn outcome(&self) -> (&'static str, Option<Reason>) {
        match self {
            Self::Approved => ("approved", None),
            Self::Denied(reason) => ("denied", Some(*reason)),
            Self::Waiting => ("waiting", None),
            Self::Unavailable(reason) => ("unavailable", Some(*reason)),
        }
    }
}

impl Outcome for CodeAnswer {
    fn outcome(&self) -> (&'static str, Option<Reason>) {
        match self {
            Self::Right(_) => ("right", None),
            Self::Wrong(reason) => ("wrong", Some(*reason)),
            Self::Ended(reason) => ("ended", Some(*reason)),
            Self::Unavailable(reason) => ("unavailable", Some(*reason)),
            Self::NotAsked(reason) => ("not_asked", Some(*reason)),
            Self::Unknown(reason) => ("unknown", Some(*reason)),
        }
    }
}

/// An exchange asks all its questions alike, and those to a second factor within a span.
impl Outcome for Input {
    fn outcome(&self) -> (&'static str, Option<Reason>) {
        match self {
            Self::Begun(answer) => answer.outcome(),
            Self::Code(answer) => answer.outcome(),
            _ => ("", None),
        }
    }
}
