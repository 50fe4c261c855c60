//! Traces: each attempt is one OpenTelemetry trace, sent to a collector by OTLP, where the configuration names one.
//!
//! ```text
//! sign-in                                                    one for each attempt
//! ├── packet              first factor, policy, enrolment, claim, begin, issue, reply
//! ├── prompt              begin, save, poll, poll, ..., commit
//! └── packet              take, code, commit, reply
//! ```
//!
//! An attempt takes several packets, minutes apart and perhaps at several nodes, and nothing of it stays in memory between them. So
//! no span lives as long as the attempt. What ties its spans together is derived: **the trace id is the attempt's id**, and the id of
//! the root span is the first half of it, made odd. Every node hangs what it does under that root, and whoever commits the outcome writes it.
//!
//! - **Steps are written when the packet is done** ([`packet`]), from the effects that the core asked for and the times at which they
//!   were answered. They cannot be live spans: a packet learns from the store which attempt it belongs to, so that its first steps
//!   have a trace only afterwards. The exchange's actor keeps them; without tracing it keeps nothing.
//! - **Questions to a second factor are live spans** of `tracing` ([`calls`]), carried by `tracing-opentelemetry`: the attempt is
//!   known by then, whatever a back end does beneath is their child, and [`trace_header`] hands their context on.
//! - **The root** is written by the packet or the prompt that commits the outcome, which the store lets happen once; by the packet,
//!   where the attempt never was in the store; by the reloader, where nobody answered a challenge. Packets may end after it: those that collect
//!   the outcome of a prompt do. An attempt has no root where its actor or its node died.
//!
//! Attributes follow the semantic conventions where those have a name; ours begin with `orthrus.`. No password, code, State or
//! session is within reach here (A6): what is read are names of steps, reasons, configured names, and the user's name as the log
//! has it. An error is what is a back end's or this node's fault; a wrong password is none.
//!
//! Spans go into a bounded queue, which a thread of its own empties ([`export`]).

pub mod calls;
mod client;
pub mod export;
pub mod packet;
pub mod prompt;
mod steps;

#[cfg(test)]
pub(crate) mod tests;

use anyhow::Context as _;
use export::Queue;
use gateway_core::attempt::record::AttemptId;
use gateway_core::config::Config;
use gateway_core::event::Event;
use gateway_core::reason::{Fault, Reason};
use gateway_core::time::Timestamp;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, Sampler, SdkTracerProvider, SpanData};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::registry::LookupSpan;

/// The target of spans that are traced. A back end that makes spans of its own gives them this target; all others stay out of
/// traces, those of the exporter's HTTP client among them.
pub const TARGET: &str = "orthrus::trace";

/// Names the attempt's trace to whoever is called on its behalf (W3C Trace Context), so that what they record hangs under the span
/// that is current; `None` where the attempt is not traced. To be called in the back end's method or in the future that it returns;
/// a task that is spawned has the span only if it is given it (`in_current_span`).
pub fn trace_header(id: AttemptId) -> Option<(&'static str, String)> {
    let current = tracing::Span::current().context();
    let span = current.span().span_context().clone();
    let ours = span.trace_id() == trace_id(id) && span.is_sampled();
    ours.then(|| ("traceparent", format!("00-{}-{}-01", span.trace_id(), span.span_id())))
}

/// The attempt's own id.
fn trace_id(id: AttemptId) -> TraceId {
    TraceId::from_bytes(id.0)
}

/// The id of the span that all others of the attempt hang under.
fn root_id(id: AttemptId) -> SpanId {
    // An id is random; zero would mean that there is no span.
    SpanId::from((u128::from_be_bytes(id.0) >> 64) as u64 | 1)
}

/// The part of the attempts that is traced, as OpenTelemetry's consistent sampling has it: the random number of an attempt is the
/// last 56 bits of its id, and those from a threshold on are traced.
#[derive(Clone, Copy, Debug)]
struct Sample {
    threshold: u64,
}

impl Sample {
    const BITS: u32 = 56;

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number between 0 and 2^56")]
    fn new(part: f64) -> Self {
        let all = (1_u64 << Self::BITS) as f64;
        Self { threshold: ((1.0 - part.clamp(0.0, 1.0)) * all) as u64 }
    }

    fn takes(self, id: AttemptId) -> bool {
        let [.., a, b, c, d, e, f, g] = id.0;
        u64::from_be_bytes([0, a, b, c, d, e, f, g]) >= self.threshold
    }
}

/// Writes spans. There is one for each process, where the configuration names a collector.
#[derive(Debug)]
pub struct Tracing {
    queue: Queue,
    provider: SdkTracerProvider,
    scope: InstrumentationScope,
    sample: Sample,
    ids: RandomIdGenerator,
}

