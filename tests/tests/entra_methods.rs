//! Every method that Entra MFA knows, right and wrong, and what becomes of users whom it cannot ask: each with the outcome, the
//! reason in the log, and the number of times that a phone rang.

use entra_cloud::{Cloud, Settings};
use gateway_core::radius::Code;
use tests::entra::{Ended, accepted, answer, ask, password, refused, setup, sign_in, sign_in_with, upn};
use tests::{Gateway, NAS, Setup};

fn cloud() -> Cloud {
    Cloud::start(Settings::default())
}

/// Who, how it ends, and how often the phone rings.
fn play(cloud: &Cloud, gateway: &Gateway, cases: &[(&str, Ended, u64)]) {
    for (user, ended, prompts) in cases {
        assert_eq!(sign_in(gateway, user), *ended, "{user}");
        assert_eq!(cloud.prompts(&upn(user)), *prompts, "prompts of {user}");
    }
}

fn both_ways(setup: impl Fn(&Cloud) -> Setup, cases: &[(&str, Ended, u64)]) {
    for begin in ["held", "polled"] {
        let cloud = cloud();
        let gateway = setup(&cloud).of_entra("begin", begin).start();
        play(&cloud, &gateway, cases);
    }
}

#[test]
fn pushes_and_calls() {
    let users = ["approve", "deny", "noresponse", "voice", "voicenoanswer", "voicemail", "hungup", "unreachable"];
    both_ways(
        |cloud| setup(cloud, &users),
        &[
            ("approve", accepted(), 1),
            ("deny", refused("prompt_denied"), 1),
            ("noresponse", refused("provider_no_response"), 1),
            ("voice", accepted(), 1),
            ("voicenoanswer", refused("provider_no_response"), 1),
            ("voicemail", refused("provider_no_response"), 1),
            ("hungup", refused("prompt_denied"), 1),
            ("unreachable", refused("prompt_undelivered"), 1),
        ],
    );
}

#[test]
fn a_reported_fraud_is_a_refusal_and_blocks_the_user() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["fraud"]).start();
    play(&cloud, &gateway, &[("fraud", refused("prompt_denied"), 1), ("fraud", refused("blocked_by_provider"), 1)]);
}

#[test]
fn codes_right_and_wrong() {
    let users = ["sms1", "sms2", "totp1", "totp2", "hardware1", "hardware2", "pushtotp", "spokencode1", "spokencode2"];
    let cloud = cloud();
    let gateway = setup(&cloud, &users).start();
    let person = |user: &str| cloud.person(&upn(user));
    assert_eq!(sign_in_with(&gateway, "sms1", || person("sms1").sms_code()), accepted());
    assert_eq!(sign_in_with(&gateway, "totp1", || person("totp1").totp_code()), accepted());
    assert_eq!(sign_in_with(&gateway, "hardware1", || person("hardware1").totp_code()), accepted());
    assert_eq!(sign_in_with(&gateway, "pushtotp", || person("pushtotp").totp_code()), accepted());
    assert_eq!(sign_in_with(&gateway, "spokencode1", || person("spokencode1").sms_code()), accepted());
    for user in ["sms2", "totp2", "hardware2", "spokencode2"] {
        assert_eq!(sign_in_with(&gateway, user, || "00000000".into()), refused("wrong_code"), "{user}");
    }
    for (user, prompts) in
        [("sms1", 1), ("sms2", 1), ("totp1", 0), ("totp2", 0), ("hardware1", 0), ("pushtotp", 0), ("spokencode1", 1)]
    {
        assert_eq!(cloud.prompts(&upn(user)), prompts, "prompts of {user}");
    }
}

#[test]
fn what_is_no_code_never_gets_to_the_cloud() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["totp"]).start();
    let before = cloud.requests(entra_cloud::Operation::End);
    assert_eq!(sign_in_with(&gateway, "totp", || "let me in".into()), refused("code_malformed"));
    assert_eq!(cloud.requests(entra_cloud::Operation::End), before);
}

