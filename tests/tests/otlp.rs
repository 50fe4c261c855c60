//! Traces: one for each sign-in, whole, and without a secret. rotel is the collector.

use entra_cloud::{Cloud, Operation, Settings};
use gateway_core::radius::Code;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tests::collector::Collector;
use tests::{Client, Gateway, Request, Setup, SoftToken, entra, eventually};

const PASSWORD: &str = "correct-horse-8675309";

fn setup(endpoint: &str) -> Setup {
    let setup = Setup::new().user("alice", PASSWORD).token(&SoftToken::totp("alice"));
    setup.set("cluster.node_id", "gate-1").set("telemetry.otlp_endpoint", endpoint)
}

/// The spans of the attempt that this log line tells of.
fn trace_of(line: &Value, spans: &[Value]) -> Vec<Value> {
    let id = line["attempt"].as_str().unwrap().replace('-', "");
    spans.iter().filter(|span| span["trace"] == id.as_str()).cloned().collect()
}

/// Each span behind the names of its parents, and how often; every parent must be there.
fn tree(spans: &[Value]) -> BTreeMap<String, usize> {
    let mut tree = BTreeMap::new();
    for span in spans {
        let (mut span, mut path) = (span, span["name"].as_str().unwrap().to_owned());
        while span["parent"] != "" {
            let parent = spans.iter().find(|other| other["span"] == span["parent"]);
            span = parent.unwrap_or_else(|| panic!("the parent of {path} is missing: {span}"));
            path = format!("{}/{path}", span["name"].as_str().unwrap());
        }
        *tree.entry(path).or_default() += 1;
    }
    tree
}

fn lines_with(gateway: &Gateway, result: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} sign-ins end with {result}"), || {
        let lines = gateway.sign_in_lines().into_iter().filter(|line| line["result"] == result).collect::<Vec<_>>();
        (lines.len() == count).then_some(lines)
    })
}

fn whole(collector: &Collector, line: &Value, count: usize) -> Vec<Value> {
    eventually("the collector has all spans", || {
        Some(trace_of(line, &collector.spans())).filter(|trace| trace.len() >= count)
    })
}

#[test]
fn rotel_receives_a_sign_in_of_two_packets_as_one_trace() {
    let collector = Collector::start();
    let mut gateway = setup(&collector.endpoint()).start();
    let mut nas = gateway.nas();
    let token = SoftToken::totp("alice");
    let challenge = nas.ask(&Request::access("alice").password(PASSWORD)).expect(Code::ACCESS_CHALLENGE);
    let wrong = nas.ask(&Request::access("alice").password("000000x").state(&challenge));
    let challenge = wrong.expect(Code::ACCESS_CHALLENGE);
    let code = token.code_now();
    nas.ask(&Request::access("alice").password(&code).state(&challenge)).expect(Code::ACCESS_ACCEPT);

    let [line] = lines_with(&gateway, "accept", 1).try_into().unwrap();
    let expected = [
        ("sign-in", 1),
        ("sign-in/packet", 3),
        ("sign-in/packet/begin", 1),
        ("sign-in/packet/claim", 1),
        ("sign-in/packet/code", 2),
        ("sign-in/packet/commit", 1),
        ("sign-in/packet/enrolment", 1),
        ("sign-in/packet/first factor", 1),
        ("sign-in/packet/issue", 1),
        ("sign-in/packet/policy", 1),
        ("sign-in/packet/reply", 3),
        ("sign-in/packet/retry", 1),
        ("sign-in/packet/take", 2),
    ];
    let spans = whole(&collector, &line, 19);
    let expected: BTreeMap<String, usize> = expected.map(|(path, count)| (path.to_owned(), count)).into();
    assert_eq!(tree(&spans), expected);
    assert_eq!(collector.spans().len(), spans.len(), "there is one trace");

    let root = spans.iter().find(|span| span["parent"] == "").unwrap();
    let (start, end) = (root["start"].as_u64(), root["end"].as_u64());
    for span in &spans {
        assert!(span["start"].as_u64() >= start && span["end"].as_u64() <= end, "{span} leaves {root}");
        assert_eq!(span["error"], false, "{span}");
        let of = &span["resource"];
        assert_eq!((&of["service.name"], &of["service.instance.id"]), (&"orthrus".into(), &"gate-1".into()), "{span}");
    }
    for (key, value) in [
        ("orthrus.attempt", line["attempt"].as_str().unwrap()),
        ("orthrus.client", "nas"),
        ("orthrus.policy", "everybody"),
        ("orthrus.result", "accept"),
        ("user.name", "alice"),
    ] {
        assert_eq!(root["attributes"][key], value, "{key} in {root}");
    }
    let codes =
        spans.iter().filter(|span| span["name"] == "code").map(|span| span["attributes"]["orthrus.result"].as_str());
    assert_eq!(codes.collect::<BTreeSet<_>>(), [Some("right"), Some("wrong")].into());

    gateway.stop();
    assert!(collector.has_seen(b"alice"), "names are seen where they are");
    for secret in [PASSWORD, "000000x", &code, tests::SECRET] {
        assert!(!collector.has_seen(secret.as_bytes()), "{secret} was exported");
    }
    assert!(!collector.has_seen(&challenge.state()), "a State was exported");
}

