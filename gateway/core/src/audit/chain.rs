//! The chain: each line names the one before by its MAC, and is sealed by HMAC-SHA-256 under a key that does not lie with the files. So
//! whoever can write the files cannot change a line, take one out of the middle, or put one in without its being seen. What is cut off
//! at the end shows by the [`head`](Chain::head), which is kept elsewhere.

use super::Entry;
use crate::secret::{Secret, equal};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;

/// What stands between the sealed part of a line and its seal.
const BEFORE_MAC: &[u8] = b",\"mac\":\"";
/// Octets of a line behind the sealed part: the above, 64 hexadecimal digits, and the end of string and object.
const TAIL: usize = BEFORE_MAC.len() + 64 + 2;
/// The first words of the head.
const HEAD: &str = "orthrus audit 1";

/// What seals lines.
#[derive(Clone)]
pub struct Key {
    mac: Hmac<Sha256>,
    id: String,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[audit key {}]", self.id)
    }
}

/// HMAC takes a key of any length, so that the error of the general trait cannot happen; under the key that would take its place no
/// line verifies.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

impl Key {
    /// The key of the audit, from a key that is used for other things too.
    pub fn of(secret: &Secret) -> Self {
        let derived = keyed(secret.expose()).chain_update(b"orthrus audit 1").finalize().into_bytes();
        let mac = keyed(&derived);
        let id = hex(&mac.clone().chain_update(b"id").finalize().into_bytes());
        Self { mac, id: id.get(..8).unwrap_or_default().to_owned() }
    }

    /// Eight hexadecimal digits that name it, and tell nothing of it.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn seal(&self, purpose: &[u8], octets: &[u8]) -> [u8; 32] {
        let mac = self.mac.clone().chain_update(purpose).chain_update(octets);
        mac.finalize().into_bytes().into()
    }
}

/// A line, as the next one names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub number: u64,
    /// Its seal.
    pub mac: [u8; 32],
}

impl Link {
    /// What stands before the first line.
    pub const BEGINNING: Self = Self { number: 0, mac: [0; 32] };
}

/// Seals lines one after another.
#[derive(Debug)]
pub struct Chain {
    key: Key,
    node: Box<str>,
    last: Link,
}

impl Chain {
    /// A chain of `node` that goes on after `last`.
    pub fn new(key: Key, node: &str, last: Link) -> Self {
        Self { key, node: node.into(), last }
    }

    /// The last line.
    pub fn last(&self) -> Link {
        self.last
    }

    /// Forgets the lines after `last`, which did not get to the disk.
    pub fn go_back(&mut self, last: Link) {
        self.last = last;
    }

    /// Appends the line of `entry`, with its end.
    pub fn add(&mut self, out: &mut Vec<u8>, entry: &Entry) {
        let begin = out.len();
        let number = self.last.number.saturating_add(1);
        out.extend_from_slice(format!("{{\"v\":1,\"n\":{number},").as_bytes());
        entry.write(out, &self.node);
        for (key, value) in [(",\"key\":\"", self.key.id.as_str()), ("\",\"previous\":\"", &hex(&self.last.mac))] {
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'"');
        let mac = self.key.seal(b"line", out.get(begin..).unwrap_or_default());
        out.extend_from_slice(BEFORE_MAC);
        out.extend_from_slice(hex(&mac).as_bytes());
        out.extend_from_slice(b"\"}\n");
        self.last = Link { number, mac };
    }

    /// The last line in a form that nobody without the key can write, always of the same length, to be kept where the files are not.
    pub fn head(&self) -> String {
        let told = format!("{HEAD} {:020} {}", self.last.number, hex(&self.last.mac));
        let seal = self.key.seal(b"head", told.as_bytes());
        format!("{told} {}\n", hex(&seal))
    }
}

/// Reads a head; `None` where it was not written under one of the keys.
pub fn read_head(keys: &[Key], text: &str) -> Option<Link> {
    let (told, seal) = text.strip_suffix('\n')?.rsplit_once(' ')?;
    let seal = unhex(seal)?;
    if !keys.iter().any(|key| equal(&key.seal(b"head", told.as_bytes()), &seal)) {
        return None;
    }
    let (number, mac) = told.strip_prefix(HEAD)?.strip_prefix(' ')?.split_once(' ')?;
    Some(Link { number: number.parse().ok()?, mac: unhex(mac)? })
}

