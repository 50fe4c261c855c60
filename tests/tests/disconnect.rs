//! An operator ends and changes sessions through the NAS that reported them (RFC 5176), and asks the node by its socket.

use gateway_core::radius::{Packet, SharedSecret, attribute, reveal_salted};
use gateway_core::secret::Secret;
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use tests::dae::{DaeNas, Manner};
use tests::setup::{free_udp_port, own_address};
use tests::{Gateway, NAS, SECRET, Setup, eventually};
use toml::Table;

struct Site {
    gateway: Gateway,
    nas: DaeNas,
    accounting: SocketAddr,
}

fn site(manner: Manner) -> Site {
    site_with(manner, "200ms", |setup| setup)
}

fn site_with(manner: Manner, timeout: &str, more: impl FnOnce(Setup) -> Setup) -> Site {
    let nas = DaeNas::start(SECRET, manner);
    let address = own_address();
    let accounting = SocketAddr::from((address, free_udp_port(address)));
    let mut dae = Table::new();
    dae.insert("port".into(), i64::from(nas.port()).into());
    dae.insert("timeout".into(), timeout.into());
    let setup = Setup::new()
        .user("alice", "wonderland")
        .of_client(NAS, "dynamic_authorization", dae)
        .set("accounting.listen", vec![accounting.to_string()])
        .set("accounting.folder", "accounting");
    let gateway = more(setup).start();
    Site { gateway, nas, accounting }
}

impl Site {
    fn run(&self, arguments: &[&str]) -> (Output, String) {
        let output = self.gateway.run(&[arguments, &["--config", "orthrus.toml"]].concat(), "");
        let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
        (output, text)
    }

    fn begin(&self, user: &str, session: &str) {
        self.nas.begin(self.accounting, user, session);
        eventually("the session is known", || self.run(&["sessions"]).1.contains(session).then_some(()));
    }

    fn count(&self, outcome: &str) -> u64 {
        self.gateway.metrics().count("orthrus_dynamic_authorization_total", &[("outcome", outcome)])
    }
}

#[test]
fn every_session_of_a_user_is_ended_and_nobody_elses() {
    let site = site(Manner::Obeys);
    site.begin("Alice", "s-1");
    site.begin("alice", "s-2");
    site.begin("bob", "s-3");
    let (output, text) = site.run(&["sessions", "--user", "ALICE", "--json"]);
    assert!(output.status.success(), "{text}");
    let listed: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(listed["sessions"]["sessions"].as_array().unwrap().len(), 2, "{text}");
    let (output, text) = site.run(&["disconnect", "--user", "alice"]);
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches(": ACK").count(), 2, "{text}");
    assert!(!site.nas.has("s-1") && !site.nas.has("s-2") && site.nas.has("s-3"));
    assert_eq!(site.count("ack"), 2);
    let received = site.nas.received();
    let request = Packet::parse(&received[0]).unwrap();
    assert_eq!(request.first(attribute::NAS_IDENTIFIER), Some(&b"gw-1"[..]));
    assert_eq!(request.first(attribute::CALLING_STATION_ID), Some(&b"198.51.100.7"[..]));
    assert!(request.message_authenticator_is_first());
}

#[test]
fn a_lost_request_is_sent_again_as_it_was() {
    let site = site(Manner::Loses);
    site.begin("alice", "s-1");
    let (output, text) = site.run(&["disconnect", "--session", "s-1"]);
    assert!(output.status.success(), "{text}");
    let received = site.nas.received();
    assert!(received.len() >= 2 && received.iter().all(|octets| *octets == received[0]), "{}", received.len());
    assert!(!site.nas.has("s-1"));
    assert!(site.gateway.metrics().count("orthrus_dynamic_authorization_resent_total", &[("client", NAS)]) >= 1);
}

