//! What one packet did for its attempt. The exchange's actor shows its inputs and effects; everything is written at the end,
//! when the packet knows which attempt it belongs to.

use super::steps::{Steps, name};
use super::{Part, Tracing, text, user_name};
use crate::clock;
use gateway_core::attempt::record::{AttemptId, Purpose};
use gateway_core::attempt::transition::{Change, Outcome};
use gateway_core::event::{Ending, Event, Finished, Step};
use gateway_core::exchange::{Effect, Input, Question};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, SpanKind};
use std::sync::Arc;

/// The trail of one packet.
pub struct Packet {
    tracing: Arc<Tracing>,
    span: SpanId,
    /// The id that is its own to end: the one it was born with, unless it goes on with a round of a first factor.
    own: AttemptId,
    received: Timestamp,
    steps: Steps,
    /// Somebody else ends the attempt: the driver of its prompt.
    driven: bool,
    settling: bool,
    /// It committed the outcome.
    settled: bool,
}

impl Packet {
    /// For a packet that was received then.
    pub fn new(tracing: &Arc<Tracing>, own: AttemptId, received: Timestamp) -> Box<Self> {
        Box::new(Self {
            span: tracing.draw(),
            tracing: tracing.clone(),
            own,
            received,
            steps: Steps::default(),
            driven: false,
            settling: false,
            settled: false,
        })
    }

    /// To be shown before the core takes it.
    pub fn input(&mut self, input: &Input, now: Timestamp) {
        match input {
            Input::FirstFactor(_) | Input::Enrolment(_) | Input::Changed(_) => drop(self.steps.end(now)),
            Input::Applied(applied) => {
                // Between rounds of a first factor there is no attempt that somebody else could end.
                if let Ok(Outcome::Taken(taken)) = applied
                    && matches!(taken.purpose, Purpose::Round { .. })
                {
                    self.own = taken.id;
                }
                self.settled |= std::mem::take(&mut self.settling) && matches!(applied, Ok(Outcome::Done));
                self.steps.applied(applied, now);
            }
            // Questions to a second factor are live spans, and nobody asked for the others.
            Input::Begun(_) | Input::Code(_) | Input::Start | Input::News(_) | Input::Wake => {}
        }
    }

    /// To be shown before it is performed. `names`: the log names users.
    pub fn effect(&mut self, effect: &Effect, names: bool, now: Timestamp) {
        match effect {
            Effect::Ask(Question::FirstFactor(question)) => {
                let step = self.steps.begin("first factor", now);
                step.attributes.push(text("orthrus.first_factor", &question.factor));
            }
            Effect::Ask(Question::Enrolment { factor, .. }) => {
                self.steps.begin("enrolment", now).attributes.push(text("orthrus.second_factor", factor));
            }
            Effect::Apply(transition) => {
                self.settling = matches!(transition.change, Change::Settle { .. });
                self.steps.begin(name(&transition.change), now);
            }
            Effect::Leave(transition) => self.settled |= matches!(transition.change, Change::Settle { .. }),
            Effect::Drive(_) => {
                self.driven = true;
                self.steps.begin("wait", now);
            }
            Effect::Join { .. } => drop(self.steps.begin("wait", now)),
            Effect::Reply(_) => drop(self.steps.begin("reply", now)),
            Effect::Emit(event) => self.event(event, names, now),
            Effect::Ask(Question::Change(question)) => {
                self.steps
                    .begin("password change", now)
                    .attributes
                    .push(text("orthrus.first_factor", &question.factor));
            }
            Effect::Ask(Question::Begin(_) | Question::Code(_))
            | Effect::Answered { .. }
            | Effect::WakeAt(_)
            | Effect::Silence
            | Effect::Discard => {}
        }
    }

    /// The span of a question to a second factor; the others are steps.
    pub fn call(&self, question: &Question) -> Option<tracing::Span> {
        match question {
            Question::Begin(question) => self.tracing.call("begin", question.id, self.span, &question.factor),
            Question::Code(question) => self.tracing.call("code", question.id, self.span, &question.factor),
            Question::FirstFactor(_) | Question::Enrolment { .. } | Question::Change(_) => None,
        }
    }

    /// An input did not fit: the packet ends without a word.
    pub fn unexpected(&mut self, id: AttemptId, now: Timestamp) {
        self.write(id, vec![KeyValue::new("orthrus.result", "silence")], Some(Reason::Unexpected), now);
    }

    fn event(&mut self, event: &Event, names: bool, now: Timestamp) {
        match event {
            Event::Step { step: Step::FirstFactor { failure, .. }, .. } => {
                if let Some(step) = self.steps.last() {
                    step.reason = *failure;
                }
            }
            Event::Step { step: Step::Policy { policy, failure }, .. } => {
                let step = self.steps.begin("policy", now);
                step.attributes.extend(policy.as_deref().map(|policy| text("orthrus.policy", policy)));
                step.reason = *failure;
                self.steps.end(now);
            }
            Event::Finished(finished) => {
                let begun = now.before(finished.since_begun);
                // Sending the reply took a moment since then.
                self.finish(finished, begun, names, clock::now());
            }
            _ => {}
        }
    }

    fn finish(&mut self, finished: &Finished, begun: Timestamp, names: bool, now: Timestamp) {
        let told = [
            ("orthrus.first_factor", &finished.first_factor),
            ("orthrus.policy", &finished.policy),
            ("orthrus.second_factor", &finished.second_factor),
        ];
        let told = told.into_iter().filter_map(|(key, value)| Some(text(key, value.as_deref()?)));
        let mut attributes: Vec<KeyValue> = told.collect();
        attributes.push(text("orthrus.client", &finished.client));
        attributes.push(KeyValue::new("orthrus.result", finished.ending.label()));
        attributes.extend(names.then(|| user_name(&finished.user)));

        let handed_on = self.driven || finished.id != self.own || finished.ending == Ending::Challenge;
        if self.settled || !handed_on {
            self.tracing.write_root(finished.id, begun, now, attributes.clone(), finished.reason);
        }
        attributes.push(KeyValue::new("client.address", finished.source.ip().to_string()));
        attributes.push(KeyValue::new("client.port", i64::from(finished.source.port())));
        self.write(finished.id, attributes, finished.reason, now);
    }

    fn write(&mut self, id: AttemptId, attributes: Vec<KeyValue>, reason: Option<Reason>, now: Timestamp) {
        self.steps.write(&self.tracing, id, self.span, now);
        let (parent, kind, start) = (Some(super::root_id(id)), SpanKind::Server, self.received);
        self.tracing
            .write(id, Part { id: self.span, parent, kind, name: "packet", start, end: now, attributes, reason });
    }
}
