//! Who signs in: the name as the NAS sent it, made canonical once, so that every spelling of a person is one person to
//! attempts, limits and used codes.
//!
//! `DOMAIN\user`, `user@realm` (RFC 7542) and a bare `user` are understood. A domain is mapped to its realm by
//! `identity.domains`, a bare name gets `identity.default_realm`.

use crate::config;
use crate::reason::Reason;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeMap;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// How names are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// What a bare name gets.
    pub default_realm: Option<String>,
    /// NetBIOS domain (upper case) to realm.
    pub domains: BTreeMap<String, String>,
    /// The canonical name goes without its realm.
    pub strip_realm: bool,
    /// The user part keeps its case. Directories of the Windows world do not tell `Alice` from `alice`; the default folds.
    pub keep_case: bool,
    /// Replaces the realm in the UPN.
    pub upn_suffix: Option<String>,
}

/// One person's name in every form that is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// As the NAS sent it.
    pub given: String,
    /// The part before the realm.
    pub user: String,
    /// The realm, lower case.
    pub realm: Option<String>,
    /// What names the person everywhere inside.
    pub canonical: String,
    /// What the cloud knows the person as.
    pub upn: String,
}

impl Identity {
    /// Nobody: what stands in for a name that cannot be read, so that the refusal can still be told.
    pub fn nobody(user_name: &[u8]) -> Self {
        let given = String::from_utf8_lossy(user_name).into_owned();
        Self { given, user: String::new(), realm: None, canonical: String::new(), upn: String::new() }
    }
}

impl From<&config::Identity> for Rules {
    fn from(checked: &config::Identity) -> Self {
        let config::Identity { default_realm, domains, strip_realm, case, upn_suffix } = checked.clone();
        Self { default_realm, domains, strip_realm, keep_case: case == config::Case::Keep, upn_suffix }
    }
}

/// The longest name that is taken, in octets: what an attribute can carry (RFC 2865 §5.1).
pub const LONGEST: usize = 253;

impl Rules {
    /// Sixteen hexadecimal digits that differ where a name would be read differently. What is remembered under canonical names
    /// is worth nothing under other rules.
    pub fn fingerprint(&self) -> String {
        let Self { default_realm, domains, strip_realm, keep_case, .. } = self;
        let mut hash = Sha256::new();
        hash.update([u8::from(*strip_realm), u8::from(*keep_case)]);
        let texts = default_realm.iter().chain(domains.iter().flat_map(|(domain, realm)| [domain, realm]));
        for text in texts {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize().iter().take(8).map(|octet| format!("{octet:02x}")).collect()
    }

    /// Reads a User-Name: in Unicode's form NFC (RFC 7542 §2.1), so that é is one letter whichever keyboard typed it. Control and
    /// format characters, surrounding white space, empty parts and what is not UTF-8 are refused: two spellings that look alike must
    /// not be two people.
    pub fn read(&self, user_name: &[u8]) -> Result<Identity, Reason> {
        let given = std::str::from_utf8(user_name).map_err(|_| Reason::BadIdentity)?;
        let hidden = |character: char| character.is_control() || is_ignorable(character);
        if given.is_empty() || given.len() > LONGEST || given.trim() != given || given.chars().any(hidden) {
            return Err(Reason::BadIdentity);
        }
        let name = nfc(given);
        let (user, realm) = self.split(&name)?;
        let padded = |part: &str| part.trim() != part;
        if user.is_empty() || padded(user) || realm.as_deref().is_some_and(padded) {
            return Err(Reason::BadIdentity);
        }
        let user = if self.keep_case { user.to_owned() } else { lower(user) };
        let canonical = match &realm {
            Some(realm) if !self.strip_realm => format!("{user}@{realm}"),
            _ => user.clone(),
        };
        let upn = match self.upn_suffix.as_ref().or(realm.as_ref()) {
            Some(suffix) => format!("{user}@{suffix}"),
            None => user.clone(),
        };
        Ok(Identity { given: given.to_owned(), user, realm, canonical, upn })
    }

    fn split<'a>(&self, given: &'a str) -> Result<(&'a str, Option<String>), Reason> {
        if let Some((domain, user)) = given.split_once('\\') {
            // `one@two\user` would become `user@one@two`, which is also the user `user@one` of realm `two`.
            if domain.is_empty() || domain.contains('@') || user.contains(['\\', '@']) {
                return Err(Reason::BadIdentity);
            }
            let mapped = self.domains.get(&domain.to_uppercase()).cloned();
            return Ok((user, Some(mapped.unwrap_or_else(|| lower(domain)))));
        }
        // The last @ separates: `user@realm@x` is the user `user@realm` of realm x (RFC 7542 §2.2 allows one only, but
        // such names exist where a mail address is the login name).
        match given.rsplit_once('@') {
            Some((_, "")) => Err(Reason::BadIdentity),
            Some((user, realm)) => Ok((user, Some(lower(realm)))),
            None => Ok((given, self.default_realm.as_deref().map(lower))),
        }
    }
}

/// `text` in the form in which names are compared: NFC.
pub fn nfc(text: &str) -> Cow<'_, str> {
    // What is plain ASCII, as nearly every name is, costs nothing.
    if text.is_ascii() || is_nfc_quick(text.chars()) == IsNormalized::Yes {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.nfc().collect())
    }
}

