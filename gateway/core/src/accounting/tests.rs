use super::line;
use super::recent::Recent;
use super::record::{Impossible, Record, Status};
use crate::config::{Client, Require};
use crate::identity::Rules;
use crate::radius::{Attributes, Code, Packet, SharedSecret, attribute, dictionary, encode_request};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::Timestamp;
use std::net::IpAddr;

const NOON: u64 = 1_764_072_000;

fn secret(text: &str) -> SharedSecret {
    SharedSecret::new(Secret::new(text.as_bytes().to_vec()))
}

fn client() -> Client {
    Client {
        name: "vpn".into(),
        networks: vec![],
        secrets: vec![secret("the new secret"), secret("the old secret")],
        require_message_authenticator: Require::Yes,
        limit_proxy_state: true,
        challenge: true,
        appended: None,
        answer_within: None,
        first_factor: None,
        attempt_group: "vpn".into(),
        accounting: true,
        max_sessions: None,
        dynamic_authorization: crate::config::DynamicAuthorization::default(),
    }
}

fn request(by: &str, numbers: &[(u8, u32)], texts: &[(u8, &[u8])]) -> Vec<u8> {
    let mut list = Attributes::new();
    numbers.iter().for_each(|(kind, number)| list.push_integer(*kind, *number));
    texts.iter().for_each(|(kind, text)| list.push(*kind, text).unwrap());
    encode_request(Code::ACCOUNTING_REQUEST, 7, [0; 16], &list, &secret(by), false).unwrap()
}

fn read<'a>(bytes: &'a [u8], now: u64) -> Result<Record<'a>, Reason> {
    Record::read(Packet::parse(bytes).unwrap(), &client(), Timestamp::from_secs(now))
}

fn stop(numbers: &[(u8, u32)]) -> Vec<u8> {
    let numbers = [&[(attribute::ACCT_STATUS_TYPE, 2)], numbers].concat();
    request("the new secret", &numbers, &[(attribute::ACCT_SESSION_ID, b"s1")])
}

#[test]
fn either_secret_signs_and_no_other() {
    for (by, which) in [("the new secret", 0), ("the old secret", 1)] {
        let bytes = request(by, &[(attribute::ACCT_STATUS_TYPE, 1)], &[(attribute::ACCT_SESSION_ID, b"s")]);
        let record = read(&bytes, NOON).unwrap();
        assert_eq!((record.secret, record.status), (which, Status::Start));
    }
    let forged = request("a guess", &[(attribute::ACCT_STATUS_TYPE, 1)], &[(attribute::ACCT_SESSION_ID, b"s")]);
    assert_eq!(read(&forged, NOON).err(), Some(Reason::BadAccountingAuthenticator));
    let mut altered = stop(&[(attribute::ACCT_SESSION_TIME, 60)]);
    *altered.last_mut().unwrap() ^= 1;
    assert_eq!(read(&altered, NOON).err(), Some(Reason::BadAccountingAuthenticator));
}

#[test]
fn a_message_authenticator_must_be_right_if_there_is_one() {
    let mut list = Attributes::new();
    list.push_integer(attribute::ACCT_STATUS_TYPE, 1);
    list.push(attribute::ACCT_SESSION_ID, b"s").unwrap();
    let by = secret("the new secret");
    let signed = encode_request(Code::ACCOUNTING_REQUEST, 7, [0; 16], &list, &by, true).unwrap();
    assert!(read(&signed, NOON).is_ok());
    let mut wrong = signed.clone();
    wrong[22] ^= 1;
    wrong[4..20].fill(0);
    let digest = by.digest_before_secret(&wrong);
    wrong[4..20].copy_from_slice(&digest);
    assert_eq!(read(&wrong, NOON).err(), Some(Reason::BadMessageAuthenticator));
}

#[test]
fn what_does_not_say_what_happened_is_refused() {
    let by = "the new secret";
    assert_eq!(read(&request(by, &[], &[(44, b"s")]), NOON).err(), Some(Reason::NoStatusType));
    assert_eq!(read(&request(by, &[(40, 1)], &[]), NOON).err(), Some(Reason::NoSessionId));
    assert!(read(&request(by, &[(40, 7)], &[]), NOON).is_ok());
    let odd = read(&request(by, &[(40, 15)], &[(44, b"s")]), NOON).unwrap().status;
    assert_eq!(odd, Status::Other(15));
    let access = encode_request(Code::ACCESS_REQUEST, 1, [1; 16], &Attributes::new(), &secret(by), true).unwrap();
    assert_eq!(read(&access, NOON).err(), Some(Reason::NotAccounting));
    let off = Client { accounting: false, ..client() };
    let bytes = stop(&[]);
    let refused = Record::read(Packet::parse(&bytes).unwrap(), &off, Timestamp::from_secs(NOON));
    assert_eq!(refused.err(), Some(Reason::AccountingOff));
}