#[test]
fn what_the_nas_cannot_show_is_refused_and_what_it_can_do_is_asked_for() {
    let users = ["sms", "totp", "hardware", "pushtotp", "spokencode", "approve"];
    both_ways(
        |cloud| setup(cloud, &users).of_client(NAS, "challenge", false),
        &[
            // The message is under way before anybody can know that a code is wanted.
            ("sms", refused("challenge_impossible"), 1),
            ("totp", refused("challenge_impossible"), 0),
            ("hardware", refused("challenge_impossible"), 0),
            // Approve and deny instead of a code, and a call instead of a spoken one.
            ("pushtotp", accepted(), 1),
            ("spokencode", accepted(), 1),
            ("approve", accepted(), 1),
        ],
    );
}

#[test]
fn push_users_are_asked_as_the_factor_or_their_policy_says() {
    let policies = r#"
        [[policies]]
        name = "pushed"
        groups = ["pushed"]
        push_users = "prefer_push"
        [[policies]]
        name = "everybody"
    "#;
    let cloud = cloud();
    let gateway = setup(&cloud, &["pushtotp1"])
        .user_in("pushtotp2", tests::entra::PASSWORD, &["pushed"])
        .policies(policies)
        .of_entra("push_users", "prefer_code")
        .start();
    assert_eq!(sign_in_with(&gateway, "pushtotp1", || cloud.person(&upn("pushtotp1")).totp_code()), accepted());
    assert_eq!(sign_in(&gateway, "pushtotp2"), accepted());
    assert_eq!((cloud.prompts(&upn("pushtotp1")), cloud.prompts(&upn("pushtotp2"))), (0, 1));
}

#[test]
fn users_whom_the_cloud_cannot_or_will_not_ask() {
    both_ways(
        |cloud| {
            let users =
                ["blocked", "throttled", "limit", "notfound", "wrongtenant", "notsynced", "noproof", "nodefault"];
            setup(cloud, &users).user("unknownvalue", tests::entra::PASSWORD).user("duplicate", tests::entra::PASSWORD)
        },
        &[
            ("blocked", refused("blocked_by_provider"), 0),
            ("throttled", refused("provider_throttled"), 0),
            ("limit", refused("provider_throttled"), 0),
            ("notfound", refused("user_unknown_to_provider"), 0),
            ("wrongtenant", refused("user_refused_by_provider"), 0),
            ("notsynced", refused("user_refused_by_provider"), 0),
            ("noproof", refused("not_registered"), 0),
            ("nodefault", refused("not_registered"), 0),
            ("duplicate", refused("provider_busy"), 0),
            ("unknownvalue", refused("result_unknown"), 0),
        ],
    );
}

#[test]
fn unregistered_users_pass_only_where_and_as_long_as_they_may() {
    let with = |rule: &str, until: &str| {
        let cloud = cloud();
        let gateway = setup(&cloud, &["unregistered", "notfound"])
            .of_entra("unregistered", rule)
            .of_entra("unregistered_until", until)
            .start();
        assert_eq!(sign_in(&gateway, "notfound"), refused("user_unknown_to_provider"), "{rule}: never the unknown");
        assert_eq!(cloud.total_prompts(), 0);
        (sign_in(&gateway, "unregistered"), gateway)
    };
    let (ended, _) = with("deny", "2099-12-31");
    assert_eq!(ended, refused("not_registered"));
    let (ended, _) = with("allow_by_flag", "2099-12-31");
    assert_eq!(ended, accepted());
    let (ended, gateway) = with("allow_by_code", "2099-12-31");
    assert_eq!(ended, accepted());
    let passed = [("provider", "mfa"), ("result", "unregistered_passed")];
    assert_eq!(gateway.metrics().count("orthrus_mfa_requests_total", &passed), 1, "each pass is counted");
    for rule in ["allow_by_flag", "allow_by_code"] {
        let (ended, _) = with(rule, "2020-01-01");
        assert_eq!(ended, refused("not_registered"), "{rule}, but its time is over");
    }
}

#[test]
fn a_name_with_every_special_character_arrives_whole() {
    let cloud = cloud();
    let user = "approve.<&>\"'%25{}[]]>;&amp;é=+";
    let gateway = setup(&cloud, &[]).user(&user.replace('"', "\\\""), tests::entra::PASSWORD).start();
    gateway.nas().ask(&password(user)).expect(Code::ACCESS_ACCEPT);
    assert_eq!(cloud.prompts(&upn(user)), 1);
    let sent = cloud.seen().iter().find_map(|seen| seen.field("UserPrincipalName"));
    assert_eq!(sent, Some(upn(user)));
}

