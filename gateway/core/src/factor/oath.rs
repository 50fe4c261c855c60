//! One-time codes of local tokens: HOTP (RFC 4226) and TOTP (RFC 6238), which codes are right, and which must not count any
//! more because they were used, or could have been (invariant A5).
//!
//! ```text
//!   TOTP   ... | replayed | not yet used ... now ... + window | ...      time steps
//!              ^ next (the lowest step that may still be used)
//!   HOTP   ... | replayed (LOOK_BACK) | base ... base + look-ahead | ... counters
//!                                     ^ base = the higher of next and the token's first counter
//! ```
//!
//! A match that must not count wins over a match that could: where one code fits several steps or tokens, it serves once.

use super::{CodeAnswer, CodeUse, TokenId, UsedCodes, base32};
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::Timestamp;
use hmac::{EagerHash, Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::time::Duration;
use subtle::ConstantTimeEq;

/// How many digits a code may have (RFC 4226 §5.3).
pub const DIGITS: RangeInclusive<u32> = 6..=8;
/// Seconds that a time step may last.
pub const PERIOD: RangeInclusive<u32> = 15..=300;
/// Octets that a token's secret may have: 128 bits at least (RFC 4226 §4 R6), the block of SHA-512 at most.
pub const SECRET_OCTETS: RangeInclusive<usize> = 16..=128;
/// The largest `window` worth configuring: each step is one more code that a guess may hit (RFC 6238 §5.2).
pub const LARGEST_WINDOW: u32 = 10;
/// The largest `look_ahead` worth configuring (RFC 4226 §7.4).
pub const LARGEST_LOOK_AHEAD: u32 = 100;

/// How many counters below the next one are told apart from wrong codes.
const LOOK_BACK: u64 = 5;

/// The hash under the HMAC (RFC 6238 §1.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// What every authenticator app can do.
    #[default]
    Sha1,
    /// Some apps silently take SHA-1 instead.
    Sha256,
    /// Some apps silently take SHA-1 instead.
    Sha512,
}

impl Algorithm {
    /// As an `otpauth://` URI spells it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// Octets of a new secret: the length of the hash (RFC 6238 §5.1 by way of RFC 2104 §3).
    pub const fn secret_octets(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// What moves a token on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Time.
    Totp {
        /// Seconds of one time step, within [`PERIOD`].
        period: u32,
    },
    /// Use.
    Hotp {
        /// The counter of the first code.
        counter: u64,
    },
}

/// One token of one user.
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    /// Names it in the memory of used codes.
    pub id: TokenId,
    /// Time or counter.
    pub kind: Kind,
    /// The hash.
    pub algorithm: Algorithm,
    /// Digits of its codes, within [`DIGITS`].
    pub digits: u32,
    /// What it shares with the token of the user.
    pub secret: Secret,
    /// When the user got it: no code of it was used before.
    pub enrolled: Timestamp,
    /// Tells the user's tokens apart for people, such as a serial number.
    pub label: String,
}

impl TokenId {
    /// Names the token with that secret: what it was used for is remembered whatever else of it is edited. A secret has at
    /// least 128 random bits, so that its digest may stand in records.
    pub fn of(kind: Kind, secret: &Secret) -> Self {
        let (tag, period) = match kind {
            Kind::Totp { period } => (b't', period),
            Kind::Hotp { .. } => (b'h', 0),
        };
        let mut digest = Sha256::new_with_prefix(b"orthrus oath token 2\0");
        digest.update([tag]);
        digest.update(period.to_be_bytes());
        digest.update(secret.expose());
        let mut id = [0; 16];
        for (octet, hashed) in id.iter_mut().zip(digest.finalize()) {
            *octet = hashed;
        }
        Self(id)
    }
}

impl Token {
    /// The code of one moving factor, as a number; it is written with leading zeros (RFC 4226 §5.3). `None` if the HMAC does
    /// not take the secret, which then fits no code at all; it takes all that a tokens file can hold.
    pub fn code(&self, factor: u64) -> Option<u32> {
        self.codes(factor..=factor).next().map(|(_, code)| code)
    }

