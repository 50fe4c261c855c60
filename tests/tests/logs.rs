//! What the log tells, and what it never tells.

use gateway_core::radius::Code;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use tests::{Client, Gateway, Request, SECRET, Setup, SoftToken};

const PASSWORD: &str = "correct-horse-8675309";
const PLAIN: &str =
    "[[policies]]\nname = \"open\"\ngroups = [\"robots\"]\nsecond_factor = \"off\"\n[[policies]]\nname = \"coded\"\n";

fn setup() -> Setup {
    Setup::new()
        .user("alice", PASSWORD)
        .user_in("robot", PASSWORD, &["robots"])
        .token(&SoftToken::hotp("alice"))
        .policies(PLAIN)
}

/// Everything that can happen to a sign-in, once.
fn play(gateway: &Gateway) {
    let token = SoftToken::hotp("alice");
    let mut nas = gateway.nas();
    let first = Request::access("alice").password(PASSWORD).station("198.51.100.7");
    let challenge = nas.ask(&first).expect(Code::ACCESS_CHALLENGE);
    let answer = |code: &str| Request::access("alice").password(code).station("198.51.100.7");
    let challenge = nas.ask(&answer(&token.wrong_code(0)).state(&challenge)).expect(Code::ACCESS_CHALLENGE);
    nas.ask(&answer(&token.code(0)).state(&challenge)).expect(Code::ACCESS_ACCEPT);
    nas.ask(&Request::access("robot").password(PASSWORD)).expect(Code::ACCESS_ACCEPT);
    nas.ask(&Request::access("robot").password("wrong-password-5551212")).expect(Code::ACCESS_REJECT);
    let mut forger = Client::new(gateway.address(), "not-the-secret");
    let sent = forger.encode(&first);
    forger.send(&sent);
    gateway.await_dropped("bad_message_authenticator", 1);
}

fn line<'a>(lines: &'a [Value], user: &str, result: &str) -> &'a Value {
    let mut found = lines.iter().filter(|line| line["user"] == user && line["result"] == result);
    let line = found.next().unwrap_or_else(|| panic!("no line for {user} and {result}: {lines:#?}"));
    assert!(found.next().is_none(), "more than one line for {user} and {result}");
    line
}

#[test]
fn one_line_for_each_finished_attempt_says_who_where_how_and_why() {
    let gateway = setup().start();
    play(&gateway);
    let lines = tests::eventually("three lines", || Some(gateway.sign_in_lines()).filter(|lines| lines.len() == 3));

    let accept = line(&lines, "alice", "accept");
    for (key, value) in
        [("client", "nas"), ("first_factor", "staff"), ("policy", "coded"), ("second_factor", "code"), ("reason", "")]
    {
        assert_eq!(accept[key], value, "{key} in {accept}");
    }
    assert!(accept["source"].as_str().unwrap().starts_with("127.0.0.1:"), "{accept}");
    assert!(accept["station"].as_str().unwrap().contains("198.51.100.7"), "{accept}");
    assert!(accept["attempt"].as_str().unwrap().len() >= 16, "{accept}");
    for key in ["first_factor_took", "second_factor_took", "since_begun", "took"] {
        assert!(accept[key].as_f64().is_some_and(|seconds| (0.0..20.0).contains(&seconds)), "{key} in {accept}");
    }
    assert!(accept["since_begun"].as_f64() > accept["took"].as_f64(), "the human is counted too: {accept}");

    let reject = line(&lines, "robot", "reject");
    assert_eq!((&reject["reason"], &reject["reason_id"]), (&"wrong_password".into(), &"ORT-203".into()));
    assert_eq!(line(&lines, "robot", "accept")["policy"], "open");

    gateway.await_log("bad_message_authenticator");
    let dropped: Vec<Value> =
        gateway.log_lines().into_iter().filter(|line| line["reason"] == "bad_message_authenticator").collect();
    assert_eq!(dropped.len(), 1);
    assert!(dropped[0]["message"].as_str().unwrap().contains("secret_file"), "the remedy is told: {}", dropped[0]);
}

