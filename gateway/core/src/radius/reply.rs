//! Packets that we write: replies to a NAS, and requests where Orthrus is the client (an upstream server, `orthrus
//! signin`, tests).

use super::packet::{HEADER, LONGEST_PACKET, Packet};
use super::{Attributes, Code, Proof, SharedSecret, TooLong, attribute};
use crate::secret;

/// Writes the reply to `request`: Message-Authenticator first (CVE-2024-3596), then `attributes`, then every Proxy-State
/// of the request untouched and in order (RFC 2865 §5.33). The answer to an Accounting-Request carries no Message-Authenticator, even
/// if the request did: RFC 2869 §5.19 has none there, no text says over which authenticator it would be made, and FreeRADIUS's
/// clients reckon with zeros and take one that is made as RFC 3579 §3.2 says for a forgery. The Response Authenticator proves it
/// (RFC 2866 §3). What answers other codes, Status-Server among them, carries one if the request did.
///
/// The same arguments always give the same octets, as RFC 5080 §2.2.2 wants for duplicates; those of hidden values too.
///
/// # Errors
///
/// The reply would be longer than 4096 octets.
pub fn encode_reply(
    code: Code,
    request: &Packet<'_>,
    attributes: &Attributes,
    secret: &SharedSecret,
) -> Result<Vec<u8>, TooLong> {
    let attributes = attributes.sealed(secret, request.authenticator(), request.bytes())?;
    let accounting = request.code() == Code::ACCOUNTING_REQUEST;
    let protected = code.answers_access() || (request.has_message_authenticator() && !accounting);
    let proxies = request.attributes().filter(|attribute| attribute.kind == attribute::PROXY_STATE);
    let own = attributes.iter().filter(|attribute| attribute.kind != attribute::PROXY_STATE);
    let mut packet = assemble(code, request.identifier(), request.authenticator(), protected, own.chain(proxies))?;
    if protected {
        sign_message(&mut packet, secret);
    }
    sign_packet(&mut packet, secret);
    Ok(packet)
}

/// Writes a request, with Message-Authenticator first when asked for (RFC 3579 §3.2). `authenticator` must be
/// unpredictable (RFC 2865 §3); for codes whose authenticator is computed over the packet (RFC 2866 §3, RFC 5176 §2.3) it
/// is not used.
///
/// # Errors
///
/// The request would be longer than 4096 octets.
pub fn encode_request(
    code: Code,
    identifier: u8,
    authenticator: [u8; 16],
    attributes: &Attributes,
    secret: &SharedSecret,
    message_authenticator: bool,
) -> Result<Vec<u8>, TooLong> {
    // What is hidden in a packet whose authenticator is made of it is hidden with zeros in its place.
    let authenticator = if code.signs_itself() { [0; 16] } else { authenticator };
    let attributes = attributes.sealed(secret, &authenticator, &authenticator)?;
    let mut packet = assemble(code, identifier, &authenticator, message_authenticator, attributes.iter())?;
    if message_authenticator {
        sign_message(&mut packet, secret);
    }
    if code.signs_itself() {
        sign_packet(&mut packet, secret);
    }
    Ok(packet)
}

/// Checks that a reply was written for the request with this authenticator by somebody who knows the secret. A reply
/// without Message-Authenticator passes here: whether that is good enough, [`Packet::has_message_authenticator`] and
/// [`Packet::message_authenticator_is_first`] let the caller decide. The identifier is the caller's to match.
///
/// # Errors
///
/// Which of the two proofs is wrong.
pub fn verify_reply(
    reply: &Packet<'_>,
    request_authenticator: &[u8; 16],
    secret: &SharedSecret,
) -> Result<(), ReplyFault> {
    let mut packet = reply.bytes().to_vec();
    write_at(&mut packet, 4, request_authenticator);
    if !secret::equal(&secret.digest_before_secret(&packet), reply.authenticator()) {
        return Err(ReplyFault::ResponseAuthenticator);
    }
    match reply.prove(secret, request_authenticator) {
        Proof::Wrong => Err(ReplyFault::MessageAuthenticator),
        Proof::Valid | Proof::Absent => Ok(()),
    }
}

