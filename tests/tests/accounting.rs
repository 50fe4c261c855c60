//! Accounting as a NAS sees it: answered when it is on the disk, once, whatever is repeated; silence for what proves nothing.

use gateway_core::radius::{Code, attribute};
use std::fs;
use tests::accounting::{INTERIM, ON, START, STOP, nas, records, start};
use tests::{Client, NAS, Request, Setup, eventually};

fn seconds() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u32::try_from(now.as_secs()).unwrap()
}

fn of(user: &str, status: u32, session: &str) -> Request {
    Request::accounting(status, session).with(attribute::USER_NAME, user.as_bytes())
}

#[test]
fn a_record_is_written_and_answered_and_a_changed_delay_is_the_same_record() {
    let (gateway, address) = start(Setup::new());
    let mut nas = nas(address);
    let stop = of("alice", STOP, "s1").with(attribute::EVENT_TIMESTAMP, &seconds().to_be_bytes());
    nas.ask(&stop).expect(Code::ACCOUNTING_RESPONSE);
    for delay in [3_u32, 9, 27] {
        // Another second may have begun since: the time of the event is that of the first packet.
        let stamp = records(&gateway.path("accounting"))[0]["at"].as_u64().unwrap();
        let stamp = u32::try_from(stamp).unwrap().to_be_bytes();
        let again = of("alice", STOP, "s1")
            .with(attribute::EVENT_TIMESTAMP, &stamp)
            .with(attribute::ACCT_DELAY_TIME, &delay.to_be_bytes());
        nas.ask(&again).expect(Code::ACCOUNTING_RESPONSE);
    }
    let written = records(&gateway.path("accounting"));
    assert_eq!(written.len(), 1, "{written:?}");
    assert_eq!(written[0]["attributes"]["User-Name"], "alice");
    assert_eq!(written[0]["client"], NAS);
    let metrics = gateway.metrics();
    assert_eq!(metrics.count("orthrus_accounting_records_total", &[("status", "stop")]), 1);
    assert_eq!(metrics.count("orthrus_accounting_duplicates_total", &[]), 3);
}

#[test]
fn the_same_octets_are_answered_alike_and_written_once() {
    let (gateway, address) = start(Setup::new());
    let mut nas = nas(address);
    let start = nas.encode(&of("alice", START, "s1"));
    let first = nas.try_ask(&start).expect("an answer").bytes().to_vec();
    assert_eq!(nas.try_ask(&start).expect("an answer").bytes(), first);
    assert_eq!(records(&gateway.path("accounting")).len(), 1);
}

#[test]
fn a_forged_authenticator_and_an_unknown_client_get_silence() {
    let (gateway, address) = start(Setup::new());
    let mut forger = Client::new(address, "not the secret");
    let forged = forger.encode(&of("alice", STOP, "s1"));
    forger.send(&forged);
    gateway.await_dropped("bad_accounting_authenticator", 1);
    let mut stranger = Client::at("127.9.9.9".parse().unwrap(), address, tests::SECRET);
    let sent = stranger.encode(&of("alice", STOP, "s1"));
    stranger.send(&sent);
    gateway.await_dropped("unknown_client", 1);
    let mut nas = nas(address);
    for (request, reason) in
        [(Request::accounting(STOP, ""), "no_session_id"), (Request::access("alice").password("x"), "not_accounting")]
    {
        let sent = nas.encode(&request);
        nas.send(&sent);
        gateway.await_dropped(reason, 1);
    }
    assert!(forger.hears_nothing() && stranger.hears_nothing() && nas.hears_nothing());
    assert_eq!(records(&gateway.path("accounting")).len(), 0);
}

#[test]
fn impossible_times_are_written_marked_and_counted() {
    let (gateway, address) = start(Setup::new());
    let mut nas = nas(address);
    let future = (seconds() + 86_400).to_be_bytes();
    nas.ask(&of("alice", STOP, "s1").with(attribute::EVENT_TIMESTAMP, &future)).expect(Code::ACCOUNTING_RESPONSE);
    nas.ask(&of("alice", STOP, "s2").with(attribute::EVENT_TIMESTAMP, &7_u32.to_be_bytes()))
        .expect(Code::ACCOUNTING_RESPONSE);
    let written = records(&gateway.path("accounting"));
    assert_eq!(
        (&written[0]["impossible_time"], &written[1]["impossible_time"]),
        (&"future".into(), &"before_2000".into())
    );
    let count = |time| gateway.metrics().count("orthrus_accounting_impossible_times_total", &[("time", time)]);
    assert_eq!((count("future"), count("before_2000")), (1, 1));
}

