//! The answers, read by name in any order.

use super::xml::{self, Elements, element_text_is};

pub use super::xml::{LARGEST, Unreadable};

/// What every answer holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `Result/Value`.
    pub value: Option<String>,
    /// `Result/Message`: for the log only.
    pub message: Option<String>,
    /// `Result/Retry`: its meaning is not established, so that it is logged only.
    pub retry: Option<String>,
    /// `AuthenticationResult`.
    pub authentication_result: Option<String>,
    /// `UserPrincipalName`, as echoed.
    pub upn: Option<String>,
}

impl Answer {
    /// The value without white space around it; empty where there is none.
    pub fn value(&self) -> &str {
        self.value.as_deref().map_or("", str::trim)
    }

    /// Whether AuthenticationResult says `word`.
    pub fn says(&self, word: &str) -> bool {
        element_text_is(self.authentication_result.as_deref(), word)
    }
}

/// The answer to Begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BeginAnswerRead {
    /// What every answer holds.
    pub answer: Answer,
    /// `SessionId`.
    pub session: Option<String>,
    /// `AffinityUrl`. It is data of a stranger: see `affinity_second_try`.
    pub affinity_url: Option<String>,
}

/// The answer to End.
pub type EndAnswerRead = Answer;

/// The paths that matter; each may stand there once.
const WANTED: [&str; 8] = [
    "Result",
    "Result/Value",
    "Result/Message",
    "Result/Retry",
    "AuthenticationResult",
    "UserPrincipalName",
    "SessionId",
    "AffinityUrl",
];

/// Longer identifiers and addresses are not kept.
const LONGEST: usize = 1024;

/// Reads the answer to Begin.
///
/// # Errors
/// It is not what it should be; nothing of it counts.
pub fn read_begin(octets: &[u8]) -> Result<BeginAnswerRead, Unreadable> {
    let mut elements = xml::read(octets, "BeginTwoWayAuthenticationResponse", &WANTED)?;
    let short = |text: Option<String>| text.filter(|text| text.len() <= LONGEST && !text.contains(char::is_control));
    let session = short(elements.take("SessionId"));
    let affinity_url = short(elements.take("AffinityUrl")).map(|url| url.trim().to_owned());
    Ok(BeginAnswerRead { answer: common(&elements), session, affinity_url })
}

/// Reads the answer to End.
///
/// # Errors
/// It is not what it should be; nothing of it counts.
pub fn read_end(octets: &[u8]) -> Result<EndAnswerRead, Unreadable> {
    Ok(common(&xml::read(octets, "EndTwoWayAuthenticationResponse", &WANTED)?))
}

fn common(elements: &Elements) -> Answer {
    let text = |path: &str| elements.text(path).map(str::to_owned);
    Answer {
        value: text("Result/Value"),
        message: text("Result/Message"),
        retry: text("Result/Retry"),
        authentication_result: text("AuthenticationResult"),
        upn: text("UserPrincipalName"),
    }
}