    /// The codes of consecutive moving factors. The secret is prepared once for all of them; none if the HMAC does not take it.
    fn codes(&self, factors: RangeInclusive<u64>) -> impl Iterator<Item = (u64, u32)> {
        let (key, modulus) = (self.secret.expose(), 10u32.saturating_pow(self.digits));
        let numbers: Box<dyn Iterator<Item = (u64, u32)>> = match self.algorithm {
            Algorithm::Sha1 => truncated::<Sha1>(key, factors),
            Algorithm::Sha256 => truncated::<Sha256>(key, factors),
            Algorithm::Sha512 => truncated::<Sha512>(key, factors),
        };
        numbers.map(move |(factor, number)| (factor, number % modulus))
    }

    /// The `otpauth://` URI that authenticator apps read from a QR code. It holds the secret.
    pub fn uri(&self, issuer: &str, account: &str) -> Secret {
        let secret = base32::encode(self.secret.expose());
        // As long as it can get, so that growing leaves no copy of the secret behind.
        let mut uri = String::with_capacity(128 + secret.len() + 6 * issuer.len() + 3 * account.len());
        let (kind, name, value) = match self.kind {
            Kind::Totp { period } => ("totp", "period", u64::from(period)),
            Kind::Hotp { counter } => ("hotp", "counter", counter),
        };
        uri.push_str("otpauth://");
        uri.push_str(kind);
        uri.push('/');
        if !issuer.is_empty() {
            percent_encode(issuer, &mut uri);
            uri.push(':');
        }
        percent_encode(account, &mut uri);
        uri.push_str("?secret=");
        uri.push_str(&secret);
        if !issuer.is_empty() {
            uri.push_str("&issuer=");
            percent_encode(issuer, &mut uri);
        }
        // Writing to a String cannot fail.
        let _ = write!(uri, "&algorithm={}&digits={}&{name}={value}", self.algorithm.label(), self.digits);
        Secret::new(uri.into_bytes())
    }

    /// Compares the typed code with every code that could matter; the work does not depend on which one fits.
    fn compare(&self, typed: Typed, used: &UsedCodes, window: u32, look_ahead: u32, now: Timestamp) -> Found {
        let next = used.next(self.id);
        // A time of enrolment that has not come yet proves nothing.
        let enrolled = if self.enrolled > now { Timestamp::default() } else { self.enrolled };
        let since = match self.kind {
            Kind::Totp { .. } => used.since,
            Kind::Hotp { .. } => used.counters_since,
        };
        let lost = enrolled < since;
        let mut found = Found::default();
        match self.kind {
            Kind::Totp { period } => {
                let seconds = u64::from(period.max(1));
                let window_of = |steps: u64| Duration::from_secs(seconds.saturating_mul(steps));
                let current = now.as_secs() / seconds;
                let first = current.saturating_sub(u64::from(window));
                found.usable = true;
                for (step, code) in self.codes(first..=current.saturating_add(u64::from(window))) {
                    let matches = typed.is(self.digits, code);
                    let begin = seconds.saturating_mul(step);
                    // A token whose clock is fast could use the code `window` steps before its own began.
                    let earliest = begin.saturating_sub(seconds.saturating_mul(u64::from(window)));
                    let unknown = lost && Timestamp::from_secs(earliest) < since;
                    // As long as the widest window could ever take the code: the setting may be raised meanwhile.
                    let validity = window_of(u64::from(LARGEST_WINDOW).saturating_mul(2).saturating_add(1));
                    let end = Timestamp::from_secs(begin.saturating_add(seconds));
                    let forget = end.after(validity).after(validity);
                    found.replayed |= matches && step < next;
                    found.unknown |= matches && unknown;
                    if matches {
                        found.right = Some(CodeUse { token: self.id, factor: step, forget: Some(forget) });
                    }
                }
            }
            Kind::Hotp { counter } => {
                let base = counter.max(next);
                found.usable = !lost;
                found.lost = lost;
                let last = base.saturating_add(u64::from(look_ahead));
                for (candidate, code) in self.codes(base.saturating_sub(LOOK_BACK)..=last) {
                    let matches = typed.is(self.digits, code);
                    found.replayed |= matches && candidate < base;
                    found.unknown |= matches && lost;
                    if matches {
                        found.right = Some(CodeUse { token: self.id, factor: candidate, forget: None });
                    }
                }
            }
        }
        found
    }
}

