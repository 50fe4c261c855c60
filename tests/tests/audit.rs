//! The audit: what happened is on the disk before it is answered, and nobody changes it unseen.

use gateway_core::radius::Code;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use tests::accounting::Image;
use tests::{Client, Gateway, Request, SECRET, Setup, SoftToken, eventually};

const PASSWORD: &str = "correct-horse-8675309";
const WRONG: &str = "wrong-password-5551212";
const POLICIES: &str =
    "[[policies]]\nname = \"open\"\ngroups = [\"robots\"]\nsecond_factor = \"off\"\n[[policies]]\nname = \"coded\"\n";

fn setup() -> Setup {
    Setup::new()
        .user("alice", PASSWORD)
        .user_in("robot", PASSWORD, &["robots"])
        .token(&SoftToken::hotp("alice"))
        .policies(POLICIES)
        .set("audit.folder", "audit")
}

/// The files of the audit, the oldest first.
fn files(folder: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(folder).expect("there is a folder").map(|entry| entry.expect("an entry").path());
    let mut closed: Vec<PathBuf> = names
        .filter(|path| path.to_str().is_some_and(|name| name.contains("audit-") && name.ends_with(".jsonl")))
        .collect();
    closed.sort();
    closed.push(folder.join("audit.jsonl"));
    closed
}

/// The lines of the audit, the oldest first.
fn lines(folder: &Path) -> Vec<Value> {
    let text: String = files(folder).iter().map(|path| fs::read_to_string(path).expect("it can be read")).collect();
    tests::lines::assert_plain(&text);
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole.map(|line| serde_json::from_str(line).expect("it was read before")).collect()
}

/// Whether `orthrus audit verify` finds the chain whole, and what it says.
fn verify(gateway: &Gateway) -> (bool, String) {
    let output = gateway.run(&["audit", "verify", "--config", "orthrus.toml"], "");
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), told)
}

fn assert_whole(gateway: &Gateway) {
    let (whole, told) = verify(gateway);
    assert!(whole && told.starts_with("The chain is whole: lines 1 to "), "{told}");
}

fn play(gateway: &Gateway) {
    let token = SoftToken::hotp("alice");
    let mut nas = gateway.nas();
    let first = Request::access("alice").password(PASSWORD).station("198.51.100.7");
    let challenge = nas.ask(&first).expect(Code::ACCESS_CHALLENGE);
    let answer = |code: &str| Request::access("alice").password(code).station("198.51.100.7");
    let challenge = nas.ask(&answer(&token.wrong_code(0)).state(&challenge)).expect(Code::ACCESS_CHALLENGE);
    nas.ask(&answer(&token.code(0)).state(&challenge)).expect(Code::ACCESS_ACCEPT);
    nas.ask(&Request::access("robot").password(WRONG)).expect(Code::ACCESS_REJECT);
}

#[test]
fn audit_tells_what_happened() {
    let mut gateway = setup().start();
    play(&gateway);
    let mut forger = Client::new(gateway.address(), "not-the-secret");
    let forged = forger.encode(&Request::access("alice").password(PASSWORD));
    forger.send(&forged);
    gateway.await_dropped("bad_message_authenticator", 1);
    gateway.run(&["sessions", "--user", "alice", "--config", "orthrus.toml"], "");
    gateway.reload().unwrap();
    gateway.stop();
    let lines = lines(&gateway.path("audit"));
    let told: Vec<(&str, &str, &str, &str)> = lines
        .iter()
        .map(|line| ["event", "user", "result", "reason_id"].map(|key| line[key].as_str().unwrap_or_default()))
        .map(|[event, user, result, reason]| (event, user, result, reason))
        .filter(|(event, ..)| *event != "dropped")
        .collect();
    let wanted = [
        ("started", "", "", ""),
        ("password", "alice", "passed", ""),
        ("outcome", "alice", "challenge", ""),
        ("code", "alice", "refused", "ORT-403"),
        ("outcome", "alice", "challenge", ""),
        ("code", "alice", "passed", ""),
        ("outcome", "alice", "accept", ""),
        ("password", "robot", "refused", "ORT-203"),
        ("outcome", "robot", "reject", "ORT-203"),
        ("command", "", "", ""),
        ("reload", "", "in_force", ""),
        ("stopped", "", "", ""),
    ];
    assert_eq!(told, wanted);
    let accept = lines.iter().find(|line| line["result"] == "accept").expect("it was found before");
    for (key, value) in [
        ("client", "nas"),
        ("station", "198.51.100.7"),
        ("first_factor", "staff"),
        ("second_factor", "code"),
        ("policy", "coded"),
    ] {
        assert_eq!(accept[key], value, "{accept}");
    }
    assert!(lines.iter().filter(|line| line["user"] == "alice").all(|line| line["attempt"] == accept["attempt"]));
    let dropped = lines.iter().find(|line| line["event"] == "dropped").expect("the sum is told");
    assert_eq!((&dropped["reason"], &dropped["packets"]), (&"bad_message_authenticator".into(), &1.into()));
    let command = lines.iter().find(|line| line["event"] == "command").expect("it was found before");
    assert_eq!(command["command"], "sessions user=alice");
    let account = fs::metadata(gateway.path("state")).unwrap().uid();
    assert_eq!(command["uid"].as_u64(), Some(account.into()));
    assert!(command["pid"].as_u64().is_some_and(|pid| pid > 1), "{command}");
    assert_whole(&gateway);
    let text = fs::read_to_string(gateway.path("audit/audit.jsonl")).unwrap();
    for secret in [PASSWORD, WRONG, SECRET, &SoftToken::hotp("alice").secret()] {
        assert!(!text.contains(secret), "{secret} stands in the audit");
    }
}

