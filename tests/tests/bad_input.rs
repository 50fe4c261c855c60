//! Every field of every packet may lie. A datagram that is not what it should be costs a counter and nothing else; a State
//! that is not its bearer's is refused and counted.

use gateway_core::radius::{Attributes, Code, attribute, encode_request};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};
use tests::{Client, Gateway, NAS, Reply, Request, SECRET, Setup, SoftToken, vectors};

const OTHER_SECRET: &str = "the-other-secret-of-33-characters";

fn setup() -> Setup {
    Setup::new()
        .user("alice", "correct horse")
        .user("bob", "battery staple")
        .token(&SoftToken::hotp("alice"))
        .token(&SoftToken::hotp("bob"))
        .client("other", &["127.0.0.9"], OTHER_SECRET)
}

fn lives(gateway: &Gateway) {
    let mut nas = gateway.nas();
    nas.ask(&Request::access("bob").password("battery staple")).expect(Code::ACCESS_CHALLENGE);
    assert_eq!(gateway.get("/livez").0, 200);
}

#[test]
fn every_vector_costs_a_counter_and_nothing_else() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    let packets = vectors::packets();
    for (_, octets) in &packets {
        nas.send_octets(octets);
    }
    let all = packets.len() as u64;
    let metrics =
        gateway.await_metrics("all are counted", |metrics| metrics.count("orthrus_radius_dropped_total", &[]) >= all);
    // The vectors were written with other secrets: those that are well formed are dropped too.
    assert_eq!(metrics.count("orthrus_radius_dropped_total", &[]), all);
    assert!(metrics.dropped("malformed") >= 20 && metrics.dropped("missing_message_authenticator") >= 1);
    assert!(nas.hears_nothing());
    lives(&gateway);
}

#[test]
fn random_octets_and_damaged_packets_never_hurt_and_memory_stays() {
    let gateway = setup().set("limits.drop_logs_per_second", 5).start();
    let mut nas = gateway.nas();
    let mut chance = SmallRng::seed_from_u64(2865);
    let good = nas.encode(&Request::access("alice").password("correct horse").station("198.51.100.7")).bytes;
    let mut sent = 0_u64;
    let mut volley = |nas: &mut Client, count: u64| {
        for turn in 0..count {
            let mut octets = match turn % 3 {
                0 => vec![0; chance.random_range(0..3000)],
                _ => good.clone(),
            };
            match turn % 3 {
                0 => chance.fill_bytes(&mut octets),
                1 => octets.truncate(chance.random_range(0..good.len())),
                _ => {
                    // The signature covers all of it, so that any change is seen.
                    let (place, bit) = (chance.random_range(0..good.len()), chance.random_range(0..8));
                    octets[place] ^= 1 << bit;
                }
            }
            nas.send_octets(&octets);
            sent += 1;
            if sent.is_multiple_of(64) {
                gateway.await_metrics("it keeps up", |metrics| {
                    metrics.count("orthrus_radius_dropped_total", &[]) + 1 >= sent
                });
            }
        }
    };
    volley(&mut nas, 3_008);
    let (memory, descriptors) = (gateway.resident(), gateway.descriptors());
    volley(&mut nas, 9_024);
    let grown = gateway.resident().saturating_sub(memory);
    assert!(grown < 4 * 1024, "{grown} KiB more after 9,000 more datagrams");
    // Those of the last scrapes are closed a moment later.
    tests::eventually("no descriptor stays open", || (gateway.descriptors() <= descriptors).then_some(()));
    assert!(nas.hears_nothing(), "an answer to what nobody should understand");
    let metrics = gateway.metrics();
    assert!(metrics.dropped("malformed") > 1_000 && metrics.dropped("bad_message_authenticator") > 1_000);
    lives(&gateway);
}

#[test]
fn a_datagram_longer_than_any_packet_is_dropped_and_one_that_is_just_padded_is_not() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    let mut sent = nas.encode(&Request::access("alice").password("correct horse"));
    sent.bytes.resize(4096, 0);
    nas.try_ask(&sent).unwrap().expect(Code::ACCESS_CHALLENGE);
    for length in [4097, 9000, 65_507] {
        sent.bytes.resize(length, 0);
        nas.send(&sent);
    }
    gateway.await_dropped("oversized", 3);
    lives(&gateway);
}

