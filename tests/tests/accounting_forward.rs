//! The sink `forward` to a real FreeRADIUS: what was acknowledged gets there, in order, across restarts of either side and with
//! damage in the spool.

use gateway_core::radius::{Code, Packet, attribute};
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tests::accounting::{INTERIM, Load, START, STOP, listens, nas};
use tests::setup::{free_udp_port, own_address};
use tests::{Gateway, Request, Setup, eventually};

const UPSTREAM: &str = "the secret of the other server";

/// A FreeRADIUS that writes each record into a detail file.
struct Upstream {
    folder: TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl Upstream {
    /// One that is not there yet.
    fn new() -> Self {
        let ip = own_address();
        let address = SocketAddr::from((ip, free_udp_port(ip)));
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display();
        let port = address.port();
        let config = format!(
            "name = upstream\nprefix = /usr\nlibdir = /usr/lib/freeradius\nraddbdir = {dir}\nrun_dir = {dir}\nlogdir = {dir}\n\
             log {{\n destination = files\n file = {dir}/radius.log\n}}\n\
             security {{\n max_attributes = 200\n}}\n\
             client gateway {{\n ipaddr = 127.0.0.0/8\n secret = \"{UPSTREAM}\"\n require_message_authenticator = yes\n}}\n\
             modules {{\n detail {{\n  filename = {dir}/detail\n  permissions = 0600\n  locking = no\n }}\n}}\n\
             server upstream {{\n listen {{\n  type = acct\n  ipaddr = {ip}\n  port = {port}\n }}\n \
             accounting {{\n  detail\n }}\n}}\n"
        );
        fs::write(folder.path().join("radiusd.conf"), config).unwrap();
        Self { folder, address, child: None }
    }

    fn start(&mut self) {
        let child = Command::new("/usr/sbin/freeradius")
            .args(["-f", "-s", "-n", "radiusd", "-d"])
            .arg(self.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("freeradius: {error}; tests/run installs it"));
        self.child = Some(child);
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The values of an attribute in the order of the records.
    fn values(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("detail")).unwrap_or_default();
        let values = text.lines().filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix(" = "));
        values.map(|value| value.trim_matches('"').to_owned()).collect()
    }

