//! The targets.

use crate::seeds::{AUTHENTICATOR, CLUSTER_KEY, NOW, SOURCE, client, secret, shared};
use cluster::peers::wire;
use cluster::sealed::Sealer;
use futures_util::FutureExt;
use gateway::durable::ReadLine;
use gateway_core::accounting::record::Record;
use gateway_core::accounting::report::Report;
use gateway_core::accounting::{line, sessions::Sessions};
use gateway_core::attempt::bundle::{decode_bundle, encode_bundle};
use gateway_core::attempt::codec::{NEWEST, decode, encode};
use gateway_core::attempt::record::{Attempt, AttemptId, Challenge};
use gateway_core::attempt::state::Keyring;
use gateway_core::audit::chain::{Sealed, read_head};
use gateway_core::audit::{Chain, Entry, Key, Link, Verifier};
use gateway_core::dynamic_authorization::{Order, judge};
use gateway_core::event::{Event, Step, Subject};
use gateway_core::exchange::admission::{Source, admit};
use gateway_core::exchange::{Request, digest};
use gateway_core::factor::mschap::NtHash;
use gateway_core::factor::{Offer, entra};
use gateway_core::identity::Rules;
use gateway_core::policy::Template;
use gateway_core::radius::{
    Attributes, Code, Dictionary, LONGEST_PACKET, Packet, Proof, attribute, describe, dictionary as radius,
    encode_reply, encode_request, freeradius, reveal_salted, verify_reply,
};
use gateway_core::time::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn rules() -> Rules {
    Rules::from(&gateway_core::config::Identity::default())
}

/// A datagram.
pub(crate) fn packet(octets: &[u8]) {
    let Ok(packet) = Packet::parse(octets) else { return };
    assert!(packet.bytes().len() <= octets.len().min(LONGEST_PACKET));
    let carried: usize = packet.attributes().map(|attribute| attribute.value.len() + 2).sum();
    assert_eq!(carried + 20, packet.bytes().len(), "nothing is passed over");
    assert_eq!(Packet::parse(packet.bytes()).as_ref().map(Packet::bytes), Ok(packet.bytes()));
    describe(&packet);
    let _ = verify_reply(&packet, &AUTHENTICATOR, &secret());
    request(&packet);
}

/// The attributes of an Access-Request that is signed as it should be.
pub(crate) fn access(octets: &[u8]) {
    let Some(attributes) = Attributes::from_encoded(octets) else { return };
    for signed in [true, false] {
        let code = Code::ACCESS_REQUEST;
        let Ok(octets) = encode_request(code, 1, AUTHENTICATOR, &attributes, &secret(), signed) else { continue };
        // Some lists are no request: EAP without Message-Authenticator, say.
        let Ok(packet) = Packet::parse(&octets) else { continue };
        assert!(!signed || packet.message_authenticator(&secret()) == Proof::Valid);
        request(&packet);
    }
}

/// What a listener and an exchange do with a packet before anybody is asked.
fn request(packet: &Packet<'_>) {
    let client = Arc::new(client());
    let Ok(admission) = admit(packet, &client, Source::default()) else { return };
    let secret = &client.secrets[admission.secret];
    let digest = digest(packet, &client, SOURCE);
    let proof = (secret, admission.proved);
    let mut request = Request::read(packet, digest, client.clone(), proof, SOURCE, 0, NOW);
    request.keep_attributes(packet);
    let _ = rules().read(&request.user_name);
    let hash = NtHash::nobodys();
    match &request.offer {
        Some(Offer::Pap(password)) => assert!(password.expose().len() <= LONGEST_PACKET),
        Some(Offer::Chap(proof)) => assert!(!proof.proves(&crate::seeds::text("a password that nobody has"))),
        Some(Offer::MsChap2(proof)) => {
            assert!(proof.proved(&hash).is_none(), "nobody has proved anything");
            if proof.changes_password() {
                let _ = proof.new_password(&hash);
            }
        }
        None => {}
    }
    for attribute in packet.attributes() {
        let _ = reveal_salted(attribute.value, secret, packet.authenticator());
    }
}

