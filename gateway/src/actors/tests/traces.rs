//! What an exchange and a driver leave in the traces.

use super::super::driver::Driver;
use super::*;
use crate::backends::SecondFactor;
use crate::telemetry::trace::tests::Recorded;
use crate::telemetry::trace::trace_header;
use cluster::Applied;
use gateway_core::attempt::driver::Prompt;
use gateway_core::attempt::record::{AttemptId, AttemptKey, Authorization, PacketDigest};
use gateway_core::attempt::transition::{Change, Outcome, Rules, Transition};
use gateway_core::event::Event;
use gateway_core::factor::{
    BeginAnswer, BeginQuestion, CodeAnswer, CodeQuestion, Enrolment, PollAnswer, PollQuestion, Terms,
};
use gateway_core::identity::{self, Identity};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::sync::Mutex;
use tracing_subscriber::prelude::*;

const ID: AttemptId = AttemptId([3; 16]);

/// A second factor that is asked by a push, denied at once; it keeps the header that a call to the cloud would have carried.
#[derive(Clone, Default)]
struct Cloud(Arc<Mutex<Option<(&'static str, String)>>>);

impl SecondFactor for Cloud {
    fn enrolment(&self, _: &Identity) -> Answer<Enrolment> {
        Answer::Now(Enrolment::Enrolled)
    }

    fn begin(&self, question: &BeginQuestion) -> Answer<BeginAnswer> {
        let (id, header) = (question.id, self.0.clone());
        Answer::Later(Box::pin(async move {
            actix_rt::task::yield_now().await;
            *header.lock().unwrap() = trace_header(id);
            BeginAnswer::Denied(Reason::PromptUnanswered)
        }))
    }

    fn poll(&self, _: &PollQuestion) -> Answer<PollAnswer> {
        Answer::Now(PollAnswer::Waiting)
    }

    fn check_code(&self, _: &CodeQuestion, _: Timestamp) -> Answer<CodeAnswer> {
        Answer::Now(CodeAnswer::Unavailable(Reason::SecondFactorUnavailable))
    }

    fn reload_if_changed(&self) -> Reload {
        Reload::Unchanged
    }
}

fn claimed(bench: &Bench, now: Timestamp) -> Prompt {
    let rules = Arc::new(Rules {
        deadline: Duration::from_secs(90),
        tries: 3,
        challenge_lifetime: Duration::from_secs(180),
        challenge_repeat: Duration::from_secs(30),
        repeat_window: Duration::ZERO,
        answer_repeats: false,
        wrong_codes: 10,
        wrong_codes_window: Duration::from_secs(900),
        ..Rules::default()
    });
    let key = AttemptKey { group: "vpn".into(), user: "alice".into(), station: None };
    let authorization =
        Authorization { first_factor: None, policy: "all".into(), reply: [].as_slice().into(), upn: "alice".into() };
    let change = Change::Claim {
        owner: bench.node.owner().clone(),
        id: ID,
        begun: now,
        factor: "push".into(),
        authorization,
        packet: PacketDigest([1; 16]),
        port: None,
        marks: Default::default(),
        prompts: true,
        codes: false,
    };
    let outcome = bench.node.store.apply(Transition { key: key.clone(), change, rules: rules.clone() }, now);
    let Applied::Now(Ok(Outcome::Claimed { epoch })) = outcome else { panic!("it can be claimed") };
    let user = identity::Rules::default().read(b"alice").unwrap();
    let deadline = now.after(rules.deadline);
    let terms = Terms::default();
    Prompt {
        key,
        epoch,
        rules,
        factor: "push".into(),
        user: Arc::new(user),
        id: ID,
        begun: now,
        terms,
        deadline,
        session: None,
    }
}

#[actix_rt::test]
async fn a_packet_writes_its_steps_under_the_root_of_its_attempt() {
    let recorded = Recorded::new();
    let bench = bench_with(Some(recorded.tracing.clone()), Backends::default());
    for (password, result, steps) in [
        ("later", "accept", ["first factor", "policy", "reply"].as_slice()),
        ("not the one", "reject", ["first factor", "reply"].as_slice()),
    ] {
        bench.ask(password, None).await;
        while bench.node.in_progress() > 0 {
            actix_rt::task::yield_now().await;
        }
        let spans = recorded.spans();
        let root = spans.iter().rfind(|span| span.name == "sign-in").unwrap();
        let id = AttemptId(root.span_context.trace_id().to_bytes());
        let mut expected = vec!["sign-in".to_owned(), "sign-in/packet".to_owned()];
        expected.extend(steps.iter().map(|step| format!("sign-in/packet/{step}")));
        assert_eq!(recorded.tree(id), expected);
        let of_it = spans.iter().filter(|span| span.span_context.trace_id() == root.span_context.trace_id());
        for span in of_it {
            assert!(root.start_time <= span.start_time && span.start_time <= span.end_time, "{span:?}");
            assert!(span.end_time <= root.end_time, "{span:?}");
            assert_eq!(span.status, opentelemetry::trace::Status::Unset, "{span:?}");
        }
        let text = format!("{spans:?}");
        assert!(text.contains(&format!("{result:?}")) && !text.contains(password), "{text}");
        let told = bench.node.events(id);
        assert!(matches!(told.as_slice(), [(_, Event::Finished(_))]), "the log tells of the same id: {told:?}");
    }
}

#[actix_rt::test]
async fn a_first_factor_of_two_rounds_is_one_trace() {
    let recorded = Recorded::new();
    let bench = bench_with(Some(recorded.tracing.clone()), Backends::default());
    let challenge = bench.ask("more", None).await;
    let state = read(&challenge).first(attribute::STATE).unwrap().to_vec();
    let spans = recorded.spans();
    assert!(spans.iter().all(|span| span.name != "sign-in"), "it has not ended");
    bench.ask("new one", Some(&state)).await;
    while bench.node.in_progress() > 0 {
        actix_rt::task::yield_now().await;
    }
    let id = AttemptId(spans[0].span_context.trace_id().to_bytes());
    assert_eq!(
        recorded.tree(id),
        [
            "sign-in",
            "sign-in/packet",
            "sign-in/packet",
            "sign-in/packet/first factor",
            "sign-in/packet/first factor",
            "sign-in/packet/issue",
            "sign-in/packet/policy",
            "sign-in/packet/reply",
            "sign-in/packet/reply",
            "sign-in/packet/take",
        ]
    );
}

#[actix_rt::test]
async fn a_prompt_writes_the_root_and_the_cloud_is_told_the_span_that_calls_it() {
    let recorded = Recorded::new();
    let subscriber = tracing_subscriber::registry().with(recorded.tracing.layer());
    let _subscribed = tracing::subscriber::set_default(subscriber);
    let (cloud, mut backends) = (Cloud::default(), Backends::default());
    backends.add_second("push".into(), Box::new(cloud.clone()));
    let bench = bench_with(Some(recorded.tracing.clone()), backends);
    let prompt = claimed(&bench, clock::now());
    let driver = Driver::new(Box::new(prompt), (bench.node.clone(), bench.node.active().clone())).start();
    while driver.connected() {
        actix_rt::task::yield_now().await;
    }
    let tree = recorded.tree(ID);
    assert_eq!(tree, ["sign-in", "sign-in/prompt", "sign-in/prompt/begin", "sign-in/prompt/commit"]);
    let spans = recorded.spans();
    let begin = spans.iter().find(|span| span.name == "begin").unwrap();
    let expected = format!("00-{}-{}-01", begin.span_context.trace_id(), begin.span_context.span_id());
    assert_eq!(*cloud.0.lock().unwrap(), Some(("traceparent", expected)));
}
