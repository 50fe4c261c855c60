//! Values in a store that others may read and write: a plain header, then a sealed body.
//!
//! ```text
//!  0         1        5         13        21           29        41
//!  +---------+--------+---------+---------+------------+---------+-----------------+-----+
//!  | version | key id | serial  | epoch   | expires µs | nonce   | body …          | tag |
//!  +---------+--------+---------+---------+------------+---------+-----------------+-----+
//! ```
//!
//! Numbers are big-endian. Serial counts the writes of one key, epoch is the highest that its records have. Name and header are
//! associated data: a value moved to another key, or with another header, does not open. The header as a whole names one write.
//!
//! | version | seal | nonce |
//! |---|---|---|
//! | 1 | AES-256-GCM under a key for each name (HKDF-SHA-256 of the cluster key with the name), so that no key ever seals anything near the 2^32 messages after which random nonces may collide | random |
//! | 2 | AES-256-GCM-SIV (RFC 8452) under one key, which bears nonces that come twice, and costs a third | 8 random octets of the writer, then a counter of its writes |
//! | 3 | the same; what is inside knows more (`gateway_core::attempt::bundle`) | the same |
//!
//! Every release opens the versions that the one before it wrote, and writes them for as long as one of that release is alive. What
//! outlives releases, or tells which are alive, is of version 1.
//!
//! Two keys may be in force: the first seals, either opens.

