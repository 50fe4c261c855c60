//! Floods at the doors beside RADIUS: nobody is kept out of sign-ins, health or orders by who only connects, and what the node lacks
//! is no reason to refuse anybody.

use entra_cloud::{Cloud, Settings};
use gateway_core::radius::{Code, attribute};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tests::entra::{accepted, lines, password, setup, sign_in, sign_in_with, upn};
use tests::setup::{free_tcp_port, own_address};
use tests::{Gateway, Redis, Request, Setup, SoftToken, eventually, mschap};

const OFF: &str = "[[policies]]\nname = \"open\"\nsecond_factor = \"off\"\n";

fn health_port() -> SocketAddr {
    let address = own_address();
    SocketAddr::from((address, free_tcp_port(address)))
}

/// What a balancer is told, if anything.
fn health(port: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(port).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").ok()?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    Some(answer).filter(|answer| !answer.is_empty())
}

/// The test itself holds all those connections.
fn have_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("the kernel tells");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(16_384), hard).expect("up to the hard limit anybody may");
}

fn half_request(port: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&port, Duration::from_secs(1)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHo").ok()?;
    Some(stream)
}

/// Told when it is dropped, so that a test that fails ends, too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn half_requests_starve_nobody() {
    have_descriptors();
    let cloud = Cloud::start(Settings::default());
    let port = health_port();
    let setup = setup(&cloud, &["approve", "sms1"]).set("health.listen", port.to_string());
    let gateway = Gateway::start_with_descriptors(setup, 400);
    let (admin, over) = (gateway.admin(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let flood: Vec<_> = (0..1_100).filter_map(|_| half_request(admin)).collect();
        assert!(flood.len() > 1_000, "{} connections", flood.len());
        // Whoever is turned away comes again.
        let _over = Over(&over);
        scope.spawn(|| {
            let mut flood = flood;
            for place in (0..flood.len()).cycle() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                if let Some(fresh) = half_request(admin) {
                    flood[place] = fresh;
                }
            }
        });
        for _ in 0..3 {
            assert_eq!(sign_in(&gateway, "approve"), accepted());
            let code = || cloud.person(&upn("sms1")).sms_code();
            assert_eq!(sign_in_with(&gateway, "sms1", code).code, Code::ACCESS_ACCEPT);
            let answer = health(port).expect("the balancer is answered");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert_eq!(gateway.get("/readyz").0, 200);
            assert!(gateway.descriptors() < 400);
        }
        let hits = gateway.metrics().count("orthrus_limit_hits_total", &[("limit", "admin.connections")]);
        assert!(hits > 1_000 - 64, "{hits}");
    });
}

#[test]
fn exhausted_node_leaves_users_alone() {
    let cloud = Cloud::start(Settings::default());
    let gateway = setup(&cloud, &["approve"]).start();
    let mut nas = gateway.nas();
    let sent = nas.encode(&password("approve"));
    gateway.leave_descriptors(0);
    nas.send(&sent);
    let line = eventually("it is told", || lines(&gateway, "approve").first().cloned());
    assert_eq!((line["result"].as_str(), line["reason"].as_str()), (Some("silence"), Some("node_exhausted")), "{line}");
    assert!(nas.hears_nothing());
    // Enough for who asks how it is.
    gateway.leave_descriptors(5);
    let (status, body) = gateway.get("/readyz");
    assert!(status == 503 && body.contains("LimitNOFILE"), "{body}");
    assert_eq!(gateway.metrics().count("orthrus_ready", &[("check", "means")]), 0);
    gateway.leave_descriptors(500);
    eventually("it is ready again", || (gateway.get("/readyz").0 == 200).then_some(()));
    let reply = nas.try_ask(&sent).expect("the same packet comes again");
    reply.expect(Code::ACCESS_ACCEPT);
    assert_eq!((cloud.prompts(&upn("approve")), gateway.metrics().ended("reject")), (1, 0));
}

