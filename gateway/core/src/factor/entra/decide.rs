//! From an answer to a verdict. HTTP 200 and the root element are the reader's part; here, only `true` together with `Success`
//! approves, and everything that is not known refuses.

use super::answer::{Answer, BeginAnswerRead, EndAnswerRead};
use super::results::{self, Class};
use super::{assumed, session::Session};
use crate::attempt::record::AttemptId;
use crate::config::{Unregistered, UnregisteredCode, UpnEcho};
use crate::factor::{Approval, BeginAnswer, CodeAnswer, CodeWanted, PollAnswer};
use crate::reason::Reason;
use crate::time::Timestamp;

/// What Begin was asked with, as far as the verdict needs it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The UPN that was sent.
    pub upn: &'a str,
    /// The correlation id that was sent.
    pub context: AttemptId,
    /// The answer had to wait for the user.
    pub sync: bool,
    /// A method was asked for.
    pub method: bool,
    /// A code can be asked for.
    pub code_possible: bool,
    /// What holds for users who are not registered.
    pub unregistered: Unregistered,
    /// What "not registered" looks like.
    pub unregistered_codes: &'a [UnregisteredCode],
    /// What an answer for another user means.
    pub upn_echo: UpnEcho,
    /// What the user is asked for a code.
    pub prompt: &'a str,
    /// When it was asked.
    pub now: Timestamp,
}

/// What End was asked with.
#[derive(Clone, Copy, Debug)]
pub struct AskedAgain<'a> {
    /// The UPN that was sent.
    pub upn: &'a str,
    /// What an answer for another user means.
    pub upn_echo: UpnEcho,
}

/// What an answer to Begin means.
pub fn begun(asked: &Asked<'_>, read: BeginAnswerRead) -> BeginAnswer {
    let BeginAnswerRead { answer, session, affinity_url } = read;
    if answer.value() != "Success" {
        return refused(asked, &answer);
    }
    if is_for_another(asked.upn, asked.upn_echo, &answer) {
        return BeginAnswer::Denied(Reason::AnswerForOtherUser);
    }
    let keep = |id: String| {
        let Asked { upn, context, now, .. } = *asked;
        Session { id, context, upn: upn.to_owned(), affinity_url, begun: now }.encode()
    };
    match session {
        _ if answer.says("challenge") && !asked.code_possible => BeginAnswer::Denied(Reason::ChallengeImpossible),
        Some(id) if answer.says("challenge") => {
            BeginAnswer::CodeWanted(CodeWanted { session: keep(id), prompt: Some(asked.prompt.to_owned()) })
        }
        None if answer.says("challenge") => BeginAnswer::Denied(Reason::ResultContradicts),
        _ if asked.sync && answer.says("true") => BeginAnswer::Approved(Approval::User),
        Some(id) if !asked.sync && assumed::ASYNC_PUSH_RADIUS => BeginAnswer::Waiting { session: keep(id).into() },
        // Nothing to wait for: with RequireUserMatch=false, that is what a user without registration looks like.
        None if answer.says("true") && asked.unregistered == Unregistered::AllowByFlag => {
            BeginAnswer::Approved(Approval::User)
        }
        _ => BeginAnswer::Denied(Reason::ResultContradicts),
    }
}

fn refused(asked: &Asked<'_>, answer: &Answer) -> BeginAnswer {
    let passes = asked.unregistered == Unregistered::AllowByCode
        && !asked.method
        && assumed::not_registered_codes(answer.value(), asked.unregistered_codes)
        && assumed::error_auth_result(answer.authentication_result.as_deref())
        && !is_for_another(asked.upn, asked.upn_echo, answer);
    if passes {
        return BeginAnswer::Approved(Approval::Unregistered);
    }
    BeginAnswer::Denied(results::reason(answer.value()))
}

/// What an answer to End without a code means.
pub fn polled(asked: &AskedAgain<'_>, answer: &EndAnswerRead) -> PollAnswer {
    match results::class(answer.value()) {
        // Also while the user is busy: an answer about somebody else says nothing about this session, nor will the next.
        Class::Ok | Class::Pending if is_for_another(asked.upn, asked.upn_echo, answer) => {
            PollAnswer::Denied(Reason::AnswerForOtherUser)
        }
        Class::Pending => PollAnswer::Waiting,
        Class::Ok if answer.says("true") => PollAnswer::Approved,
        _ => PollAnswer::Denied(results::reason(answer.value())),
    }
}

/// What an answer to End with a code means.
pub fn code_judged(asked: &AskedAgain<'_>, answer: &EndAnswerRead) -> CodeAnswer {
    match results::class(answer.value()) {
        Class::Ok | Class::WrongCode | Class::Pending if is_for_another(asked.upn, asked.upn_echo, answer) => {
            CodeAnswer::Ended(Reason::AnswerForOtherUser)
        }
        Class::Ok if answer.says("true") => CodeAnswer::Right(None),
        Class::WrongCode if !assumed::WRONG_CODE_ENDS_SESSION => CodeAnswer::Wrong(results::reason(answer.value())),
        Class::Pending => CodeAnswer::Ended(Reason::ResultContradicts),
        _ => CodeAnswer::Ended(results::reason(answer.value())),
    }
}

/// Whether the answer names somebody else, and that counts.
fn is_for_another(upn: &str, rule: UpnEcho, answer: &Answer) -> bool {
    let other = answer.upn.as_deref().is_some_and(|echoed| !assumed::upn_echo_equal(upn, echoed));
    other && rule == UpnEcho::Enforce
}
