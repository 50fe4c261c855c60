//! One sign-in, one prompt: repeats join, another session is refused, an impatient NAS is asked to come back, and a late
//! approval serves nobody else.

use entra_cloud::{Cloud, Settings};
use gateway_core::radius::Code;
use std::time::{Duration, Instant};
use tests::client::Sent;
use tests::entra::{PASSWORD, accepted, answer, ask, lines, password, refused, setup, sign_in, upn};
use tests::{Client, Gateway, NAS, Request, eventually};

fn cloud() -> Cloud {
    Cloud::start(Settings::default())
}

/// Waits until the phone has rung.
fn await_prompt(cloud: &Cloud, user: &str) {
    eventually("the phone rings", || (cloud.prompts(&upn(user)) == 1).then_some(()));
}

/// A NAS whose packet has made the phone ring, and the packet.
fn ringing(cloud: &Cloud, gateway: &Gateway, user: &str) -> (Client, Sent) {
    let mut nas = gateway.nas();
    let sent = nas.encode(&password(user));
    nas.send(&sent);
    await_prompt(cloud, user);
    (nas, sent)
}

#[test]
fn a_repeat_joins_and_gets_the_outcome_in_place_of_the_packet_before() {
    for begin in ["held", "polled"] {
        let cloud = cloud();
        let gateway = setup(&cloud, &["manual"]).of_entra("begin", begin).start();
        let (mut first, mut second) = (gateway.nas(), gateway.nas());
        let before = first.encode(&password("manual"));
        first.send(&before);
        await_prompt(&cloud, "manual");
        let repeat = second.encode(&password("manual"));
        second.send(&repeat);
        gateway.await_metrics("it joins", |metrics| {
            metrics.count("orthrus_mfa_prompts_suppressed_total", &[("why", "joined")]) == 1
        });
        cloud.person(&upn("manual")).approve();
        let accept = second.await_reply(&repeat, Duration::from_secs(15)).expect("the newest packet is answered");
        accept.expect(Code::ACCESS_ACCEPT);
        // The packet before gets nothing, however often it comes.
        first.send(&before);
        gateway.await_metrics("it is discarded", |metrics| metrics.count("orthrus_radius_duplicates_total", &[]) >= 1);
        assert!(first.hears_nothing());
        assert_eq!((cloud.prompts(&upn("manual")), gateway.metrics().ended("accept")), (1, 1));
    }
}

#[test]
fn a_repeat_with_a_wrong_password_is_refused_and_rides_on_nothing() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["manual"]).start();
    let (mut nas, first) = ringing(&cloud, &gateway, "manual");
    let guess = Request::access("manual").password("a guess").station("station of manual");
    let (_, ended) = ask(&gateway, &mut gateway.nas(), "manual", &guess);
    assert_eq!(ended, refused("wrong_password"));
    cloud.person(&upn("manual")).approve();
    nas.await_reply(&first, Duration::from_secs(15)).expect("it waits").expect(Code::ACCESS_ACCEPT);
}

#[test]
fn one_prompt_per_user() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["manual"]).start();
    let (mut nas, first) = ringing(&cloud, &gateway, "manual");
    let elsewhere = Request::access("manual").password(PASSWORD).station("another device");
    let (_, ended) = ask(&gateway, &mut gateway.nas(), "manual", &elsewhere);
    assert_eq!(ended, refused("prompt_pending"));
    // Without a station nobody can tell: discarded, and counted.
    let mut blind = gateway.nas();
    let nowhere = blind.encode(&Request::access("manual").password(PASSWORD));
    blind.send(&nowhere);
    gateway.await_metrics("it is refused", |metrics| metrics.refused("prompt_pending") == 2);
    cloud.person(&upn("manual")).deny();
    nas.await_reply(&first, Duration::from_secs(15)).expect("it waits").expect(Code::ACCESS_REJECT);
    assert_eq!(cloud.prompts(&upn("manual")), 1);
}