#[test]
fn a_changed_delay_is_the_same_record() {
    let now = Timestamp::from_secs(NOON);
    let mut recent = Recent::new(10);
    // With Event-Timestamp whatever the delay says.
    let stamp = u32::try_from(NOON).unwrap();
    let bytes = stop(&[(attribute::EVENT_TIMESTAMP, stamp)]);
    let first = read(&bytes, NOON).unwrap();
    recent.add(first.id, first.octets, now);
    let again = stop(&[(attribute::EVENT_TIMESTAMP, stamp), (attribute::ACCT_DELAY_TIME, 9)]);
    assert!(recent.knows(&read(&again, NOON + 40).unwrap(), now));
    let other = stop(&[(attribute::EVENT_TIMESTAMP, stamp + 1)]);
    assert!(!recent.knows(&read(&other, NOON).unwrap(), now));
    // Without it by the time that the delay leads to, on either side of a step.
    for begin in 0..16 {
        let mut recent = Recent::new(10);
        let bytes = stop(&[]);
        let first = read(&bytes, NOON + begin).unwrap();
        recent.add(first.id, first.octets, now);
        for (late, delay) in [(5, 5), (5, 4), (6, 5), (30, 29), (30, 31)] {
            let again = stop(&[(attribute::ACCT_DELAY_TIME, delay)]);
            assert!(recent.knows(&read(&again, NOON + begin + late).unwrap(), now), "{begin} {late} {delay}");
        }
        let interim = stop(&[(attribute::ACCT_DELAY_TIME, 1)]);
        assert!(!recent.knows(&read(&interim, NOON + begin + 61).unwrap(), now), "{begin}");
    }
}

#[test]
fn the_same_octets_are_the_same_record_for_ten_minutes() {
    let mut recent = Recent::new(10);
    let bytes = stop(&[]);
    let first = read(&bytes, NOON).unwrap();
    recent.add(first.id, first.octets, Timestamp::from_secs(NOON));
    for (after, known) in [(60, true), (599, true), (600, false)] {
        let again = read(&bytes, NOON + after).unwrap();
        assert_eq!(recent.knows(&again, Timestamp::from_secs(NOON + after)), known, "{after}");
    }
}

#[test]
fn the_oldest_records_are_forgotten_and_a_failed_one_at_once() {
    let mut recent = Recent::new(2);
    let now = Timestamp::from_secs(NOON);
    assert!(!recent.add(1, 101, now) && !recent.add(2, 102, now) && recent.add(3, 103, now));
    recent.remove(3, 103);
    assert_eq!(recent.len(), 1);
    let bytes = stop(&[]);
    let record = read(&bytes, NOON).unwrap();
    for (id, octets, known) in [(1, 101, false), (2, 0, true), (3, 103, false), (9, 102, true)] {
        assert_eq!(recent.knows(&Record { id, octets, near: None, ..record }, now), known, "{id}");
    }
}

#[test]
fn impossible_times_are_told() {
    let stamped = |time: u64| stop(&[(attribute::EVENT_TIMESTAMP, u32::try_from(time).unwrap())]);
    for (bytes, impossible) in [
        (stamped(NOON), None),
        (stamped(NOON + 300), None),
        (stamped(NOON + 301), Some(Impossible::Future)),
        (stamped(946_684_799), Some(Impossible::Before2000)),
        (stop(&[(attribute::ACCT_DELAY_TIME, 86_401)]), Some(Impossible::Delay)),
        (stop(&[(attribute::ACCT_DELAY_TIME, u32::MAX)]), Some(Impossible::Before2000)),
    ] {
        assert_eq!(read(&bytes, NOON).unwrap().impossible, impossible);
    }
}

