//! Microsoft Entra MFA as the NPS extension calls it: requests as text, answers as bounded readings, and the rules by which an
//! answer becomes a verdict. The interface is not documented by Microsoft; what is written here is what its public clients show.
//! What nobody has shown stands in [`assumed`], each assumption under its own name, so that a correction from the field changes
//! one place.
//!
//! ```text
//!   token       client credentials with a signed assertion          token.rs, cache.rs, certificates.rs
//!   Begin       SyncCall=true: held until the user has answered     request.rs, answer.rs, decide.rs
//!               SyncCall=false: poll with End, without a code
//!   challenge   a code is wanted: End with the code                 session.rs
//! ```
//!
//! An approval needs four things at once: HTTP 200, the right root element, `AuthenticationResult` = `true` and `Result/Value` =
//! `Success`. A challenge carries `Success` too, so that the value alone would let anybody pass.

mod answer;
pub mod assumed;
pub mod cache;
pub mod certificates;
mod decide;
mod request;
pub mod results;
mod session;
pub mod token;
mod xml;

pub use answer::{Answer, BeginAnswerRead, EndAnswerRead, LARGEST, Unreadable, read_begin, read_end};
pub use decide::{Asked, AskedAgain, begun, code_judged, polled};
pub use request::{Begin, End, Unsendable, code_digits};
pub use session::Session;

/// `text` as it may stand in a log line: control characters escaped, and no longer than a line.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 200;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