/// `text` in NFC and in lower case.
pub fn lower(text: &str) -> String {
    let folded = nfc(text).to_lowercase();
    match nfc(&folded) {
        Cow::Borrowed(_) => folded,
        Cow::Owned(composed) => composed,
    }
}

/// Whether a character shows nothing by itself: the format characters (category Cf), which join, split or turn what stands beside
/// them, the other characters that Unicode has ignored by default, and the separators of lines.
fn is_ignorable(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            default_realm: Some("corp.example".into()),
            domains: [("CORP".to_owned(), "corp.example".to_owned())].into(),
            ..Rules::default()
        }
    }

    #[test]
    fn every_spelling_is_one_person() {
        for name in ["alice", "Alice", "CORP\\alice", "corp\\ALICE", "alice@corp.example", "alice@CORP.Example"] {
            assert_eq!(rules().read(name.as_bytes()).unwrap().canonical, "alice@corp.example", "{name}");
        }
    }

    #[test]
    fn case_realm_and_upn_follow_the_rules() {
        let keep = Rules { keep_case: true, strip_realm: true, upn_suffix: Some("cloud.example".into()), ..rules() };
        let identity = keep.read(b"OTHER\\Bob").unwrap();
        assert_eq!((identity.canonical.as_str(), identity.upn.as_str()), ("Bob", "Bob@cloud.example"));
        assert_eq!(identity.realm.as_deref(), Some("other"));
        assert_eq!(Rules::default().read(b"bob").unwrap().upn, "bob");
        assert_eq!(Rules::default().read(b"a@b@c").unwrap().user, "a@b");
    }

    #[test]
    fn the_fingerprint_tells_other_rules_and_not_another_upn() {
        let upn = Rules { upn_suffix: Some("cloud.example".into()), ..rules() };
        assert_eq!(rules().fingerprint(), upn.fingerprint());
        let others = [
            Rules { keep_case: true, ..rules() },
            Rules { strip_realm: true, ..rules() },
            Rules { default_realm: None, ..rules() },
            Rules { domains: BTreeMap::new(), ..rules() },
        ];
        for other in others {
            assert_ne!(rules().fingerprint(), other.fingerprint(), "{other:?}");
        }
    }

    #[test]
    fn composed_and_decomposed_are_one_person() {
        for (one, other) in [
            ("Ren\u{e9}e", "Rene\u{301}e"),
            ("\u{c5}sa@corp.example", "A\u{30a}sa@CORP.example"),
            // The ångström sign is the letter.
            ("\u{212b}sa", "\u{e5}sa"),
            ("CORP\\\u{d6}zil", "corp\\o\u{308}zil"),
            ("\u{1100}\u{1161}", "\u{ac00}"),
            // Marks in another order.
            ("q\u{307}\u{323}", "q\u{323}\u{307}"),
        ] {
            let [one, other] = [one, other].map(|name| rules().read(name.as_bytes()).unwrap());
            assert_eq!((&one.canonical, &one.upn), (&other.canonical, &other.upn));
        }
        // In realms of both kinds, and where capitals matter.
        let keep = Rules { keep_case: true, ..Rules::default() };
        assert_eq!(keep.read("a@bu\u{308}ro.example".as_bytes()).unwrap().canonical, "a@b\u{fc}ro.example");
        assert_eq!(keep.read("E\u{301}va".as_bytes()).unwrap().canonical, "\u{c9}va");
        assert_eq!(lower("\u{130}"), lower("I\u{307}"));
    }

    #[test]
    fn invisible_characters_are_refused() {
        for hidden in [
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200c}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0061}',
            '\u{e0100}',
        ] {
            for name in [format!("ali{hidden}ce"), format!("{hidden}alice"), format!("alice@co{hidden}rp.example")] {
                assert_eq!(rules().read(name.as_bytes()), Err(Reason::BadIdentity), "{hidden:?}");
            }
        }
        for shown in ["\u{5d0}\u{5d1}", "\u{0639}\u{0644}\u{064a}", "\u{4e2d}\u{6587}", "\u{1f600}", "o\u{2019}neill"] {
            assert!(rules().read(shown.as_bytes()).is_ok(), "{shown}");
        }
    }

    #[test]
    fn names_that_look_alike_are_refused() {
        let long = vec![b'a'; LONGEST + 1];
        let bad: [&[u8]; 12] = [
            b"", b" ", b" alice", b"alice ", b"al\0ice", b"a\nb", b"\xff", b"\\alice", b"alice@", b"@x", b"a\\b\\c",
            &long,
        ];
        for name in bad {
            assert_eq!(rules().read(name), Err(Reason::BadIdentity), "{name:?}");
        }
        for two in ["CORP\\a@b", "a@CORP\\b", "@\\b"] {
            assert_eq!(rules().read(two.as_bytes()), Err(Reason::BadIdentity), "{two}");
        }
        for padded in ["alice @corp.example", "alice@ corp.example", "CORP \\alice", "CORP\\ alice"] {
            assert_eq!(rules().read(padded.as_bytes()), Err(Reason::BadIdentity), "{padded}");
        }
    }
}
