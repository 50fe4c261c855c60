//! A cloud that is late, broken or hostile: never an accept, never a second prompt, and a reason that says what to do.

use entra_cloud::{Cloud, Fault, Operation, Settings, Times};
use std::time::Duration;
use tests::entra::{Ended, accepted, refused, setup, sign_in, sign_in_with, upn};
use tests::{Gateway, Setup};

fn cloud() -> Cloud {
    Cloud::start(Settings::default())
}

/// Time limits that a test can wait for.
fn quick(setup: Setup) -> Setup {
    setup.of_entra("request_timeout", "2s").of_entra("connect_timeout", "2s").set("attempts.deadline", "6s")
}

fn start(cloud: &Cloud) -> Gateway {
    quick(setup(cloud, &["approve", "totp"])).of_entra("breaker_failures", 0).start()
}

/// One fault of Begin: how the sign-in ends, how often the phone rang, and that the next sign-in is well.
fn begin_fault(fault: Fault, times: Times, ended: Ended, prompts: u64) {
    let cloud = cloud();
    let gateway = start(&cloud);
    let name = format!("{fault:?}");
    cloud.fault(Operation::Begin, fault, times);
    assert_eq!(sign_in(&gateway, "approve"), ended, "{name}");
    assert_eq!(cloud.prompts(&upn("approve")), prompts, "{name}: prompts");
    cloud.clear_faults();
    cloud.forget_sessions();
    assert_eq!(sign_in(&gateway, "approve"), accepted(), "{name}: and then all is well");
}

#[test]
fn what_was_refused_before_any_work_is_asked_again() {
    let busy = |status, after| Fault::Status { status, retry_after: after, html: false };
    begin_fault(busy(429, Some(Duration::from_secs(1))), Times::Next(1), accepted(), 1);
    begin_fault(busy(503, None), Times::Next(2), accepted(), 1);
    begin_fault(busy(503, None), Times::Always, refused("provider_overloaded"), 0);
}

#[test]
fn patience_is_kept_for_the_user() {
    let cloud = cloud();
    let gateway = start(&cloud);
    let busy = Fault::Status { status: 429, retry_after: Some(Duration::from_secs(20)), html: false };
    cloud.fault(Operation::Begin, busy, Times::Next(1));
    // Longer than the attempt has time.
    assert_eq!(sign_in(&gateway, "approve"), refused("provider_overloaded"));
    assert_eq!(sign_in(&gateway, "approve"), refused("provider_overloaded"));
    assert_eq!(cloud.requests(Operation::Begin), 1, "nobody asks before the time");
    tests::eventually("then all is well", || (sign_in(&gateway, "approve") == accepted()).then_some(()));
}

#[test]
fn code_that_cannot_be_judged_is_refused() {
    for (fault, reason) in [
        (Fault::CloseAfterReading, "outcome_unknown"),
        (Fault::CloseBeforeReading, "outcome_unknown"),
        (Fault::Status { status: 500, retry_after: None, html: true }, "outcome_unknown"),
        (Fault::Html, "outcome_unknown"),
        (Fault::Redirect, "outcome_unknown"),
        (Fault::Status { status: 429, retry_after: Some(Duration::from_secs(60)), html: false }, "provider_overloaded"),
    ] {
        let cloud = cloud();
        let gateway = start(&cloud);
        let name = format!("{fault:?}");
        cloud.fault(Operation::End, fault, Times::Always);
        let mut nas = gateway.nas();
        let challenge = nas.ask(&tests::entra::password("totp"));
        let code = nas.encode(&tests::entra::answer("totp", "12345678", &challenge));
        nas.send(&code);
        nas.await_reply(&code, Duration::from_secs(20)).expect(&name).expect(gateway_core::radius::Code::ACCESS_REJECT);
        assert_eq!(gateway.await_sign_in_lines(1)[0]["reason"], reason, "{name}");
        assert_eq!(cloud.requests(Operation::End), 1, "{name}: a code is sent once");
        // The NAS repeats the packet, and then somebody the code.
        nas.send(&code);
        nas.await_reply(&code, Duration::from_secs(20))
            .expect("the same")
            .expect(gateway_core::radius::Code::ACCESS_REJECT);
        let again = nas.ask(&tests::entra::answer("totp", "12345678", &challenge));
        again.expect(gateway_core::radius::Code::ACCESS_REJECT);
        assert_eq!(cloud.requests(Operation::End), 1, "{name}: and never again");
    }
}

#[test]
fn a_connection_that_is_cut_before_the_request_was_read() {
    let cloud = cloud();
    let gateway = start(&cloud);
    cloud.fault(Operation::Begin, Fault::CloseBeforeReading, Times::Next(1));
    // Whoever sent it cannot know that nobody read it: a refusal, and no second try.
    assert_eq!(sign_in(&gateway, "approve"), refused("outcome_unknown"));
    assert_eq!((cloud.prompts(&upn("approve")), cloud.requests(Operation::Begin)), (0, 1));
}