#[test]
fn as_many_attributes_as_fit_are_read_and_do_no_harm() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    let mut request = Request::access("alice").password("correct horse");
    for _ in 0..1_990 {
        request = request.with(attribute::FILTER_ID, b"");
    }
    nas.ask(&request).expect(Code::ACCESS_CHALLENGE);
    // Vendor-Specific in Vendor-Specific, and extended attributes that announce more to come and never bring it.
    let nested = [0, 0, 0, 9, 26, 12, 0, 0, 0, 9, 26, 6, 0, 0, 0, 9];
    let mut request = Request::access("alice").password("correct horse");
    for _ in 0..100 {
        request = request.with(attribute::VENDOR_SPECIFIC, &nested).with(attribute::LONG_EXTENDED_1, &[1, 0x80, 7]);
    }
    nas.ask(&request).expect(Code::ACCESS_CHALLENGE);
    // Proxy-State is copied back, all of it: a request that leaves no room for it in the reply gets none, or one that fits.
    let mut request = Request::access("alice").password("wrong");
    for _ in 0..15 {
        request = request.with(attribute::PROXY_STATE, &[b'x'; 253]);
    }
    let sent = nas.encode(&request);
    nas.send(&sent);
    gateway.await_metrics("it is decided", |metrics| metrics.refused("wrong_password") == 1);
    lives(&gateway);
}

#[test]
fn an_unknown_source_and_a_wrong_secret_get_nothing() {
    let gateway = setup().start();
    let request = Request::access("alice").password("correct horse");
    let mut stranger = Client::at([127, 0, 0, 66].into(), gateway.address(), SECRET);
    let mut forger = Client::new(gateway.address(), "not-the-secret");
    for (nas, reason) in [(&mut stranger, "unknown_client"), (&mut forger, "bad_message_authenticator")] {
        let sent = nas.encode(&request);
        nas.send(&sent);
        gateway.await_dropped(reason, 1);
        assert!(nas.hears_nothing());
    }
    // Another client's secret is as wrong as any.
    let mut other = Client::new(gateway.address(), OTHER_SECRET);
    let sent = other.encode(&request);
    other.send(&sent);
    gateway.await_dropped("bad_message_authenticator", 2);
}

#[test]
fn codes_that_this_port_does_not_serve_are_dropped() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    let shared = gateway_core::radius::SharedSecret::new(gateway_core::secret::Secret::new(SECRET.into()));
    for (count, code) in
        [(1, Code::ACCOUNTING_REQUEST), (2, Code::COA_REQUEST), (3, Code::ACCESS_ACCEPT), (4, Code::from(255))]
    {
        let octets = encode_request(code, 1, [7; 16], &Attributes::new(), &shared, true).unwrap();
        nas.send_octets(&octets);
        gateway.await_dropped("unexpected_code", count);
    }
    assert!(nas.hears_nothing());
}

#[test]
fn a_request_without_a_name_or_a_password_is_refused() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    let status = Request::status();
    assert_eq!(nas.ask(&status).code(), Code::ACCESS_ACCEPT);
    for (request, reason) in [
        (Request::access("alice"), "unsupported_protocol"),
        (Request::access("alice").with(attribute::CHAP_PASSWORD, &[1; 17]), "wrong_password"),
        // MS-CHAP-Response: version 1.
        (Request::access("alice").with(attribute::VENDOR_SPECIFIC, &[0, 0, 1, 55, 1, 4, 1, 1]), "unsupported_protocol"),
        (Request::access("alice").password(""), "empty_password"),
        (Request::access("al\u{7}ice").password("x"), "bad_identity"),
        (Request::access(" alice").password("x"), "bad_identity"),
        (Request::access(&"a".repeat(253)).password("x"), "unknown_user"),
    ] {
        let before = gateway.metrics().refused(reason);
        nas.ask(&request).expect(Code::ACCESS_REJECT);
        assert_eq!(gateway.metrics().refused(reason), before + 1, "{reason}");
    }
}

