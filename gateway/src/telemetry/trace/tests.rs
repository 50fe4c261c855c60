use super::*;
use crate::backends::Answer;
use gateway_core::factor::{CodeAnswer, PollAnswer};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanExporter, SpanProcessor};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use tracing_subscriber::prelude::*;

const ID: AttemptId = AttemptId([0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

/// Keeps what it is told to export.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Recorder {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

/// Traces that a test can look at.
pub(crate) struct Recorded {
    pub(crate) tracing: Arc<Tracing>,
    recorder: Recorder,
}

impl Recorded {
    pub(crate) fn new() -> Self {
        let recorder = Recorder::default();
        Self { tracing: Arc::new(Tracing::new(Queue::new(recorder.clone(), 1000), 1.0)), recorder }
    }

    /// What was written so far.
    pub(crate) fn spans(&self) -> Vec<SpanData> {
        self.tracing.queue.force_flush().unwrap();
        self.recorder.0.lock().unwrap().clone()
    }

    /// As a tree: each span behind the names of its parents, sorted; a fault where the parent of one is not there.
    pub(crate) fn tree(&self, id: AttemptId) -> Vec<String> {
        let mut spans = self.spans();
        spans.retain(|span| span.span_context.trace_id() == trace_id(id));
        let mut tree: Vec<String> = spans.iter().map(|span| path(&spans, span)).collect();
        tree.sort();
        tree
    }
}

fn path(spans: &[SpanData], span: &SpanData) -> String {
    if span.parent_span_id == SpanId::INVALID {
        assert_eq!(span.name, "sign-in");
        return span.name.to_string();
    }
    let parent = spans.iter().find(|other| other.span_context.span_id() == span.parent_span_id);
    let parent = parent.unwrap_or_else(|| panic!("{span:?} has no parent"));
    format!("{}/{}", path(spans, parent), span.name)
}

fn attribute<'a>(span: &'a SpanData, key: &str) -> Option<std::borrow::Cow<'a, str>> {
    span.attributes.iter().find(|attribute| attribute.key.as_str() == key).map(|attribute| attribute.value.as_str())
}

#[test]
fn a_trace_is_named_by_its_attempt() {
    assert_eq!(trace_id(ID).to_string(), ID.to_string().replace('-', ""));
    assert_eq!(root_id(ID).to_string(), "a001020304050607");
    assert_ne!(root_id(AttemptId([0; 16])), SpanId::INVALID);
}

#[test]
fn every_node_traces_the_same_part() {
    let ids = (0..10_000_u32).map(|n| {
        let [.., a, b, c] = (n.wrapping_mul(2_654_435_761)).to_be_bytes();
        AttemptId([0, 0, 0, 0, 0, 0, 0, 0, 0xff, a, b, c, 0, 0, 0, 0])
    });
    let taken = |part: f64| ids.clone().filter(|id| Sample::new(part).takes(*id)).count();
    assert_eq!(taken(1.0), 10_000);
    assert!((2_300..2_700).contains(&taken(0.25)), "{}", taken(0.25));
    assert!(taken(f64::MIN_POSITIVE) <= 1);
    let (few, many) = (Sample::new(0.1), Sample::new(0.2));
    assert!(ids.clone().all(|id| many.takes(id) || !few.takes(id)), "a larger part holds the smaller one");
}

#[test]
fn a_header_names_the_span_that_calls() {
    let recorded = Recorded::new();
    assert_eq!(trace_header(ID), None);

    let subscriber = tracing_subscriber::registry().with(recorded.tracing.layer());
    let called = tracing::subscriber::with_default(subscriber, || {
        let parent = recorded.tracing.draw();
        let span = recorded.tracing.call("poll", ID, parent, "cloud");
        let mut called = None;
        let answer = calls::within(span, || {
            called = trace_header(ID);
            // Another attempt is none of this span's business.
            assert_eq!(trace_header(AttemptId([7; 16])), None);
            Answer::Now(PollAnswer::Unavailable(Reason::SecondFactorUnavailable))
        });
        assert!(matches!(answer, Answer::Now(PollAnswer::Unavailable(_))));
        recorded.tracing.write_root(ID, Timestamp::default(), Timestamp::default(), Vec::new(), None);
        (called, parent)
    });
    let spans = recorded.spans();
    let span = spans.iter().find(|span| span.name == "poll").unwrap();
    let expected = format!("00-a00102030405060708090a0b0c0d0e0f-{}-01", span.span_context.span_id());
    assert_eq!(called.0, Some(("traceparent", expected)));
    assert_eq!(span.parent_span_id, called.1);
    assert_eq!(span.status, Status::error(Reason::SecondFactorUnavailable.id()));
    assert_eq!(attribute(span, "orthrus.result").as_deref(), Some("unavailable"));
}

