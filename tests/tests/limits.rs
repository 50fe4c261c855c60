//! Guesses at passwords meet a brake, and a flood at one NAS leaves the others served.

use gateway_core::radius::{Code, attribute};
use serde_json::Value;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tests::{Client, Gateway, NAS, Redis, Request, SECRET, Setup, SoftToken, eventually};

const OFF: &str = "[[policies]]\nname = \"all\"\nsecond_factor = \"off\"\n";
const PASSWORD: &str = "wonderland";
/// Of "password", cheap.
const HASH: &str = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

/// Pauses last longer than any test.
fn setup() -> Setup {
    let setup = Setup::new().user("alice", PASSWORD).user("bob", PASSWORD).policies(OFF);
    setup.set("limits.password_pause", "1m").set("limits.longest_password_pause", "1h")
}

fn access(user: &str, password: &str, station: &str) -> Request {
    Request::access(user).password(password).station(station)
}

fn guess(nas: &mut Client, user: &str, stations: impl IntoIterator<Item = String>) {
    for station in stations {
        nas.ask(&access(user, "a guess", &station)).expect(Code::ACCESS_REJECT);
    }
}

fn same(station: &str, times: usize) -> Vec<String> {
    vec![station.to_owned(); times]
}

fn limits(gateway: &Gateway) -> Vec<Value> {
    let output = gateway.run(&["limits", "--json", "--config", "orthrus.toml"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    answer["limits"]["paused"].as_array().expect("a list").clone()
}

fn lift(gateway: &Gateway, what: &[&str]) -> String {
    let output = gateway.run(&[&["limits", "lift", "--config", "orthrus.toml"], what].concat(), "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn guesses_at_one_user_are_braked() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    guess(&mut nas, "alice", same("stranger", 200));
    let refused = nas.ask(&access("alice", PASSWORD, "stranger")).expect(Code::ACCESS_REJECT);
    let wrong = nas.ask(&access("bob", "a guess", "stranger")).expect(Code::ACCESS_REJECT);
    assert_eq!(refused.attributes(), wrong.attributes(), "it tells nothing");
    let metrics = gateway.metrics();
    assert_eq!((metrics.refused("wrong_password"), metrics.refused("password_paused")), (6, 196));
    assert_eq!(metrics.count("orthrus_limit_hits_total", &[("limit", "wrong_passwords")]), 196);
    assert_eq!(metrics.count("orthrus_password_pauses_total", &[("limit", "wrong_passwords")]), 1);
    let last = gateway.await_sign_in_lines(202)[200].clone();
    assert_eq!(
        (&last["reason"], &last["reason_id"], &last["result"]),
        (&"password_paused".into(), &"ORT-213".into(), &"reject".into())
    );
    let warned = gateway.log_lines().into_iter().filter(|line| line["level"] == "WARN").collect::<Vec<_>>();
    let line =
        warned.iter().find(|line| line["message"].as_str().is_some_and(|text| text.starts_with("passwords pause")));
    let line = line.unwrap_or_else(|| panic!("nothing is said: {warned:?}"));
    assert_eq!((&line["limit"], &line["failures"]), (&"wrong_passwords".into(), &5.into()), "{line}");
    nas.ask(&access("alice", PASSWORD, "laptop")).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn many_stations_are_braked_too() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    nas.ask(&access("alice", PASSWORD, "laptop")).expect(Code::ACCESS_ACCEPT);
    guess(&mut nas, "alice", (0..200).map(|number| format!("station-{number}")));
    assert_eq!(gateway.metrics().refused("wrong_password"), 20);
    nas.ask(&access("alice", PASSWORD, "station-200")).expect(Code::ACCESS_REJECT);
    nas.ask(&access("Alice", PASSWORD, "laptop")).expect(Code::ACCESS_ACCEPT);
    nas.ask(&access("bob", PASSWORD, "station-200")).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn unknown_users_are_braked_alike() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    guess(&mut nas, "nobody", same("stranger", 50));
    let metrics = gateway.metrics();
    assert_eq!((metrics.refused("unknown_user"), metrics.refused("password_paused")), (5, 45));
    assert_eq!(limits(&gateway)[0]["user"], "nobody");
}

#[test]
fn many_users_of_one_station_are_braked() {
    let gateway = setup().set("limits.wrong_passwords_of_station", 10).start();
    let mut nas = gateway.nas();
    nas.ask(&access("alice", PASSWORD, "office")).expect(Code::ACCESS_ACCEPT);
    for number in 0..50 {
        guess(&mut nas, &format!("user-{number}"), same("office", 1));
    }
    assert_eq!(gateway.metrics().refused("unknown_user"), 10);
    nas.ask(&access("bob", PASSWORD, "office")).expect(Code::ACCESS_REJECT);
    nas.ask(&access("bob", PASSWORD, "home")).expect(Code::ACCESS_ACCEPT);
    nas.ask(&access("alice", PASSWORD, "office")).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn spraying_by_one_nas_is_braked() {
    let other: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();
    let gateway = setup().client("other", &["127.0.0.2"], SECRET).set("limits.wrong_passwords_of_source", 30).start();
    let mut nas = gateway.nas();
    nas.ask(&access("alice", PASSWORD, "laptop")).expect(Code::ACCESS_ACCEPT);
    for number in 0..100 {
        guess(&mut nas, &format!("user-{number}"), [format!("station-{number}")]);
    }
    assert_eq!(gateway.metrics().refused("unknown_user"), 30);
    nas.ask(&access("bob", PASSWORD, "new")).expect(Code::ACCESS_REJECT);
    nas.ask(&access("alice", PASSWORD, "laptop")).expect(Code::ACCESS_ACCEPT);
    let mut elsewhere = Client::at(other, gateway.address(), SECRET);
    elsewhere.ask(&access("bob", PASSWORD, "new")).expect(Code::ACCESS_ACCEPT);
}

/// Guesses that are sent at once are no more than others: none is looked at while those before may all be wrong.
#[test]
fn guesses_in_parallel_are_braked() {
    let gateway = setup().slow_user("carol", "m=4096,t=40,p=1").set("limits.password_checks", 1).start();
    let mut guessers: Vec<_> = (0..50).map(|_| gateway.nas()).collect();
    for nas in &mut guessers {
        let sent = nas.encode(&access("carol", "a guess", "stranger"));
        nas.send(&sent);
    }
    let metrics =
        gateway.await_metrics("all are decided", |metrics| metrics.ended("reject") + metrics.ended("silence") == 50);
    assert_eq!(metrics.refused("wrong_password"), 5);
    assert_eq!(metrics.refused("password_paused") + metrics.refused("passwords_in_parallel"), 45);
}

#[test]
fn radclient_chap_is_braked() {
    let gateway = setup().start();
    let ask = |password: &str| {
        let lines = ["User-Name = alice".to_owned(), format!("CHAP-Password = \"{password}\"")];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        tests::radclient::sign_in(gateway.address(), &lines).reply().map(str::to_owned)
    };
    assert_eq!(ask(PASSWORD).as_deref(), Some("Access-Accept"));
    for _ in 0..6 {
        assert_eq!(ask("a guess").as_deref(), Some("Access-Reject"));
    }
    assert_eq!(ask(PASSWORD).as_deref(), Some("Access-Reject"));
    assert_eq!((gateway.metrics().refused("wrong_password"), gateway.metrics().refused("password_paused")), (5, 2));
}

#[test]
fn pyrad_mschapv2_and_changes_are_braked() {
    let gateway = setup().of_first_factor("change_passwords", true).start();
    let ask = |password: &str, more: Value| {
        let mut request =
            serde_json::json!({ "protocol": "mschapv2", "user": "alice", "password": password, "station": "stranger" });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tests::mschap::ask(gateway.address(), &request).told()
    };
    let none = || serde_json::json!({});
    let wrong = ask("a guess", none());
    for _ in 0..2 {
        ask("a guess", none());
        ask("a guess", serde_json::json!({ "new_password": "another one 2" }));
    }
    for paused in [ask(PASSWORD, none()), ask(PASSWORD, serde_json::json!({ "new_password": "another one 2" }))] {
        assert_eq!(paused["code"], u8::from(Code::ACCESS_REJECT));
        let start = |told: &Value| told["error"]["text"].as_str().unwrap()[..9].to_owned();
        assert_eq!(start(&paused), start(&wrong), "it tells nothing");
    }
    assert_eq!((gateway.metrics().refused("wrong_password"), gateway.metrics().refused("password_paused")), (5, 2));
}

/// A code is no password: the brake on passwords leaves the second leg alone.
#[test]
fn codes_are_not_counted_as_passwords() {
    let token = SoftToken::hotp("alice");
    let gateway = Setup::new().user("alice", PASSWORD).token(&token).set("limits.wrong_passwords", 1).start();
    let mut nas = gateway.nas();
    let challenge = nas.ask(&Request::access("alice").password(PASSWORD)).expect(Code::ACCESS_CHALLENGE);
    let challenge = nas.ask(&Request::access("alice").password("000000").state(&challenge));
    let accept = nas.ask(&Request::access("alice").password(&token.code(0)).state(&challenge));
    accept.expect(Code::ACCESS_ACCEPT);
}

#[test]
fn lifted_users_sign_in_at_once() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    guess(&mut nas, "alice", same("stranger", 6));
    guess(&mut nas, "bob", same("stranger", 6));
    let listed = limits(&gateway);
    assert_eq!(listed.len(), 2, "{listed:?}");
    let alice = &listed[0];
    assert_eq!(
        (&alice["user"], &alice["limit"], &alice["group"], &alice["calling_station"], &alice["failures"]),
        (&"alice".into(), &"wrong_passwords".into(), &NAS.into(), &"stranger".into(), &5.into())
    );
    assert!(alice["seconds"].as_u64().is_some_and(|seconds| (1..=60).contains(&seconds)), "{alice}");
    nas.ask(&access("alice", PASSWORD, "stranger")).expect(Code::ACCESS_REJECT);
    assert!(lift(&gateway, &["ALICE"]).contains("lifted at node"));
    nas.ask(&access("alice", PASSWORD, "stranger")).expect(Code::ACCESS_ACCEPT);
    nas.ask(&access("bob", PASSWORD, "stranger")).expect(Code::ACCESS_REJECT);
    lift(&gateway, &["--client", NAS]);
    nas.ask(&access("bob", PASSWORD, "stranger")).expect(Code::ACCESS_ACCEPT);
    for wrong in [&["--client", "nobody"][..], &["--source", "nowhere"], &[], &["alice", "--all"]] {
        let output = gateway.run(&[&["limits", "lift", "--config", "orthrus.toml"], wrong].concat(), "");
        assert!(!output.status.success(), "{wrong:?}");
    }
}

#[test]
fn lifted_users_give_codes_again() {
    let token = SoftToken::hotp("alice");
    let gateway = Setup::new().user("alice", PASSWORD).token(&token).set("limits.wrong_codes", 2).start();
    let mut nas = gateway.nas();
    let first = Request::access("alice").password(PASSWORD);
    let mut challenge = nas.ask(&first).expect(Code::ACCESS_CHALLENGE);
    for _ in 0..2 {
        challenge = nas.ask(&Request::access("alice").password("000000").state(&challenge));
    }
    nas.ask(&first).expect(Code::ACCESS_REJECT);
    assert!(gateway.metrics().refused("too_many_wrong_codes") > 0);
    let output = gateway.run(&["limits", "--user", "Alice", "--json", "--config", "orthrus.toml"], "");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    assert_eq!(answer["limits"]["holds"][0]["limit"], "wrong_codes", "{answer}");
    let told = lift(&gateway, &["alice"]);
    assert!(told.contains("codes are refused after"), "{told}");
    nas.sign_in("alice", PASSWORD, &token.code(0)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn redis_nodes_share_the_brake() {
    let redis = Redis::start();
    let (a, b) = (setup().sharing(&redis, "a").start(), setup().sharing(&redis, "b").start());
    let (mut at_a, mut at_b) = (a.nas(), b.nas());
    // The owner's laptop is known at one node, and the guesses come to the other.
    at_a.ask(&access("alice", PASSWORD, "laptop")).expect(Code::ACCESS_ACCEPT);
    guess(&mut at_b, "alice", (0..30).map(|number| format!("station-{number}")));
    eventually("the other node has heard", || (!limits(&a).is_empty()).then_some(()));
    at_a.ask(&access("alice", PASSWORD, "new")).expect(Code::ACCESS_REJECT);
    at_a.ask(&access("alice", PASSWORD, "laptop")).expect(Code::ACCESS_ACCEPT);
    eventually("the owner's laptop is known", || {
        (at_b.ask(&access("alice", PASSWORD, "laptop")).code() == Code::ACCESS_ACCEPT).then_some(())
    });
    // An order at one node holds at both.
    lift(&a, &["alice"]);
    eventually("the pause is lifted", || limits(&b).is_empty().then_some(()));
    at_b.ask(&access("alice", PASSWORD, "another")).expect(Code::ACCESS_ACCEPT);
}

/// Two NASes; the hash of one user is cheap, and that of most is not.
fn floods(setup: Setup) -> (Gateway, Client) {
    let slow = "m=65536,t=8,p=1";
    let gateway = setup
        .client("other", &["127.0.0.2"], SECRET)
        .slow_user("s1", slow)
        .slow_user("s2", slow)
        .users(&format!("[[users]]\nname = \"hashed\"\npassword = \"{HASH}\"\n"))
        .set("limits.password_checks", 1)
        .start();
    let nas = other_nas(&gateway);
    (gateway, nas)
}

fn other_nas(gateway: &Gateway) -> Client {
    let other: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();
    Client::at(other, gateway.address(), SECRET).patience(Duration::from_secs(60))
}

/// Passwords of users who do not exist, each of which costs the hash that most users cost.
fn flood(gateway: &Gateway, packets: usize) {
    let mut nas = gateway.nas();
    for number in 0..packets {
        let sent = nas.encode(&access(&format!("user-{number}"), "a guess", &format!("station-{number}")));
        nas.send(&sent);
    }
}

#[test]
fn full_queue_leaves_other_nas_served() {
    let (gateway, mut nas) = floods(setup().set("limits.password_queue", 8));
    flood(&gateway, 40);
    gateway.await_metrics("the queue is full", |metrics| metrics.refused("password_queue_full") >= 20);
    // Each is sent once.
    let asked: Vec<_> = (0..3).map(|number| nas.encode(&access("hashed", "password", &format!("s{number}")))).collect();
    for sent in &asked {
        nas.send(sent);
    }
    for sent in &asked {
        let reply = nas.await_reply(sent, Duration::from_secs(60)).expect("its turn comes");
        reply.expect(Code::ACCESS_ACCEPT);
    }
}

#[test]
fn taken_permits_leave_other_nas_served() {
    let (gateway, mut nas) = floods(setup().set("limits.in_progress", 16));
    flood(&gateway, 40);
    gateway.await_dropped("overload", 24);
    let sent = nas.encode(&access("alice", PASSWORD, "laptop"));
    nas.send(&sent);
    nas.await_reply(&sent, Duration::from_secs(60)).expect("there is a place").expect(Code::ACCESS_ACCEPT);
    let signed = Request::access("bob").password(PASSWORD).with(attribute::NAS_IDENTIFIER, b"other");
    let sent = nas.encode(&signed);
    nas.send(&sent);
    nas.await_reply(&sent, Duration::from_secs(60)).expect("there is a place").expect(Code::ACCESS_ACCEPT);
}

#[test]
fn waiting_refusals_leave_room_for_others() {
    // No password here costs a hash: all are decided long before the first refusal leaves.
    let setup = setup().set("attempts.reject_delay", "5s").set("limits.delayed_rejects", 4);
    let gateway = setup.client("other", &["127.0.0.2"], SECRET).start();
    let mut nas = other_nas(&gateway);
    let mut guesser = gateway.nas();
    for number in 0..10 {
        let sent = guesser.encode(&access("alice", "a guess", &format!("station-{number}")));
        guesser.send(&sent);
    }
    let hits =
        |metrics: &tests::metrics::Metrics| metrics.count("orthrus_limit_hits_total", &[("limit", "delayed_rejects")]);
    gateway.await_metrics("six do not wait", |metrics| hits(metrics) == 6);
    let sent = nas.encode(&access("alice", "a guess", "laptop"));
    nas.send(&sent);
    let metrics = gateway.await_metrics("it is decided", |metrics| metrics.ended("reject") == 11);
    assert_eq!(hits(&metrics), 6, "that of the other NAS waits");
    nas.await_reply(&sent, Duration::from_secs(60)).expect("its time comes").expect(Code::ACCESS_REJECT);
}
