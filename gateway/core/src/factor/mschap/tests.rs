//! The vectors of RFC 2759 §9.2 and RFC 3079 §3.5.3, and what is built from their password.

use super::*;
use crate::radius::{Code, encode_request, reveal_salted};

const AUTHENTICATOR_CHALLENGE: &str = "5b5d7c7d7b3f2f3e3c2c602132262628";
const PEER_CHALLENGE: &str = "21402324255e262a28295f2b3a337c7e";
const NT_RESPONSE: &str = "82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df";

pub(crate) fn octets<const N: usize>(text: &str) -> [u8; N] {
    let pairs = text.as_bytes().chunks(2);
    let octets: Vec<u8> =
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    octets.try_into().unwrap()
}

fn hash(password: &str) -> NtHash {
    NtHash::of(&Secret::new(password.as_bytes().to_vec())).unwrap()
}

/// The exchange of RFC 2759 §9.2: "User" with "clientPass".
pub(crate) fn example() -> MsChap2 {
    MsChap2 {
        identifier: 0,
        challenge: octets(AUTHENTICATOR_CHALLENGE),
        peer: octets(PEER_CHALLENGE),
        response: octets(NT_RESPONSE),
        name: b"User".as_slice().into(),
        change: None,
    }
}

/// What its server answers.
pub(crate) fn example_session() -> Session {
    example().proved(&hash("clientPass")).unwrap()
}

fn shared() -> SharedSecret {
    SharedSecret::new(Secret::new(b"shared".to_vec()))
}

/// A request with these attributes of Microsoft.
fn request(attributes: &[(u8, &[u8])]) -> Vec<u8> {
    let mut list = Attributes::new();
    attributes.iter().for_each(|(kind, value)| list.push_vendor(MICROSOFT, *kind, value).unwrap());
    encode_request(Code::ACCESS_REQUEST, 1, [7; 16], &list, &shared(), true).unwrap()
}

fn read(attributes: &[(u8, &[u8])], name: &[u8]) -> Option<MsChap2> {
    let octets = request(attributes);
    MsChap2::read(&Packet::parse(&octets).unwrap(), name)
}