/// Why a reply is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyFault {
    /// RFC 2865 §3.
    #[error("the reply's Response Authenticator is wrong; check that both sides have the same shared secret")]
    ResponseAuthenticator,
    /// RFC 3579 §3.2: with a right Response Authenticator this is no mere difference of secrets.
    #[error(
        "the reply's Message-Authenticator is wrong although its Response Authenticator is right; it may be forged"
    )]
    MessageAuthenticator,
}

/// The packet with room for its proofs: Message-Authenticator zero, `authenticator` where the digest will be computed
/// with it.
fn assemble<'a>(
    code: Code,
    identifier: u8,
    authenticator: &[u8; 16],
    protected: bool,
    attributes: impl Iterator<Item = super::Attribute<'a>>,
) -> Result<Vec<u8>, TooLong> {
    let mut packet = Vec::with_capacity(256);
    packet.extend([code.into(), identifier, 0, 0]);
    packet.extend(authenticator);
    if protected {
        packet.extend([attribute::MESSAGE_AUTHENTICATOR, 18]);
        packet.extend([0; 16]);
    }
    for attribute in attributes.filter(|attribute| attribute.kind != attribute::MESSAGE_AUTHENTICATOR) {
        packet.extend([attribute.kind, u8::try_from(attribute.value.len() + 2).unwrap_or(u8::MAX)]);
        packet.extend_from_slice(attribute.value);
    }
    TooLong::check("packet", packet.len(), LONGEST_PACKET)?;
    let length = u16::try_from(packet.len()).unwrap_or(u16::MAX);
    write_at(&mut packet, 2, &length.to_be_bytes());
    Ok(packet)
}

/// Fills in the Message-Authenticator that [`assemble`] left at the front.
fn sign_message(packet: &mut [u8], secret: &SharedSecret) {
    let proof = secret.sign(&[packet]);
    write_at(packet, HEADER + 2, &proof);
}

/// Replaces the authenticator by the digest over the packet and the secret.
fn sign_packet(packet: &mut [u8], secret: &SharedSecret) {
    let digest = secret.digest_before_secret(packet);
    write_at(packet, 4, &digest);
}

