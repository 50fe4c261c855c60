//! The people of the tenant, by what their names begin with, and their phones.

use aws_lc_rs::hmac;
use sha1::{Digest, Sha1};
use std::time::{Duration, Instant};

/// What a person has registered and does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// A push, and how the person answers it.
    Push(Tap),
    /// A push by default, and a code beside it.
    PushAndTotp,
    /// A call, and how it ends.
    Call(&'static str),
    /// A code that is spoken, or a call to approve.
    SpokenCode,
    /// A code by message.
    Sms,
    /// A code of an app or a hardware token.
    Totp,
    /// None: this is what the service says.
    Nothing(&'static str),
    /// None, and the service lets such people pass if told to.
    Unregistered,
    /// The service itself breaks.
    Broken(u16),
}

/// How a push is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tap {
    Approve,
    Deny,
    /// Denies and reports the prompt: the service blocks the user afterwards.
    Fraud,
    Never,
    /// As the control side says.
    Told,
}

/// The person that a UPN stands for: by what it begins with, up to the first dot, hyphen, at sign or digit.
pub(crate) fn method(upn: &str) -> Method {
    let end = upn.find(|c: char| ".-@".contains(c) || c.is_ascii_digit()).unwrap_or(upn.len());
    match upn[..end].to_ascii_lowercase().as_str() {
        "approve" | "slow" | "badxml" => Method::Push(Tap::Approve),
        "deny" => Method::Push(Tap::Deny),
        "fraud" => Method::Push(Tap::Fraud),
        "noresponse" => Method::Push(Tap::Never),
        "manual" => Method::Push(Tap::Told),
        "pushtotp" => Method::PushAndTotp,
        "voice" => Method::Call("Success"),
        "voicenoanswer" | "voicemail" => Method::Call("UserVoiceAuthFailedCallWentToVoicemail"),
        "hungup" => Method::Call("UserVoiceAuthFailedPhoneHungUp"),
        "unreachable" => Method::Call("UserVoiceAuthFailedPhoneUnreachable"),
        "spokencode" => Method::SpokenCode,
        "sms" => Method::Sms,
        "totp" | "hardware" => Method::Totp,
        "blocked" => Method::Nothing("UserIsBlocked"),
        "throttled" => Method::Nothing("AuthenticationThrottled"),
        "limit" => Method::Nothing("AuthenticationMethodLimitReached"),
        "wrongtenant" => Method::Nothing("AccessDenied"),
        "notsynced" => Method::Nothing("BecAccessDenied"),
        "noproof" => Method::Nothing("ProofDataNotFound"),
        "nodefault" => Method::Nothing("NoDefaultAuthenticationMethodIsConfigured"),
        "duplicate" => Method::Nothing("UserAuthFailedDuplicateRequest"),
        "unknownvalue" => Method::Nothing("SomethingThatNobodyKnows"),
        "unregistered" => Method::Unregistered,
        "http" => Method::Broken(500),
        _ => Method::Nothing("UserNotFound"),
    }
}

/// What is remembered of a person.
#[derive(Debug, Default)]
pub(crate) struct Person {
    /// How often the phone rang.
    pub(crate) prompts: u64,
    /// How long the person takes, where it is not the setting's time.
    pub(crate) takes: Option<Duration>,
    /// What the service says instead of asking.
    pub(crate) forced: Option<&'static str>,
    /// After a report of fraud.
    pub(crate) blocked: bool,
    /// The session whose prompt is out.
    pub(crate) open: Option<String>,
    /// The last code by message.
    pub(crate) sms: Option<String>,
    /// The last time step whose code was used.
    pub(crate) used_step: u64,
}

/// The code of a person's app at `seconds` since the epoch (RFC 6238), and its time step.
pub(crate) fn totp(upn: &str, seconds: u64) -> (u64, String) {
    let step = seconds / 30;
    let secret = Sha1::digest(upn.to_ascii_lowercase().as_bytes());
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[19] & 0x0f);
    let word = u32::from_be_bytes(tag[offset..offset + 4].try_into().expect("four octets"));
    (step, format!("{:06}", (word & 0x7fff_ffff) % 1_000_000))
}

/// What an MFA session waits for.
#[derive(Clone, Debug)]
pub(crate) enum Awaits {
    /// A decision, which falls then, or when the control side says.
    Decision(Option<(Instant, &'static str)>),
    /// A code by message.
    Sms(String),
    /// A code of the app.
    Totp,
}

/// One MFA session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) upn: String,
    pub(crate) born: Instant,
    pub(crate) awaits: Awaits,
    /// Told when the decision changes.
    pub(crate) news: std::sync::Arc<tokio::sync::Notify>,
}
