//! What one prompt did for its attempt: the counterpart of [`super::packet`] for its driver.

use super::steps::{Steps, name};
use super::{Part, Tracing, text, user_name};
use gateway_core::attempt::driver::{self, Effect, Input};
use gateway_core::attempt::record::Settled;
use gateway_core::attempt::transition::{Change, Outcome};
use gateway_core::event::{Event, Step};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, SpanKind};
use std::sync::Arc;

/// The trail of one prompt.
pub struct Prompt {
    tracing: Arc<Tracing>,
    span: SpanId,
    begun: Timestamp,
    steps: Steps,
    reason: Option<Reason>,
    settling: Option<Settled>,
    settled: Option<Settled>,
}

impl Prompt {
    /// For a prompt that begins.
    pub fn new(tracing: &Arc<Tracing>, now: Timestamp) -> Box<Self> {
        Box::new(Self {
            span: tracing.draw(),
            tracing: tracing.clone(),
            begun: now,
            steps: Steps::default(),
            reason: None,
            settling: None,
            settled: None,
        })
    }

    /// To be shown before the core takes it.
    pub fn input(&mut self, input: &Input, now: Timestamp) {
        if let Input::Applied(applied) = input {
            if let (Some(verdict), Ok(Outcome::Committed { .. })) = (self.settling.take(), applied) {
                self.settled = Some(verdict);
            }
            self.steps.applied(applied, now);
        }
    }

    /// To be shown before it is performed.
    pub fn effect(&mut self, effect: &Effect, now: Timestamp) {
        match effect {
            Effect::Apply(transition) => {
                if let Change::Settle { verdict, .. } = transition.change {
                    self.settling = Some(verdict);
                }
                self.steps.begin(name(&transition.change), now);
            }
            Effect::Emit(Event::Step { step: Step::Prompt { answer: Err(reason), .. }, .. }) => {
                self.reason = Some(*reason);
            }
            Effect::Begin(_)
            | Effect::Poll(_)
            | Effect::WakeAt(_)
            | Effect::Offer(_)
            | Effect::End
            | Effect::NotBegun(_)
            | Effect::Emit(_) => {}
        }
    }

    /// The span of a question to the second factor.
    pub fn call(&self, name: &'static str, prompt: &driver::Prompt) -> Option<tracing::Span> {
        self.tracing.call(name, prompt.id, self.span, &prompt.factor)
    }

    /// The driver has ended. `names`: the log names users.
    pub fn finish(mut self, prompt: &driver::Prompt, names: bool, now: Timestamp) {
        let id = prompt.id;
        let mut attributes = vec![text("orthrus.second_factor", &prompt.factor)];
        match self.settled {
            Some(Settled::Passed) => attributes.push(KeyValue::new("orthrus.result", "approved")),
            Some(Settled::Failed(reason)) => {
                attributes.push(KeyValue::new("orthrus.result", "reject"));
                self.reason = Some(reason);
            }
            None => {}
        }
        if self.settled.is_some() {
            let mut attributes = attributes.clone();
            attributes.push(text("orthrus.client", &prompt.key.group));
            attributes.extend(names.then(|| user_name(&prompt.user.given)));
            self.tracing.write_root(id, prompt.begun, now, attributes, self.reason);
        }
        self.steps.write(&self.tracing, id, self.span, now);
        let (parent, kind, start) = (Some(super::root_id(id)), SpanKind::Internal, self.begun);
        let (name, span, reason) = ("prompt", self.span, self.reason);
        self.tracing.write(id, Part { id: span, parent, kind, name, start, end: now, attributes, reason });
    }
}
