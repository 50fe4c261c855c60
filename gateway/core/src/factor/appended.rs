//! A code, or the name of a way to be asked, in one line with the password: `password,123456`, `password,push`. For RADIUS clients
//! that cannot show a question. There is one rule for what is password and what is not, and what is not never reaches a first
//! factor.

use crate::secret::Secret;
use std::fmt;

/// How the two stand in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The code stands before the password.
    pub before: bool,
    /// What stands between them; where that is nothing, a code is of six digits.
    pub separator: Box<str>,
}

/// What stood beside the password.
#[derive(PartialEq, Eq)]
pub enum Appended {
    /// A code.
    Code(Secret),
    /// How the user wants to be asked.
    Way(Way),
}

/// A way to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a code that the user has at hand.
    Code,
    /// By a push, `push`.
    Push,
    /// By a call, `phone`.
    Phone,
    /// By a code in a text message, `sms`: the user signs in again with it.
    Sms,
}

impl fmt::Debug for Appended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(_) => f.write_str("Code([secret])"),
            Self::Way(way) => write!(f, "Way({way:?})"),
        }
    }
}

impl Appended {
    /// The way that it asks for.
    pub fn way(&self) -> Way {
        match self {
            Self::Code(_) => Way::Code,
            Self::Way(way) => *way,
        }
    }

    fn read(text: &[u8]) -> Option<Self> {
        let word = |name: &str| text.eq_ignore_ascii_case(name.as_bytes());
        match text.len() {
            6..=10 if text.iter().all(u8::is_ascii_digit) => Some(Self::Code(Secret::new(text.to_vec()))),
            _ if word("push") => Some(Self::Way(Way::Push)),
            _ if word("phone") => Some(Self::Way(Way::Phone)),
            _ if word("sms") => Some(Self::Way(Way::Sms)),
            _ => None,
        }
    }
}

impl Rule {
    /// The password and what stands beside it. `None`: all of it is password, because the separator is missing or beside it stands
    /// neither a code of 6 to 10 digits nor one of the words.
    pub fn split(&self, line: &Secret) -> Option<(Secret, Appended)> {
        let line = line.expose();
        let (password, beside) = match (self.separator.len(), self.before) {
            (0, false) => line.split_at_checked(line.len().checked_sub(SIX)?)?,
            (0, true) => line.split_at_checked(SIX).map(|(beside, password)| (password, beside))?,
            (length, before) => {
                let mut places = line.windows(length).enumerate();
                let here = |(_, window): &(usize, &[u8])| *window == self.separator.as_bytes();
                let (at, _) = if before { places.find(here)? } else { places.rfind(here)? };
                let (left, right) = (line.get(..at)?, line.get(at + length..)?);
                if before { (right, left) } else { (left, right) }
            }
        };
        let beside = Appended::read(beside)?;
        Some((Secret::new(password.to_vec()), beside))
    }
}

/// The length of a code that nothing separates from the password.
const SIX: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(before: bool, separator: &str, line: &str) -> Option<(String, String)> {
        let rule = Rule { before, separator: separator.into() };
        rule.split(&Secret::new(line.as_bytes().to_vec())).map(|(password, beside)| {
            let beside = match beside {
                Appended::Code(code) => String::from_utf8(code.expose().to_vec()).unwrap(),
                Appended::Way(way) => format!("{way:?}"),
            };
            (String::from_utf8(password.expose().to_vec()).unwrap(), beside)
        })
    }

    fn parts(password: &str, beside: &str) -> Option<(String, String)> {
        Some((password.into(), beside.into()))
    }

    #[test]
    fn the_outermost_separator_divides() {
        assert_eq!(split(false, ",", "pass,word,123456"), parts("pass,word", "123456"));
        assert_eq!(split(true, ",", "123456,pass,word"), parts("pass,word", "123456"));
        assert_eq!(split(false, ",,", "word,,,12345678"), parts("word,", "12345678"));
        assert_eq!(split(false, ",", "word,PUSH"), parts("word", "Push"));
        assert_eq!(split(true, "/", "sms/word"), parts("word", "Sms"));
        assert_eq!(split(false, ",", "word,phone"), parts("word", "Phone"));
        assert_eq!(split(false, ",", ",123456"), parts("", "123456"), "an empty password is refused elsewhere");
    }

    #[test]
    fn what_is_neither_code_nor_word_is_password() {
        for line in ["", "word", "word,", "word,12345", "word,12345678901", "word,12345a", "word,pushy", "word,123456,"]
        {
            assert_eq!(split(false, ",", line), None, "{line}");
        }
    }

    #[test]
    fn without_separator_a_code_has_six_digits() {
        assert_eq!(split(false, "", "word123456"), parts("word", "123456"));
        assert_eq!(split(false, "", "word1234567"), parts("word1", "234567"));
        assert_eq!(split(true, "", "123456word"), parts("word", "123456"));
        for line in ["", "12345", "word12345", "wordpush"] {
            assert_eq!(split(false, "", line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_was_joined_is_split(password in "\\PC{0,20}", code in "[0-9]{6,10}", before: bool) {
            let line = if before { format!("{code}|{password}") } else { format!("{password}|{code}") };
            prop_assert_eq!(split(before, "|", &line), parts(&password, &code));
        }

        #[test]
        fn any_octets_are_taken(line in proptest::collection::vec(any::<u8>(), 0..140), separator in "\\PC{0,3}", before: bool) {
            let _ = Rule { before, separator: separator.into() }.split(&Secret::new(line));
        }
    }
}
