//! What balancers see: a port that takes connections while the node is ready and refuses them while it is not, and a sign-in of
//! the node's own that decides with it.

use gateway_core::radius::{Code, attribute};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use tests::setup::{free_tcp_port, own_address};
use tests::{Gateway, Request, Setup, SoftToken, eventually};
use toml::{Table, Value};

const POLICIES: &str = "[[policies]]\nname = \"health\"\nclients = [\"(self)\"]\nusers = [\"health\"]\nsecond_factor = \"off\"\n\
                        [[policies]]\nname = \"all\"\n";

fn health_port() -> SocketAddr {
    let address = own_address();
    SocketAddr::from((address, free_tcp_port(address)))
}

/// A user who is signed in by the node itself, every second.
fn signs_in(setup: Setup) -> Setup {
    signs_in_as("health", setup)
}

fn signs_in_as(user: &str, setup: Setup) -> Setup {
    let mut section = Table::new();
    for (key, value) in [
        ("user", Value::from(user)),
        ("password_file", "health-password".into()),
        ("interval", "1s".into()),
        ("failures", 2.into()),
    ] {
        section.insert(key.into(), value);
    }
    setup.set("health.sign_in", section).secret("health-password", "wonderland\n").policies(POLICIES)
}

fn opens(port: SocketAddr) {
    eventually("the port takes connections", || TcpStream::connect(port).ok().map(drop));
}

fn closes(port: SocketAddr) {
    eventually("the port refuses connections", || TcpStream::connect(port).is_err().then_some(()));
}

fn ask(port: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(port).expect("the port is open");
    stream.set_read_timeout(Some(tests::PATIENCE)).expect("it is ours");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = String::new();
    // Whoever is hung up on hears nothing.
    let _ = stream.read_to_string(&mut answer);
    answer
}

fn check(gateway: &Gateway, name: &str) -> (bool, String) {
    let (_, body) = gateway.get("/readyz");
    let body: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
    let checks = body["checks"].as_array().expect("a list");
    let check = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {body}"));
    (check["ok"].as_bool().expect("a conclusion"), check["detail"].as_str().expect("text").to_owned())
}

#[test]
fn the_port_is_open_while_the_node_is_ready_and_speaks_http() {
    let port = health_port();
    let mut gateway = Setup::new().user("alice", "wonderland").set("health.listen", port.to_string()).start();
    opens(port);
    for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS / HTTP/1.0\r\n\r\n"] {
        let answer = ask(port, request);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nready\n"), "{answer}");
    }
    assert!(ask(port, "HEAD /ready HTTP/1.1\r\n\r\n").ends_with("Connection: close\r\n\r\n"));
    // What is no HTTP, or has no end, gets no answer and holds nothing for long.
    assert_eq!(ask(port, "hello\r\n\r\n"), "");
    assert_eq!(ask(port, &"x".repeat(100_000)), "");
    let descriptors = gateway.descriptors();
    let crowd: Vec<_> = (0..200).filter_map(|_| TcpStream::connect(port).ok()).collect();
    gateway.await_metrics("the limit is met", |metrics| {
        metrics.count("orthrus_limit_hits_total", &[("limit", "health.connections")]) > 0
    });
    assert!(gateway.descriptors() <= descriptors + 64 + 8, "{} then {}", descriptors, gateway.descriptors());
    drop(crowd);
    assert_eq!(gateway.metrics().count("orthrus_ready", &[("check", "listeners")]), 1);
    gateway.stop();
    closes(port);
}

#[test]
fn a_node_that_drains_refuses_connections_while_it_still_works() {
    let port = health_port();
    // A password that is checked for long: the node has something to finish.
    let gateway = Setup::new().slow_user("slow", "m=65536,t=60,p=1").set("health.listen", port.to_string()).start();
    opens(port);
    let mut nas = gateway.nas();
    let sent = nas.encode(&Request::access("slow").password("x"));
    nas.send(&sent);
    gateway.await_metrics("it is in progress", |metrics| metrics.count("orthrus_requests_in_progress", &[]) == 1);
    gateway.terminate();
    closes(port);
    let answered = nas.await_reply(&sent, std::time::Duration::from_secs(60));
    answered.expect("what is under way is finished").expect(Code::ACCESS_REJECT);
}

#[test]
fn the_node_signs_in_by_itself_and_is_not_ready_when_it_cannot() {
    let port = health_port();
    let setup = signs_in(Setup::new().user("health", "wonderland").user("alice", "in"));
    let gateway = setup.set("health.listen", port.to_string()).start();
    opens(port);
    assert!(check(&gateway, "sign_in").0);
    gateway.await_metrics("it signs in again", |metrics| metrics.count("orthrus_self_sign_in_seconds_count", &[]) >= 2);
    let own = gateway.await_sign_in_lines(1).into_iter().find(|line| line["client"] == "(self)").expect("a line");
    assert_eq!((own["result"].as_str(), own["policy"].as_str()), (Some("accept"), Some("health")));
    // The back end no longer knows the user: the real sign-in fails, and with it the node.
    gateway.write("users", &tests::setup::user("alice", "in", &[]));
    closes(port);
    let (ok, detail) = check(&gateway, "sign_in");
    assert!(!ok && detail.contains("rejected"), "{detail}");
    assert_eq!(gateway.get("/readyz").0, 503);
    assert_eq!(gateway.get("/livez").0, 200);
    let metrics = gateway.metrics();
    assert!(metrics.count("orthrus_self_sign_in_failures_total", &[("failure", "rejected")]) >= 2);
    assert_eq!(metrics.count("orthrus_ready", &[("check", "sign_in")]), 0);
    gateway.await_log("ORT-535");
    gateway.write("users", &tests::setup::user("health", "wonderland", &[]));
    opens(port);
}