fn write_at(packet: &mut [u8], offset: usize, octets: &[u8]) {
    packet.iter_mut().skip(offset).zip(octets).for_each(|(place, octet)| *place = *octet);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use proptest::prelude::*;

    fn shared(secret: &[u8]) -> SharedSecret {
        SharedSecret::new(Secret::new(secret.to_vec()))
    }

    fn request(attributes: &[(u8, &[u8])]) -> Vec<u8> {
        let mut list = Attributes::new();
        for (kind, value) in attributes {
            list.push(*kind, value).unwrap();
        }
        encode_request(Code::ACCESS_REQUEST, 7, [5; 16], &list, &shared(b"secret"), true).unwrap()
    }

    #[test]
    fn a_reply_has_its_proof_first_and_proxy_state_last() {
        let secret = shared(b"secret");
        let bytes = request(&[(33, b"one"), (1, b"nemo"), (33, b""), (33, b"two")]);
        let request = Packet::parse(&bytes).unwrap();
        assert_eq!(request.message_authenticator(&secret), Proof::Valid);
        assert_eq!(request.message_authenticator(&shared(b"other")), Proof::Wrong);

        let mut attributes = Attributes::new();
        attributes.push(33, b"not ours to add").unwrap();
        attributes.push(80, &[1; 16]).unwrap();
        attributes.push_text(18, "hello");
        let bytes = encode_reply(Code::ACCESS_ACCEPT, &request, &attributes, &secret).unwrap();
        let reply = Packet::parse(&bytes).unwrap();
        let kinds: Vec<u8> = reply.attributes().map(|attribute| attribute.kind).collect();
        assert_eq!(kinds, [80, 18, 33, 33, 33]);
        assert_eq!(reply.all(33).collect::<Vec<_>>(), [&b"one"[..], b"", b"two"]);
        assert_eq!(reply.identifier(), 7);
        assert!(reply.message_authenticator_is_first());
        assert_eq!(verify_reply(&reply, request.authenticator(), &secret), Ok(()));
        assert_eq!(bytes, encode_reply(Code::ACCESS_ACCEPT, &request, &attributes, &secret).unwrap());
    }

    #[test]
    fn a_changed_reply_is_not_believed() {
        let secret = shared(b"secret");
        let bytes = request(&[(1, b"nemo")]);
        let request = Packet::parse(&bytes).unwrap();
        let reply = encode_reply(Code::ACCESS_REJECT, &request, &Attributes::new(), &secret).unwrap();
        let wrong = Err(ReplyFault::ResponseAuthenticator);
        for place in (0..reply.len()).filter(|place| ![2, 3, 20, 21].contains(place)) {
            let mut changed = reply.clone();
            changed[place] ^= 1;
            let changed = Packet::parse(&changed).unwrap();
            assert_eq!(verify_reply(&changed, request.authenticator(), &secret), wrong, "octet {place}");
        }
        let reply = Packet::parse(&reply).unwrap();
        assert_eq!(verify_reply(&reply, &[6; 16], &secret), wrong);
        assert_eq!(verify_reply(&reply, request.authenticator(), &shared(b"other")), wrong);
    }

    #[test]
    fn a_collision_in_md5_alone_is_not_enough() {
        // What CVE-2024-3596 yields: a right Response Authenticator over an accept that nobody wrote.
        let secret = shared(b"secret");
        let mut forged = [&[2, 7, 0, 38][..], &[5; 16], &[80, 18], &[0; 16]].concat();
        sign_packet(&mut forged, &secret);
        let forged = Packet::parse(&forged).unwrap();
        assert_eq!(verify_reply(&forged, &[5; 16], &secret), Err(ReplyFault::MessageAuthenticator));
    }

    #[test]
    fn accounting_signs_itself_and_is_answered_unsigned() {
        let secret = shared(b"secret");
        for protected in [false, true] {
            let bytes =
                encode_request(Code::ACCOUNTING_REQUEST, 1, [9; 16], &Attributes::new(), &secret, protected).unwrap();
            let request = Packet::parse(&bytes).unwrap();
            let mut zeroed = bytes.clone();
            write_at(&mut zeroed, 4, &[0; 16]);
            assert_eq!(&secret.digest_before_secret(&zeroed), request.authenticator());
            let expected = if protected { Proof::Valid } else { Proof::Absent };
            assert_eq!(request.message_authenticator(&secret), expected);
            let reply = encode_reply(Code::ACCOUNTING_RESPONSE, &request, &Attributes::new(), &secret).unwrap();
            let reply = Packet::parse(&reply).unwrap();
            assert!(!reply.has_message_authenticator(), "{protected}");
            assert_eq!(verify_reply(&reply, request.authenticator(), &secret), Ok(()));
        }
    }

    #[test]
    fn a_packet_has_at_most_4096_octets() {
        let secret = shared(b"secret");
        let mut attributes = Attributes::new();
        for _ in 0..16 {
            attributes.push(25, &[0; 251]).unwrap();
        }
        attributes.push(25, &[0; 8]).unwrap();
        assert_eq!(HEADER + 18 + attributes.as_bytes().len(), 4096);
        let bytes = request(&[(1, b"nemo")]);
        let request = Packet::parse(&bytes).unwrap();
        assert_eq!(encode_reply(Code::ACCESS_ACCEPT, &request, &attributes, &secret).unwrap().len(), 4096);
        attributes.push(25, b"").unwrap();
        let refused = encode_reply(Code::ACCESS_ACCEPT, &request, &attributes, &secret).unwrap_err();
        assert_eq!(refused.to_string(), "packet of 4098 octets; at most 4096 fit");
    }

    proptest! {
        #[test]
        fn a_request_comes_back(
            identifier in any::<u8>(),
            authenticator in any::<[u8; 16]>(),
            name in proptest::collection::vec(any::<u8>(), 1..=253),
            class in proptest::collection::vec(any::<u8>(), 0..=253),
        ) {
            let secret = shared(b"testing123");
            let mut attributes = Attributes::new();
            attributes.push(1, &name).unwrap();
            attributes.push(25, &class).unwrap();
            let bytes = encode_request(Code::ACCESS_REQUEST, identifier, authenticator, &attributes, &secret, true).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            prop_assert_eq!(packet.message_authenticator(&secret), Proof::Valid);
            prop_assert_eq!(packet.identifier(), identifier);
            prop_assert_eq!(packet.authenticator(), &authenticator);
            prop_assert_eq!(packet.first(1), Some(&name[..]));
            prop_assert_eq!(packet.first(25), Some(&class[..]));
        }
    }
}