/// A span that has ended.
struct Part {
    id: SpanId,
    /// `None`: it is the root.
    parent: Option<SpanId>,
    kind: SpanKind,
    name: &'static str,
    start: Timestamp,
    end: Timestamp,
    attributes: Vec<KeyValue>,
    reason: Option<Reason>,
}

impl Tracing {
    /// Starts the thread that sends spans, if the configuration names a collector. Not to be called within an async runtime.
    ///
    /// # Errors
    ///
    /// The client for the collector cannot be made.
    pub fn start(config: &Config) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(otlp) = &config.telemetry.otlp else { return Ok(None) };
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", "orthrus"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", config.cluster.node_id.to_string()),
        ]);
        let queue = Queue::to_collector(otlp, &resource.build()).context("telemetry.otlp_endpoint")?;
        Ok(Some(Arc::new(Self::new(queue, otlp.sample))))
    }

    fn new(queue: Queue, sample: f64) -> Self {
        // What is traced was decided before a span is made.
        let provider =
            SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_span_processor(queue.clone()).build();
        let scope = InstrumentationScope::builder("orthrus").with_version(env!("CARGO_PKG_VERSION")).build();
        Self { queue, provider, scope, sample: Sample::new(sample), ids: RandomIdGenerator::default() }
    }

    /// What takes the live spans out of `tracing`: those with our target and no others, and no log lines.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer_with_scope(self.scope.clone()))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_level(false)
            .with_filter(Targets::new().with_target(TARGET, LevelFilter::INFO))
    }

    /// Spans that were not sent so far, because the queue was full or the collector did not take them.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Sends what is left, and ends after `patience` at the latest.
    pub fn stop(&self, patience: Duration) {
        self.queue.stop(patience);
    }

    /// Nobody answered a challenge: the attempt has ended without a packet.
    pub fn unanswered(&self, event: &Event, names: bool, now: Timestamp) {
        // Of an approval that nobody collected the prompt has written the root.
        let Event::Unanswered { id, reason: reason @ Reason::ChallengeUnanswered, user, client, begun } = event else {
            return;
        };
        let mut attributes = vec![text("orthrus.client", client), text("orthrus.result", "unanswered")];
        attributes.extend(names.then(|| user_name(user)));
        self.write_root(*id, *begun, now, attributes, Some(*reason));
    }

    fn takes(&self, id: AttemptId) -> bool {
        self.sample.takes(id)
    }

    fn draw(&self) -> SpanId {
        self.ids.new_span_id()
    }

    /// The context of a span of the attempt.
    fn context(id: AttemptId, span: SpanId) -> SpanContext {
        SpanContext::new(trace_id(id), span, TraceFlags::SAMPLED, false, TraceState::NONE)
    }

    fn write_root(
        &self,
        id: AttemptId,
        start: Timestamp,
        end: Timestamp,
        mut attributes: Vec<KeyValue>,
        reason: Option<Reason>,
    ) {
        attributes.push(text("orthrus.attempt", &id.to_string()));
        let kind = SpanKind::Internal;
        let root = Part { id: root_id(id), parent: None, kind, name: "sign-in", start, end, attributes, reason };
        self.write(id, root);
    }

    fn write(&self, id: AttemptId, part: Part) {
        if !self.takes(id) {
            return;
        }
        let Part { id: span, parent, kind, name, start, end, mut attributes, reason } = part;
        let mut status = Status::Unset;
        if let Some(reason) = reason {
            attributes.push(KeyValue::new("orthrus.reason", reason.label()));
            attributes.push(KeyValue::new("orthrus.reason_id", reason.id()));
            if is_error(reason) {
                attributes.push(KeyValue::new("error.type", reason.id()));
                status = Status::error(reason.id());
            }
        }
        self.queue.put(SpanData {
            span_context: Self::context(id, span),
            parent_span_id: parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: false,
            span_kind: kind,
            name: name.into(),
            start_time: system_time(start),
            // A clock that was set back makes no span negative.
            end_time: system_time(end.max(start)),
            attributes,
            dropped_attributes_count: 0,
            events: opentelemetry_sdk::trace::SpanEvents::default(),
            links: opentelemetry_sdk::trace::SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        });
    }
}

/// Whether somebody who looks for faults of this system should find it.
fn is_error(reason: Reason) -> bool {
    matches!(reason.fault(), Fault::BackEnd | Fault::Node)
}

fn system_time(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(at.as_micros())
}

fn text(key: &'static str, value: &str) -> KeyValue {
    KeyValue::new(key, value.to_owned())
}

/// With control characters escaped, as in the log.
fn user_name(name: &str) -> KeyValue {
    KeyValue::new("user.name", name.escape_debug().to_string())
}