#[test]
fn the_attributes_after_a_code_are_those_after_a_push() {
    let cloud = cloud();
    let policy = r#"
        [[policies]]
        name = "vpn"
        reply = { Class = ["staff", "second"], Filter-Id = "full", Framed-IP-Address = "10.79.0.77", Tunnel-Private-Group-Id = "12" }
    "#;
    let gateway = setup(&cloud, &["approve", "sms", "totp"]).policies(policy).start();
    let mut nas = gateway.nas();
    let (push, _) = ask(&gateway, &mut nas, "approve", &password("approve"));
    for (user, code) in [("sms", true), ("totp", false)] {
        let (challenge, _) = ask(&gateway, &mut nas, user, &password(user));
        assert!(challenge.attributes().iter().all(|line| line.starts_with("Reply-Message")), "{challenge:?}");
        let person = cloud.person(&upn(user));
        let code = if code { person.sms_code() } else { person.totp_code() };
        let (accept, ended) = ask(&gateway, &mut nas, user, &answer(user, &code, &challenge));
        assert_eq!(ended, accepted());
        // Behind the header and the Message-Authenticator every octet is the same.
        assert_eq!(accept.bytes()[38..], push.bytes()[38..], "{user}");
    }
}

#[test]
fn the_cloud_sees_one_correlation_id_per_attempt_and_it_is_the_one_in_the_log() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["sms"]).start();
    assert_eq!(sign_in_with(&gateway, "sms", || cloud.person(&upn("sms")).sms_code()), accepted());
    let ids: Vec<String> = cloud.seen().iter().filter_map(|seen| seen.field("ContextId")).collect();
    // The line of the accept was waited for above.
    let logged = tests::entra::lines(&gateway, "sms").last().unwrap()["attempt"].as_str().unwrap().to_owned();
    assert_eq!(ids, [logged.clone(), logged]);
}

#[test]
fn nothing_secret_is_in_the_log_or_the_metrics_whatever_the_level() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["approve", "sms", "totp"]).set("telemetry.log_level", "trace").start();
    let mut secrets = vec![tests::entra::PASSWORD.to_owned(), tests::SECRET.to_owned()];
    assert_eq!(sign_in(&gateway, "approve"), accepted());
    for user in ["sms", "totp"] {
        let ended = sign_in_with(&gateway, user, || {
            let person = cloud.person(&upn(user));
            let code = if user == "sms" { person.sms_code() } else { person.totp_code() };
            secrets.push(code.clone());
            code
        });
        assert_eq!(ended, accepted());
    }
    for seen in cloud.seen() {
        secrets.extend(seen.header("authorization").map(|header| header.replace("Bearer ", "")));
    }
    let key = std::fs::read_to_string(gateway.path("entra.key")).unwrap();
    secrets.extend(key.lines().skip(1).take(3).map(str::to_owned));
    assert!(
        secrets.iter().filter(|secret| secret.len() > 20).count() > 5,
        "a token, a key and a shared secret were seen"
    );
    let told = gateway.log() + gateway.metrics().text();
    assert!(told.contains("BeginTwoWayAuthentication"), "calls are logged");
    // Six digits also stand in the middle of some duration.
    let numbers: std::collections::HashSet<&str> = told.split(|c: char| !c.is_ascii_digit()).collect();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        let is_code = secret.len() == 6 && secret.bytes().all(|octet| octet.is_ascii_digit());
        let stands_there = if is_code { numbers.contains(secret.as_str()) } else { told.contains(secret.as_str()) };
        assert!(!stands_there, "{secret} is told");
    }
    // An assertion is three parts of base64url, of which the first two begin like this.
    assert!(!told.contains("eyJ"), "an assertion is told");
}

#[test]
fn a_service_that_breaks_for_one_person_is_a_refusal() {
    let cloud = cloud();
    let gateway = setup(&cloud, &["http500", "badxml"]).start();
    play(&cloud, &gateway, &[("http500", refused("outcome_unknown"), 0), ("badxml", refused("outcome_unknown"), 1)]);
}
