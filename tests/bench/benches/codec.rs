//! The codec alone: what one sign-in with a password costs on the wire side, step by step.
// The macros of criterion write a function without a comment; the values here are constants known to fit.
#![allow(missing_docs, clippy::expect_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use gateway_core::radius::{
    Attributes, Code, Packet, Proof, SharedSecret, attribute, encode_reply, encode_request, hide_password,
    reveal_password, verify_reply,
};
use gateway_core::secret::Secret;
use std::hint::black_box;

const AUTHENTICATOR: [u8; 16] = *b"0123456789abcdef";

fn secret() -> SharedSecret {
    SharedSecret::new(Secret::new(b"a-shared-secret-of-the-benchmark-only".to_vec()))
}

/// What a VPN server sends, with the attributes that one usually adds.
fn request(secret: &SharedSecret) -> Vec<u8> {
    let hidden = hide_password(b"Pass-00042-word", secret, &AUTHENTICATOR).expect("a short password");
    let mut attributes = Attributes::new();
    for (kind, value) in [
        (attribute::USER_NAME, &b"user00042"[..]),
        (attribute::USER_PASSWORD, &hidden),
        (attribute::NAS_IP_ADDRESS, &[192, 0, 2, 10]),
        (attribute::NAS_PORT, &[0, 0, 0, 7]),
        (attribute::SERVICE_TYPE, &[0, 0, 0, 2]),
        (attribute::CALLED_STATION_ID, b"192.0.2.10"),
        (attribute::CALLING_STATION_ID, b"198.18.0.42"),
        (attribute::NAS_IDENTIFIER, b"vpn-berlin"),
    ] {
        attributes.push(kind, value).expect("short values");
    }
    encode_request(Code::ACCESS_REQUEST, 7, AUTHENTICATOR, &attributes, secret, true).expect("a short packet")
}

fn policy() -> Attributes {
    let mut attributes = Attributes::new();
    attributes.push(attribute::CLASS, b"bench").expect("a short value");
    attributes.push(attribute::FILTER_ID, b"vpn-users").expect("a short value");
    attributes
}

fn codec(criterion: &mut Criterion) {
    let secret = secret();
    let octets = request(&secret);
    let packet = Packet::parse(&octets).expect("well-formed");
    let hidden = packet.first(attribute::USER_PASSWORD).expect("it has a password").to_vec();
    let policy = policy();
    let reply = encode_reply(Code::ACCESS_ACCEPT, &packet, &policy, &secret).expect("a short reply");
    assert_eq!(packet.message_authenticator(&secret), Proof::Valid);

    let mut group = criterion.benchmark_group("codec");
    group.bench_function("parse", |b| b.iter(|| Packet::parse(black_box(&octets)).is_ok()));
    group.bench_function("verify Message-Authenticator", |b| {
        b.iter(|| black_box(&packet).message_authenticator(&secret));
    });
    group.bench_function("reveal password", |b| {
        b.iter(|| reveal_password(black_box(&hidden), &secret, packet.authenticator()));
    });
    group.bench_function("encode accept", |b| {
        b.iter(|| encode_reply(Code::ACCESS_ACCEPT, black_box(&packet), &policy, &secret));
    });
    group.bench_function("all of these", |b| {
        b.iter(|| {
            let packet = Packet::parse(black_box(&octets)).expect("well-formed");
            let proof = packet.message_authenticator(&secret);
            let password = reveal_password(&hidden, &secret, packet.authenticator());
            (proof, password, encode_reply(Code::ACCESS_ACCEPT, &packet, &policy, &secret))
        });
    });
    group.bench_function("verify reply", |b| {
        let reply = Packet::parse(&reply).expect("well-formed");
        b.iter(|| verify_reply(black_box(&reply), &AUTHENTICATOR, &secret));
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