use aws_lc_rs::aead::{AES_256_GCM, AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use gateway_core::config::NEWEST_RECORDS;
use gateway_core::time::Timestamp;
use std::sync::atomic::{AtomicU32, Ordering};

/// Octets of a header.
pub const HEADER: usize = 41;
/// The longest value that is opened or written. A user's records are a few kilobytes; who fills the store with more is no node.
pub const LONGEST: usize = 256 * 1024;
/// The version that all releases open.
pub const OLDEST: u8 = 1;
/// The newest that this one opens and writes. A build with `previous-records` stands for the release before, in tests of upgrades.
pub const NEWEST: u8 = if cfg!(feature = "previous-records") { NEWEST_RECORDS - 1 } else { NEWEST_RECORDS };

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

impl Header {
    /// Whether it belongs to an earlier write than `seen`. The epoch counts first: a record that was forgotten and made anew begins its
    /// serials again under a higher epoch, and an old value of before must not pass for a newer one by its serial.
    pub fn precedes(&self, seen: &Self) -> bool {
        (self.epoch, self.serial) < (seen.epoch, seen.serial)
    }
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
    /// Of version 2.
    one: Option<LessSafeKey>,
}

/// Seals and opens.
pub struct Sealer {
    keys: Vec<Key>,
    /// What nonces of version 2 begin with; `None`: the operating system has no randomness.
    writer: Option<[u8; 8]>,
    written: AtomicU32,
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
            let one = secret.expand(&[b"records of version 2"], &AES_256_GCM_SIV).ok();
            let one = one.map(|okm| LessSafeKey::new(UnboundKey::from(okm)));
            Key { id, secret, one }
        });
        let mut writer = [0; 8];
        let writer = aws_lc_rs::rand::fill(&mut writer).is_ok().then_some(writer);
        Self { keys: keys.collect(), writer, written: AtomicU32::new(0) }
    }

    /// The value for `name`, of `version` or the newest that is known.
    ///
    /// # Errors
    ///
    /// The operating system has no randomness, or the body is too long.
    pub fn seal(&self, version: u8, name: &str, header: Header, body: &[u8]) -> Result<Vec<u8>, Unopened> {
        let key = self.keys.first().ok_or(Unopened::Key)?;
        let version = version.clamp(OLDEST, NEWEST);
        let nonce = self.nonce(version).ok_or(Unopened::Tampered)?;
        let mut value = Vec::with_capacity(HEADER + body.len() + AES_256_GCM.tag_len());
        value.push(version);
        value.extend(key.id);
        for number in [header.serial, header.epoch, header.expires.as_micros()] {
            value.extend(number.to_be_bytes());
        }
        value.extend(nonce);
        let aad = Aad::from(associated(name, &value));
        value.extend(body);
        let sealed = value.get_mut(HEADER..).ok_or(Unopened::Length)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = key.with(version, name, |key| key.seal_in_place_separate_tag(nonce, aad, sealed).ok());
        value.extend(tag.flatten().ok_or(Unopened::Tampered)?.as_ref());
        if value.len() > LONGEST {
            return Err(Unopened::Length);
        }
        Ok(value)
    }

    fn nonce(&self, version: u8) -> Option<[u8; 12]> {
        let mut nonce = [0; 12];
        if version == 1 {
            return aws_lc_rs::rand::fill(&mut nonce).is_ok().then_some(nonce);
        }
        let (writer, count) = nonce.split_first_chunk_mut::<8>()?;
        *writer = self.writer?;
        count.copy_from_slice(&self.written.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        Some(nonce)
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
        let version = value.first().copied().ok_or(Unopened::Length)?;
        if !(OLDEST..=NEWEST).contains(&version) {
            return Err(Unopened::Version(version));
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
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(associated(name, plain));
        let length =
            key.with(version, name, |key| key.open_in_place(nonce, aad, &mut body).ok().map(|body| body.len()));
        body.truncate(length.flatten().ok_or(Unopened::Tampered)?);
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
    /// Does something with the key that a version has for `name`.
    fn with<T>(&self, version: u8, name: &str, act: impl FnOnce(&LessSafeKey) -> T) -> Option<T> {
        if version != 1 {
            return self.one.as_ref().map(act);
        }
        let info = [b"record ".as_slice(), name.as_bytes()];
        let okm = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(act(&LessSafeKey::new(UnboundKey::from(okm))))
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

    const VERSIONS: std::ops::RangeInclusive<u8> = OLDEST..=NEWEST;

    #[test]
    fn epoch_counts_before_serial() {
        let header = |epoch, serial| Header { serial, epoch, expires: Timestamp::default() };
        let seen = header(7, 3);
        assert!(header(7, 2).precedes(&seen));
        assert!(!header(7, 3).precedes(&seen));
        assert!(!header(8, 1).precedes(&seen), "made anew");
        assert!(header(6, 900).precedes(&seen), "of before it was forgotten");
    }

    #[test]
    fn what_was_sealed_opens_under_its_name_only() {
        let sealer = Sealer::new(&[1; 32], None);
        for version in VERSIONS {
            let value = sealer.seal(version, "a", header(), b"body").unwrap();
            assert_eq!(value[0], version);
            assert_eq!(sealer.open("a", &value), Ok((header(), b"body".to_vec())));
            assert_eq!(sealer.open("b", &value), Err(Unopened::Tampered));
            assert_ne!(sealer.seal(version, "a", header(), b"body").unwrap(), value, "no two writes are alike");
            assert!(!value.windows(4).any(|window| window == b"body"));
        }
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let sealer = Sealer::new(&[1; 32], None);
        for version in VERSIONS {
            let value = sealer.seal(version, "a", header(), b"body").unwrap();
            for at in 0..value.len() * 8 {
                let mut bad = value.clone();
                bad[at / 8] ^= 1 << (at % 8);
                assert!(sealer.open("a", &bad).is_err(), "bit {at}");
            }
            for length in 0..value.len() {
                assert!(sealer.open("a", &value[..length]).is_err(), "length {length}");
            }
            assert_eq!(sealer.open("a", &vec![version; LONGEST + 1]), Err(Unopened::Length));
        }
    }

    #[test]
    fn either_of_two_keys_opens_and_the_first_seals() {
        let (old, new) = (Sealer::new(&[1; 32], None), Sealer::new(&[2; 32], None));
        let before = Sealer::new(&[1; 32], Some(&[2; 32]));
        let after = Sealer::new(&[2; 32], Some(&[1; 32]));
        for version in VERSIONS {
            let by_old = before.seal(version, "a", header(), b"x").unwrap();
            let by_new = after.seal(version, "a", header(), b"x").unwrap();
            assert!(before.open("a", &by_new).is_ok() && after.open("a", &by_old).is_ok());
            assert!(old.open("a", &by_old).is_ok() && new.open("a", &by_new).is_ok());
            assert_eq!(old.open("a", &by_new), Err(Unopened::Key));
        }
    }

    #[test]
    fn another_version_says_so() {
        let sealer = Sealer::new(&[1; 32], None);
        let mut value = sealer.seal(NEWEST, "a", header(), b"x").unwrap();
        for version in [0, NEWEST + 1, u8::MAX] {
            value[0] = version;
            assert_eq!(sealer.open("a", &value), Err(Unopened::Version(version)));
        }
        assert_eq!(sealer.seal(NEWEST + 1, "a", header(), b"x").unwrap()[0], NEWEST);
    }

    #[test]
    fn writers_of_version_2_have_nonces_of_their_own() {
        let nonce = |sealer: &Sealer| sealer.nonce(2).unwrap();
        let (one, other) = (Sealer::new(&[1; 32], None), Sealer::new(&[1; 32], None));
        let (first, second) = (nonce(&one), nonce(&one));
        assert_eq!((&first[..8], &first[8..]), (&second[..8], [0, 0, 0, 0].as_slice()));
        assert_eq!(second[8..], [0, 0, 0, 1]);
        assert_ne!(first[..8], nonce(&other)[..8]);
    }

    /// Written by each version once and never again.
    #[test]
    fn values_of_every_version_open_for_ever() {
        let sealer = Sealer::new(&[7; 32], None);
        for version in VERSIONS {
            let path = format!("{}/../tests/vectors/sealed/v{version}.txt", env!("CARGO_MANIFEST_DIR"));
            let vectors = std::fs::read_to_string(&path).unwrap();
            let mut count = 0;
            for line in vectors.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
                let [name, body, value] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
                let octets = |hex: &str| {
                    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
                    (0..hex.len()).step_by(2).map(digit).collect::<Vec<_>>()
                };
                assert_eq!(sealer.open(name, &octets(value)), Ok((header(), octets(body))), "{line}");
                count += 1;
            }
            assert_eq!(count, 3, "{path}");
        }
    }

    proptest! {
        #[test]
        fn random_octets_never_open(value in proptest::collection::vec(any::<u8>(), 0..256), version in VERSIONS) {
            let value = [&[version], value.as_slice()].concat();
            prop_assert!(Sealer::new(&[1; 32], None).open("a", &value).is_err());
        }
    }
}
