//! The tokens file: who has which local OATH tokens.
//!
//! ```toml
//! [[tokens]]
//! user = "alice@corp.example"
//! kind = "totp"
//! secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
//! enrolled = 1767225600
//! label = "phone"
//! ```

use super::TokenId;
use super::base32;
use super::entries::{self, Entry, place};
use super::oath::{Algorithm, DIGITS, Kind, PERIOD, SECRET_OCTETS, Token};
use crate::identity::Rules;
use crate::secret::Secret;
use crate::time::Timestamp;
use serde::Deserialize;
use std::collections::HashMap;

/// How many tokens one user may have: every one of them is another code that a guess may hit.
pub const MOST_PER_USER: usize = 8;

/// All tokens of one file, by canonical user.
#[derive(Debug, Default)]
pub struct Tokens {
    /// Sorted by user.
    list: Box<[Owner]>,
    /// Where in the list each user stands.
    places: HashMap<Box<str>, usize>,
}

#[derive(Debug)]
struct Owner {
    user: Box<str>,
    tokens: Box<[Token]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    user: String,
    kind: RawKind,
    #[serde(default, deserialize_with = "entries::secret")]
    secret: Option<Secret>,
    #[serde(default)]
    algorithm: Algorithm,
    digits: Option<u32>,
    period: Option<u32>,
    counter: Option<u64>,
    /// Seconds since the Unix epoch.
    enrolled: u64,
    #[serde(default)]
    label: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawKind {
    Totp,
    Hotp,
}

impl Tokens {
    /// Reads a tokens file. Names are read like those in packets, so any spelling will do.
    ///
    /// # Errors
    /// All faults, each with line, user and remedy.
    pub fn parse(text: &str, rules: &Rules) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let mut found: Vec<(Box<str>, usize, Token)> = Vec::new();
        for Entry { line, value } in entries::read::<Raw>(text, "tokens", "user", "token of", &mut faults) {
            let at = place(line, "token of", &value.user);
            match token(value, rules) {
                Ok((user, token)) => found.push((user, line, token)),
                Err(fault) => faults.push(format!("{at}: {fault}")),
            }
        }
        found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let mut list: Vec<(Box<str>, Vec<Token>)> = Vec::new();
        for (user, line, token) in found {
            match list.last_mut() {
                Some((last, tokens)) if *last == user => {
                    if let Some(fault) = conflict(tokens, &token) {
                        faults.push(format!("{}: {fault}", place(line, "token of", &user)));
                    }
                    tokens.push(token);
                }
                _ => list.push((user, vec![token])),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let list: Box<[Owner]> = list.into_iter().map(|(user, tokens)| Owner { user, tokens: tokens.into() }).collect();
        let places = list.iter().enumerate().map(|(place, owner)| (owner.user.clone(), place)).collect();
        Ok(Self { list, places })
    }

    /// The tokens of the user of that canonical name; none for a user who has none.
    pub fn of(&self, canonical: &str) -> &[Token] {
        let owner = self.places.get(canonical).and_then(|place| self.list.get(*place));
        owner.map_or(&[], |owner| &owner.tokens)
    }

    /// Every user who has tokens, sorted by canonical name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Token])> {
        self.list.iter().map(|owner| (owner.user.as_ref(), owner.tokens.as_ref()))
    }
}

/// What speaks against one more token beside those that the user has.
fn conflict(tokens: &[Token], new: &Token) -> Option<String> {
    if tokens.iter().any(|token| token.secret == new.secret) {
        return Some("the user has another token with the same secret; remove one of the two".to_owned());
    }
    // Said once, for the first one too many.
    (tokens.len() == MOST_PER_USER).then(|| format!("the user has more than {MOST_PER_USER} tokens; remove old ones"))
}

fn token(raw: Raw, rules: &Rules) -> Result<(Box<str>, Token), String> {
    let identity =
        rules.read(raw.user.as_bytes()).map_err(|reason| format!("{} {}", reason.cause(), reason.remedy()))?;
    let user = identity.canonical.into_boxed_str();
    let kind = match (raw.kind, raw.period, raw.counter) {
        (RawKind::Totp, period, None) => Kind::Totp { period: period.unwrap_or(30) },
        (RawKind::Hotp, None, counter) => Kind::Hotp { counter: counter.unwrap_or(0) },
        (RawKind::Totp, _, Some(_)) => return Err("a totp token has no `counter`; remove it".to_owned()),
        (RawKind::Hotp, Some(_), _) => return Err("a hotp token has no `period`; remove it".to_owned()),
    };
    if matches!(kind, Kind::Totp { period } if !PERIOD.contains(&period)) {
        return Err(format!("`period` must be from {} to {} seconds", PERIOD.start(), PERIOD.end()));
    }
    let digits = raw.digits.unwrap_or(6);
    if !DIGITS.contains(&digits) {
        return Err(format!("`digits` must be from {} to {}", DIGITS.start(), DIGITS.end()));
    }
    let anew = || format!("enrol the token anew with `orthrus user totp {} --replace`", raw.user);
    let text = raw.secret.ok_or_else(|| format!("there is no `secret`; {}", anew()))?;
    let text = std::str::from_utf8(text.expose()).unwrap_or_default();
    let secret = base32::decode(text).map_err(|fault| format!("`secret` is not base32: {fault}; {}", anew()))?;
    let length = secret.expose().len();
    if !SECRET_OCTETS.contains(&length) {
        let (least, most) = SECRET_OCTETS.into_inner();
        return Err(format!("`secret` has {length} octets and must have {least} to {most} (RFC 4226 §4); {}", anew()));
    }
    let (enrolled, label) = (Timestamp::from_secs(raw.enrolled), raw.label);
    let id = TokenId::of(kind, &secret);
    Ok((user, Token { id, kind, algorithm: raw.algorithm, digits, secret, enrolled, label }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn parse(text: &str) -> Result<Tokens, Vec<String>> {
        Tokens::parse(text, &Rules { default_realm: Some("corp.example".into()), ..Rules::default() })
    }

    fn entry(user: &str, kind: &str, rest: &str) -> String {
        format!("[[tokens]]\nuser = {user:?}\nkind = {kind:?}\nenrolled = 1767225600\n{rest}\n")
    }

    fn fault(text: &str) -> String {
        let faults = parse(text).unwrap_err();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.into_iter().next().unwrap()
    }

    #[test]
    fn a_file_is_read() {
        let secret = format!("secret = {SECRET:?}");
        let tokens = parse(&format!(
            "{}{}{}",
            entry("Alice", "totp", &secret),
            entry(
                "bob",
                "totp",
                &format!("{secret}\nalgorithm = \"sha256\"\ndigits = 8\nperiod = 60\nlabel = \"phone\"")
            ),
            entry("alice@corp.example", "hotp", "secret = \"gezd gnbv gy3t qojq gezd gnbv gy\"\ncounter = 12"),
        ))
        .unwrap();
        let [phone, key] = tokens.of("alice@corp.example") else { panic!("two tokens") };
        assert_eq!((phone.kind, phone.digits, phone.algorithm), (Kind::Totp { period: 30 }, 6, Algorithm::Sha1));
        assert_eq!((phone.secret.expose(), phone.enrolled.as_secs()), (&b"12345678901234567890"[..], 1767225600));
        assert_eq!(phone.id, TokenId::of(phone.kind, &phone.secret));
        assert_eq!(key.kind, Kind::Hotp { counter: 12 });
        let [token] = tokens.of("bob@corp.example") else { panic!("one token") };
        assert_eq!((token.kind, token.digits, token.algorithm), (Kind::Totp { period: 60 }, 8, Algorithm::Sha256));
        assert_eq!(token.label, "phone");
        assert!(tokens.of("carol@corp.example").is_empty());
        assert_eq!(tokens.iter().count(), 2);
        assert!(!format!("{tokens:?}").contains("1234567890123"));
    }

    #[test]
    fn faults_name_user_and_remedy_but_no_secret() {
        let secret = format!("secret = {SECRET:?}");
        for (rest, kind, expected) in [
            ("", "totp", "there is no `secret`; enrol the token anew with `orthrus user totp alice --replace`"),
            ("secret = \"1NVALID\"", "totp", "is not base32: character 1"),
            ("secret = \"GEZDGNBVGY3TQOJQ\"", "totp", "`secret` has 10 octets"),
            ("secret = 34567", "totp", "the secret must be a string"),
            (&format!("{secret}\ncounter = 1"), "totp", "has no `counter`"),
            (&format!("{secret}\nperiod = 30"), "hotp", "has no `period`"),
            (&format!("{secret}\nperiod = 10"), "totp", "from 15 to 300 seconds"),
            (&format!("{secret}\ndigits = 5"), "totp", "from 6 to 8"),
            (&format!("{secret}\nalgorithm = \"md5\""), "totp", "unknown variant `md5`"),
            (&format!("{secret}\ncolour = 1"), "totp", "unknown field `colour`"),
            (&secret, "yubikey", "unknown variant `yubikey`"),
        ] {
            let fault = fault(&entry("alice", kind, rest));
            assert!(fault.starts_with("line 1, token of \"alice\": ") && fault.contains(expected), "{fault}");
            assert!(!fault.contains("GEZD") && !fault.contains("1NVALID") && !fault.contains("34567"), "{fault}");
        }
        assert!(fault(&entry("alice", "totp", &secret).replace("enrolled", "# ")).contains("missing field `enrolled`"));
        assert!(fault(&entry(" alice", "totp", &secret)).contains("The user name is empty"));
    }

    #[test]
    fn tokens_of_one_user_differ() {
        let secret = |index: usize| format!("secret = \"{SECRET}{}\"", "ABCDEFGH".repeat(index));
        let labelled = |index: usize| entry("alice", "totp", &format!("{}\nlabel = \"{index}\"", secret(index)));
        let eight: String = (0..8).map(labelled).collect();
        assert_eq!(parse(&eight).unwrap().of("alice@corp.example").len(), 8);
        assert!(fault(&(eight + &labelled(8) + &labelled(9))).contains("more than 8 tokens"));
        assert!(
            fault(&(entry("alice", "totp", &secret(0)) + &entry("alice", "hotp", &secret(0)))).contains("same secret")
        );
        assert!(parse(&(entry("alice", "totp", &secret(0)) + &entry("bob", "totp", &secret(0)))).is_ok());
    }
}