#[test]
fn kill_loses_no_acknowledged_outcome() {
    let mut gateway = setup().set("audit.rotate_size", "64KiB").start();
    let answered = Mutex::new(BTreeMap::new());
    for life in 0..3 {
        std::thread::scope(|scope| {
            for nas in 0..8 {
                let (answered, address) = (&answered, gateway.address());
                scope.spawn(move || {
                    let mut client = Client::new(address, SECRET);
                    for turn in 0_u64.. {
                        let station = format!("{life}-{nas}-{turn}");
                        let password = if turn % 3 == 0 { WRONG } else { PASSWORD };
                        let sent = client.encode(&Request::access("robot").password(password).station(&station));
                        client.send(&sent);
                        let Some(reply) = client.await_reply(&sent, Duration::from_secs(5)) else { return };
                        let result = if reply.code() == Code::ACCESS_ACCEPT { "accept" } else { "reject" };
                        answered.lock().unwrap().insert(station, result);
                    }
                });
            }
            let before = answered.lock().unwrap().len();
            eventually("many are answered", || (answered.lock().unwrap().len() > before + 300).then_some(()));
            gateway.kill();
        });
        gateway.start_again();
        assert_whole(&gateway);
    }
    let lines = lines(&gateway.path("audit"));
    let outcomes: BTreeMap<&str, &str> = lines
        .iter()
        .filter(|line| line["event"] == "outcome")
        .map(|line| (line["station"].as_str().unwrap(), line["result"].as_str().unwrap()))
        .collect();
    let answered = answered.into_inner().unwrap();
    for (station, result) in &answered {
        assert_eq!(outcomes.get(station.as_str()), Some(result), "{station} was answered and is not in the audit");
    }
    assert!(files(&gateway.path("audit")).len() > 3, "it went over several files");
    let syncs = gateway.metrics().count("orthrus_audit_syncs_total", &[]);
    println!("{} outcomes in {} lines; {syncs} calls of fdatasync in the last life", answered.len(), lines.len());
}

#[test]
fn full_disk_means_silence() {
    let image = Image::new(16);
    let folder = image.path().join("audit");
    let gateway = setup().set("audit.folder", folder.to_str().expect("it is text")).start();
    let mut nas = gateway.nas().patience(Duration::from_millis(300));
    let ask = |nas: &mut Client, station: &str| {
        let sent = nas.encode(&Request::access("robot").password(PASSWORD).station(station));
        nas.send(&sent);
        nas.await_reply(&sent, Duration::from_millis(300))
    };
    assert!(ask(&mut nas, "before").is_some());
    let ballast = image.path().join("ballast");
    let mut file = File::create(&ballast).unwrap();
    eventually("nobody is answered", || {
        for size in [1 << 20, 1 << 12, 1] {
            while file.write_all(&vec![7; size]).and_then(|()| file.sync_data()).is_ok() {}
        }
        (0..20).all(|_| ask(&mut nas, "silent").is_none()).then_some(())
    });
    gateway.await_metrics("it says so", |metrics| metrics.count("orthrus_audit_failing", &[]) == 1);
    let (status, body) = gateway.get("/readyz");
    assert!(status == 503 && body.contains("make room in audit.folder"), "{status} {body}");
    let refused = gateway.run(&["drain", "--config", "orthrus.toml"], "");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("what is not audited is not done"), "{refused:?}");
    assert!(gateway.run(&["status", "--config", "orthrus.toml"], "").status.code().is_some());
    fs::remove_file(&ballast).unwrap();
    drop(file);
    eventually("people are answered again", || ask(&mut nas, "after"));
    eventually("it is ready again", || (gateway.get("/readyz").0 == 200).then_some(()));
    let lines = lines(&folder);
    let missing = lines.iter().find(|line| line["event"] == "unwritten").expect("what is missing is told");
    assert!(missing["lines"].as_u64().is_some_and(|lines| lines > 0));
    assert!(lines.iter().any(|line| line["station"] == "after" && line["result"] == "accept"));
    assert_whole(&gateway);
}

/// Plays, stops, changes the files, and lets the change be found.
fn tampered(change: impl FnOnce(&Path)) -> (Gateway, String) {
    let mut gateway = setup().start();
    play(&gateway);
    gateway.stop();
    assert_whole(&gateway);
    change(&gateway.path("audit"));
    let (whole, told) = verify(&gateway);
    assert!(!whole, "{told}");
    (gateway, told)
}

