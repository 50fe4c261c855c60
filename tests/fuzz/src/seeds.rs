//! The first inputs of each target, and what targets and inputs have in common.

use cluster::peers::wire::{self, frame, kind};
use gateway_core::accounting::record::Record;
use gateway_core::attempt::record::{AttemptId, Owner};
use gateway_core::attempt::state::{Keyring, Kind, State, StateId};
use gateway_core::audit::{Chain, Entry, Key, Link};
use gateway_core::config::{Client, DynamicAuthorization, Require, Unregistered, UpnEcho};
use gateway_core::event::{Event, NodeEvent};
use gateway_core::factor::entra::{Asked, AskedAgain, Session};
use gateway_core::radius::{Attributes, Code, Packet, SharedSecret, attribute, encode_request, hide_password};
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Lines of an audit, and its head, sealed under a key that the target does not have.
#[must_use]
pub fn audit_lines() -> Vec<Vec<u8>> {
    let mut chain = Chain::new(Key::of(&shared()), "gw1", Link::BEGINNING);
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for event in [NodeEvent::Stopped, NodeEvent::Cut { from: 3, to: 4 }, NodeEvent::Unwritten { lines: 7 }] {
        let mut line = Vec::new();
        chain.add(&mut line, &Entry::of(&Event::Node(event), NOW).expect("it is audited"));
        line.pop();
        lines.push(line);
    }
    lines.push(chain.head().into_bytes());
    lines
}

/// Of the RADIUS client.
pub const SECRET: &str = "a shared secret";
/// That the sealed vectors were made with.
pub const CLUSTER_KEY: [u8; 32] = [7; 32];
/// Of every request.
pub const AUTHENTICATOR: [u8; 16] = [9; 16];
/// Where packets come from.
pub const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 50_000);
/// When.
pub const NOW: Timestamp = Timestamp::from_secs(1_764_064_334);

/// A text that is not to be seen.
#[must_use]
pub fn text(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

/// The secret of the client.
#[must_use]
pub fn secret() -> SharedSecret {
    SharedSecret::new(text(SECRET))
}

/// The cluster's key.
#[must_use]
pub fn shared() -> Secret {
    Secret::new(CLUSTER_KEY.to_vec())
}

/// The RADIUS client.
#[must_use]
pub fn client() -> Client {
    Client {
        name: "vpn".into(),
        networks: vec![],
        secrets: vec![secret(), SharedSecret::new(text("the one before"))],
        require_message_authenticator: Require::No,
        limit_proxy_state: true,
        challenge: true,
        appended: None,
        answer_within: None,
        first_factor: None,
        attempt_group: "vpn".into(),
        accounting: true,
        max_sessions: None,
        dynamic_authorization: DynamicAuthorization::default(),
    }
}

/// What Begin was asked with.
#[must_use]
pub fn asked<'a>() -> Asked<'a> {
    Asked {
        upn: "anna@corp.example",
        context: AttemptId([7; 16]),
        sync: false,
        method: false,
        code_possible: true,
        unregistered: Unregistered::Deny,
        unregistered_codes: &[],
        upn_echo: UpnEcho::Enforce,
        prompt: "Code:",
        now: NOW,
    }
}

/// What End was asked with.
#[must_use]
pub fn asked_again<'a>() -> AskedAgain<'a> {
    AskedAgain { upn: "anna@corp.example", upn_echo: UpnEcho::Enforce }
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).unwrap_or_default();
    digits.chunks(2).map(pair).collect()
}

/// The values that stand behind `key` in a file of blocks.
fn values<'a>(file: &'a str, key: &'a str) -> impl Iterator<Item = String> + 'a {
    let text = file.replace("\n ", " ");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.into_iter().filter_map(move |line| Some(line.strip_prefix(key)?.strip_prefix(": ")?.to_owned()))
}

/// The octets in a file of names and octets.
fn named(file: &str) -> Vec<Vec<u8>> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(": ")).map(|(_, hex)| octets(hex)).collect()
}

const RADIUS: [&str; 4] = [
    include_str!("../../vectors/radius/attributes.txt"),
    include_str!("../../vectors/radius/authenticators.txt"),
    include_str!("../../vectors/radius/malformed.txt"),
    include_str!("../../vectors/radius/rfc-examples.txt"),
];

