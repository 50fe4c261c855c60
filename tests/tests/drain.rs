//! A node that drains begins nothing new, finishes what it began, and ends.

use entra_cloud::{Cloud, Settings};
use gateway_core::radius::Code;
use std::time::Duration;
use tests::entra::{password, setup, upn};
use tests::{Gateway, Redis, eventually};

fn drain(gateway: &Gateway, deadline: &str) -> String {
    let output = gateway.run(&["drain", "--deadline", deadline, "--config", "orthrus.toml"], "");
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn a_drain_finishes_the_sign_in_that_was_begun_and_begins_no_other() {
    let cloud = Cloud::start(Settings::default());
    let gateway = setup(&cloud, &["manual", "manual@other.example"]).start();
    let mut nas = gateway.nas();
    let begun = nas.encode(&password("manual"));
    nas.send(&begun);
    eventually("the phone rings", || (cloud.prompts(&upn("manual")) == 1).then_some(()));
    assert!(drain(&gateway, "60s").contains("1 requests in progress"));
    let (status, body) = gateway.get("/readyz");
    assert_eq!(status, 503, "{body}");
    let new = nas.encode(&password("manual@other.example"));
    nas.send(&new);
    gateway.await_dropped("draining", 1);
    assert_eq!(gateway.metrics().count("orthrus_draining", &[]), 1);
    cloud.person(&upn("manual")).approve();
    nas.await_reply(&begun, Duration::from_secs(15)).expect("it is finished").expect(Code::ACCESS_ACCEPT);
    eventually("the process ends", || gateway.log().contains("\"stopped\"").then_some(()));
    assert_eq!(cloud.prompts("manual@other.example"), 0);
}

#[test]
fn a_drain_over_http_needs_the_token_and_does_the_same() {
    const TOKEN: &str = "00112233445566778899aabbccddeeff";
    let cloud = Cloud::start(Settings::default());
    let setup = setup(&cloud, &["manual"]).secret("orders-token", TOKEN).set("admin.token_file", "orders-token");
    let gateway = setup.start();
    let mut nas = gateway.nas();
    let begun = nas.encode(&password("manual"));
    nas.send(&begun);
    eventually("the phone rings", || (cloud.prompts(&upn("manual")) == 1).then_some(()));
    for token in [None, Some("00112233445566778899aabbccddeef0")] {
        let (status, body) = gateway.order("/api/v1/drain", token, "");
        assert_eq!(status, 401, "{body}");
    }
    assert_eq!(gateway.metrics().count("orthrus_draining", &[]), 0);
    let refused =
        |gateway: &Gateway, why| gateway.metrics().count("orthrus_admin_orders_refused_total", &[("why", why)]);
    assert_eq!((refused(&gateway, "no_token"), refused(&gateway, "wrong_token")), (1, 1));
    // Another token after a reload.
    const OTHER: &str = "ffeeddccbbaa99887766554433221100";
    gateway.write("orders-token", OTHER);
    gateway.reload().expect("it is a good token");
    assert_eq!(gateway.order("/api/v1/drain", Some(TOKEN), "").0, 401);
    let (status, body) = gateway.order("/api/v1/drain", Some(OTHER), r#"{"deadline_seconds":60}"#);
    assert_eq!(status, 202, "{body}");
    assert!(body.contains(r#""in_progress":1"#) && body.contains(r#""deadline_seconds":60"#), "{body}");
    assert_eq!(gateway.get("/readyz").0, 503);
    cloud.person(&upn("manual")).approve();
    nas.await_reply(&begun, Duration::from_secs(15)).expect("it is finished").expect(Code::ACCESS_ACCEPT);
    eventually("the process ends", || gateway.log().contains("\"stopped\"").then_some(()));
    let log = gateway.log();
    assert!(log.contains("an order was refused") && log.contains("a drain was ordered over HTTP"), "{log}");
    assert!(!log.contains(TOKEN) && !log.contains(OTHER), "a token is in the log");
}

#[test]
fn without_a_token_there_are_no_orders_over_http() {
    let gateway = tests::Setup::new().start();
    let (status, body) = gateway.order("/api/v1/drain", Some(""), "");
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("admin.token_file"), "{body}");
    assert_eq!(gateway.get("/readyz").0, 200);
}

#[test]
fn a_drain_ends_at_its_deadline() {
    let cloud = Cloud::start(Settings::default());
    let gateway = setup(&cloud, &["manual"]).start();
    let mut nas = gateway.nas();
    let begun = nas.encode(&password("manual"));
    nas.send(&begun);
    eventually("the phone rings", || (cloud.prompts(&upn("manual")) == 1).then_some(()));
    drain(&gateway, "1s");
    eventually("the process ends", || gateway.log().contains("\"stopped\"").then_some(()));
}

#[test]
fn redis_what_a_draining_node_leaves_the_other_takes() {
    let (cloud, redis) = (Cloud::start(Settings::default()), Redis::start());
    let node = |name: &str| setup(&cloud, &["manual", "manual@other.example"]).sharing(&redis, name).start();
    let (a, b) = (node("a"), node("b"));
    let (mut at_a, mut at_b) = (a.nas(), b.nas());
    let begun = at_a.encode(&password("manual"));
    at_a.send(&begun);
    eventually("the phone rings", || (cloud.prompts(&upn("manual")) == 1).then_some(()));
    drain(&a, "60s");
    at_a.send(&at_a_new(&mut a.nas()));
    a.await_dropped("draining", 1);
    let new = at_b.encode(&password("manual@other.example"));
    at_b.send(&new);
    eventually("the other phone rings", || (cloud.prompts("manual@other.example") == 1).then_some(()));
    cloud.person(&upn("manual")).approve();
    cloud.person("manual@other.example").approve();
    at_a.await_reply(&begun, Duration::from_secs(15)).expect("it is finished").expect(Code::ACCESS_ACCEPT);
    at_b.await_reply(&new, Duration::from_secs(15)).expect("the other node took it").expect(Code::ACCESS_ACCEPT);
    eventually("the process ends", || a.log().contains("\"stopped\"").then_some(()));
    assert_eq!((cloud.prompts(&upn("manual")), cloud.prompts("manual@other.example")), (1, 1));
    eventually("the node is gone from the list", || {
        let output = b.run(&["nodes", "--config", "orthrus.toml"], "");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (text.contains("\nb ") && !text.contains("\na ")).then_some(())
    });
}

fn at_a_new(nas: &mut tests::Client) -> tests::client::Sent {
    nas.encode(&password("manual@other.example"))
}