/// Faults of the attributes that say which proof or conversation is meant: detail, reason, and the attributes.
fn unclear() -> Vec<(&'static str, &'static str, Request)> {
    let name = Request::access("alice");
    let ms_chap = [&[0, 0, 1, 55, 25, 52][..], &[7; 50]].concat();
    let named = |kind: u8, value: &[u8]| name.clone().with(kind, value);
    let password = |octets: usize| named(attribute::USER_PASSWORD, &vec![7; octets]);
    let mut all = vec![
        ("empty_user_name", "missing_user_name", Request::access("").password("x")),
        ("repeated_user_name", "repeated_attribute", named(attribute::USER_NAME, b"bob").password("x")),
        ("repeated_user_password", "repeated_attribute", password(16).with(attribute::USER_PASSWORD, &[8; 16])),
        ("chap_password_length", "chap_length", named(attribute::CHAP_PASSWORD, &[1; 16])),
        ("chap_password_length", "chap_length", named(attribute::CHAP_PASSWORD, &[1; 18])),
        ("chap_password_length", "chap_length", named(attribute::CHAP_PASSWORD, &[])),
        (
            "repeated_chap_password",
            "repeated_attribute",
            named(attribute::CHAP_PASSWORD, &[1; 17]).with(attribute::CHAP_PASSWORD, &[2; 17]),
        ),
        ("mixed_credentials", "mixed_credentials", password(16).with(attribute::CHAP_PASSWORD, &[1; 17])),
        ("mixed_credentials", "mixed_credentials", password(16).with(attribute::ARAP_PASSWORD, &[1; 16])),
        ("mixed_credentials", "mixed_credentials", password(16).with(attribute::VENDOR_SPECIFIC, &ms_chap)),
        (
            "repeated_state",
            "repeated_attribute",
            named(attribute::STATE, b"a").with(attribute::STATE, b"a").password("x"),
        ),
        ("empty_state", "broken_attribute", named(attribute::STATE, b"").password("x")),
    ];
    for octets in [0, 1, 15, 17, 127, 129, 144, 160, 253] {
        all.push(("user_password_length", "password_length", password(octets)));
    }
    for octets in [0, 1, 4] {
        let chap = named(attribute::CHAP_PASSWORD, &[1; 17]).with(attribute::CHAP_CHALLENGE, &vec![9; octets]);
        all.push(("chap_challenge_length", "chap_length", chap));
    }
    all
}

/// A NAS takes silence for a dead server, and turns everybody else away with the one whose password was too long.
#[test]
fn proved_packets_are_refused_not_dropped() {
    let gateway = setup().start();
    let mut nas = gateway.nas();
    for (detail, reason, request) in unclear() {
        let before = gateway.metrics().refused(reason);
        let reject = nas.ask(&request.with(attribute::PROXY_STATE, b"proxy")).expect(Code::ACCESS_REJECT);
        assert_eq!(reject.attributes(), ["Reply-Message = \"Sign-in refused.\""], "{detail}");
        assert_eq!(reject.all(attribute::PROXY_STATE), [b"proxy"], "{detail}");
        assert_eq!(gateway.metrics().refused(reason), before + 1, "{detail}: {reason}");
    }
    assert_eq!(gateway.metrics().count("orthrus_radius_dropped_total", &[]), 0);
    lives(&gateway);
}

#[test]
fn unproved_faults_stay_unanswered() {
    let setup = setup().set("limits.drop_logs_per_second", 1000);
    let gateway = setup.of_client(NAS, "require_message_authenticator", "no").start();
    let mut nas = gateway.nas();
    for (count, (detail, _, request)) in (1..).zip(unclear()) {
        let sent = nas.encode(&request.unsigned());
        nas.send(&sent);
        gateway.await_dropped("malformed", count);
        gateway.await_log(&format!("\"{detail}\""));
    }
    assert!(nas.hears_nothing());
    // Nor does a signature under another secret prove anything.
    let mut forger = Client::new(gateway.address(), "not-the-secret");
    let sent = forger.encode(&Request::access("alice").with(attribute::USER_PASSWORD, &[7; 144]));
    forger.send(&sent);
    gateway.await_dropped("bad_message_authenticator", 1);
    assert!(forger.hears_nothing());
    lives(&gateway);
}