/// Datagrams.
#[must_use]
pub fn packets() -> Vec<Vec<u8>> {
    RADIUS.iter().flat_map(|file| values(file, "packet")).map(|hex| octets(&hex)).collect()
}

fn list(attributes: &[(u8, &[u8])]) -> Attributes {
    let mut list = Attributes::new();
    for (kind, value) in attributes {
        list.push(*kind, value).expect("it is short");
    }
    list
}

fn session(status: u32) -> Attributes {
    list(&[
        (attribute::ACCT_STATUS_TYPE, &status.to_be_bytes()),
        (attribute::ACCT_SESSION_ID, b"s-1"),
        (attribute::USER_NAME, b"alice"),
        (attribute::EVENT_TIMESTAMP, &1_764_064_330_u32.to_be_bytes()),
        (attribute::CLASS, b"staff\0\xff\n\""),
        (attribute::FRAMED_IP_ADDRESS, &[10, 0, 0, 9]),
        (attribute::ACCT_INPUT_OCTETS, &[0, 0, 1, 0]),
    ])
}

/// Lists of attributes: those of the datagrams, and of requests that mean something.
#[must_use]
pub fn attributes() -> Vec<Vec<u8>> {
    let password = hide_password(b"correct horse", &secret(), &AUTHENTICATOR).expect("it is short");
    let vendor = |kind: u8, value: &[u8]| {
        let length = u8::try_from(value.len() + 2).expect("it is short");
        [&[0, 0, 1, 55, kind, length][..], value].concat()
    };
    let (challenge, response, change) = (vendor(11, &[1; 16]), vendor(25, &[2; 50]), vendor(27, &[3; 68]));
    let pieces = (1..=3_u8).map(|piece| vendor(6, &[&[0, piece][..], &[5; 172]].concat()));
    let pieces: Vec<Vec<u8>> = pieces.collect();
    let mut changing = vec![(26, challenge.as_slice()), (26, change.as_slice())];
    changing.extend(pieces.iter().map(|piece| (26, piece.as_slice())));
    let meaningful = [
        list(&[(attribute::USER_NAME, b"alice"), (attribute::USER_PASSWORD, &password)]),
        list(&[(attribute::USER_NAME, b"CORP\\alice"), (attribute::CHAP_PASSWORD, &[4; 17])]),
        list(&[(attribute::USER_NAME, b"alice@corp"), (26, &challenge), (26, &response)]),
        list(&changing),
        session(1),
        session(2),
        session(3),
        session(7),
    ];
    let of_packets = packets().into_iter().filter_map(|octets| octets.get(20..).map(<[u8]>::to_vec));
    meaningful.iter().map(|list| list.as_bytes().to_vec()).chain(of_packets).collect()
}

/// Lines of a file of accounting records.
#[must_use]
pub fn accounting_lines() -> Vec<Vec<u8>> {
    let line = |status| {
        let request = encode_request(Code::ACCOUNTING_REQUEST, 1, [0; 16], &session(status), &secret(), false);
        let octets = request.expect("it is short");
        let packet = Packet::parse(&octets).expect("what we encode we read");
        let record = Record::read(packet, &client(), NOW).expect("it is signed");
        let mut out = Vec::new();
        let dictionary = gateway_core::radius::dictionary();
        gateway_core::accounting::line::write(&mut out, &record, "vpn", SOURCE, NOW, dictionary);
        out.pop();
        out
    };
    [1, 2, 3, 7].map(line).into()
}

/// User names.
#[must_use]
pub fn user_names() -> Vec<Vec<u8>> {
    ["alice", "CORP\\Alice", "alice@corp.example", "Ünïcode@Exämple", "İstanbul", "a@b@c", "a@b\\c", " x", ""]
        .map(|name| name.as_bytes().to_vec())
        .into()
}

/// States.
#[must_use]
pub fn states() -> Vec<Vec<u8>> {
    let keyring = Keyring::new(&shared());
    let (slot, id) = (keyring.slot("alice"), StateId([3; 16]));
    let state = State { kind: Kind::Code, slot, incarnation: 7, thread: 1, id };
    vec![keyring.seal(&state).to_vec()]
}