#[test]
fn a_late_approval_serves_no_later_attempt() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["manual"]).set("attempts.deadline", "5s").start();
    assert_eq!(sign_in(&gateway, "manual"), refused("prompt_unanswered"));
    cloud.person(&upn("manual")).approve();
    cloud.forget_sessions();
    let mut nas = gateway.nas();
    let second = nas.encode(&password("manual"));
    nas.send(&second);
    eventually("the phone rings again", || (cloud.prompts(&upn("manual")) == 2).then_some(()));
    assert!(nas.hears_nothing(), "the approval of before is not this attempt's");
    cloud.person(&upn("manual")).deny();
    nas.await_reply(&second, Duration::from_secs(15)).expect("it waits").expect(Code::ACCESS_REJECT);
}

#[test]
fn a_push_that_takes_70_seconds_is_rescued_from_a_nas_that_gives_up_after_30() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["manual"]).of_client(NAS, "answer_within", "25s").start();
    let mut nas = gateway.nas().patience(Duration::from_secs(30));
    let begun = Instant::now();
    let (challenge, _) = ask(&gateway, &mut nas, "manual", &password("manual"));
    let first = challenge.expect(Code::ACCESS_CHALLENGE);
    assert!((24..29).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(first.message(), "Approve the sign-in on your phone, then press Enter:");
    // Enter at once, and again.
    let (challenge, _) = ask(&gateway, &mut nas, "manual", &answer("manual", "", &first));
    let second = challenge.expect(Code::ACCESS_CHALLENGE);
    assert_ne!(first.state(), second.state());
    let (_, stale) = ask(&gateway, &mut nas, "manual", &answer("manual", "", &first));
    assert_eq!(stale, refused("state_spent"), "each round burns the State before");
    let back = nas.encode(&answer("manual", "", &second));
    nas.send(&back);
    tests::wait::pass(Duration::from_secs(70).saturating_sub(begun.elapsed()));
    cloud.person(&upn("manual")).approve();
    let accept = nas.await_reply(&back, Duration::from_secs(15)).expect("it waits").expect(Code::ACCESS_ACCEPT);
    assert_eq!(accept.attributes(), tests::setup::REPLY);
    assert_eq!(cloud.prompts(&upn("manual")), 1);
    let line = eventually("the accept is logged", || {
        lines(&gateway, "manual").pop().filter(|line| line["result"] == "accept")
    });
    assert!(line["since_begun"].as_f64().unwrap() >= 70.0, "{line}");
}

#[test]
fn an_approval_after_the_nas_gave_up_is_collected_by_enter_or_by_a_repeat_once() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["manual1", "manual2"])
        .client("mute", &["127.0.0.9"], "another-secret-of-some-33-characters")
        .of_client(NAS, "answer_within", "2s")
        .of_client("mute", "answer_within", "2s")
        .of_client("mute", "challenge", false)
        .start();
    let mut nas = gateway.nas();
    let (challenge, _) = ask(&gateway, &mut nas, "manual1", &password("manual1"));
    cloud.person(&upn("manual1")).approve();
    gateway.await_metrics("the approval is seen", |metrics| {
        metrics.count("orthrus_mfa_requests_total", &[("method", "prompt"), ("result", "approved")]) == 1
    });
    let (accept, ended) = ask(&gateway, &mut nas, "manual1", &answer("manual1", "", &challenge));
    assert_eq!((accept.attributes(), ended), (tests::setup::REPLY.map(str::to_owned).to_vec(), accepted()));

    // A NAS that cannot show the question hears nothing; its repeat collects.
    let mut mute = Client::at([127, 0, 0, 9].into(), gateway.address(), "another-secret-of-some-33-characters");
    let first = mute.encode(&password("manual2"));
    mute.send(&first);
    gateway.await_metrics("its patience ends", |metrics| metrics.refused("nas_patience_over") == 1);
    cloud.person(&upn("manual2")).approve();
    gateway.await_metrics("the approval is seen", |metrics| {
        metrics.count("orthrus_mfa_requests_total", &[("method", "prompt"), ("result", "approved")]) == 2
    });
    mute.ask(&password("manual2")).expect(Code::ACCESS_ACCEPT);
    assert_eq!((cloud.prompts(&upn("manual1")), cloud.prompts(&upn("manual2"))), (1, 1));
}