#[test]
fn all_steps_of_one_sign_in_carry_the_same_id() {
    let gateway = setup().set("telemetry.log_level", "debug").start();
    play(&gateway);
    let lines = tests::eventually("the lines of alice", || {
        let lines = gateway.sign_in_lines();
        let lines: Vec<Value> = lines.into_iter().filter(|line| line["user"] == "alice").collect();
        (lines.len() == 3).then_some(lines)
    });
    let results: Vec<&str> = lines.iter().filter_map(|line| line["result"].as_str()).collect();
    assert_eq!(results, ["challenge", "challenge", "accept"]);
    assert!(lines.iter().all(|line| line["attempt"] == lines[0]["attempt"]), "{lines:#?}");
}

#[test]
fn no_secret_is_ever_told_at_any_level_in_any_form() {
    let token = SoftToken::hotp("alice");
    for format in ["json", "human"] {
        let setup = setup().set("telemetry.log_level", "trace").set("telemetry.log_format", format);
        let gateway =
            setup.set("cluster.key_file", "key").secret("key", "cluster-key-0123456789-0123456789-0123").start();
        play(&gateway);
        gateway.reload().unwrap();
        let secrets = [
            PASSWORD,
            "wrong-password-5551212",
            SECRET,
            "cluster-key-0123456789",
            &token.secret(),
            &token.code(0),
            &token.wrong_code(0),
        ];
        tests::eventually("the accept is told", || gateway.log().contains("accept").then_some(()));
        for (place, text) in [
            ("log", gateway.log()),
            ("metrics", gateway.metrics().text().to_owned()),
            ("readyz", gateway.get("/readyz").1),
        ] {
            assert!(!text.is_empty());
            for secret in secrets {
                // Codes are short and may appear by chance inside a longer number.
                let told = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == secret);
                assert!(!told, "{secret} stands in the {place}");
                assert!(secret.len() < 8 || !text.contains(secret), "{secret} stands in the {place}");
            }
            let hex: String = PASSWORD.bytes().map(|octet| format!("{octet:02x}")).collect();
            let list: String = PASSWORD.bytes().map(|octet| format!("{octet}, ")).collect();
            assert!(!text.contains(&hex) && !text.contains(&list), "the password stands as octets in the {place}");
        }
    }
}

#[test]
fn names_that_somebody_typed_cannot_forge_a_line() {
    let gateway = setup().set("telemetry.log_format", "human").start();
    let mut nas = gateway.nas();
    nas.ask(&Request::access("eve\nINFO sign-in user=alice result=accept").password("x")).expect(Code::ACCESS_REJECT);
    nas.ask(&Request::access("robot").password(PASSWORD)).expect(Code::ACCESS_ACCEPT);
    let log = tests::eventually("both are told", || Some(gateway.log()).filter(|log| log.contains("robot")));
    assert!(!log.lines().any(|line| line.starts_with("INFO sign-in user=alice")), "{log}");
}

#[test]
fn the_sign_in_log_can_be_switched_off() {
    let gateway = setup().set("telemetry.sign_in_log", false).start();
    play(&gateway);
    assert_eq!(gateway.metrics().ended("accept"), 2);
    assert!(gateway.sign_in_lines().is_empty());
}

#[test]
fn fields_are_plain_json() {
    let setup = setup().set("telemetry.log_level", "trace").set("admin.token_file", "token");
    let mut gateway = setup.secret("token", "a-token-of-thirty-three-characters").start();
    play(&gateway);
    let mut nas = gateway.nas();
    nas.ask(&Request::access("eve\"\n\u{202e}x").password("x").station("a\"b\u{7}")).expect(Code::ACCESS_REJECT);
    nas.ask(&Request::access("EVE\\alice").password("x")).expect(Code::ACCESS_REJECT);
    for command in
        [&["status"][..], &["sessions", "--user", "alice"], &["disconnect", "--user", "\"alice\""], &["nodes"]]
    {
        gateway.run(&[command, &["--config", "orthrus.toml"]].concat(), "");
    }
    assert_eq!(gateway.order("/api/v1/drain", Some("another"), "").0, 401);
    gateway.reload().unwrap();
    gateway.edit_config(|text| text.replace("[limits]", "[limits]\nwrong_codes = 0"));
    gateway.reload().unwrap_err();
    gateway.stop();
    let log = gateway.log();
    for told in ["dropped", "an operator's command", "an order was refused", "was not reloaded", "a factor was refused"]
    {
        assert!(log.contains(told), "nothing told of {told}");
    }
    tests::lines::assert_plain(&log);
}

