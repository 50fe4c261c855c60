//! What the shared secret proves: Message-Authenticator (RFC 3579 §3.2) and the digests of RFC 2865 §3.

use super::packet::{HEADER, Packet};
use crate::secret::{self, Secret};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use std::fmt;

/// The secret shared with one RADIUS peer, and the two hash states that every use of it starts from: computed once here,
/// copied per packet.
pub struct SharedSecret {
    secret: Secret,
    hmac: Hmac<Md5>,
    md5: Md5,
}

impl SharedSecret {
    /// Prepares a secret for use.
    pub fn new(secret: Secret) -> Self {
        let hmac = keyed(secret.expose());
        let md5 = Md5::new_with_prefix(secret.expose());
        Self { secret, hmac, md5 }
    }

    /// The secret itself, for the checks that configuration makes of its strength.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// HMAC-MD5 over the parts, one after the other.
    pub(crate) fn sign(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut hmac = self.hmac.clone();
        parts.iter().for_each(|part| hmac.update(part));
        hmac.finalize().into_bytes().into()
    }

    /// MD5 over `octets` and then the secret: Response Authenticators and those of accounting.
    pub(crate) fn digest_before_secret(&self, octets: &[u8]) -> [u8; 16] {
        Md5::new_with_prefix(octets).chain_update(self.secret.expose()).finalize().into()
    }

    /// The Request Authenticator that the packet must have (RFC 2866 §3): MD5 over it with zeros in that place, and the secret.
    pub(crate) fn digest_of_request(&self, packet: &Packet<'_>) -> [u8; 16] {
        let bytes = packet.bytes();
        let (before, after) = (bytes.get(..4).unwrap_or_default(), bytes.get(HEADER..).unwrap_or_default());
        let md5 = Md5::new_with_prefix(before).chain_update([0; 16]).chain_update(after);
        md5.chain_update(self.secret.expose()).finalize().into()
    }

    /// MD5 over the secret and then the parts: the key stream that hides passwords.
    pub(crate) fn digest_after_secret(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut md5 = self.md5.clone();
        parts.iter().for_each(|part| md5.update(part));
        md5.finalize().into()
    }
}

impl PartialEq for SharedSecret {
    /// In constant time for equal lengths.
    fn eq(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

impl Eq for SharedSecret {}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The keyed state of HMAC-MD5. A key of exactly one block cannot be refused, so the key is first brought to that size as
/// RFC 2104 §2 would do it anyway.
fn keyed(secret: &[u8]) -> Hmac<Md5> {
    let digest;
    let key = if secret.len() > 64 {
        digest = Md5::digest(secret);
        digest.as_slice()
    } else {
        secret
    };
    let mut block = zeroize::Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(octet, from)| *octet = *from);
    Hmac::new((&*block).into())
}

/// What Message-Authenticator says about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Written by somebody who knows the secret.
    Valid,
    /// The packet carries none.
    Absent,
    /// Wrong secret, or tampered with.
    Wrong,
}

impl Packet<'_> {
    /// Checks the Message-Authenticator of a request (RFC 3579 §3.2), in constant time.
    pub fn message_authenticator(&self, secret: &SharedSecret) -> Proof {
        let zero = [0; 16];
        self.prove(secret, if self.code().signs_itself() { &zero } else { self.authenticator() })
    }

    /// The same with `authenticator` in the place of the packet's own: that of the request, where this is a reply.
    pub(crate) fn prove(&self, secret: &SharedSecret, authenticator: &[u8; 16]) -> Proof {
        let Some(at) = self.proof_at() else { return Proof::Absent };
        let bytes = self.bytes();
        let parts = (bytes.get(..4), bytes.get(HEADER..at + 2), bytes.get(at + 2..at + 18), bytes.get(at + 18..));
        // The parser found the attribute whole, so the last arm is never taken; if it were, it would prove nothing.
        let (Some(start), Some(before), Some(field), Some(after)) = parts else { return Proof::Wrong };
        let expected = secret.sign(&[start, authenticator, before, &[0; 16], after]);
        if secret::equal(&expected, field) { Proof::Valid } else { Proof::Wrong }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(secret: &[u8]) -> SharedSecret {
        SharedSecret::new(Secret::new(secret.to_vec()))
    }

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn hmac_agrees_with_rfc_2202_for_short_and_long_keys() {
        assert_eq!(
            hex(&shared(b"Jefe").sign(&[b"what do ya ", b"want for nothing?"])),
            "750c783e6ab0b503eaa86e310a5db738"
        );
        let long = shared(&[0xaa; 80]);
        let text = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(hex(&long.sign(&[text])), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }

    #[test]
    fn a_secret_shows_nothing_and_compares() {
        assert_eq!(format!("{:?}", shared(b"hunter2")), "[secret]");
        assert_eq!(shared(b"a"), shared(b"a"));
        assert_ne!(shared(b"a"), shared(b"b"));
    }
}