/// A client that is trusted with the first factor: its NAS must not take an accept for the end of a conversation that nobody held.
#[test]
fn eap_without_first_factor_is_refused() {
    let gateway = setup().of_client(NAS, "first_factor", "none").start();
    let mut nas = gateway.nas();
    let identity = [&[2, 1, 0, 10, 1][..], b"alice"].concat();
    let ms_chap = |challenge: usize| {
        let challenge = [&[0, 0, 1, 55, 11, u8::try_from(challenge + 2).unwrap()][..], &vec![3; challenge]].concat();
        let response = [&[0, 0, 1, 55, 25, 52][..], &[7; 50]].concat();
        let request = Request::access("alice").with(attribute::VENDOR_SPECIFIC, &challenge);
        request.with(attribute::VENDOR_SPECIFIC, &response)
    };
    let challenge = nas.ask(&Request::access("alice")).expect(Code::ACCESS_CHALLENGE);
    for request in [
        Request::access("alice").with(attribute::EAP_MESSAGE, &identity),
        Request::access("alice").with(attribute::EAP_MESSAGE, b""),
        Request::access("alice")
            .with(attribute::EAP_MESSAGE, &identity[..5])
            .with(attribute::EAP_MESSAGE, &identity[5..]),
        Request::access("alice").with(attribute::EAP_MESSAGE, &identity).state(&challenge),
        Request::access("alice").with(attribute::ARAP_PASSWORD, &[1; 16]),
        Request::access("alice").with(attribute::VENDOR_SPECIFIC, &[0, 0, 1, 55, 1, 4, 1, 1]),
        ms_chap(0),
        ms_chap(8),
        ms_chap(15),
        ms_chap(17),
    ] {
        refused(&gateway, &mut nas, &request, "unsupported_protocol");
    }
    // What the NAS has checked itself goes on.
    nas.ask(&Request::access("bob").password("whatever")).expect(Code::ACCESS_CHALLENGE);
}

/// A sign-in that stands at its challenge.
fn challenged(gateway: &Gateway) -> (Client, Reply) {
    let mut nas = gateway.nas();
    let request = Request::access("alice").password("correct horse").station("198.51.100.7");
    let challenge = nas.ask(&request).expect(Code::ACCESS_CHALLENGE);
    (nas, challenge)
}

fn code(user: &str, counter: u64) -> Request {
    Request::access(user).password(&SoftToken::hotp(user).code(counter)).station("198.51.100.7")
}

fn refused(gateway: &Gateway, nas: &mut Client, request: &Request, reason: &str) {
    let before = gateway.metrics().refused(reason);
    let reject = nas.ask(request).expect(Code::ACCESS_REJECT);
    assert_eq!(reject.attributes(), ["Reply-Message = \"Sign-in refused.\""]);
    assert_eq!(gateway.metrics().refused(reason), before + 1, "refused for {reason}");
}