/// Records of users.
#[must_use]
pub fn records() -> Vec<Vec<u8>> {
    named(include_str!("../../vectors/records/v1.txt"))
}

/// Sealed values and the names that they stand under.
#[must_use]
pub fn sealed_values() -> Vec<(String, Vec<u8>)> {
    let files = [include_str!("../../vectors/sealed/v1.txt"), include_str!("../../vectors/sealed/v2.txt")];
    let lines = files.iter().flat_map(|file| file.lines()).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?.to_owned(), octets(words.next_back()?)))
        })
        .collect()
}

/// Sealed values.
#[must_use]
pub fn sealed() -> Vec<Vec<u8>> {
    sealed_values().into_iter().map(|(_, value)| value).collect()
}

/// Reports of sessions.
#[must_use]
pub fn session_reports() -> Vec<Vec<u8>> {
    named(include_str!("../../vectors/sessions/v1.txt"))
}

/// What nodes say to each other.
#[must_use]
pub fn peer_frames() -> Vec<Vec<u8>> {
    let owner = |node: &str| Owner { node: node.into(), incarnation: 7 };
    let hello = wire::Hello { oldest: 1, newest: 1, owner: owner("a"), to: owner("b") };
    let packet =
        wire::Packet { source: SOURCE, local: SOURCE, patience: 5_000, age: 3, octets: packets().swap_remove(0) };
    let reply = wire::Reply::Octets { octets: vec![2, 1, 0, 20], after: 0 };
    [
        frame(kind::HELLO, 1, &hello),
        frame(kind::WELCOME, 1, &wire::Welcome { version: 1, owner: owner("b") }),
        frame(kind::PACKET, 2, &packet),
        frame(kind::REPLY, 2, &reply),
        frame(kind::REFUSAL, 3, &wire::Refusal::Busy),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Answers of the Connector.
#[must_use]
pub fn entra_answers() -> Vec<Vec<u8>> {
    let files = [include_str!("../../vectors/entra/begin.txt"), include_str!("../../vectors/entra/end.txt")];
    files.iter().flat_map(|file| values(file, "xml")).map(String::into_bytes).collect()
}

/// Answers of the token service.
#[must_use]
pub fn entra_tokens() -> Vec<Vec<u8>> {
    [
        r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"a.b.c"}"#,
        r#"{"token_type":"Bearer","expires_in":"3599","access_token":"a.b.c"}"#,
        r#"{"error":"invalid_client","error_description":"AADSTS700027: no","error_codes":[700027],"trace_id":"t"}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// Sessions of prompts.
#[must_use]
pub fn entra_sessions() -> Vec<Vec<u8>> {
    let bare =
        Session { id: "1".into(), context: AttemptId([7; 16]), upn: "a@b".into(), affinity_url: None, begun: NOW };
    let full = Session { affinity_url: Some("https://x.example/".into()), ..bare.clone() };
    vec![bare.encode(), full.encode()]
}

/// Dictionary files.
#[must_use]
pub fn dictionaries() -> Vec<Vec<u8>> {
    [
        "VENDOR ACME 99999\nBEGIN-VENDOR ACME\nATTRIBUTE ACME-Role 1 string\nATTRIBUTE ACME-Tunnel 3 string has_tag,encrypt=2\n\
         VALUE ACME-Kind One 1\nATTRIBUTE ACME-Kind 4 integer\nEND-VENDOR ACME\n",
        "ATTRIBUTE Local-Thing 240 octets\nVALUE Local-Thing x 1\n$INCLUDE dictionary.more\n",
        "VENDOR Odd 5 format=2,2\nATTRIBUTE A 1.2 tlv\nATTRIBUTE B 0x1f ipaddr # a comment\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// Templates.
#[must_use]
pub fn templates() -> Vec<Vec<u8>> {
    ["shell:roles={user.role|guest}", "{{{user.name}}}", "{nas.address}{group.vlan|}", "{", "}}"]
        .map(|text| text.as_bytes().to_vec())
        .into()
}
