//! The users that sign in: names, passwords and one-time codes, all of them computed from a number, so that the servers'
//! files and the generator agree without exchanging anything.

use crate::mschap;
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};
use std::cell::OnceCell;

/// The Class that policies give to everybody.
pub(crate) const CLASS: &str = "bench";
/// The Filter-Id that policies give to everybody.
pub(crate) const FILTER_ID: &str = "vpn-users";
/// The group that everybody is in.
pub(crate) const GROUP: &str = "staff";
/// The shared secret: as long as the configuration check wants secrets to be.
pub(crate) const SECRET: &str = "a-shared-secret-of-the-benchmark-only";
/// What FreeRADIUS takes for a right code.
pub(crate) const FIXED_CODE: &str = "123456";

/// One user of the generator.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) password: String,
    /// Calling-Station-Id: an address of the user's own, from the block for documentation and tests.
    pub(crate) station: String,
    counter: u64,
    hash: OnceCell<[u8; 16]>,
}

impl Person {
    /// Number `number`, whose token stands at `counter`.
    pub(crate) fn new(number: u32, counter: u64) -> Self {
        let name = format!("user{number:05}");
        let password = format!("Pass-{number:05}-word");
        let [_, a, b, c] = number.to_be_bytes();
        Self { name, password, station: format!("198.{}.{b}.{c}", 18 + (a & 1)), counter, hash: OnceCell::new() }
    }

    /// The secret of the user's token: 20 octets, the length that RFC 4226 §4 recommends.
    pub(crate) fn token(&self) -> [u8; 20] {
        Sha1::digest(self.name.as_bytes()).into()
    }

    /// The NT hash of the password.
    pub(crate) fn password_hash(&self) -> [u8; 16] {
        *self.hash.get_or_init(|| mschap::password_hash(&self.password))
    }

    /// The next code of the token; every call presses the button once.
    pub(crate) fn next_code(&mut self) -> String {
        let code = hotp(&self.token(), self.counter);
        self.counter += 1;
        code
    }
}

/// Users number 0 to `count` - 1.
pub(crate) fn people(count: u32, counter: u64) -> impl Iterator<Item = Person> {
    (0..count).map(move |number| Person::new(number, counter))
}

/// A code of eight digits (RFC 4226 §5.3): of six, one sign-in in a hundred thousand would have a code that the token also
/// gives a few counters later, which costs its user another try.
fn hotp(secret: &[u8; 20], counter: u64) -> String {
    let mut block = [0; 64];
    for (to, from) in block.iter_mut().zip(secret) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha1>::new(&block.into());
    mac.update(&counter.to_be_bytes());
    let digest: [u8; 20] = mac.finalize().into_bytes().into();
    let offset = usize::from(digest.last().unwrap_or(&0) & 0x0f);
    let word = digest.get(offset..).and_then(|tail| tail.first_chunk()).copied().unwrap_or_default();
    format!("{:08}", (u32::from_be_bytes(word) & 0x7fff_ffff) % 100_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_rfc_4226_appendix_d() {
        let codes: Vec<String> = (0..10).map(|counter| hotp(b"12345678901234567890", counter)).collect();
        let expected = [
            "84755224", "94287082", "37359152", "26969429", "40338314", "68254676", "18287922", "82162583", "73399871",
            "45520489",
        ];
        assert_eq!(codes, expected);
    }

    #[test]
    fn every_press_gives_the_next_code() {
        let mut person = Person::new(7, 3);
        assert_eq!(person.next_code(), hotp(&person.token(), 3));
        assert_eq!(person.next_code(), hotp(&person.token(), 4));
        assert_eq!((person.name.as_str(), person.station.as_str()), ("user00007", "198.18.0.7"));
    }
}