/// Checks a code against all tokens of a user, whichever the user took. `window`: time steps that a clock may be off, either
/// way. `look_ahead`: unused counters that a token may be ahead.
///
/// Refused are codes that were used, and after a loss of memory (`used.since`, `used.counters_since`) codes that could have been: of a TOTP token
/// for the rest of the step and of the window, of a HOTP token for ever, unless the token was enrolled since.
pub fn check(
    tokens: &[Token],
    code: &str,
    used: &UsedCodes,
    window: u32,
    look_ahead: u32,
    now: Timestamp,
) -> CodeAnswer {
    let Some(typed) = Typed::read(code) else { return CodeAnswer::Wrong(Reason::WrongCode) };
    let mut all = Found::default();
    for token in tokens {
        let found = token.compare(typed, used, window, look_ahead, now);
        all = Found {
            right: found.right.or(all.right),
            replayed: found.replayed | all.replayed,
            unknown: found.unknown | all.unknown,
            lost: found.lost | all.lost,
            usable: found.usable | all.usable,
        };
    }
    match all {
        Found { replayed: true, .. } => CodeAnswer::Wrong(Reason::CodeReplayed),
        Found { unknown: true, .. } => CodeAnswer::Wrong(Reason::CodeMemoryLost),
        Found { right: Some(right), .. } => CodeAnswer::Right(Some(right)),
        // Nothing that the user could type would be right.
        Found { lost: true, usable: false, .. } => CodeAnswer::Wrong(Reason::CodeMemoryLost),
        Found { .. } => CodeAnswer::Wrong(Reason::WrongCode),
    }
}

/// What comparing found out. The last match is the one to record: with it all earlier ones are used up.
#[derive(Clone, Copy, Default)]
struct Found {
    right: Option<CodeUse>,
    /// It fits a factor that was used up.
    replayed: bool,
    /// It fits a factor of which nobody knows whether it was used.
    unknown: bool,
    /// A token can no longer be used at all.
    lost: bool,
    /// A token can be used, now or soon.
    usable: bool,
}

/// A code as it was typed.
#[derive(Clone, Copy)]
struct Typed {
    digits: u32,
    number: u32,
}

impl Typed {
    /// Digits, in groups if the user likes.
    fn read(code: &str) -> Option<Self> {
        let (mut digits, mut number) = (0, 0);
        for character in code.chars().filter(|character| *character != ' ') {
            digits += 1;
            if digits > *DIGITS.end() {
                return None;
            }
            number = number * 10 + character.to_digit(10)?;
        }
        DIGITS.contains(&digits).then_some(Self { digits, number })
    }

    fn is(self, digits: u32, number: u32) -> bool {
        bool::from(self.number.ct_eq(&number)) & (self.digits == digits)
    }
}

/// HMAC and dynamic truncation (RFC 4226 §5.3), which RFC 6238 §1.2 uses with longer hashes as it is.
fn truncated<H>(key: &[u8], factors: RangeInclusive<u64>) -> Box<dyn Iterator<Item = (u64, u32)>>
where
    H: EagerHash + 'static,
    Hmac<H>: Mac + KeyInit + Clone,
{
    let keyed = <Hmac<H> as KeyInit>::new_from_slice(key).ok();
    Box::new(keyed.into_iter().flat_map(move |keyed| {
        factors.clone().map(move |factor| {
            let digest = keyed.clone().chain_update(factor.to_be_bytes()).finalize().into_bytes();
            let offset = digest.last().map_or(0, |last| usize::from(last & 15));
            let word = digest.iter().skip(offset).take(4).fold(0, |number, octet| number << 8 | u32::from(*octet));
            (factor, word & 0x7fff_ffff)
        })
    }))
}

