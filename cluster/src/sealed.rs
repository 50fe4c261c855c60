//! Values in a store that others may read and write: a plain header, then a body sealed with AES-256-GCM.
//!
//! ```text
//!  0         1        5         13        21           29        41
//!  +---------+--------+---------+---------+------------+---------+-----------------+-----+
//!  | version | key id | serial  | epoch   | expires µs | nonce   | body …          | tag |
//!  +---------+--------+---------+---------+------------+---------+-----------------+-----+
//! ```
//!
//! Numbers are big-endian. Serial counts the writes of one key, epoch is the highest that its records have. The nonce is
//! random, and each name has a sealing key of its own (HKDF-SHA-256 of the cluster key with the name), so that no key ever
//! seals anything near the 2^32 messages after which random nonces may collide. Name and header are associated data: a value
//! moved to another key, or with another header, does not open. The header as a whole names one write.
//!
//! Two keys may be in force: the first seals, either opens.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use gateway_core::time::Timestamp;

/// Octets of a header.
pub const HEADER: usize = 41;
/// The longest value that is opened or written. A user's records are a few kilobytes; who fills the store with more is no node.
pub const LONGEST: usize = 256 * 1024;
const VERSION: u8 = 1;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Counts the writes of one key.
    pub serial: u64,
    /// The highest epoch of the records.
    pub epoch: u64,
    /// When nothing of it will matter any more; zero: never.
    pub expires: Timestamp,
}

/// Why a value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// No value of ours is as short or as long.
    #[error("a value of a length that no node writes")]
    Length,
    /// Written by a release that this one does not know.
    #[error("a value of version {0}, which this release does not know")]
    Version(u8),
    /// Sealed under a key that this node does not have.
    #[error("a value sealed under another key")]
    Key,
    /// Not as it was sealed, or not under its own name.
    #[error("a value that was changed since it was sealed")]
    Tampered,
}

struct Key {
    id: [u8; 4],
    secret: Prk,
}

/// Seals and opens.
pub struct Sealer {
    keys: Vec<Key>,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[sealer]")
    }
}

impl Sealer {
    /// Seals under `key`; opens what was sealed under it or under `second`.
    pub fn new(key: &[u8], second: Option<&[u8]>) -> Self {
        let keys = [Some(key), second].into_iter().flatten().map(|key| {
            let secret = Salt::new(HKDF_SHA256, b"orthrus store v1").extract(key);
            let mut id = [0; 4];
            if let Ok(okm) = secret.expand(&[b"key id"], Four) {
                let _ = okm.fill(&mut id);
            }
            Key { id, secret }
        });
        Self { keys: keys.collect() }
    }

    /// The value for `name`.
    ///
    /// # Errors
    ///
    /// The operating system has no randomness, or the body is too long.
    pub fn seal(&self, name: &str, header: Header, body: &[u8]) -> Result<Vec<u8>, Unopened> {
        let key = self.keys.first().ok_or(Unopened::Key)?;
        let mut nonce = [0; 12];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Unopened::Tampered)?;
        let mut value = Vec::with_capacity(HEADER + body.len() + AES_256_GCM.tag_len());
        value.push(VERSION);
        value.extend(key.id);
        for number in [header.serial, header.epoch, header.expires.as_micros()] {
            value.extend(number.to_be_bytes());
        }
        value.extend(nonce);
        let aad = associated(name, &value);
        let mut sealed = body.to_vec();
        let sealing = key.of(name).ok_or(Unopened::Tampered)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        sealing.seal_in_place_append_tag(nonce, Aad::from(aad), &mut sealed).map_err(|_| Unopened::Tampered)?;
        value.append(&mut sealed);
        if value.len() > LONGEST {
            return Err(Unopened::Length);
        }
        Ok(value)
    }

    /// What `value` says under `name`.
    ///
    /// # Errors
    ///
    /// Why it cannot be believed.
    pub fn open(&self, name: &str, value: &[u8]) -> Result<(Header, Vec<u8>), Unopened> {
        if value.len() > LONGEST {
            return Err(Unopened::Length);
        }
        if let Some(version) = value.first()
            && *version != VERSION
        {
            return Err(Unopened::Version(*version));
        }
        let (plain, sealed) = value.split_first_chunk::<HEADER>().ok_or(Unopened::Length)?;
        let (_, fields) = plain.split_first_chunk::<1>().ok_or(Unopened::Length)?;
        let (id, fields) = fields.split_first_chunk::<4>().ok_or(Unopened::Length)?;
        let (serial, fields) = fields.split_first_chunk::<8>().ok_or(Unopened::Length)?;
        let (epoch, fields) = fields.split_first_chunk::<8>().ok_or(Unopened::Length)?;
        let (expires, nonce) = fields.split_first_chunk::<8>().ok_or(Unopened::Length)?;
        let nonce: [u8; 12] = nonce.try_into().map_err(|_| Unopened::Length)?;
        let key = self.keys.iter().find(|key| key.id == *id).ok_or(Unopened::Key)?;
        let mut body = sealed.to_vec();
        let opening = key.of(name).ok_or(Unopened::Tampered)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(associated(name, plain));
        let length = opening.open_in_place(nonce, aad, &mut body).map_err(|_| Unopened::Tampered)?.len();
        body.truncate(length);
        let header = Header {
            serial: u64::from_be_bytes(*serial),
            epoch: u64::from_be_bytes(*epoch),
            expires: Timestamp::from_micros(u64::from_be_bytes(*expires)),
        };
        Ok((header, body))
    }
}