fn edit(folder: &Path, change: impl FnOnce(&mut Vec<String>)) {
    let path = folder.join("audit.jsonl");
    let mut lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
    change(&mut lines);
    fs::write(&path, lines.join("\n") + "\n").unwrap();
}

#[test]
fn changed_lines_are_found() {
    let (_gateway, told) = tampered(|folder| edit(folder, |lines| lines[8] = lines[8].replace("reject", "accept")));
    assert!(told.contains("audit.jsonl, line 9 of the file: its seal is wrong"), "{told}");
    let (_gateway, told) = tampered(|folder| edit(folder, |lines| drop(lines.remove(3))));
    assert!(told.contains("line 4 of the file: lines 4 to 4, which stood before it, are missing"), "{told}");
    let (_gateway, told) = tampered(|folder| edit(folder, |lines| lines.swap(5, 6)));
    assert!(told.contains("line 6 of the file"), "{told}");
    let (_gateway, told) = tampered(|folder| edit(folder, |lines| drop(lines.drain(..2))));
    assert!(told.contains("Lines 1 to 2 are gone"), "{told}");
    let (_gateway, told) = tampered(|folder| fs::remove_file(folder.join("audit.jsonl")).unwrap());
    assert!(told.contains("it is gone"), "{told}");
}

#[test]
fn cut_lines_are_found() {
    let (mut gateway, told) = tampered(|folder| edit(folder, |lines| lines.truncate(7)));
    assert!(told.contains("Lines 8 to 10 were cut off the end"), "{told}");
    // The node finds it too, and its own lines do not hide it.
    gateway.start_again();
    gateway.await_log("lines were cut off its end");
    play_robot(&gateway);
    gateway.stop();
    let lines = lines(&gateway.path("audit"));
    let cut = lines.iter().find(|line| line["event"] == "cut").expect("the node tells");
    assert_eq!((&cut["from"], &cut["to"]), (&8.into(), &10.into()));
    let (whole, told) = verify(&gateway);
    assert!(!whole && told.contains("lines 8 to 10, which stood before it, are missing"), "{told}");
}

fn play_robot(gateway: &Gateway) {
    gateway.nas().ask(&Request::access("robot").password(PASSWORD)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn another_key_verifies_nothing() {
    let (_gateway, told) = tampered(|folder| {
        let key = folder.parent().unwrap().join("state/audit-key");
        fs::write(key, [7; 32]).unwrap();
    });
    assert!(told.contains("audit-head") || told.contains("is sealed under the key"), "{told}");
}

#[test]
fn cluster_key_seals_and_changes() {
    let key = |text: &str| format!("{text}-0123456789-0123456789-0123456789");
    let mut gateway =
        setup().set("cluster.key_file", "key").secret("key", &key("first")).secret("second", &key("second")).start();
    play_robot(&gateway);
    gateway.stop();
    assert!(!gateway.path("state/audit-key").exists(), "a node with a cluster key needs none of its own");
    gateway.edit_config(|text| text.replace("key_file = \"key\"", "key_file = \"second\"\nsecond_key_file = \"key\""));
    gateway.start_again();
    play_robot(&gateway);
    gateway.stop();
    assert_whole(&gateway);
}

#[test]
fn syslog_gets_a_copy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    daemon.set_read_timeout(Some(tests::PATIENCE)).unwrap();
    let gateway = setup().set("audit.syslog", path.to_str().unwrap()).start();
    play_robot(&gateway);
    let mut octets = [0; 8192];
    let copied = eventually("the accept is copied", || {
        let length = daemon.recv(&mut octets).expect("a line");
        let line = String::from_utf8(octets[..length].to_vec()).expect("text");
        line.contains("\"result\":\"accept\"").then_some(line)
    });
    assert!(copied.starts_with("<86>1 20"), "{copied}");
    let json = copied.split_once(" audit - ").expect("the message id").1;
    assert!(fs::read_to_string(gateway.path("audit/audit.jsonl")).unwrap().lines().any(|line| line == json));
    // A daemon that is gone holds nobody up, and what it does not get is counted.
    drop(daemon);
    fs::remove_file(path).unwrap();
    play_robot(&gateway);
    gateway.await_metrics("the loss is counted", |metrics| {
        metrics.count("orthrus_audit_lost_total", &[("place", "syslog")]) > 0
    });
}

#[test]
fn sign_ins_share_a_sync() {
    let gateway = setup().start();
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        for nas in 0..32 {
            let address = gateway.address();
            scope.spawn(move || {
                let mut client = Client::new(address, SECRET);
                for turn in 0..20 {
                    let station = format!("{nas}-{turn}");
                    let request = Request::access("robot").password(PASSWORD).station(&station);
                    client.ask(&request).expect(Code::ACCESS_ACCEPT);
                }
            });
        }
    });
    let syncs = gateway.metrics().count("orthrus_audit_syncs_total", &[]);
    println!("640 sign-ins in {:?} with {syncs} calls of fdatasync", begun.elapsed());
    // Two lines each; those that come together share a call.
    assert!(syncs < 640, "{syncs} calls for 640 sign-ins: they wait for one another");
}