/// Everything but RFC 3986 §2.3's unreserved characters.
fn percent_encode(text: &str, into: &mut String) {
    for octet in text.bytes() {
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            into.push(char::from(octet));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(into, "%{octet:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTP: Kind = Kind::Totp { period: 30 };
    const SEED: &[u8] = b"1234567890123456789012345678901234567890123456789012345678901234";

    fn token(kind: Kind, algorithm: Algorithm, digits: u32, enrolled: u64) -> Token {
        let enrolled = Timestamp::from_secs(enrolled);
        let secret = Secret::new(SEED[..algorithm.secret_octets()].to_vec());
        Token { id: TokenId::of(kind, &secret), kind, algorithm, digits, secret, enrolled, label: String::new() }
    }

    fn totp() -> Token {
        token(TOTP, Algorithm::Sha1, 6, 100)
    }

    fn hotp(counter: u64) -> Token {
        token(Kind::Hotp { counter }, Algorithm::Sha1, 6, 100)
    }

    fn typed(token: &Token, factor: u64) -> String {
        format!("{:0width$}", token.code(factor).unwrap(), width = token.digits as usize)
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn after(token: &Token, next: u64) -> UsedCodes {
        UsedCodes { since: at(0), counters_since: at(0), next: vec![(token.id, next)] }
    }

    fn lost_at(secs: u64) -> UsedCodes {
        UsedCodes { since: at(secs), counters_since: at(secs), next: vec![] }
    }

    fn factor(answer: CodeAnswer) -> Result<u64, Reason> {
        match answer {
            CodeAnswer::Right(use_) => Ok(use_.unwrap().factor),
            CodeAnswer::Wrong(reason)
            | CodeAnswer::Ended(reason)
            | CodeAnswer::Unavailable(reason)
            | CodeAnswer::NotAsked(reason)
            | CodeAnswer::Unknown(reason) => Err(reason),
        }
    }

    fn one(token: &Token, code: &str, used: &UsedCodes, now: u64) -> Result<u64, Reason> {
        factor(check(std::slice::from_ref(token), code, used, 1, 5, at(now)))
    }

    #[test]
    fn rfc_4226_appendix_d() {
        let codes = [755224, 287082, 359152, 969429, 338314, 254676, 287922, 162583, 399871, 520489];
        for (counter, code) in codes.into_iter().enumerate() {
            assert_eq!(hotp(0).code(counter as u64), Some(code), "counter {counter}");
        }
    }

    #[test]
    fn rfc_6238_appendix_b() {
        let table = [
            (59, [94287082, 46119246, 90693936]),
            (1111111109, [7081804, 68084774, 25091201]),
            (1111111111, [14050471, 67062674, 99943326]),
            (1234567890, [89005924, 91819424, 93441116]),
            (2000000000, [69279037, 90698825, 38618901]),
            (20000000000, [65353130, 77737706, 47863826]),
        ];
        for (time, codes) in table {
            for (algorithm, code) in [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512].into_iter().zip(codes) {
                let token = token(TOTP, algorithm, 8, 0);
                assert_eq!(token.code(time / 30), Some(code), "{algorithm:?} at {time}");
                assert_eq!(one(&token, &format!("{code:08}"), &UsedCodes::default(), time), Ok(time / 30));
            }
        }
    }

    #[test]
    fn the_window_has_edges() {
        let token = totp();
        for (step, answer) in
            [(98, Err(Reason::WrongCode)), (99, Ok(99)), (100, Ok(100)), (101, Ok(101)), (102, Err(Reason::WrongCode))]
        {
            // The first and the last second of step 100.
            for now in [3000, 3029] {
                assert_eq!(one(&token, &typed(&token, step), &UsedCodes::default(), now), answer, "{step} at {now}");
            }
        }
        let exact = |step| factor(check(&[totp()], &typed(&token, step), &UsedCodes::default(), 0, 0, at(3000)));
        assert_eq!(exact(100), Ok(100));
        assert_eq!(exact(99), Err(Reason::WrongCode));
        // At the beginning of time, the window does not reach below zero.
        assert_eq!(one(&token, &typed(&token, 0), &UsedCodes::default(), 0), Ok(0));
    }

    #[test]
    fn a_time_step_serves_once_and_is_forgotten_when_it_cannot_come_again() {
        let token = totp();
        let code = typed(&token, 100);
        let CodeAnswer::Right(Some(used)) = check(&[totp()], &code, &UsedCodes::default(), 1, 5, at(3010)) else {
            panic!("a fresh code is right")
        };
        // The step ends at 3030; with the widest window its code would be valid for 21 steps.
        assert_eq!(used, CodeUse { token: token.id, factor: 100, forget: Some(at(3030 + 2 * 21 * 30)) });
        assert_eq!(one(&token, &code, &after(&token, 101), 3031), Err(Reason::CodeReplayed));
        assert_eq!(one(&token, &typed(&token, 99), &after(&token, 101), 3010), Err(Reason::CodeReplayed));
        assert_eq!(one(&token, &typed(&token, 101), &after(&token, 101), 3031), Ok(101));
        assert_eq!(one(&token, "000000", &after(&token, 101), 3031), Err(Reason::WrongCode));
    }

    #[test]
    fn a_token_with_its_secret_entered_twice_serves_once() {
        let second = Token { id: TokenId([9; 16]), ..totp() };
        let used = after(&second, 101);
        let answer = check(&[second, totp()], &typed(&totp(), 100), &used, 1, 5, at(3010));
        assert_eq!(factor(answer), Err(Reason::CodeReplayed));
    }

    #[test]
    fn without_memory_time_steps_that_could_have_been_used_are_refused() {
        let token = totp();
        // Memory begins at 3010, within step 100; with a window of one, the code of step 101 could be used by then.
        for (step, now, answer) in [
            (100, 3010, Err(Reason::CodeMemoryLost)),
            (101, 3010, Err(Reason::CodeMemoryLost)),
            (101, 3030, Err(Reason::CodeMemoryLost)),
            (102, 3030, Ok(102)),
            (102, 3060, Ok(102)),
            (103, 3060, Ok(103)),
        ] {
            assert_eq!(one(&token, &typed(&token, step), &lost_at(3010), now), answer, "{step} at {now}");
        }
        assert_eq!(one(&token, "000000", &lost_at(3010), 3010), Err(Reason::WrongCode));
        // Without a window, the next step is as good as any.
        let exact = |step, now| factor(check(&[totp()], &typed(&token, step), &lost_at(3010), 0, 0, at(now)));
        assert_eq!(exact(100, 3010), Err(Reason::CodeMemoryLost));
        assert_eq!(exact(101, 3030), Ok(101));
    }

    #[test]
    fn tokens_enrolled_since_need_no_older_memory() {
        let new = token(TOTP, Algorithm::Sha1, 6, 3010);
        assert_eq!(one(&new, &typed(&new, 100), &lost_at(3010), 3010), Ok(100));
        let new = token(Kind::Hotp { counter: 0 }, Algorithm::Sha1, 6, 3010);
        assert_eq!(one(&new, &typed(&new, 0), &lost_at(3010), 3010), Ok(0));
        // A date of enrolment in the future proves nothing.
        let future = token(Kind::Hotp { counter: 0 }, Algorithm::Sha1, 6, 9000);
        assert_eq!(one(&future, &typed(&future, 0), &lost_at(3010), 3010), Err(Reason::CodeMemoryLost));
        assert_eq!(one(&future, &typed(&future, 0), &lost_at(0), 3010), Ok(0));
    }

    #[test]
    fn counters_look_ahead_and_never_back() {
        let token = hotp(10);
        let fresh = UsedCodes::default();
        assert_eq!(one(&token, &typed(&token, 10), &fresh, 200), Ok(10));
        assert_eq!(one(&token, &typed(&token, 15), &fresh, 200), Ok(15));
        assert_eq!(one(&token, &typed(&token, 16), &fresh, 200), Err(Reason::WrongCode));
        assert_eq!(one(&token, &typed(&token, 9), &fresh, 200), Err(Reason::CodeReplayed));
        let used = after(&token, 13);
        assert_eq!(one(&token, &typed(&token, 12), &used, 200), Err(Reason::CodeReplayed));
        assert_eq!(one(&token, &typed(&token, 13), &used, 200), Ok(13));
        assert_eq!(one(&token, &typed(&token, 18), &used, 200), Ok(18));
        assert_eq!(one(&token, &typed(&token, 19), &used, 200), Err(Reason::WrongCode));
        let CodeAnswer::Right(Some(used)) = check(&[hotp(10)], &typed(&token, 10), &fresh, 1, 5, at(200)) else {
            panic!("a fresh code is right")
        };
        assert_eq!(used.forget, None);
        assert_eq!(one(&hotp(u64::MAX), &typed(&token, u64::MAX), &fresh, 200), Ok(u64::MAX));
    }

    #[test]
    fn without_memory_counters_end() {
        let (time, counter) = (totp(), hotp(0));
        let memory = lost_at(3010);
        for code in [typed(&counter, 0), "000000".to_owned()] {
            assert_eq!(one(&counter, &code, &memory, 3100), Err(Reason::CodeMemoryLost));
        }
        // Where another token still works, a wrong code is a wrong code.
        let both = |code: &str| factor(check(&[totp(), hotp(0)], code, &memory, 1, 5, at(3100)));
        assert_eq!(both("000000"), Err(Reason::WrongCode));
        assert_eq!(both(&typed(&counter, 2)), Err(Reason::CodeMemoryLost));
        assert_eq!(both(&typed(&time, 103)), Ok(103));
    }

    #[test]
    fn codes_are_digits_in_any_grouping() {
        let token = totp();
        let code = typed(&token, 100);
        let now = 3000;
        let spaced = format!(" {} {} ", &code[..3], &code[3..]);
        assert_eq!(one(&token, &spaced, &UsedCodes::default(), now), Ok(100));
        for bad in
            ["", "   ", "12345", "123456789", "12345a", "-12345", "12345６", &format!("0{code}"), &"1".repeat(9999)]
        {
            assert_eq!(one(&token, bad, &UsedCodes::default(), now), Err(Reason::WrongCode), "{bad:?}");
        }
        assert_eq!(factor(check(&[], "123456", &UsedCodes::default(), 1, 5, at(0))), Err(Reason::WrongCode));
    }

    #[test]
    fn ids_follow_the_secret_and_nothing_that_is_edited() {
        let id = |kind, secret: &[u8]| TokenId::of(kind, &Secret::new(secret.to_vec()));
        let first = id(TOTP, SEED);
        assert_eq!(first, id(TOTP, SEED));
        for other in [id(TOTP, &SEED[1..]), id(Kind::Totp { period: 60 }, SEED), id(Kind::Hotp { counter: 0 }, SEED)] {
            assert_ne!(first, other);
        }
        assert_eq!(id(Kind::Hotp { counter: 0 }, SEED), id(Kind::Hotp { counter: 7 }, SEED));
    }

    #[test]
    fn the_uri_is_what_apps_read() {
        let uri = |token: Token, issuer| {
            String::from_utf8(token.uri(issuer, "alice@corp.example").expose().to_vec()).unwrap()
        };
        assert_eq!(
            uri(totp(), "Example & Söhne"),
            "otpauth://totp/Example%20%26%20S%C3%B6hne:alice%40corp.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Example%20%26%20S%C3%B6hne&algorithm=SHA1&digits=6&period=30"
        );
        assert_eq!(
            uri(token(Kind::Hotp { counter: 7 }, Algorithm::Sha256, 8, 0), ""),
            "otpauth://hotp/alice%40corp.example?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQGEZA\
             &algorithm=SHA256&digits=8&counter=7"
        );
    }
}