#[test]
fn a_cloud_that_takes_no_connection_prompted_nobody() {
    let cloud = cloud();
    let gateway = start(&cloud);
    cloud.refuse_connections(true);
    assert_eq!(sign_in(&gateway, "approve"), refused("provider_unreachable"));
    assert_eq!(cloud.total_prompts(), 0);
    cloud.refuse_connections(false);
    tests::eventually("it is reached again", || (sign_in(&gateway, "approve") == accepted()).then_some(()));
    assert_eq!(cloud.total_prompts(), 1);
}

#[test]
fn an_outcome_that_is_unknown_is_a_refusal_and_never_asked_again() {
    for status in [500, 502, 504, 400, 404] {
        let fault = Fault::Status { status, retry_after: None, html: true };
        begin_fault(fault, Times::Always, refused("outcome_unknown"), 0);
    }
    begin_fault(Fault::CloseAfterReading, Times::Next(1), refused("outcome_unknown"), 1);
    begin_fault(Fault::Hang(None), Times::Next(1), refused("prompt_unanswered"), 1);
}

#[test]
fn an_answer_that_is_no_answer_is_a_refusal() {
    for (fault, reason) in [
        (Fault::Html, "outcome_unknown"),
        (Fault::Malformed, "outcome_unknown"),
        (Fault::Dtd, "outcome_unknown"),
        (Fault::WrongRoot, "outcome_unknown"),
        (Fault::Nested, "outcome_unknown"),
        (Fault::Duplicates, "outcome_unknown"),
        (Fault::Oversized(1 << 30), "outcome_unknown"),
        (Fault::Redirect, "outcome_unknown"),
        (Fault::UnknownValue, "result_unknown"),
        (Fault::SuccessWithout(Some("false")), "result_contradicts"),
        (Fault::SuccessWithout(None), "result_contradicts"),
        (Fault::TrueWithout("PhoneAppDenied"), "prompt_denied"),
        (Fault::OtherUser, "answer_for_other_user"),
    ] {
        begin_fault(fault, Times::Next(1), refused(reason), 1);
    }
}

#[test]
fn the_token_never_leaves_for_another_host() {
    let cloud = cloud();
    let gateway = quick(setup(&cloud, &["totp"])).of_entra("follow_affinity_url", "on_invalid_session").start();
    cloud.fault(Operation::Begin, Fault::HostileAffinity, Times::Always);
    cloud.person(&upn("totp")).force(None);
    assert_eq!(sign_in_with(&gateway, "totp", || "12345678".into()), refused("wrong_code"));
    assert_eq!(cloud.elsewhere(), 0, "nobody asked the other host");
    // A redirection is no answer.
    cloud.fault(Operation::End, Fault::Redirect, Times::Always);
    let mut nas = gateway.nas();
    let challenge = nas.ask(&tests::entra::password("totp"));
    let code = nas.encode(&tests::entra::answer("totp", "12345678", &challenge));
    nas.send(&code);
    gateway.await_metrics("it is refused", |metrics| metrics.ended("reject") == 2);
    assert_eq!(cloud.elsewhere(), 0);
}

#[test]
fn faults_of_a_poll_cost_no_sign_in() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["manual"]).of_entra("begin", "polled").of_entra("request_timeout", "2s").start();
    let mut nas = gateway.nas().patience(Duration::from_secs(60));
    let sent = nas.encode(&tests::entra::password("manual"));
    nas.send(&sent);
    tests::eventually("the phone rings", || (cloud.prompts(&upn("manual")) == 1).then_some(()));
    for fault in
        [Fault::Status { status: 500, retry_after: None, html: true }, Fault::Malformed, Fault::CloseBeforeReading]
    {
        let before = cloud.requests(Operation::End);
        cloud.fault(Operation::End, fault, Times::Next(1));
        tests::eventually("a poll meets it", || (cloud.requests(Operation::End) > before).then_some(()));
    }
    cloud.clear_faults();
    cloud.person(&upn("manual")).approve();
    let accept = nas.await_reply(&sent, Duration::from_secs(20)).expect("it waits");
    accept.expect(gateway_core::radius::Code::ACCESS_ACCEPT);
    assert_eq!(cloud.prompts(&upn("manual")), 1);
}

#[test]
fn a_dead_cloud_is_left_alone_for_a_while_and_then_tried_again() {
    let cloud = cloud();
    let gateway =
        quick(setup(&cloud, &["approve"])).of_entra("breaker_failures", 2).of_entra("breaker_pause", "2s").start();
    cloud.fault(Operation::Begin, Fault::Status { status: 500, retry_after: None, html: true }, Times::Always);
    for _ in 0..2 {
        assert_eq!(sign_in(&gateway, "approve"), refused("outcome_unknown"));
    }
    let asked = cloud.requests(Operation::Begin);
    assert_eq!(sign_in(&gateway, "approve"), refused("breaker_open"));
    assert_eq!(cloud.requests(Operation::Begin), asked, "it is not asked");
    cloud.clear_faults();
    tests::eventually("it is tried again", || (sign_in(&gateway, "approve") == accepted()).then_some(()));
}