#[test]
fn silent_connections_fail_no_health_check() {
    have_descriptors();
    let port = health_port();
    let gateway = Setup::new().user("alice", "wonderland").set("health.listen", port.to_string()).start();
    eventually("it takes connections", || health(port).map(drop));
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.extend((0..80).filter_map(|_| TcpStream::connect(port).ok()));
        let answer = health(port).expect("the balancer is answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(gateway.metrics().count("orthrus_limit_hits_total", &[("limit", "health.connections")]) > 0);
}

#[test]
fn silent_operators_give_way() {
    let gateway = Setup::new().user("alice", "wonderland").start();
    let socket = gateway.path("state/control.sock");
    let silent: Vec<_> = (0..64).map(|_| UnixStream::connect(&socket).expect("it listens")).collect();
    for _ in 0..5 {
        let output = gateway.run(&["status", "--config", "orthrus.toml"], "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(gateway.metrics().count("orthrus_limit_hits_total", &[("limit", "control_connections")]) >= 48);
    drop(silent);
}

#[test]
fn password_changes_take_turns() {
    let names: Vec<String> = (0..150).map(|number| format!("user{number}")).collect();
    let setup = Setup::new().policies(OFF).of_first_factor("change_passwords", true);
    let gateway = names.iter().fold(setup, |setup, name| setup.user(name, "wonderland")).start();
    let packets = mschap::changes(&names, "wonderland", "another land");
    let (threads, memory) = (gateway.told_by_kernel("Threads"), gateway.told_by_kernel("VmHWM"));
    let sockets: Vec<UdpSocket> = packets
        .iter()
        .map(|packet| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
            socket.connect(gateway.address()).expect("it is loopback");
            socket.set_nonblocking(true).expect("it is ours");
            socket.send(packet).expect("loopback takes it");
            socket
        })
        .collect();
    let (mut most, mut looks) = (threads, 0_usize);
    let mut replies = vec![None; sockets.len()];
    eventually("everybody is answered", || {
        most = most.max(gateway.told_by_kernel("Threads"));
        looks += 1;
        for ((socket, packet), reply) in sockets.iter().zip(&packets).zip(&mut replies) {
            let mut buffer = [0; 4096];
            if socket.recv(&mut buffer).is_ok() {
                *reply = Some(Code::from(buffer[0]));
            } else if reply.is_none() && looks.is_multiple_of(400) {
                socket.send(packet).expect("loopback takes it");
            }
        }
        replies.iter().all(Option::is_some).then_some(())
    });
    assert!(replies.iter().all(|reply| *reply == Some(Code::ACCESS_ACCEPT)), "{replies:?}");
    assert!(most <= threads + 12, "{threads} threads, then {most}");
    let used = gateway.told_by_kernel("VmHWM") - memory;
    assert!(used < 200 << 10, "{used} KiB more");
    let users = std::fs::read_to_string(gateway.path("users")).expect("it is there");
    assert_eq!((users.matches("another land").count(), users.matches("wonderland").count()), (150, 0));
}

#[test]
fn forged_state_leaves_nothing_in_redis() {
    let redis = Redis::start();
    let token = SoftToken::totp("alice");
    let gateway = Setup::new().user("alice", "wonderland").token(&token).sharing(&redis, "a").start();
    let mut nas = gateway.nas();
    let challenge = nas.ask(&Request::access("alice").password("wonderland")).expect(Code::ACCESS_CHALLENGE);
    let keys = || {
        let listed = redis.cli(&["--scan"]);
        listed.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    let before = keys();
    assert!(!before.is_empty());
    for number in 0..48 {
        let mut state = challenge.state();
        state[number] ^= 0x55;
        let forged = Request::access("alice").password("000000").with(attribute::STATE, &state);
        nas.ask(&forged).expect(Code::ACCESS_REJECT);
    }
    let news: Vec<String> = keys().difference(&before).cloned().collect();
    assert!(news.is_empty(), "{news:?}");
    assert_eq!(gateway.metrics().refused("state_forged"), 48);
    // A right one is shared as ever.
    let wrong = Request::access("alice").password("000000").state(&challenge);
    nas.ask(&wrong).expect(Code::ACCESS_CHALLENGE);
    assert!(keys().difference(&before).count() > 0);
}