#[test]
fn nobody_is_asked_for_a_second_factor_by_it() {
    // The policy in force changes under the user: from now on a code is wanted.
    let gateway = signs_in(Setup::new().user("health", "wonderland").token(&SoftToken::totp("health"))).start();
    gateway.write("orthrus.toml", &{
        let text = std::fs::read_to_string(gateway.path("orthrus.toml")).expect("it was written");
        // A group nobody knows before the password is checked: the configuration cannot be told to be wrong.
        text.replace(
            "[[policies]]\nname = \"health\"",
            "[[policies]]\nname = \"staff\"\ngroups = [\"staff\"]\n[[policies]]\nname = \"health\"",
        )
    });
    gateway.reload().expect("it can be used");
    gateway.write("users", &tests::setup::user("health", "wonderland", &["staff"]));
    let asked = gateway.await_metrics("it is refused", |metrics| metrics.refused("self_sign_in_second_factor") >= 2);
    assert_eq!(asked.count("orthrus_mfa_requests_total", &[]), 0, "a factor was asked");
    assert_eq!(asked.ended("challenge"), 0);
    assert!(!check(&gateway, "sign_in").0);
}

#[test]
fn its_client_is_reached_from_no_socket() {
    let gateway =
        signs_in(Setup::new().user("health", "wonderland")).of_client(tests::NAS, "addresses", vec!["192.0.2.1"]);
    let gateway = gateway.start();
    for secret in ["", "\0", tests::SECRET, "(self)"] {
        let mut stranger = tests::Client::new(gateway.address(), secret);
        let sent = stranger.encode(&Request::access("health").password("wonderland"));
        stranger.send(&sent);
    }
    gateway.await_dropped("unknown_client", 4);
}

/// The policies of the example that the pages show.
fn documented_policies() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/health.toml");
    let example: Table = std::fs::read_to_string(path).expect("it is there").parse().expect("it is TOML");
    let mut policies = Table::new();
    policies.insert("policies".into(), example["policies"].clone());
    policies.to_string()
}

#[test]
fn documented_account_opens_nothing_else() {
    let setup = Setup::new().user("orthrus-health", "wonderland").user("alice", "in").token(&SoftToken::hotp("alice"));
    let setup = signs_in_as("orthrus-health", setup.token(&SoftToken::hotp("orthrus-health")));
    let gateway = setup.policies(&documented_policies()).start();
    eventually("it signs in", || check(&gateway, "sign_in").0.then_some(()));
    let mut nas = gateway.nas();
    // The right password, in every spelling, by whatever protocol, and with the claim to be the node itself.
    for request in [
        Request::access("orthrus-health").password("wonderland"),
        Request::access("Orthrus-HEALTH").password("wonderland"),
        Request::access("orthrus-health").password("wrong"),
        Request::access("orthrus-health").password("wonderland").with(attribute::NAS_IDENTIFIER, b"(self)"),
        Request::access("alice").password("in").with(attribute::NAS_IDENTIFIER, b"(self)"),
    ] {
        let before = gateway.metrics().refused("self_sign_in_elsewhere");
        nas.ask(&request).expect(Code::ACCESS_REJECT);
        assert_eq!(gateway.metrics().refused("self_sign_in_elsewhere"), before + 1);
    }
    nas.ask(&Request::access("alice").password("in")).expect(Code::ACCESS_CHALLENGE);
    gateway.await_metrics("it still signs in", |metrics| metrics.count("orthrus_self_sign_in_seconds_count", &[]) >= 2);
}

#[test]
fn waiver_elsewhere_is_a_fault() {
    let waiver = |clients: &str, need: &str| {
        format!(
            "[[policies]]\nname = \"health\"\nusers = [\"HEALTH\", \"other\"]\n{clients}\nsecond_factor = \"{need}\"\n[[policies]]\nname = \"all\"\n"
        )
    };
    for (clients, need) in [
        ("", "off"),
        ("", "if_enrolled"),
        ("clients = [\"nas\"]", "off"),
        ("clients = [\"(self)\", \"nas\"]", "off"),
        ("not_clients = [\"(self)\"]", "off"),
    ] {
        let folder = tempfile::tempdir().expect("there is a folder");
        let own = POLICIES.split("[[policies]]\nname = \"all\"").next().unwrap_or_default();
        let policies = format!("{own}{}", waiver(clients, need).replacen("name = \"health\"", "name = \"waiver\"", 1));
        signs_in(Setup::new().user("health", "wonderland")).policies(&policies).write(folder.path());
        let output = tests::gateway::run(folder.path(), &["check-config", "orthrus.toml"], "");
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{clients} {need}: {said}");
        assert!(said.contains("policies[1].clients") && said.contains("for other clients"), "{said}");
    }
}

#[test]
fn what_cannot_work_is_said_before_the_start() {
    let folder = tempfile::tempdir().expect("there is a folder");
    let setup = signs_in(Setup::new().user("health", "wonderland"));
    let setup = setup.policies("[[policies]]\nname = \"all\"\n");
    setup.write(folder.path());
    let output = tests::gateway::run(folder.path(), &["check-config", "orthrus.toml"], "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("health.sign_in.user"), "{said}");
    assert!(said.contains("without a second factor"), "{said}");
}