/// A line as it is read, before its seal is looked at.
#[derive(Debug)]
pub struct Sealed<'a> {
    body: &'a [u8],
    key: String,
    node: String,
    previous: [u8; 32],
    /// The line.
    pub link: Link,
}

#[derive(Deserialize)]
struct Raw {
    v: u32,
    n: u64,
    node: String,
    key: String,
    previous: String,
    mac: String,
}

impl<'a> Sealed<'a> {
    /// Reads a line without its end; `None` if it is none of an audit.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let (body, tail) = line.split_at_checked(line.len().checked_sub(TAIL)?)?;
        let digits = tail.strip_prefix(BEFORE_MAC)?.strip_suffix(b"\"}")?;
        let raw: Raw = serde_json::from_slice(line).ok().filter(|raw: &Raw| raw.v == 1)?;
        if raw.mac.as_bytes() != digits {
            return None;
        }
        let link = Link { number: raw.n, mac: unhex(&raw.mac)? };
        Some(Self { body, key: raw.key, node: raw.node, previous: unhex(&raw.previous)?, link })
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// Not in the form of a line.
    #[error("it is no line of an audit: it was damaged or changed")]
    NoLine,
    /// Sealed under a key that is not known.
    #[error("it is sealed under the key {0}, which is none of those given: verify with the key that was in force then")]
    UnknownKey(String),
    /// The seal is not that of the line.
    #[error("its seal is wrong: it was changed, or written by somebody who has not the key")]
    Forged,
    /// Lines between are not there.
    #[error("lines {0} to {1}, which stood before it, are missing")]
    Missing(u64, u64),
    /// It comes too late.
    #[error("it is line {0} and stands after line {1}: it was put there, or the files are not in order")]
    Disorder(u64, u64),
    /// Another line stood before it.
    #[error("the line before it was another one, and was replaced")]
    Replaced,
    /// It was written by another node.
    #[error("it is a line of the node {0}, among those of another")]
    OtherNode(String),
}

/// Holds lines against each other, in the order in which they were written.
#[derive(Debug)]
pub struct Verifier<'k> {
    keys: &'k [Key],
    node: Option<String>,
    first: Option<u64>,
    last: Option<Link>,
}

impl<'k> Verifier<'k> {
    /// A verifier that has seen nothing; any of the keys may have sealed a line.
    pub fn new(keys: &'k [Key]) -> Self {
        Self { keys, node: None, first: None, last: None }
    }

    /// The number of the first line.
    pub fn first(&self) -> Option<u64> {
        self.first
    }

    /// The last line that was right.
    pub fn last(&self) -> Option<Link> {
        self.last
    }

    /// Looks at the next line, without its end.
    ///
    /// # Errors
    ///
    /// The chain is broken here.
    pub fn line(&mut self, text: &[u8]) -> Result<(), Break> {
        let sealed = Sealed::read(text).ok_or(Break::NoLine)?;
        let key =
            self.keys.iter().find(|key| key.id == sealed.key).ok_or_else(|| Break::UnknownKey(sealed.key.clone()))?;
        if !equal(&key.seal(b"line", sealed.body), &sealed.link.mac) {
            return Err(Break::Forged);
        }
        if self.node.as_ref().is_some_and(|node| *node != sealed.node) {
            return Err(Break::OtherNode(sealed.node));
        }
        if let Some(last) = self.last {
            let wanted = last.number.saturating_add(1);
            if sealed.link.number > wanted {
                return Err(Break::Missing(wanted, sealed.link.number - 1));
            }
            if sealed.link.number < wanted {
                return Err(Break::Disorder(sealed.link.number, last.number));
            }
            if sealed.previous != last.mac {
                return Err(Break::Replaced);
            }
        }
        self.node.get_or_insert(sealed.node);
        self.first.get_or_insert(sealed.link.number);
        self.last = Some(sealed.link);
        Ok(())
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Lower case only, so that a value has one spelling.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'a'..=b'f' => Some(octet - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().as_chunks::<2>();
    let octets: Vec<u8> =
        pairs.0.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<_>>()?;
    octets.try_into().ok().filter(|_| pairs.1.is_empty())
}

#[cfg(test)]
mod tests;