struct Four;

impl aws_lc_rs::hkdf::KeyType for Four {
    fn len(&self) -> usize {
        4
    }
}

impl Key {
    fn of(&self, name: &str) -> Option<LessSafeKey> {
        let info = [b"record ".as_slice(), name.as_bytes()];
        let okm = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

/// Name and header, unambiguously: the header has one length.
fn associated(name: &str, header: &[u8]) -> Vec<u8> {
    [header, name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header { serial: 7, epoch: 3, expires: Timestamp::from_secs(9) }
    }

    #[test]
    fn what_was_sealed_opens_under_its_name_only() {
        let sealer = Sealer::new(&[1; 32], None);
        let value = sealer.seal("a", header(), b"body").unwrap();
        assert_eq!(sealer.open("a", &value), Ok((header(), b"body".to_vec())));
        assert_eq!(sealer.open("b", &value), Err(Unopened::Tampered));
        assert_ne!(sealer.seal("a", header(), b"body").unwrap(), value, "no two writes are alike");
        assert!(!value.windows(4).any(|window| window == b"body"));
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let sealer = Sealer::new(&[1; 32], None);
        let value = sealer.seal("a", header(), b"body").unwrap();
        for at in 0..value.len() * 8 {
            let mut bad = value.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(sealer.open("a", &bad).is_err(), "bit {at}");
        }
        for length in 0..value.len() {
            assert!(sealer.open("a", &value[..length]).is_err(), "length {length}");
        }
        assert_eq!(sealer.open("a", &vec![1; LONGEST + 1]), Err(Unopened::Length));
    }

    #[test]
    fn either_of_two_keys_opens_and_the_first_seals() {
        let (old, new) = (Sealer::new(&[1; 32], None), Sealer::new(&[2; 32], None));
        let before = Sealer::new(&[1; 32], Some(&[2; 32]));
        let after = Sealer::new(&[2; 32], Some(&[1; 32]));
        let by_old = before.seal("a", header(), b"x").unwrap();
        let by_new = after.seal("a", header(), b"x").unwrap();
        assert!(before.open("a", &by_new).is_ok() && after.open("a", &by_old).is_ok());
        assert!(old.open("a", &by_old).is_ok() && new.open("a", &by_new).is_ok());
        assert_eq!(old.open("a", &by_new), Err(Unopened::Key));
    }

    #[test]
    fn another_version_says_so() {
        let sealer = Sealer::new(&[1; 32], None);
        let mut value = sealer.seal("a", header(), b"x").unwrap();
        value[0] = 2;
        assert_eq!(sealer.open("a", &value), Err(Unopened::Version(2)));
    }

    proptest! {
        #[test]
        fn random_octets_never_open(value in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(Sealer::new(&[1; 32], None).open("a", &value).is_err());
        }
    }
}
