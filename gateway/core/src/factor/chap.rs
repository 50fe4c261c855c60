//! CHAP (RFC 1994) as RADIUS carries it (RFC 2865 §2.2): a response to a challenge that the NAS has chosen. It can be checked
//! only by who has the password itself.

use crate::radius::{Packet, attribute};
use crate::secret::{Secret, equal};
use md5::{Digest, Md5};

/// A response.
#[derive(Debug)]
pub struct Chap {
    identifier: u8,
    challenge: Box<[u8]>,
    response: [u8; 16],
}

impl Chap {
    /// Reads CHAP-Password and CHAP-Challenge; without the latter, the Request Authenticator is the challenge (RFC 2865 §5.40).
    pub fn read(packet: &Packet<'_>) -> Option<Self> {
        let (identifier, response) = packet.first(attribute::CHAP_PASSWORD)?.split_first()?;
        let challenge = packet.first(attribute::CHAP_CHALLENGE).unwrap_or(packet.authenticator());
        Some(Self { identifier: *identifier, challenge: challenge.into(), response: response.try_into().ok()? })
    }

    /// Whether the response was made with this password, without telling by its time how far it is from it.
    pub fn proves(&self, password: &Secret) -> bool {
        let digest = Md5::new().chain_update([self.identifier]).chain_update(password.expose());
        equal(&digest.chain_update(&self.challenge).finalize(), &self.response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::radius::{Attributes, Code, SharedSecret, encode_request};

    fn packet(attributes: &[(u8, &[u8])]) -> Vec<u8> {
        let mut list = Attributes::new();
        attributes.iter().for_each(|(kind, value)| list.push(*kind, value).unwrap());
        let secret = SharedSecret::new(Secret::new(b"secret".to_vec()));
        encode_request(Code::ACCESS_REQUEST, 1, [7; 16], &list, &secret, true).unwrap()
    }

    /// RFC 2865 §7.2 with its errata: "flopsy" with "arctangent", whose challenge is the Request Authenticator.
    #[test]
    fn the_example_of_rfc_2865() {
        let octets = [
            0x01, 0x01, 0x00, 0x47, 0x2a, 0xee, 0x86, 0xf0, 0x8d, 0x0d, 0x55, 0x96, 0x9c, 0xa5, 0x97, 0x8e, 0x0d, 0x33,
            0x67, 0xa2, 0x01, 0x08, 0x66, 0x6c, 0x6f, 0x70, 0x73, 0x79, 0x03, 0x13, 0x16, 0xe9, 0x75, 0x57, 0xc3, 0x16,
            0x18, 0x58, 0x95, 0xf2, 0x93, 0xff, 0x63, 0x44, 0x07, 0x72, 0x75, 0x04, 0x06, 0xc0, 0xa8, 0x01, 0x10, 0x05,
            0x06, 0x00, 0x00, 0x00, 0x14, 0x06, 0x06, 0x00, 0x00, 0x00, 0x02, 0x07, 0x06, 0x00, 0x00, 0x00, 0x01,
        ];
        let chap = Chap::read(&Packet::parse(&octets).unwrap()).unwrap();
        assert!(chap.proves(&Secret::new(b"arctangent".to_vec())));
        assert!(!chap.proves(&Secret::new(b"Arctangent".to_vec())));
    }

    #[test]
    fn a_challenge_of_its_own_takes_the_place_of_the_authenticator() {
        let response: [u8; 16] = Md5::digest(b"\x05password\x01\x02\x03\x04\x05").into();
        let value = [&[5][..], &response].concat();
        let read = |attributes: &[(u8, &[u8])]| Chap::read(&Packet::parse(&packet(attributes)).unwrap());
        let password = Secret::new(b"password".to_vec());
        let with = [(attribute::CHAP_PASSWORD, &value[..]), (attribute::CHAP_CHALLENGE, &[1, 2, 3, 4, 5])];
        assert!(read(&with).unwrap().proves(&password));
        assert!(!read(&with[..1]).unwrap().proves(&password));
        assert!(read(&with[1..]).is_none());
    }
}