#[test]
fn what_went_wrong_is_told() {
    for (manner, outcome, words) in [
        (Manner::Refuses(501), "nak", "Administratively Prohibited"),
        (Manner::Silent, "no_answer", "ORT-730"),
        (Manner::Forges, "no_answer", "ORT-732"),
    ] {
        let site = site(manner);
        site.begin("alice", "s-1");
        let (output, text) = site.run(&["disconnect", "--user", "alice"]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(words), "{text}");
        assert_eq!(site.count(outcome), 1, "{words}");
        assert_eq!(site.count("ack"), 0);
    }
}

#[test]
fn a_session_is_changed() {
    let site = site(Manner::Obeys);
    site.begin("alice", "s-1");
    let (output, text) = site.run(&["coa", "--session", "s-1", "--attribute", "Session-Timeout=60"]);
    assert!(output.status.success(), "{text}");
    assert!(site.nas.has("s-1"));
    let received = site.nas.received();
    let request = Packet::parse(&received[0]).unwrap();
    assert_eq!(request.first(attribute::SESSION_TIMEOUT), Some(&[0, 0, 0, 60][..]));
    let (output, text) = site.run(&["coa", "--session", "s-1", "--attribute", "Sesion-Timeout=60"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("did you mean Session-Timeout"), "{text}");
}

#[test]
fn secrets_of_orders_are_hidden() {
    let ascend = "/usr/share/freeradius/dictionary.ascend";
    let site = site_with(Manner::Obeys, "200ms", |setup| setup.dictionaries(&[ascend]));
    site.begin("alice", "s-1");
    let secrets = ["--attribute", "Ascend-Send-Secret=hunter2", "--attribute", "Tunnel-Password:3=hunter2"];
    let (output, text) = site.run(&[&["coa", "--session", "s-1"][..], &secrets].concat());
    assert!(output.status.success(), "{text}");
    let received = site.nas.received();
    assert!(!received[0].windows(7).any(|octets| octets == b"hunter2"));
    let request = Packet::parse(&received[0]).unwrap();
    let secret = SharedSecret::new(Secret::new(SECRET.as_bytes().to_vec()));
    let tunnel = request.first(attribute::TUNNEL_PASSWORD).unwrap();
    assert_eq!(tunnel[0], 3);
    assert_eq!(reveal_salted(&tunnel[1..], &secret, &[0; 16]).unwrap().expose(), b"hunter2");
    assert_eq!(request.vendor(529, 214).next().unwrap().len(), 16);
    let (_, text) = site.run(&["coa", "--session", "s-1", "--attribute", "Tunel-Password=hunter2"]);
    assert!(text.contains("did you mean Tunnel-Password") && !text.contains("hunter2"), "{text}");
}

#[test]
fn errors_say_what_to_do() {
    let mut site = site(Manner::Obeys);
    let (output, text) = site.run(&["disconnect", "--user", "nobody"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("knows of no such session"), "{text}");
    assert!(site.run(&["nodes"]).1.contains("shares no store"));
    let mode = std::fs::metadata(site.gateway.path("state/control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (output, text) = site.run(&["status"]);
    assert!(output.status.success() && text.contains("ready"), "{text}");
    site.gateway.stop();
    assert!(site.run(&["status"]).1.contains("no node is running here"));
}

#[test]
fn operators_beyond_the_limit_are_told_and_counted() {
    // A NAS that says nothing, so that a command takes its time.
    let site = site_with(Manner::Silent, "2s", |setup| setup.set("limits.control_connections", 1));
    site.begin("alice", "s-1");
    std::thread::scope(|scope| {
        let long = scope.spawn(|| site.run(&["disconnect", "--user", "alice"]));
        let (_, text) = eventually("another is turned away", || {
            Some(site.run(&["status"])).filter(|(output, _)| !output.status.success())
        });
        assert!(text.contains("limits.control_connections"), "{text}");
        assert!(long.join().unwrap().1.contains("ORT-730"), "whoever was heard is served to the end");
    });
    assert!(site.gateway.metrics().count("orthrus_limit_hits_total", &[("limit", "control_connections")]) >= 1);
    eventually("there is room again", || site.run(&["status"]).0.status.success().then_some(()));
}