#[test]
fn half_a_line_is_put_aside_and_what_was_answered_is_known_after_a_restart() {
    let (mut gateway, address) = start(Setup::new());
    let mut nas = nas(address);
    let stop = nas.encode(&of("alice", STOP, "s1"));
    nas.try_ask(&stop).expect("an answer").expect(Code::ACCOUNTING_RESPONSE);
    gateway.kill();
    let path = gateway.path("accounting/accounting.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{whole}{{\"v\":1,\"id\":\"00")).unwrap();
    gateway.start_again();
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
    assert_eq!(gateway.metrics().count("orthrus_accounting_damaged_total", &[("sink", "file")]), 1);
    nas.try_ask(&stop).expect("an answer");
    assert_eq!(fs::read_to_string(&path).unwrap(), whole, "the record is known");
    let aside = fs::read_dir(gateway.path("accounting"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "damaged"));
    assert_eq!(aside.count(), 1);
}

#[test]
fn files_are_rotated_by_size_and_the_oldest_removed() {
    let setup = Setup::new().set("accounting.rotate_size", "64KiB").set("accounting.retain", 2);
    let (gateway, address) = start(setup);
    let mut nas = nas(address);
    let filler = [b'x'; 250];
    for number in 0..800 {
        let request = of("alice", START, &format!("s{number}")).with(attribute::REPLY_MESSAGE, &filler);
        nas.ask(&request).expect(Code::ACCOUNTING_RESPONSE);
    }
    let files: Vec<_> = fs::read_dir(gateway.path("accounting")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let files: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|ext| ext == "jsonl")).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(files.iter().all(|path| fs::metadata(path).unwrap().len() <= 64 << 10));
    let written = records(&gateway.path("accounting"));
    assert_eq!(written.last().unwrap()["attributes"]["Acct-Session-Id"], "s799");
}

#[test]
fn max_sessions_refuses_before_the_prompt_and_survives_a_restart() {
    let setup = Setup::new().user("alice", "correct horse").set("accounting.max_sessions", 1);
    let setup = setup.policies("[[policies]]\nname = \"all\"\nsecond_factor = \"off\"\n");
    let (mut gateway, address) = start(setup);
    let (mut nas, mut vpn) = (nas(address), gateway.nas());
    let sign_in = Request::access("Alice").password("correct horse");
    vpn.ask(&sign_in).expect(Code::ACCESS_ACCEPT);
    nas.ask(&of("ALICE", START, "s1")).expect(Code::ACCOUNTING_RESPONSE);
    vpn.ask(&sign_in).expect(Code::ACCESS_REJECT);
    assert_eq!(gateway.metrics().refused("session_limit"), 1);
    gateway.kill();
    gateway.start_again();
    vpn.ask(&sign_in).expect(Code::ACCESS_REJECT);
    nas.ask(&of("alice", INTERIM, "s1")).expect(Code::ACCOUNTING_RESPONSE);
    nas.ask(&of("alice", STOP, "s1")).expect(Code::ACCOUNTING_RESPONSE);
    vpn.ask(&sign_in).expect(Code::ACCESS_ACCEPT);
    nas.ask(&of("alice", START, "s2")).expect(Code::ACCOUNTING_RESPONSE);
    vpn.ask(&sign_in).expect(Code::ACCESS_REJECT);
    nas.ask(&Request::accounting(ON, "boot")).expect(Code::ACCOUNTING_RESPONSE);
    vpn.ask(&sign_in).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn a_client_without_accounting_is_not_heard_and_status_server_is_answered() {
    let (gateway, address) = start(Setup::new().of_client(NAS, "accounting", false));
    let mut nas = nas(address);
    nas.ask(&Request::status()).expect(Code::ACCOUNTING_RESPONSE);
    let sent = nas.encode(&of("alice", START, "s1"));
    nas.send(&sent);
    gateway.await_dropped("accounting_off", 1);
    assert!(nas.hears_nothing());
    eventually("the folder is there", || gateway.path("accounting/accounting.jsonl").exists().then_some(()));
}
