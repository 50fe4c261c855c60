//! A node whose clock is off, beside one whose clock is right.

use entra_cloud::{Cloud, Settings};
use gateway_core::radius::Code;
use tests::entra::{answer, password, setup, upn};
use tests::{Gateway, Redis, Setup, SoftToken, eventually};

/// Seconds.
const OFF: [i64; 2] = [30, -30];

fn checks(node: &Gateway, check: &str) -> bool {
    let (status, body) = node.get("/readyz");
    status == 503 && body.contains(check)
}

#[test]
fn faketime_a_clock_that_is_off_is_told_and_prompts_nobody_twice() {
    for off in OFF {
        let (cloud, redis) = (Cloud::start(Settings::default()), Redis::start());
        let make = |name| setup(&cloud, &["manual", "sms"]).of_entra("begin", "polled").sharing(&redis, name);
        let right = make("right").start();
        let wrong = Gateway::start_with_clock_off(make("wrong"), off);
        eventually("it is not ready, and says why", || checks(&wrong, "set this one by NTP").then_some(()));
        assert_eq!(right.get("/readyz").0, 200, "the other one is");
        let skew = |node: &Gateway| node.metrics().sum("orthrus_store_clock_skew_seconds", &[]);
        assert!((skew(&wrong) + f64::from(i32::try_from(off).unwrap())).abs() < 2.0, "{}", skew(&wrong));

        // A repeat joins, whichever clock the first packet met.
        let (mut first, mut second) = (wrong.nas(), right.nas());
        let (before, repeat) = (first.encode(&password("manual")), second.encode(&password("manual")));
        first.send(&before);
        eventually("the phone rings", || (cloud.prompts(&upn("manual")) == 1).then_some(()));
        second.send(&repeat);
        right.await_metrics("it joins", |metrics| {
            metrics.count("orthrus_mfa_prompts_suppressed_total", &[("why", "joined")]) == 1
        });
        cloud.person(&upn("manual")).approve();
        second.try_ask(&repeat).expect("it is answered").expect(Code::ACCESS_ACCEPT);
        assert_eq!(cloud.prompts(&upn("manual")), 1);

        // A challenge of one is answered at the other.
        let challenge = wrong.nas().ask(&password("sms")).expect(Code::ACCESS_CHALLENGE);
        let code = cloud.person(&upn("sms")).sms_code();
        right.nas().ask(&answer("sms", &code, &challenge)).expect(Code::ACCESS_ACCEPT);
    }
}

#[test]
fn faketime_a_code_serves_once_whatever_a_clock_says() {
    let redis = Redis::start();
    // The memory of codes has just begun: only a token that was enrolled since is good at once (A5).
    let enrolled = tests::token::now().as_secs() + 2;
    let token = SoftToken::totp("alice").enrolled(enrolled);
    let make = |name| Setup::new().user("alice", "wonderland").token(&token).sharing(&redis, name);
    let right = make("right").start();
    let wrong = Gateway::start_with_clock_off(make("wrong"), 30);
    eventually("that time has come", || (tests::token::now().as_secs() > enrolled).then_some(()));
    let code = token.code_now();
    right.nas().sign_in("alice", "wonderland", &code).expect(Code::ACCESS_ACCEPT);
    wrong.nas().sign_in("alice", "wonderland", &code).expect(Code::ACCESS_CHALLENGE);
    assert_eq!((wrong.metrics().ended("accept"), right.metrics().ended("accept")), (0, 1));
}