#[test]
fn entra_lines_are_plain_json() {
    let cloud = entra_cloud::Cloud::start(entra_cloud::Settings::default());
    let users = ["approve", "deny", "totp", "unregistered", "wrongvalue"];
    let gateway = tests::entra::setup(&cloud, &users).set("telemetry.log_level", "trace").start();
    for user in users {
        gateway.nas().ask(&tests::entra::password(user));
    }
    gateway.await_log("a factor was refused");
    assert!(gateway.log().contains("\"message\":\"entra\""));
    tests::lines::assert_plain(&gateway.log());
}

#[test]
fn refused_factors_leave_a_line() {
    let gateway = setup().start();
    play(&gateway);
    let lines = tests::eventually("two lines", || Some(gateway.refusal_lines()).filter(|lines| lines.len() == 2));
    for (line, user, kind, factor, reason, id) in [
        (&lines[0], "alice", "code", "code", "wrong_code", "ORT-403"),
        (&lines[1], "robot", "password", "staff", "wrong_password", "ORT-203"),
    ] {
        assert_eq!((&line["user"], &line["kind"], &line["factor"]), (&user.into(), &kind.into(), &factor.into()));
        assert_eq!((&line["reason"], &line["reason_id"], &line["level"]), (&reason.into(), &id.into(), &"WARN".into()));
        assert_eq!(line["client"], "nas");
        assert!(line["source"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
    assert_eq!(lines[0]["station"], "198.51.100.7");
}

#[test]
fn refusals_held_back_are_summed() {
    let gateway = setup().set("limits.refusal_logs_per_second", 3).start();
    let mut nas = gateway.nas();
    for _ in 0..40 {
        nas.ask(&Request::access("robot").password("wrong-password-5551212")).expect(Code::ACCESS_REJECT);
    }
    tests::eventually("all are told, one by one or as a sum", || {
        let lines = gateway.log_lines();
        let sums = lines
            .iter()
            .filter(|line| line["message"].as_str().is_some_and(|said| said.contains("a factor was refused` were")));
        let held_back: u64 = sums.map(|line| line["held_back"].as_u64().expect("a number")).sum();
        (gateway.refusal_lines().len() as u64 + held_back == 40 && held_back > 0).then_some(())
    });
}

#[test]
fn lost_lines_are_counted_and_told() {
    let setup = setup().set("limits.drop_logs_per_second", 10_000).set("telemetry.log_level", "trace");
    let (gateway, pipe) = Gateway::start_with_pipe(setup);
    let mut nas = gateway.nas();
    let lost = |metrics: &tests::metrics::Metrics| metrics.count("orthrus_log_lines_lost_total", &[]);
    // Nobody reads: the pipe is full, then the queue.
    while lost(&gateway.metrics()) < 100 {
        for _ in 0..500 {
            nas.ask(&Request::access("robot").password(PASSWORD)).expect(Code::ACCESS_ACCEPT);
        }
    }
    let lost = lost(&gateway.metrics());
    let told = BufReader::new(pipe).lines().map(|line| line.expect("a line")).find(|line| line.contains("\"lost\":"));
    let told: Value = serde_json::from_str(&told.expect("the loss is told")).expect("JSON");
    assert!(told["lost"].as_u64().is_some_and(|told| told >= lost), "{told}");
    assert!(told["message"].as_str().unwrap().contains("read faster"), "the remedy is told: {told}");
}