#[test]
fn rotel_receives_a_push_as_one_trace_and_the_cloud_is_told_which_span_asks() {
    let (collector, cloud) = (Collector::start(), Cloud::start(Settings::default()));
    let setup = entra::setup(&cloud, &["approve"]).of_entra("begin", "polled");
    let gateway = setup.set("telemetry.otlp_endpoint", collector.endpoint()).start();
    assert_eq!(entra::sign_in(&gateway, "approve"), entra::accepted());

    let [line] = lines_with(&gateway, "accept", 1).try_into().unwrap();
    let spans = whole(&collector, &line, 14);
    let paths: Vec<_> = tree(&spans).into_iter().map(|(path, count)| (path, count == 1)).collect();
    let expected = [
        "sign-in",
        "sign-in/packet",
        "sign-in/packet/claim",
        "sign-in/packet/collect",
        "sign-in/packet/enrolment",
        "sign-in/packet/first factor",
        "sign-in/packet/policy",
        "sign-in/packet/reply",
        "sign-in/packet/wait",
        "sign-in/prompt",
        "sign-in/prompt/begin",
        "sign-in/prompt/commit",
        "sign-in/prompt/poll",
        "sign-in/prompt/save",
    ];
    assert_eq!(paths, expected.map(|path| (path.to_owned(), true)));

    let named = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    let header = |span: &Value| Some(format!("00-{}-{}-01", text(&span["trace"]), text(&span["span"])));
    for (operation, span) in [(Operation::Begin, "begin"), (Operation::End, "poll")] {
        let seen = cloud.seen().into_iter().find(|seen| seen.operation == operation).unwrap();
        assert_eq!(seen.header("traceparent"), header(named(span)), "{operation:?}");
    }
    for secret in [entra::PASSWORD, tests::SECRET] {
        assert!(!collector.has_seen(secret.as_bytes()), "{secret} was exported");
    }
    for seen in cloud.seen() {
        let bearer = seen.header("authorization").unwrap_or_default();
        let token = bearer.trim_start_matches("Bearer ");
        assert!(token.is_empty() || !collector.has_seen(token.as_bytes()), "the token was exported");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn a_cloud_is_told_nothing_of_what_is_not_traced() {
    let cloud = Cloud::start(Settings::default());
    let gateway = entra::setup(&cloud, &["approve"]).start();
    assert_eq!(entra::sign_in(&gateway, "approve"), entra::accepted());
    assert!(cloud.seen().iter().all(|seen| seen.header("traceparent").is_none()));
}

#[test]
fn rotel_gets_the_last_spans_of_a_gateway_that_ends_and_no_name_that_is_not_logged() {
    let collector = Collector::start();
    let mut gateway = setup(&collector.endpoint()).set("telemetry.sign_in_log", false).start();
    gateway.nas().ask(&Request::access("alice").password("wrong")).expect(Code::ACCESS_REJECT);
    gateway.stop();
    let spans = eventually("four spans", || Some(collector.spans()).filter(|spans| spans.len() == 4));
    let paths: Vec<String> = tree(&spans).into_keys().collect();
    assert_eq!(paths, ["sign-in", "sign-in/packet", "sign-in/packet/first factor", "sign-in/packet/reply"]);
    assert!(!collector.has_seen(b"alice"));
    let root = spans.iter().find(|span| span["parent"] == "").unwrap();
    assert_eq!(
        (&root["attributes"]["orthrus.reason_id"], &root["error"]),
        (&"ORT-203".into(), &false.into()),
        "{root}"
    );
}

#[test]
fn a_collector_that_is_down_holds_up_no_sign_in() {
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let setup = setup(&format!("http://{nobody}")).set("attempts.repeat_window", "0s");
    // Not what this is about.
    let limits = ["limits.wrong_passwords", "limits.wrong_passwords_of_user", "limits.wrong_passwords_of_station"];
    let mut gateway = limits.into_iter().fold(setup, |setup, limit| setup.set(limit, 0)).start();
    let wrong = |nas: &mut Client| nas.ask(&Request::access("alice").password("wrong")).expect(Code::ACCESS_REJECT);
    let mut nas = gateway.nas();
    (0..200).for_each(|_| drop(wrong(&mut nas)));
    nas.sign_in("alice", PASSWORD, &SoftToken::totp("alice").code_now()).expect(Code::ACCESS_ACCEPT);
    assert_eq!(nas.repetitions(), 0, "every reply came at once");
    gateway.await_metrics("spans are given up", |metrics| metrics.count("orthrus_traces_dropped_total", &[]) > 0);
    gateway.await_log("otlp_endpoint");
    let told = gateway.log_lines().into_iter().filter(|line| line.to_string().contains("otlp_endpoint")).count();
    assert_eq!(told, 1, "it is told once");
    wrong(&mut nas);
    assert!(gateway.stop().success());
}

#[test]
fn without_a_collector_nothing_is_traced_and_nothing_is_counted() {
    let gateway = Setup::new().user("alice", PASSWORD).token(&SoftToken::totp("alice")).start();
    gateway.nas().sign_in("alice", PASSWORD, &SoftToken::totp("alice").code_now()).expect(Code::ACCESS_ACCEPT);
    assert_eq!(gateway.metrics().count("orthrus_traces_dropped_total", &[]), 0);
}