    /// The sessions that it knows of, sorted: records of several are sent again each at a time of its own.
    fn sessions(&self) -> Vec<String> {
        let mut sessions = self.values("Acct-Session-Id");
        sessions.sort();
        sessions
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(upstream: &Upstream) -> (Gateway, SocketAddr) {
    start_to(upstream.address)
}

fn start_to(upstream: SocketAddr) -> (Gateway, SocketAddr) {
    let setup = Setup::new()
        .secret("upstream", UPSTREAM)
        .set("accounting.forward_to", upstream.to_string())
        .set("accounting.forward_secret_file", "upstream")
        .set("accounting.forward_timeout", "200ms");
    let (setup, address) = listens(setup);
    (setup.start(), address)
}

fn of(status: u32, session: &str) -> Request {
    Request::accounting(status, session).with(attribute::USER_NAME, b"alice")
}

fn segments(gateway: &Gateway) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(gateway.path("state/accounting-spool"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    paths.sort();
    paths
}

fn drained(gateway: &Gateway) {
    gateway.await_metrics("the spool is empty", |metrics| metrics.count("orthrus_accounting_spool_bytes", &[]) == 0);
}

/// Proofs of somebody do not travel on, and a record with faults of its values is recorded like any other.
#[test]
fn forwarded_record_keeps_secrets_back() {
    let upstream = UdpSocket::bind((own_address(), 0)).unwrap();
    upstream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (gateway, address) = start_to(upstream.local_addr().unwrap());
    let mut nas = nas(address);
    let kept_back = [
        (attribute::USER_PASSWORD, &[7; 17][..]),
        (attribute::CHAP_PASSWORD, &[7; 17]),
        (attribute::STATE, b"state"),
        (attribute::REPLY_MESSAGE, b"hello"),
    ];
    let record = Request::accounting(START, "0001").with(attribute::USER_NAME, b"").with(attribute::CLASS, b"staff");
    let record = kept_back.iter().fold(record, |record, (kind, value)| record.with(*kind, value));
    nas.ask(&record).expect(Code::ACCOUNTING_RESPONSE);
    let mut buffer = [0; 4096];
    let length = upstream.recv(&mut buffer).expect("it is forwarded");
    let packet = Packet::whole(&buffer[..length]).expect("it is RADIUS");
    assert_eq!(
        (packet.first(attribute::CLASS), packet.first(attribute::USER_NAME)),
        (Some(&b"staff"[..]), Some(&b""[..]))
    );
    for (kind, _) in kept_back {
        assert_eq!(packet.first(kind), None, "{kind}");
    }
    assert_eq!(packet.first(attribute::MESSAGE_AUTHENTICATOR), None, "accounting is not signed");
    drop(gateway);
}

#[test]
fn freeradius_gets_records_in_order_with_proxy_state_and_delay_untouched_or_longer() {
    let mut upstream = Upstream::new();
    let (gateway, address) = start(&upstream);
    let mut nas = nas(address);
    // Nobody is there yet, and records are answered all the same.
    for (status, delay) in [(START, 0_u32), (INTERIM, 0), (INTERIM, 5), (STOP, 100)] {
        let request = of(status, "s1")
            .with(attribute::ACCT_DELAY_TIME, &delay.to_be_bytes())
            .with(attribute::PROXY_STATE, b"of another");
        let reply = nas.ask(&request).expect(Code::ACCOUNTING_RESPONSE);
        assert_eq!(reply.all(attribute::PROXY_STATE), [b"of another".to_vec()]);
    }
    assert!(gateway.metrics().count("orthrus_accounting_spool_bytes", &[]) > 0);
    upstream.start();
    drained(&gateway);
    // Three of four: an interim record at the same time as another is the same record to us, within 16 s, without
    // Event-Timestamp.
    assert_eq!(upstream.values("Acct-Status-Type"), ["Start", "Interim-Update", "Stop"]);
    let delay = upstream.values("Acct-Delay-Time").last().cloned().unwrap();
    assert!((100..200).contains(&delay.parse::<u32>().unwrap()), "{delay}");
    assert_eq!(upstream.values("Proxy-State").len(), 3);
    assert_eq!(gateway.metrics().count("orthrus_accounting_forwarded_total", &[]), 3);
}

#[test]
fn freeradius_misses_nothing_when_either_side_dies() {
    let mut upstream = Upstream::new();
    upstream.start();
    let (mut gateway, address) = start(&upstream);
    let load = Load::start(address, 4);
    for turn in 0..6 {
        load.await_more(40);
        if turn % 2 == 0 {
            gateway.kill();
            gateway.start_again();
        } else {
            upstream.stop();
            load.await_more(40);
            upstream.start();
        }
    }
    let answered = load.end();
    drained(&gateway);
    let there = upstream.values("Acct-Session-Id");
    let missing: Vec<_> = answered.iter().filter(|session| !there.contains(session)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    println!("{} answered, {} there (at least once)", answered.len(), there.len());
}

/// Eight records in a spool that nobody takes, and the process gone.
fn spooled(upstream: &Upstream) -> (Gateway, PathBuf, Vec<u8>) {
    let (mut gateway, address) = start(upstream);
    let mut nas = nas(address);
    for number in 0..8 {
        nas.ask(&of(START, &format!("s{number}"))).expect(Code::ACCOUNTING_RESPONSE);
    }
    gateway.kill();
    let segment = segments(&gateway).pop().unwrap();
    let octets = fs::read(&segment).unwrap();
    (gateway, segment, octets)
}

fn aside(segment: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(segment.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_str().unwrap().contains(".damaged-")).collect()
}

#[test]
fn freeradius_gets_what_stands_before_the_cut_of_a_spool_cut_in_half() {
    let mut upstream = Upstream::new();
    let (mut gateway, segment, octets) = spooled(&upstream);
    fs::write(&segment, &octets[..octets.len() / 2 + 3]).unwrap();
    gateway.start_again();
    assert_eq!(gateway.metrics().count("orthrus_accounting_damaged_total", &[("sink", "forward")]), 1);
    gateway.await_log("octets of the spool are no records");
    assert_eq!(fs::read(&aside(&segment)[0]).unwrap(), octets[..octets.len() / 2 + 3]);
    upstream.start();
    drained(&gateway);
    assert_eq!(upstream.sessions(), ["s0", "s1", "s2", "s3"]);
}

#[test]
fn freeradius_gets_what_stands_around_flipped_bits() {
    let mut upstream = Upstream::new();
    let (mut gateway, segment, mut octets) = spooled(&upstream);
    let place = octets.len() / 2 + 20;
    octets[place] ^= 0x40;
    fs::write(&segment, &octets).unwrap();
    gateway.start_again();
    assert_eq!(gateway.metrics().count("orthrus_accounting_damaged_total", &[("sink", "forward")]), 1);
    assert_eq!(fs::read(&aside(&segment)[0]).unwrap(), octets);
    upstream.start();
    drained(&gateway);
    assert_eq!(upstream.sessions(), ["s0", "s1", "s2", "s3", "s5", "s6", "s7"]);
}

#[test]
fn a_full_spool_means_silence_and_a_forged_answer_is_not_believed() {
    let upstream = UdpSocket::bind((own_address(), 0)).unwrap();
    let setup = Setup::new()
        .secret("upstream", UPSTREAM)
        .set("accounting.forward_to", upstream.local_addr().unwrap().to_string())
        .set("accounting.forward_secret_file", "upstream")
        .set("accounting.forward_timeout", "100ms")
        .set("accounting.spool_max_bytes", "1MiB");
    let (setup, address) = listens(setup);
    let gateway = setup.start();
    let mut nas = nas(address).patience(std::time::Duration::from_secs(1));
    let filler = [b'x'; 250];
    let full = (0..400).any(|number| {
        let mut request = of(START, &format!("s{number}"));
        for _ in 0..14 {
            request = request.with(attribute::REPLY_MESSAGE, &filler);
        }
        let sent = nas.encode(&request);
        nas.try_ask(&sent).is_none()
    });
    assert!(full);
    assert_eq!(gateway.metrics().count("orthrus_accounting_failing", &[("sink", "forward")]), 1);
    gateway.await_log("accounting.spool_max_bytes");
    // An answer that proves nothing drains nothing.
    let mut buffer = [0; 4096];
    let (_, from) = upstream.recv_from(&mut buffer).unwrap();
    let mut forged = [0; 20];
    forged[..4].copy_from_slice(&[5, buffer[1], 0, 20]);
    upstream.send_to(&forged, from).unwrap();
    eventually("it is sent again", || {
        (gateway.metrics().count("orthrus_accounting_resent_total", &[]) > 0).then_some(())
    });
    assert_eq!(gateway.metrics().count("orthrus_accounting_forwarded_total", &[]), 0);
}