#[test]
fn a_forged_state_is_refused() {
    let gateway = setup().start();
    let (mut nas, challenge) = challenged(&gateway);
    let state = challenge.state();
    let forge = |state: &[u8]| code("alice", 0).with(attribute::STATE, state);
    for place in 0..state.len() {
        let mut forged = state.clone();
        forged[place] ^= 1;
        refused(&gateway, &mut nas, &forge(&forged), "state_forged");
    }
    for forged in [&state[1..], &[], &[&state[..], b"x"].concat(), &[0; 48], &[0xff; 253]] {
        if !forged.is_empty() {
            refused(&gateway, &mut nas, &forge(forged), "state_forged");
        }
    }
    // None of it has hurt the one who has the right one.
    nas.ask(&forge(&state)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn a_state_serves_once() {
    let gateway = setup().start();
    let (mut nas, challenge) = challenged(&gateway);
    nas.ask(&code("alice", 0).state(&challenge)).expect(Code::ACCESS_ACCEPT);
    refused(&gateway, &mut nas, &code("alice", 0).state(&challenge), "state_spent");
    refused(&gateway, &mut nas, &code("alice", 1).state(&challenge), "state_spent");
    refused(&gateway, &mut gateway.nas(), &code("alice", 2).state(&challenge), "state_spent");
}

#[test]
fn a_state_of_another_user_is_refused_and_stays_good_for_its_own() {
    let gateway = setup().start();
    let (mut nas, challenge) = challenged(&gateway);
    refused(&gateway, &mut nas, &code("bob", 0).state(&challenge), "state_other_user");
    nas.ask(&code("alice", 0).state(&challenge)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn a_state_of_another_nas_is_refused_and_stays_good_for_its_own() {
    let gateway = setup().start();
    let (mut nas, challenge) = challenged(&gateway);
    let mut other = Client::at(IpAddr::from(Ipv4Addr::new(127, 0, 0, 9)), gateway.address(), OTHER_SECRET);
    refused(&gateway, &mut other, &code("alice", 0).state(&challenge), "state_other_client");
    nas.ask(&code("alice", 0).state(&challenge)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn nases_of_one_attempt_group_may_share_a_state() {
    let setup = setup().of_client(NAS, "attempt_group", "vpn").of_client("other", "attempt_group", "vpn");
    let gateway = setup.start();
    let (_, challenge) = challenged(&gateway);
    let mut other = Client::at(IpAddr::from(Ipv4Addr::new(127, 0, 0, 9)), gateway.address(), OTHER_SECRET);
    other.ask(&code("alice", 0).state(&challenge)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn a_state_of_another_station_is_refused() {
    let gateway = setup().start();
    let (mut nas, challenge) = challenged(&gateway);
    let elsewhere = Request::access("alice").password(&SoftToken::hotp("alice").code(0)).station("203.0.113.1");
    refused(&gateway, &mut nas, &elsewhere.state(&challenge), "state_other_station");
    nas.ask(&code("alice", 0).state(&challenge)).expect(Code::ACCESS_ACCEPT);
}

/// pam_radius 1.3 names the station in the first packet only; 2.0 names it in both, and others in none or in the second.
#[test]
fn absent_station_contradicts_nothing() {
    // One sign-in follows the other at once.
    let gateway = setup().set("attempts.repeat_window", "0s").start();
    let mut nas = gateway.nas();
    let first = Request::access("alice").password("correct horse");
    let second = |counter| Request::access("alice").password(&SoftToken::hotp("alice").code(counter));
    let here = "198.51.100.7";
    for (counter, (first, second)) in (0..).zip([
        (first.clone().station(here), second(0)),
        (first.clone().station(here), second(1).station(here)),
        (first.clone(), second(2)),
        (first.clone(), second(3).station(here)),
        (first.clone().station(here), second(4).station("")),
    ]) {
        let challenge = nas.ask(&first).expect(Code::ACCESS_CHALLENGE);
        // A wrong code first: the attempt is found again under the next State.
        let wrong = Request::access("alice").password("000000").state(&challenge);
        let again = nas.ask(&wrong).expect(Code::ACCESS_CHALLENGE);
        assert_eq!(nas.ask(&second.state(&again)).code(), Code::ACCESS_ACCEPT, "{counter}");
    }
}

#[test]
fn a_state_that_comes_late_is_refused() {
    let setup = setup().set("attempts.challenge_lifetime", "10s").set("attempts.challenge_repeat", "0s");
    let gateway = setup.set("attempts.deadline", "5s").start();
    let (mut nas, challenge) = challenged(&gateway);
    let issued = Instant::now();
    tests::eventually("its time is over", || (issued.elapsed() > Duration::from_secs(10)).then_some(()));
    refused(&gateway, &mut nas, &code("alice", 0).state(&challenge), "state_unknown");
    // The code itself was never judged, and is still good.
    let again = Request::access("alice").password("correct horse").station("198.51.100.7");
    let challenge = nas.ask(&again).expect(Code::ACCESS_CHALLENGE);
    nas.ask(&code("alice", 0).state(&challenge)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn a_state_from_before_a_restart_is_refused() {
    let mut gateway = setup().start();
    let (mut nas, challenge) = challenged(&gateway);
    gateway.kill();
    gateway.start_again();
    refused(&gateway, &mut nas, &code("alice", 0).state(&challenge), "state_forged");
}

#[test]
fn a_state_from_before_a_restart_is_unknown_where_the_key_stays() {
    let setup = setup().set("cluster.key_file", "key").secret("key", &"k".repeat(48));
    let mut gateway = setup.start();
    let (mut nas, challenge) = challenged(&gateway);
    gateway.kill();
    gateway.start_again();
    refused(&gateway, &mut nas, &code("alice", 0).state(&challenge), "state_unknown");
}

#[test]
fn a_right_state_without_a_code_is_refused_and_stays_good() {
    let gateway = setup().start();
    let (mut nas, challenge) = challenged(&gateway);
    let blank = Request::access("alice").station("198.51.100.7").state(&challenge);
    refused(&gateway, &mut nas, &blank, "unsupported_protocol");
    nas.ask(&code("alice", 0).state(&challenge)).expect(Code::ACCESS_ACCEPT);
}

#[test]
fn status_server_is_answered_so_often_and_no_more() {
    let gateway = setup().set("limits.status_server_rate", 3).start();
    let nas = &mut gateway.nas();
    for _ in 0..40 {
        let sent = nas.encode(&Request::status());
        nas.send(&sent);
    }
    gateway.await_metrics("all are counted", |metrics| {
        let replies = metrics.count("orthrus_radius_responses_total", &[("code", "Access-Accept")]);
        metrics.dropped("rate_limited") + replies == 40
    });
    // Forty packets may straddle the turn of a second.
    assert!(gateway.metrics().dropped("rate_limited") >= 34);
}