/// A client that changes "clientPass" to `new`, of which it says that it has so many octets.
fn change(new: &str, length: u32) -> MsChap2 {
    let (old, wide) = (hash("clientPass"), new.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    let new_hash = NtHash(Zeroizing::new(Md4::digest(&wide).into()));
    let mut password = [0x5a; ENCRYPTED_PASSWORD];
    password[512 - wide.len()..512].copy_from_slice(&wide);
    password[512..].copy_from_slice(&length.to_le_bytes());
    Rc4::new_from_slice(&*old.0).unwrap().apply_keystream(&mut password);
    let halves = [des(&new_hash.0[..7], octets_of(&old.0[..8])), des(&new_hash.0[7..14], octets_of(&old.0[8..]))];
    let mut proof = example();
    proof.response = new_hash.respond(proof.challenge_hash());
    proof.change = Some(Box::new(Change { hash: halves.as_flattened().try_into().unwrap(), password }));
    proof
}

fn octets_of<const N: usize>(slice: &[u8]) -> [u8; N] {
    slice.try_into().unwrap()
}

#[test]
fn the_vectors_of_rfc_2759() {
    let hash = hash("clientPass");
    assert_eq!(*hash.0, octets("44ebba8d5312b8d611474411f56989ae"));
    assert_eq!(example().challenge_hash(), octets("d02e4386bce91226"));
    assert_eq!(hash.respond(octets("d02e4386bce91226")), octets(NT_RESPONSE));
    let session = example_session();
    assert_eq!(session.success, b"\0S=407A5589115FD0D6209F510FE9C04566932CDA56");
    let mut wrong = example();
    wrong.response[23] ^= 1;
    assert!(wrong.proved(&hash).is_none());
    assert!(example().proved(&self::hash("clientpass")).is_none());
    assert_eq!(NtHash::from_hex(&Secret::new(hash.to_hex().as_bytes().to_vec())), Some(hash));
    assert_eq!(NtHash::from_hex(&Secret::new(b"44ebba8d5312b8d611474411f56989a".to_vec())), None);
    assert_eq!(NtHash::from_hex(&Secret::new(b"44ebba8d5312b8d611474411f56989ag".to_vec())), None);
}

#[test]
fn the_vectors_of_rfc_3079() {
    let twice = octets("41c00c584bd2d91c4017a2a12fa59f3f");
    let master = master_key(&twice, &octets(NT_RESPONSE));
    assert_eq!(*master, octets("fdece3717a8c838cb388e527ae3cdd31"));
    assert_eq!(start_key(&master, true).expose(), octets::<16>("8b7cdc149b993a1ba118cb153f56dccb"));
}

#[test]
fn an_accept_has_success_and_keys_for_its_own_request() {
    let mut base = Attributes::new();
    base.push_text(25, "class");
    base.push_vendor(MICROSOFT, MS_MPPE_ENCRYPTION_TYPES, &6_u32.to_be_bytes()).unwrap();
    let session = example_session();
    let all = session.attributes(&base, &shared(), &[7; 16], 0x1234).unwrap();
    assert!(all.as_bytes().len() - base.as_bytes().len() <= Session::LENGTH);
    let of = |kind| all.vendor(MICROSOFT, kind).map(<[u8]>::to_vec).collect::<Vec<_>>();
    assert_eq!(of(MS_CHAP2_SUCCESS), std::slice::from_ref(&session.success));
    assert_eq!(of(MS_MPPE_ENCRYPTION_TYPES), [6_u32.to_be_bytes()], "what the policy says stays");
    assert_eq!(of(MS_MPPE_ENCRYPTION_POLICY), [1_u32.to_be_bytes()]);
    let [send, receive] = [MS_MPPE_SEND_KEY, MS_MPPE_RECV_KEY].map(|kind| of(kind).remove(0));
    assert_ne!(send[..2], receive[..2], "each has a salt of its own (RFC 2548 §2.4.2)");
    let reveal = |hidden: &[u8]| reveal_salted(hidden, &shared(), &[7; 16]).unwrap();
    assert_eq!((reveal(&send), reveal(&receive)), (session.send, session.receive));
    assert!(!format!("{:?}", example_session()).contains("139, 124"), "keys are not shown");
}

#[test]
fn packets_are_read_whole_or_not_at_all() {
    let challenge: [u8; 16] = octets(AUTHENTICATOR_CHALLENGE);
    let response: Vec<u8> = [&[9, 0][..], &octets::<16>(PEER_CHALLENGE), &[0; 8], &octets::<24>(NT_RESPONSE)].concat();
    let whole = [(MS_CHAP_CHALLENGE, &challenge[..]), (MS_CHAP2_RESPONSE, &response[..])];
    let proof = read(&whole, b"CORP\\User").unwrap();
    assert_eq!(proof.identifier, 9);
    assert_eq!(proof.proved(&hash("clientPass")).unwrap().success[1..], example_session().success[1..]);
    assert!(read(&whole[1..], b"User").is_none(), "no challenge");
    assert!(read(&[(MS_CHAP_CHALLENGE, &challenge[..8]), whole[1]], b"User").is_none(), "a challenge of version 1");
    assert!(read(&[whole[0], (MS_CHAP2_RESPONSE, &response[..49])], b"User").is_none());

    let built = change("new password", 24);
    let inner = built.change.as_ref().unwrap();
    let value = [&[7, 3][..], &inner.hash, &built.peer, &[0; 8], &built.response, &[0, 0]].concat();
    let piece = |number: u8, octets: &[u8]| [&[6, 3, 0, number][..], octets].concat();
    let pieces =
        [piece(1, &inner.password[..243]), piece(2, &inner.password[243..486]), piece(3, &inner.password[486..])];
    let list = |order: &[usize]| -> Option<MsChap2> {
        let mut attributes = vec![whole[0], (MS_CHAP2_CPW, &value[..])];
        attributes.extend(order.iter().map(|place| (MS_CHAP_NT_ENC_PW, &pieces[*place][..])));
        read(&attributes, b"User")
    };
    let proof = list(&[1, 2, 0]).unwrap();
    assert!(proof.changes_password() && proof.identifier == 3);
    assert_eq!(proof.new_password(&hash("clientPass")).unwrap().0.expose(), b"new password");
    for broken in [&[0, 1][..], &[0, 1, 1], &[0, 1, 2, 2], &[]] {
        assert!(list(broken).is_none(), "{broken:?}");
    }
}

#[test]
fn a_new_password_is_taken_from_who_knows_the_old_one() {
    let old = hash("clientPass");
    let proof = change("nächstes", 16);
    let (new, new_hash) = proof.new_password(&old).unwrap();
    assert_eq!((new.expose(), &new_hash), ("nächstes".as_bytes(), &hash("nächstes")));
    assert!(proof.proved(&new_hash).is_some() && proof.proved(&old).is_none());
    assert_eq!(proof.new_password(&hash("other")).unwrap_err(), NoChange::WrongPassword);
    assert_eq!(example().new_password(&old).unwrap_err(), NoChange::Unreadable);
    for length in [15, 513, 514, u32::MAX] {
        assert_eq!(change("nächstes", length).new_password(&old).unwrap_err(), NoChange::WrongPassword, "{length}");
    }
    let mut forged = change("new password", 24);
    forged.change.as_mut().unwrap().hash[0] ^= 1;
    assert_eq!(forged.new_password(&old).unwrap_err(), NoChange::WrongPassword);
}

#[test]
fn an_error_fits_its_attribute() {
    let error = MsChap2::error(7, 648, false, &[0xab; 16], "Expired.");
    assert_eq!(error[0], 7);
    let wanted = format!("E=648 R=0 C={} V=3 M=Expired.", "AB".repeat(16));
    assert_eq!(std::str::from_utf8(&error[1..]).unwrap(), wanted);
    let long = MsChap2::error(7, 691, true, &[0; 16], &"é".repeat(240));
    assert!(long.len() <= 247 && std::str::from_utf8(&long[1..]).is_ok());
    push_error(&mut Attributes::new(), &long).unwrap();
    assert!(!MsChap2::error(7, 691, true, &[0; 16], "").ends_with(b" M="));
}
