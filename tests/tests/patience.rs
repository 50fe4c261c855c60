//! Nobody gets in by patience: guesses at once, prompts again and again, and packets that ride on an approval.

use entra_cloud::{Cloud, Operation, Settings};
use gateway_core::radius::{Code, attribute};
use std::time::Duration;
use tests::entra::{PASSWORD, password, setup, upn};
use tests::{Gateway, Redis, Request, Setup, SoftToken, eventually};

/// Stations from which one user asks for a challenge: as many as may be open.
const STATIONS: usize = 24;
/// Answers to each challenge.
const ANSWERS: usize = 42;

/// Each challenge of `user` is answered again and again, everything at once, at all nodes; how many codes were judged.
fn volley(nodes: &[&Gateway], user: &str, wrong: &str) -> u64 {
    let station = |at: usize| format!("station {at}");
    let mut asking = nodes[0].nas();
    let challenges: Vec<_> = (0..STATIONS)
        .map(|at| asking.ask(&Request::access(user).password(PASSWORD).station(&station(at))))
        .map(|reply| reply.expect(Code::ACCESS_CHALLENGE))
        .collect();
    let mut sent = 0_u64;
    let mut nases = Vec::new();
    for _ in 0..ANSWERS {
        for (at, challenge) in challenges.iter().enumerate() {
            let node = nodes[usize::try_from(sent).expect("few") % nodes.len()];
            // A socket each, so that no identifier comes twice.
            let mut nas = node.nas();
            let answer = nas.encode(&Request::access(user).password(wrong).station(&station(at)).state(challenge));
            nas.send(&answer);
            nases.push(nas);
            sent += 1;
        }
    }
    let ended = |node: &Gateway| node.metrics().count("orthrus_sign_ins_total", &[]);
    let first = u64::try_from(STATIONS).expect("few");
    eventually("all have ended", || (nodes.iter().map(|node| ended(node)).sum::<u64>() >= sent + first).then_some(()));
    let judged = |node: &Gateway| {
        let all = node.metrics().count("orthrus_mfa_requests_total", &[("method", "code")]);
        all - node.metrics().count("orthrus_mfa_requests_total", &[("method", "code"), ("result", "challenge")])
    };
    nodes.iter().map(|node| judged(node)).sum()
}

fn wide(setup: Setup) -> Setup {
    setup.set("limits.attempts_per_user", 24)
}

#[test]
fn answers_at_once_are_judged_to_the_limit() {
    let token = SoftToken::totp("alice");
    let gateway = wide(Setup::new().user("alice", PASSWORD).token(&token)).start();
    assert_eq!(volley(&[&gateway], "alice", "000000"), 10);
}

#[test]
fn redis_answers_at_three_nodes_are_judged_to_the_limit() {
    let (token, redis) = (SoftToken::totp("alice"), Redis::start());
    let start = |node: &str| wide(Setup::new().user("alice", PASSWORD).token(&token)).sharing(&redis, node).start();
    let (a, b, c) = (start("a"), start("b"), start("c"));
    assert_eq!(volley(&[&a, &b, &c], "alice", "000000"), 10);
}

#[test]
fn redis_cloud_judges_answers_at_once_to_the_limit() {
    let (cloud, redis) = (Cloud::start(Settings::default()), Redis::start());
    let start = |node: &str| wide(setup(&cloud, &["totp"])).sharing(&redis, node).start();
    let (a, b, c) = (start("a"), start("b"), start("c"));
    assert_eq!(volley(&[&a, &b, &c], "totp", "000000"), 10);
    assert_eq!(cloud.requests(Operation::End), 10);
}

#[test]
fn one_user_fills_no_record() {
    let redis = Redis::start();
    let gateway = Setup::new().user("alice", PASSWORD).token(&SoftToken::totp("alice")).sharing(&redis, "a").start();
    // The memory of codes has just begun: only a token that was enrolled since can be used at once.
    let enrolled = tests::token::now().as_secs() + 1;
    eventually("that time has come", || (tests::token::now().as_secs() > enrolled).then_some(()));
    let token = SoftToken::totp("alice").enrolled(enrolled);
    gateway.write("tokens", &token.entry());
    eventually("the tokens are read again", || gateway.log().contains("was read again").then_some(()));
    let mut nas = gateway.nas();
    let ask = |at: usize| Request::access("alice").password(PASSWORD).station(&format!("station {at}"));
    let first = nas.ask(&ask(0)).expect(Code::ACCESS_CHALLENGE);
    for at in 1..700 {
        nas.ask(&ask(at)).expect(Code::ACCESS_CHALLENGE);
    }
    nas.ask(&Request::access("alice").password(&token.code_now()).station("station 0").state(&first))
        .expect(Code::ACCESS_REJECT);
    let last = nas.ask(&ask(0)).expect(Code::ACCESS_CHALLENGE);
    nas.ask(&Request::access("alice").password(&token.code_now()).station("station 0").state(&last))
        .expect(Code::ACCESS_ACCEPT);
}

#[test]
fn a_denial_withholds_prompts_from_every_station() {
    let cloud = Cloud::start(Settings::default());
    let gateway = setup(&cloud, &["deny"]).set("attempts.prompt_pauses", vec!["1m".to_owned()]).start();
    let mut nas = gateway.nas();
    nas.ask(&password("deny")).expect(Code::ACCESS_REJECT);
    for station in ["another", "a third"] {
        let request = Request::access("deny").password(PASSWORD).station(station);
        nas.ask(&request).expect(Code::ACCESS_REJECT);
    }
    nas.ask(&Request::access("deny").password(PASSWORD)).expect(Code::ACCESS_REJECT);
    assert_eq!((gateway.metrics().refused("prompt_withheld"), cloud.prompts(&upn("deny"))), (3, 1));
}

#[test]
fn only_the_same_session_takes_a_prompt_over() {
    let cloud = Cloud::start(Settings::default());
    let gateway = setup(&cloud, &["manual"]).start();
    let of = |session: &str| password("manual").with(attribute::ACCT_SESSION_ID, session.as_bytes());
    let mut owner = gateway.nas();
    let first = owner.encode(&of("0001"));
    owner.send(&first);
    eventually("the phone rings", || (cloud.prompts(&upn("manual")) == 1).then_some(()));
    // The same address and password, another session.
    gateway.nas().ask(&of("0002")).expect(Code::ACCESS_REJECT);
    assert_eq!(gateway.metrics().refused("prompt_pending"), 1);
    // The NAS of the first session starts over, with another port and identifier.
    let mut again = gateway.nas();
    let second = again.encode(&of("0001"));
    again.send(&second);
    gateway.await_metrics("it joins", |metrics| {
        metrics.count("orthrus_mfa_prompts_suppressed_total", &[("why", "joined")]) == 1
    });
    cloud.person(&upn("manual")).approve();
    again.await_reply(&second, Duration::from_secs(15)).expect("it waits").expect(Code::ACCESS_ACCEPT);
    assert!(owner.hears_nothing(), "it was superseded");
    assert_eq!(cloud.prompts(&upn("manual")), 1);
}