#[test]
fn what_is_not_traced_makes_no_span() {
    let recorder = Recorder::default();
    let tracing = Tracing::new(Queue::new(recorder.clone(), 10), f64::MIN_POSITIVE);
    assert!(tracing.call("code", ID, tracing.draw(), "code").is_none());
    tracing.write_root(ID, Timestamp::default(), Timestamp::default(), Vec::new(), None);
    tracing.queue.force_flush().unwrap();
    assert_eq!(recorder.0.lock().unwrap().len(), 0);
}

#[test]
fn a_wrong_code_is_no_error_of_the_system() {
    let recorded = Recorded::new();
    let subscriber = tracing_subscriber::registry().with(recorded.tracing.layer());
    tracing::subscriber::with_default(subscriber, || {
        let span = recorded.tracing.call("code", ID, root_id(ID), "code");
        drop(calls::within(span, || Answer::Now(CodeAnswer::Wrong(Reason::WrongCode))));
    });
    let [span] = recorded.spans().try_into().unwrap();
    assert_eq!(
        (span.status.clone(), attribute(&span, "orthrus.reason").as_deref()),
        (Status::Unset, Some("wrong_code"))
    );
    assert_eq!(attribute(&span, "error.type"), None);
}

#[test]
fn an_attempt_that_nobody_answered_has_its_root() {
    let recorded = Recorded::new();
    let unanswered = |reason| {
        let (user, client) = ("al\u{1b}ice".into(), "vpn".into());
        let event = Event::Unanswered { id: ID, reason, user, client, begun: Timestamp::from_secs(5) };
        recorded.tracing.unanswered(&event, true, Timestamp::from_secs(9));
    };
    unanswered(Reason::ApprovalUncollected);
    assert_eq!(recorded.spans().len(), 0, "the prompt has written it");
    unanswered(Reason::ChallengeUnanswered);
    let [root] = recorded.spans().try_into().unwrap();
    assert_eq!((root.name.as_ref(), root.parent_span_id), ("sign-in", SpanId::INVALID));
    assert_eq!(root.end_time.duration_since(root.start_time).unwrap(), Duration::from_secs(4));
    assert_eq!(attribute(&root, "user.name").as_deref(), Some("al\\u{1b}ice"));
}

/// Takes a batch, and holds on to it until it is let go; then it fails.
#[derive(Clone, Debug, Default)]
struct Stuck {
    has: Arc<AtomicBool>,
    let_go: Arc<(Mutex<bool>, Condvar)>,
}

impl SpanExporter for Stuck {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        self.has.store(true, Ordering::SeqCst);
        let (go, changed) = &*self.let_go;
        drop(changed.wait_while(go.lock().unwrap(), |go| !*go).unwrap());
        Err(OTelSdkError::InternalFailure("as told".into()))
    }
}

#[test]
fn a_collector_that_hangs_holds_up_nobody_and_what_is_lost_is_counted() {
    let stuck = Stuck::default();
    let tracing = Tracing::new(Queue::new(stuck.clone(), 4), 1.0);
    let write = || tracing.write_root(ID, Timestamp::default(), Timestamp::default(), Vec::new(), None);
    (0..4).for_each(|_| write());
    // A batch is full, so that the thread has taken it or is about to.
    while !stuck.has.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    (0..7).for_each(|_| write());
    assert_eq!(tracing.dropped(), 3, "four wait, the others found no place");
    tracing.stop(Duration::ZERO);
    *stuck.let_go.0.lock().unwrap() = true;
    stuck.let_go.1.notify_all();
    while tracing.dropped() < 11 {
        std::thread::yield_now();
    }
}