/// The attributes of an Accounting-Request that is signed as it should be: its line is JSON, and is read again at a start.
pub(crate) fn accounting(octets: &[u8]) {
    let Some(attributes) = Attributes::from_encoded(octets) else { return };
    let request = encode_request(Code::ACCOUNTING_REQUEST, 1, [0; 16], &attributes, &secret(), false);
    let Ok(octets) = request else { return };
    let Ok(packet) = Packet::parse(&octets) else { return };
    let client = client();
    let Ok(record) = Record::read(packet, &client, NOW) else { return };
    let mut out = Vec::new();
    line::write(&mut out, &record, &client.name, SOURCE, NOW, radius());
    let text = out.strip_suffix(b"\n").expect("a line has an end");
    assert!(!text.contains(&b'\n'), "one line");
    let read = gateway::accounting::reload::Line::read(text);
    let read = read.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(text)));
    assert_eq!((read.id, read.octets, read.received), (record.id, record.octets, NOW));
    let mut sessions = Sessions::new(10, Duration::from_secs(60));
    sessions.share();
    sessions.report(record.session(&client.name, SOURCE.ip(), &rules(), NOW), None);
    for report in sessions.untold(10) {
        let octets = report.encode().expect("there is memory");
        assert_eq!(Report::decode(&octets, report.order), Ok(report));
    }
}

/// A line of a file of accounting records.
pub(crate) fn accounting_line(octets: &[u8]) {
    if let Some(line) = gateway::accounting::reload::Line::read(octets) {
        let mut sessions = Sessions::new(10, Duration::from_secs(60));
        gateway::accounting::reload::sessions(&[line], &rules(), &mut sessions, NOW);
    }
}

/// A line of the audit, or the head of its chain: nobody without the key has sealed one.
pub(crate) fn audit_line(octets: &[u8]) {
    let keys = [Key::of(&secret_key(9)), Key::of(&secret_key(8))];
    assert!(Verifier::new(&keys).line(octets).is_err(), "nobody has sealed it");
    let _ = Sealed::read(octets);
    let text = String::from_utf8_lossy(octets);
    assert_eq!(read_head(&keys, &text), None);
    // As the name of a user it stays one line, which is read again.
    let subject = Subject { client: "vpn".into(), source: None, user: (&*text).into(), station: Some(octets.into()) };
    let step = Step::Prompted { factor: "mfa".into() };
    let event = Event::Step { id: AttemptId([1; 16]), subject: Arc::new(subject), step };
    let (mut chain, mut out) = (Chain::new(keys[0].clone(), "gw1", Link::BEGINNING), Vec::new());
    chain.add(&mut out, &Entry::of(&event, NOW).expect("prompts are audited"));
    let line = out.strip_suffix(b"\n").expect("a line has an end");
    assert!(!line.contains(&b'\n'), "one line");
    let mut verifier = Verifier::new(&keys);
    assert_eq!((verifier.line(line), verifier.last()), (Ok(()), Some(chain.last())));
}

fn secret_key(octet: u8) -> gateway_core::secret::Secret {
    gateway_core::secret::Secret::new(vec![octet; 32])
}

/// What a NAS answers to a Disconnect-Request.
pub(crate) fn disconnect_answer(octets: &[u8]) {
    let request =
        encode_request(Code::DISCONNECT_REQUEST, 1, [0; 16], &Attributes::new(), &secret(), true).expect("it is short");
    assert!(judge(Order::Disconnect, &request, octets, &secret()).is_err(), "nobody has signed it");
    let Some(attributes) = Attributes::from_encoded(octets) else { return };
    let asked = Packet::parse(&request).expect("what we encode we read");
    let Ok(signed) = encode_reply(Code::DISCONNECT_NAK, &asked, &attributes, &secret()) else { return };
    if Packet::parse(&signed).is_err() {
        return;
    }
    let judged = judge(Order::Disconnect, &request, &signed, &secret());
    // A second Message-Authenticator is wrong.
    let own = attributes.iter().any(|attribute| attribute.kind == attribute::MESSAGE_AUTHENTICATOR);
    assert!(judged.is_ok() || own, "{judged:?}");
}

