//! The client's side of MS-CHAPv2 (RFC 2759), written from the RFC for this generator.

use crate::people::Person;
use des::Des;
use des::cipher::{BlockCipherEncrypt, KeyInit};
use md4::Md4;
use sha1::{Digest, Sha1};

/// The vendor of the attributes (RFC 2548).
pub(crate) const MICROSOFT: u32 = 311;
/// MS-CHAP-Challenge (RFC 2548 §2.1.2).
pub(crate) const CHALLENGE: u8 = 11;
/// MS-CHAP2-Response (RFC 2548 §2.3.2).
pub(crate) const RESPONSE: u8 = 25;
/// MS-CHAP2-Success (RFC 2548 §2.3.3).
pub(crate) const SUCCESS: u8 = 26;
/// MS-MPPE-Send-Key and MS-MPPE-Recv-Key (RFC 2548 §2.4.2, §2.4.3).
pub(crate) const KEYS: [u8; 2] = [16, 17];

/// What a client sends, and what it wants to see.
pub(crate) struct Answer {
    /// The value of MS-CHAP2-Response.
    pub(crate) response: Vec<u8>,
    /// The value of MS-CHAP2-Success.
    pub(crate) success: Vec<u8>,
}

/// NtPasswordHash (RFC 2759 §8.3).
pub(crate) fn password_hash(password: &str) -> [u8; 16] {
    let wide: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Md4::digest(wide).into()
}

/// Answers `challenge`; the client's own challenge is its reverse, which is as good for a load as any other.
pub(crate) fn answer(person: &Person, identifier: u8, challenge: &[u8; 16]) -> Answer {
    let mut peer = *challenge;
    peer.reverse();
    let hash = person.password_hash();
    let (nt, success) = prove(&person.name, &hash, challenge, &peer);
    let response = [&[identifier, 0][..], &peer, &[0; 8], &nt].concat();
    Answer { response, success: [&[identifier][..], success.as_bytes()].concat() }
}

/// NT-Response and the authenticator response (RFC 2759 §8.1, §8.7).
fn prove(name: &str, hash: &[u8; 16], challenge: &[u8; 16], peer: &[u8; 16]) -> ([u8; 24], String) {
    let digest = Sha1::new().chain_update(peer).chain_update(challenge).chain_update(name).finalize();
    let short: [u8; 8] = std::array::from_fn(|place| digest.get(place).copied().unwrap_or_default());
    let padded: [u8; 21] = std::array::from_fn(|place| hash.get(place).copied().unwrap_or_default());
    let mut nt = [0; 24];
    for (part, to) in padded.chunks(7).zip(nt.chunks_mut(8)) {
        let mut block = short.into();
        Des::new(&with_parity(part).into()).encrypt_block(&mut block);
        to.copy_from_slice(&block);
    }
    let digest = Sha1::new()
        .chain_update(Md4::digest(hash))
        .chain_update(nt)
        .chain_update(b"Magic server to client signing constant")
        .finalize();
    let digest = Sha1::new()
        .chain_update(digest)
        .chain_update(short)
        .chain_update(b"Pad to make it do more than one iteration")
        .finalize();
    (nt, format!("S={}", digest.iter().map(|octet| format!("{octet:02X}")).collect::<String>()))
}

/// Seven octets as a DES key, whose every eighth bit counts for nothing.
fn with_parity(seven: &[u8]) -> [u8; 8] {
    let bits = seven.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet));
    std::array::from_fn(|place| u8::try_from(bits >> (49 - 7 * place) & 0x7f).unwrap_or_default() << 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_2759_section_9_2() {
        let challenge = u128::from_str_radix("5B5D7C7D7B3F2F3E3C2C602132262628", 16).unwrap().to_be_bytes();
        let peer = u128::from_str_radix("21402324255E262A28295F2B3A337C7E", 16).unwrap().to_be_bytes();
        let hash = password_hash("clientPass");
        assert_eq!(hash, 0x44EB_BA8D_5312_B8D6_1147_4411_F569_89AE_u128.to_be_bytes());
        let (nt, success) = prove("User", &hash, &challenge, &peer);
        let expected = "82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF";
        assert_eq!(nt.iter().map(|octet| format!("{octet:02X}")).collect::<String>(), expected);
        assert_eq!(success, "S=407A5589115FD0D6209F510FE9C04566932CDA56");
    }
}