#[test]
fn a_record_is_one_line_of_json_without_secrets() {
    let texts: [(u8, &[u8]); 9] = [
        (attribute::ACCT_SESSION_ID, b"s\"1\\\n"),
        (attribute::USER_NAME, "älice\u{1}".as_bytes()),
        (attribute::USER_PASSWORD, &[9; 16]),
        (attribute::CLASS, &[0xff, 0]),
        (attribute::CLASS, b"plain"),
        (attribute::FRAMED_IP_ADDRESS, &[10, 0, 0, 9]),
        (attribute::PROXY_STATE, b"p"),
        (attribute::ACCT_INPUT_OCTETS, &[0, 0, 1, 0]),
        (200, b"0x11"),
    ];
    let bytes = request("the new secret", &[(attribute::ACCT_STATUS_TYPE, 3)], &texts);
    let record = read(&bytes, NOON).unwrap();
    let mut out = Vec::new();
    let received = Timestamp::from_micros(NOON * 1_000_000 + 42);
    line::write(&mut out, &record, "vpn", "192.0.2.1:5000".parse().unwrap(), received, dictionary());
    assert_eq!(out.iter().filter(|octet| **octet == b'\n').count(), 1);
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(json["id"], format!("{:032x}", record.id));
    assert!(String::from_utf8_lossy(&out).contains("\"received\":1764072000.000042,"));
    let attributes = serde_json::json!({
        "Acct-Status-Type": "Interim-Update",
        "Acct-Session-Id": "s\"1\\\n",
        "User-Name": "älice\u{1}",
        "Class": ["0xff00", "plain"],
        "Framed-IP-Address": "10.0.0.9",
        "Acct-Input-Octets": 256,
        "Attr-200": "0x30783131",
    });
    assert_eq!(json["attributes"], attributes);
}

#[test]
fn tagged_and_wide_values_are_plain() {
    let octets: [(u8, &[u8]); 9] = [
        (attribute::ACCT_SESSION_ID, b"s"),
        (81, b"\x0112"),
        (81, b"\x0113"),
        (81, b"\x0214"),
        (81, b"none"),
        (64, &[1, 0, 0, 13]),
        (83, &[0, 0, 0, 7]),
        (124, &[0, 0, 0, 1, 0, 0, 0, 0]),
        (124, &[1]),
    ];
    let bytes = request("the new secret", &[(attribute::ACCT_STATUS_TYPE, 2)], &octets);
    let record = read(&bytes, NOON).unwrap();
    let mut out = Vec::new();
    let source = "192.0.2.1:5000".parse().unwrap();
    line::write(&mut out, &record, "vpn", source, Timestamp::from_secs(NOON), dictionary());
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let attributes = serde_json::json!({
        "Acct-Status-Type": "Stop",
        "Acct-Session-Id": "s",
        "Tunnel-Private-Group-ID:1": ["12", "13"],
        "Tunnel-Private-Group-ID:2": "14",
        "Tunnel-Private-Group-ID": "none",
        "Tunnel-Type:1": "VLAN",
        "Tunnel-Preference": 7,
        "MIP6-Feature-Vector": [4_294_967_296_u64, "0x01"],
    });
    assert_eq!(json["attributes"], attributes);
}

#[test]
fn a_session_has_its_gigawords_and_its_canonical_user() {
    let numbers = [
        (attribute::ACCT_STATUS_TYPE, 3),
        (attribute::ACCT_INPUT_OCTETS, 5),
        (attribute::ACCT_INPUT_GIGAWORDS, 2),
        (attribute::ACCT_SESSION_TIME, 100),
        (attribute::EVENT_TIMESTAMP, u32::try_from(NOON).unwrap()),
    ];
    let texts: [(u8, &[u8]); 2] = [(attribute::ACCT_SESSION_ID, b"s"), (attribute::USER_NAME, b"Alice")];
    let bytes = request("the new secret", &numbers, &texts);
    let record = read(&bytes, NOON + 3).unwrap();
    let now = Timestamp::from_secs(NOON + 3);
    let session = record.session(&"vpn".into(), IpAddr::from([192, 0, 2, 1]), &Rules::default(), now);
    assert_eq!((&*session.user, &*session.user_name), ("alice", b"Alice".as_slice()));
    assert_eq!((session.input_octets, session.output_octets), ((2 << 32) + 5, 0));
    assert_eq!((session.started, session.last_seen), (Timestamp::from_secs(NOON - 100), now));
}