/// A User-Name.
pub(crate) fn user_name(octets: &[u8]) {
    if let Ok(identity) = rules().read(octets) {
        let again = rules().read(identity.canonical.as_bytes()).map(|identity| identity.canonical);
        assert_eq!(again, Ok(identity.canonical), "what names a person names it again");
    }
}

/// A State.
pub(crate) fn state(octets: &[u8]) {
    let keyring = Keyring::new(&shared());
    if let Some(state) = keyring.open(octets) {
        assert_eq!(keyring.seal(&state), octets, "there is one way to write it");
    }
}

/// Records of the store, opened.
pub(crate) fn records(octets: &[u8]) {
    if let Ok(attempt) = decode::<Attempt>(octets) {
        let octets = encode(NEWEST, &attempt).expect("what was read can be written");
        assert_eq!(decode(&octets), Ok(attempt));
    }
    if let Ok(challenge) = decode::<Challenge>(octets) {
        let octets = encode(NEWEST, &challenge).expect("what was read can be written");
        assert_eq!(decode(&octets), Ok(challenge));
    }
    if let Ok(records) = decode_bundle("alice", octets) {
        let octets = encode_bundle(u8::MAX, &records).expect("what was read can be written");
        assert!(decode_bundle("alice", &octets).is_ok());
    }
}

/// A value of the store: only what was sealed opens.
pub(crate) fn sealed(octets: &[u8]) {
    let sealer = Sealer::new(&CLUSTER_KEY, None);
    let values = crate::seeds::sealed_values();
    for (name, _) in &values {
        let ours = values.iter().any(|(other, value)| other == name && value == octets);
        assert_eq!(sealer.open(name, octets).is_ok(), ours, "{name}");
    }
}

/// What another node reports of a session.
pub(crate) fn session_report(octets: &[u8]) {
    let Ok(report) = Report::decode(octets, 5) else { return };
    assert_eq!(report.encode().and_then(|octets| Report::decode(&octets, 5)).as_ref(), Ok(&report));
    let mut sessions = Sessions::new(10, Duration::from_secs(60));
    sessions.share();
    sessions.hear(report.clone(), NOW);
    sessions.hear(report, Timestamp::default());
    sessions.expire(NOW);
    sessions.untold(10);
}

/// What another node says on a connection.
pub(crate) fn peer(mut octets: &[u8]) {
    while let Some(Ok(frame)) = wire::read(&mut octets, wire::LONGEST).now_or_never() {
        assert!(frame.body.len() <= wire::LONGEST);
        let _ = frame.read::<wire::Hello>().map(|hello| wire::common((hello.oldest, hello.newest)));
        let _ = frame.read::<wire::Welcome>();
        let _ = frame.read::<wire::Packet>();
        let _ = frame.read::<wire::Reply>();
        let _ = frame.read::<wire::Refusal>();
    }
}

/// What Microsoft's Connector answers.
pub(crate) fn entra_answer(octets: &[u8]) {
    if let Ok(read) = entra::read_begin(octets) {
        entra::begun(&crate::seeds::asked(), read);
    }
    if let Ok(read) = entra::read_end(octets) {
        let again = crate::seeds::asked_again();
        entra::polled(&again, &read);
        entra::code_judged(&again, &read);
    }
    entra::shown(&String::from_utf8_lossy(octets));
}

/// What Microsoft's token service answers.
pub(crate) fn entra_token(octets: &[u8]) {
    if let Some(token) = entra::token::read(octets) {
        assert!(!token.lifetime.is_zero());
    }
    entra::token::read_refusal(400, octets);
}

/// The session of a prompt, as a record keeps it.
pub(crate) fn entra_session(octets: &[u8]) {
    if let Some(session) = entra::Session::decode(octets) {
        assert_eq!(entra::Session::decode(&session.encode()), Some(session));
    }
}

/// A dictionary file of a vendor.
pub(crate) fn dictionary(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let mut dictionary: Dictionary = radius().clone();
    let _ = freeradius::load(&mut dictionary, Path::new("/dictionary"), &|_| Ok(text.to_owned()));
}

/// A template of a reply attribute.
pub(crate) fn template(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let _ = Template::parse(text);
}
