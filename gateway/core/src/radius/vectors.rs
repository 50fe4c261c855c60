//! Runs the wire vectors in `tests/vectors/radius`; the README beside them explains their form.

use super::*;
use crate::secret::Secret;
use std::collections::{BTreeSet, HashMap};

#[derive(Default)]
struct Block {
    name: String,
    secret: Option<SharedSecret>,
    packet: Vec<u8>,
    expect: String,
    proof: Option<String>,
    password: Option<String>,
    answers: Option<String>,
    attributes: Vec<String>,
}

fn read(file: &str) -> Vec<Block> {
    let mut lines: Vec<String> = Vec::new();
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix(' ') {
            Some(rest) => lines.last_mut().unwrap().push_str(rest),
            None => lines.push(line.to_owned()),
        }
    }
    let count = lines.pop().unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    for line in lines {
        let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("no key: {line}"));
        if key == "name" {
            assert!(blocks.iter().all(|block| block.name != value), "{value} stands twice");
            blocks.push(Block { name: value.to_owned(), ..Block::default() });
            continue;
        }
        let block = blocks.last_mut().unwrap();
        match key {
            "secret" => block.secret = Some(SharedSecret::new(Secret::new(value.as_bytes().to_vec()))),
            "packet" => block.packet = octets(value),
            "expect" => block.expect = value.to_owned(),
            "proof" => block.proof = Some(value.to_owned()),
            "password" => block.password = Some(value.to_owned()),
            "answers" => block.answers = Some(value.to_owned()),
            "attribute" => block.attributes.push(value.to_owned()),
            _ => panic!("unknown key: {line}"),
        }
    }
    assert_eq!(count, format!("count: {}", blocks.len()));
    blocks
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    assert!(digits.len().is_multiple_of(2), "half an octet in {hex}");
    digits.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Runs a file and returns the labels of the faults met in it.
fn run(file: &str) -> BTreeSet<String> {
    let blocks = read(file);
    let mut labels = BTreeSet::new();
    let mut requests = HashMap::new();
    for block in &blocks {
        let name = &block.name;
        let packet = match Packet::parse(&block.packet) {
            Err(fault) => {
                assert_eq!(block.expect, format!("malformed {}", fault.label()), "{name}: {fault}");
                labels.insert(fault.label().to_owned());
                continue;
            }
            Ok(packet) => packet,
        };
        assert_eq!(block.expect, "ok", "{name}");
        assert_eq!(describe(&packet), block.attributes, "{name}");
        if let Some(expected) = &block.proof {
            let secret = block.secret.as_ref().unwrap();
            let proof = packet.message_authenticator(secret);
            assert_eq!(&format!("{proof:?}").to_lowercase(), expected, "{name}");
            if proof == Proof::Absent || proof == Proof::Valid && packet.message_authenticator_is_first() {
                is_written_alike(&packet, secret, name);
            }
        }
        if let Some(password) = &block.password {
            let hidden = packet.first(attribute::USER_PASSWORD).unwrap();
            let secret = block.secret.as_ref().unwrap();
            assert_eq!(reveal_password(hidden, secret, packet.authenticator()).expose(), password.as_bytes(), "{name}");
            assert_eq!(hide_password(password.as_bytes(), secret, packet.authenticator()).unwrap(), hidden, "{name}");
        }
        if let Some(request) = &block.answers {
            let request: &Packet<'_> = &requests[request];
            assert_eq!(packet.identifier(), request.identifier(), "{name}");
            assert_eq!(
                verify_reply(&packet, request.authenticator(), block.secret.as_ref().unwrap()),
                Ok(()),
                "{name}"
            );
        }
        requests.insert(name, packet);
    }
    labels
}

/// A request whose Message-Authenticator stands where we put it, or which has none, comes out of our encoder as it went in.
fn is_written_alike(packet: &Packet<'_>, secret: &SharedSecret, name: &str) {
    let mut attributes = Attributes::new();
    for Attribute { kind, value } in packet.attributes() {
        attributes.push(kind, value).unwrap();
    }
    let (code, identifier, authenticator) = (packet.code(), packet.identifier(), *packet.authenticator());
    let protected = packet.has_message_authenticator();
    let bytes = encode_request(code, identifier, authenticator, &attributes, secret, protected).unwrap();
    assert_eq!(bytes, packet.bytes(), "{name}");
}

#[test]
fn rfc_examples() {
    run(include_str!("../../../../tests/vectors/radius/rfc-examples.txt"));
}

#[test]
fn authenticators() {
    run(include_str!("../../../../tests/vectors/radius/authenticators.txt"));
}

#[test]
fn attributes() {
    run(include_str!("../../../../tests/vectors/radius/attributes.txt"));
}

#[test]
fn malformed_in_every_way() {
    let met = run(include_str!("../../../../tests/vectors/radius/malformed.txt"));
    // A new fault without a vector is noticed.
    let labels: BTreeSet<String> = Malformed::WORDS.iter().map(|(label, _)| (*label).to_owned()).collect();
    assert_eq!(met, labels);
}