#[test]
fn how_long_a_nas_waits_is_learned_and_shown() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["manual"]).start();
    let (mut nas, first) = ringing(&cloud, &gateway, "manual");
    tests::wait::pass(Duration::from_secs(2));
    nas.send(&first);
    tests::wait::pass(Duration::from_secs(1));
    let second = nas.encode(&password("manual"));
    nas.send(&second);
    let metrics = gateway.await_metrics("it is told", |metrics| metrics.sum("orthrus_nas_gives_up_seconds", &[]) > 0.0);
    let (interval, patience) =
        (metrics.sum("orthrus_nas_retransmission_seconds", &[]), metrics.sum("orthrus_nas_gives_up_seconds", &[]));
    assert!((1.5..3.0).contains(&interval) && (2.5..5.0).contains(&patience), "{interval} {patience}");
    cloud.person(&upn("manual")).approve();
    nas.await_reply(&second, Duration::from_secs(15)).expect("it waits").expect(Code::ACCESS_ACCEPT);
}

#[test]
fn a_reload_disturbs_no_prompt() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["manual"]).start();
    let (mut nas, sent) = ringing(&cloud, &gateway, "manual");
    gateway.edit_config(|text| text.replace("Session-Timeout = \"3600\"", "Session-Timeout = \"60\""));
    gateway.reload().unwrap();
    cloud.person(&upn("manual")).approve();
    let accept = nas.await_reply(&sent, Duration::from_secs(15)).expect("it waits").expect(Code::ACCESS_ACCEPT);
    assert_eq!(accept.attributes(), tests::setup::REPLY, "an attempt keeps what it began with");
    assert_eq!(cloud.prompts(&upn("manual")), 1);
}

#[test]
fn a_node_that_is_told_to_end_waits_for_the_user() {
    let cloud = cloud();
    let mut gateway = setup(&cloud, &["manual"]).start();
    let (mut nas, sent) = ringing(&cloud, &gateway, "manual");
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| gateway.stop());
        // Nobody new is let in meanwhile.
        tests::wait::pass(Duration::from_secs(1));
        let mut late = Client::new(nas.server(), tests::SECRET);
        let refused = late.encode(&password("manual"));
        late.send(&refused);
        assert!(late.hears_nothing());
        cloud.person(&upn("manual")).approve();
        nas.await_reply(&sent, Duration::from_secs(15)).expect("it waits").expect(Code::ACCESS_ACCEPT);
        assert!(ended.join().unwrap().success());
    });
}

#[test]
fn a_node_that_is_killed_takes_its_prompt_with_it_and_the_next_sign_in_is_a_new_one() {
    let cloud = cloud();
    let mut gateway = setup(&cloud, &["manual"]).start();
    let (mut nas, sent) = ringing(&cloud, &gateway, "manual");
    gateway.kill();
    gateway.start_again();
    cloud.person(&upn("manual")).approve();
    cloud.forget_sessions();
    nas.send(&sent);
    eventually("the phone rings again", || (cloud.prompts(&upn("manual")) == 2).then_some(()));
    assert!(nas.hears_nothing(), "the approval of before counts for nothing");
    cloud.person(&upn("manual")).approve();
    nas.await_reply(&sent, Duration::from_secs(15)).expect("it waits").expect(Code::ACCESS_ACCEPT);
}

#[test]
fn no_more_prompts_than_the_node_may_have() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["manual1", "manual2"]).set("limits.pending_prompts", 1).start();
    let (mut nas, first) = ringing(&cloud, &gateway, "manual1");
    assert_eq!(sign_in(&gateway, "manual2"), refused("prompts_full"));
    let hits = [("limit", "pending_prompts")];
    assert_eq!(gateway.metrics().count("orthrus_limit_hits_total", &hits), 1);
    assert_eq!(cloud.prompts(&upn("manual2")), 0);
    cloud.person(&upn("manual1")).approve();
    nas.await_reply(&first, Duration::from_secs(15)).expect("it waits").expect(Code::ACCESS_ACCEPT);
}
