//! `[attempts]`: one person's one try to pass the second factor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

use super::{names::nearest, report::Report, units::Span};
use crate::reason::{Fault, Reason};

/// How long one person's one try to pass the second factor may take, and what the person reads meanwhile.
///
/// ```toml
/// [attempts]
/// deadline = "90s"
/// tries = 3
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAttempts {
    /// How long an attempt may take, from its claim to its outcome. One that waits for a code lasts at least until its first
    /// challenge ends (`challenge_lifetime`), and wrong codes do not lengthen it. Too short, and people who look for their
    /// phone are refused; too long, and a forgotten attempt keeps its records for that time.
    #[schemars(extend("x-min" = "5s", "x-max" = "10m"))]
    pub deadline: Span,
    /// Codes that may be tried in one attempt. One is harsh to fat fingers; each one more is one more guess.
    #[schemars(range(min = 1, max = 10))]
    pub tries: u64,
    /// How long a code may be entered after it was asked for. Too short, and slow typists start over with the password; too
    /// long, and a password that somebody watched stays half a sign-in for that time.
    #[schemars(extend("x-min" = "10s", "x-max" = "1h"))]
    pub challenge_lifetime: Span,
    /// A new request of the same sign-in (same user, RADIUS client or group, and Calling-Station-Id, with the right password
    /// again) within this time gets the same challenge; a later one burns it and begins a new one. Too short, and an impatient VPN server invalidates the question its user is answering. May not
    /// exceed `challenge_lifetime`.
    #[schemars(extend("x-min" = "0s", "x-max" = "10m"))]
    pub challenge_repeat: Span,
    /// How long after a success a new request with the password counts as a repeat of that sign-in and not as a new one. (A
    /// State that has served is refused whoever brings it; a NAS that repeats the same packet gets the same reply.) Too
    /// short, and a VPN server that lost the accept makes its user start over; too long, and somebody who reconnects at once is
    /// kept waiting.
    #[schemars(extend("x-min" = "0s", "x-max" = "5m"))]
    pub repeat_window: Span,
    /// For how long nobody is prompted after a prompt that the user denied or did not answer: after the first, the second in a
    /// row, and so on; the last holds for all that follow. From whatever device or VPN server the next sign-in comes, it is asked for a
    /// code if it can be, and refused otherwise; a right code, and a prompt that is approved, end the row. Short pauses let somebody who knows a
    /// password wear its owner out with pushes; long ones keep people waiting who missed one. At most 16, none longer
    /// than `prompt_memory`. With `[]`, only `repeat_window` is left.
    #[schemars(extend("x-type" = "list of durations", "x-default" = "1m, 2m, 5m, 15m, 1h"))]
    pub prompt_pauses: Vec<Span>,
    /// After so many prompts in a row that the user denied or did not answer, nobody is prompted until `prompt_memory` is over: there
    /// are codes only. 0 means never.
    #[schemars(range(min = 0, max = 100))]
    pub codes_only_after: u64,
    /// How long such prompts are remembered after the last one.
    #[schemars(extend("x-min" = "1m", "x-max" = "7d"))]
    pub prompt_memory: Span,
    /// What a repeat within `repeat_window` gets.
    pub after_success: AfterSuccess,
    /// What the user reads when a code is asked for; at most 240 octets.
    pub prompt: String,
    /// What the user reads after a wrong code; at most 240 octets.
    pub prompt_again: String,
    /// What the user reads when the VPN server's patience ends before a push or a call is answered; at most 240 octets.
    pub prompt_approve: String,
    /// What the user reads when refused; at most 240 octets. It is the same for every cause that has no text in
    /// `reject_messages`, so that nobody learns which of the factors was wrong. Empty sends none.
    pub reject_message: String,
    /// What the user reads instead where the cause is this one: the label of a reason (see errors.md) and a text of at most
    /// 240 octets, such as `prompt_denied = "You denied the sign-in."`. A text for a cause tells whoever types passwords which of
    /// the factors was wrong: `check-config` names those that do. Empty sends none. Only `protocol_without_code` and
    /// `code_sent` have texts of their own without this.
    #[schemars(extend("x-type" = "table of reason = text", "x-default" = "none"))]
    pub reject_messages: BTreeMap<String, String>,
    /// The soonest a request is refused after it came, so that nobody can try passwords or codes quickly. Who waited longer,
    /// for a person say, is refused at once. Longer than the VPN server waits before it repeats a packet, and each refusal costs
    /// a repeat; longer than its time limit, and refusals look like a gateway that is down.
    #[schemars(extend("x-min" = "0s", "x-max" = "5s"))]
    pub reject_delay: Span,
}

impl Default for RawAttempts {
    fn default() -> Self {
        Self {
            deadline: Span::secs(90),
            tries: 3,
            challenge_lifetime: Span::secs(180),
            challenge_repeat: Span::secs(30),
            repeat_window: Span::secs(10),
            prompt_pauses: [60, 120, 300, 900, 3_600].map(Span::secs).to_vec(),
            codes_only_after: 5,
            prompt_memory: Span::secs(43_200),
            after_success: AfterSuccess::Discard,
            prompt: "Enter the code from your authenticator app:".to_owned(),
            prompt_again: "That code was not right. Enter the next code:".to_owned(),
            prompt_approve: "Approve the sign-in on your phone, then press Enter:".to_owned(),
            reject_message: "Sign-in refused.".to_owned(),
            reject_messages: BTreeMap::new(),
            reject_delay: Span::secs(1),
        }
    }
}

/// What happens to a new packet of an attempt that has just succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum AfterSuccess {
    /// Silence: one approval lets in one packet.
    #[default]
    Discard,
    /// The same verdict again, for a VPN server that sends new packets instead of repeating the old one. Within
    /// `repeat_window` the password alone then opens the door a second time. Requests without Calling-Station-Id are
    /// discarded all the same, because a repeat cannot be told from another device of the user.
    Answer,
}

/// The limits and words of an attempt, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// How long the second factor may take in all.
    pub deadline: Duration,
    /// Codes that may be tried.
    pub tries: u32,
    /// How long a challenge may be answered.
    pub challenge_lifetime: Duration,
    /// How long a repeat of the first leg gets the same challenge.
    pub challenge_repeat: Duration,
    /// How long after a success a further request counts as a repeat.
    pub repeat_window: Duration,
    /// How long nobody is prompted after prompts that were not approved.
    pub prompt_pauses: Vec<Duration>,
    /// After so many of them there are codes only; 0: never.
    pub codes_only_after: u32,
    /// How long they are remembered.
    pub prompt_memory: Duration,
    /// What such a repeat gets.
    pub after_success: AfterSuccess,
    /// Reply-Message of a challenge, 1 to 240 octets.
    pub prompt: String,
    /// Reply-Message of a challenge after a wrong code, 1 to 240 octets.
    pub prompt_again: String,
    /// Reply-Message of a challenge to come back for the outcome of a prompt, 1 to 240 octets.
    pub prompt_approve: String,
    /// Reply-Message of a reject, 0 to 240 octets.
    pub reject_message: String,
    /// Reply-Message of a reject for these reasons, 0 to 240 octets.
    pub reject_messages: BTreeMap<Reason, String>,
    /// The soonest a reject leaves after its request came.
    pub reject_delay: Duration,
}

impl Attempts {
    /// What the user reads who is refused for `reason`; empty for nothing.
    pub fn reject_message(&self, reason: Reason) -> &str {
        match (self.reject_messages.get(&reason), reason) {
            (Some(text), _) => text,
            // Whoever reads this has proved the password, and would try for ever without it.
            (None, Reason::ProtocolWithoutCode) => NO_CODES_HERE,
            (None, Reason::CodeSent) => CODE_SENT,
            (None, _) => &self.reject_message,
        }
    }
}

/// What a user reads who wrote `sms` beside the password.
const CODE_SENT: &str = "A code is on its way to you. Sign in again with your password and the code.";

/// A refusal that explains itself unless `reject_messages` says otherwise.
const NO_CODES_HERE: &str =
    "This connection cannot ask for your code. Register a push or a call, or ask your administrator.";

/// The longest text we put into a Reply-Message: an attribute holds 253 octets (RFC 2865 §5.18), and some VPN servers add
/// their own words.
const LONGEST_MESSAGE: usize = 240;

/// Below this, people who unlock a phone and read a code are too slow.
const HUMAN: Span = Span::secs(30);

impl RawAttempts {
    pub(super) fn check(&self, report: &mut Report) -> Attempts {
        report.within("attempts.deadline", &self.deadline, Span::secs(5), Span::secs(600));
        report.within("attempts.challenge_lifetime", &self.challenge_lifetime, Span::secs(10), Span::secs(3600));
        report.within("attempts.challenge_repeat", &self.challenge_repeat, Span::secs(0), Span::secs(600));
        report.within("attempts.repeat_window", &self.repeat_window, Span::secs(0), Span::secs(300));
        for (path, span) in
            [("attempts.deadline", self.deadline), ("attempts.challenge_lifetime", self.challenge_lifetime)]
        {
            if span < HUMAN {
                let problem = format!("{span} is less than a person needs to find the phone and read a code");
                report.warn(path, problem, format!("Allow at least {HUMAN}; the default is better."));
            }
        }
        if self.challenge_repeat > self.challenge_lifetime {
            let problem =
                format!("{} is longer than challenge_lifetime, {}", self.challenge_repeat, self.challenge_lifetime);
            report.fault("attempts.challenge_repeat", problem, "Shorten it, or lengthen challenge_lifetime.");
        }
        if self.after_success == AfterSuccess::Answer {
            let problem = format!("for {} after a success the password alone opens the door again", self.repeat_window);
            let remedy =
                "Use \"discard\" unless a VPN server of yours sends new packets instead of repeating the old one.";
            report.warn("attempts.after_success", problem, remedy);
        }
        Attempts {
            deadline: self.deadline.0,
            tries: report.number("attempts.tries", self.tries, 1..=10),
            challenge_lifetime: self.challenge_lifetime.0,
            challenge_repeat: self.challenge_repeat.0,
            repeat_window: self.repeat_window.0,
            prompt_pauses: self.prompt_pauses(report),
            codes_only_after: report.number("attempts.codes_only_after", self.codes_only_after, 0..=100),
            prompt_memory: self.prompt_memory.0,
            after_success: self.after_success,
            prompt: message(report, "attempts.prompt", &self.prompt, 1),
            prompt_again: message(report, "attempts.prompt_again", &self.prompt_again, 1),
            prompt_approve: message(report, "attempts.prompt_approve", &self.prompt_approve, 1),
            reject_message: message(report, "attempts.reject_message", &self.reject_message, 0),
            reject_messages: self.reject_messages(report),
            reject_delay: self.reject_delay(report),
        }
    }

    fn prompt_pauses(&self, report: &mut Report) -> Vec<Duration> {
        report.within("attempts.prompt_memory", &self.prompt_memory, Span::secs(60), Span::secs(7 * 86_400));
        let path = "attempts.prompt_pauses";
        if self.prompt_pauses.len() > 16 {
            let problem = format!("has {} pauses", self.prompt_pauses.len());
            report.fault(path, problem, "Keep 16: the last one holds for all that follow.");
        }
        if let Some(pause) = self.prompt_pauses.iter().find(|pause| **pause > self.prompt_memory) {
            let problem = format!("{pause} is longer than prompt_memory, {}", self.prompt_memory);
            report.fault(path, problem, "Shorten it, or lengthen prompt_memory.");
        }
        if self.prompt_pauses.is_empty() {
            let problem = "somebody who knows a password can have its owner's phone ask without end";
            report.warn(path, problem, "Leave it at the default.");
        }
        self.prompt_pauses.iter().map(|pause| pause.0).collect()
    }

    fn reject_delay(&self, report: &mut Report) -> Duration {
        report.within("attempts.reject_delay", &self.reject_delay, Span::secs(0), Span::secs(5));
        if self.reject_delay == Span::secs(0) {
            let problem =
                "refusals are answered at once, so that passwords and codes can be tried as fast as the network goes";
            report.warn("attempts.reject_delay", problem, "Leave it at 1s unless the VPN server delays them itself.");
        }
        self.reject_delay.0
    }

    fn reject_messages(&self, report: &mut Report) -> BTreeMap<Reason, String> {
        let section = "attempts.reject_messages";
        let mut messages = BTreeMap::new();
        let mut telling = Vec::new();
        for (label, text) in &self.reject_messages {
            let path = format!("{section}.{label}");
            let Some(reason) = Reason::ALL.iter().copied().find(|reason| reason.label() == label) else {
                let labels = Reason::ALL.iter().map(|reason| reason.label());
                let remedy = match nearest(label, labels) {
                    Some(meant) => format!("Did you mean `{meant}`?"),
                    None => "Write the label of a reason as errors.md has it.".to_owned(),
                };
                report.fault(path, "there is no such reason", remedy);
                continue;
            };
            // Who is refused for what the user did or is learns from an own text which of the factors it was.
            if reason.fault() == Fault::User && *text != self.reject_message {
                telling.push(label.as_str());
            }
            messages.insert(reason, message(report, &path, text, 0));
        }
        if !telling.is_empty() {
            let problem = format!(
                "{}: a text of its own tells whoever types passwords which factor was wrong, or who exists",
                telling.join(", ")
            );
            report.warn(section, problem, "Keep those that your users need more than guessers do.");
        }
        messages
    }
}

fn message(report: &mut Report, path: &str, text: &str, least: usize) -> String {
    if text.len() < least {
        report.fault(path, "is empty", "Write what the user should do, or leave the key out.");
    }
    if text.len() > LONGEST_MESSAGE {
        let problem = format!("is {} octets long", text.len());
        report.fault(path, problem, format!("Shorten it to {LONGEST_MESSAGE} octets."));
    }
    if text.contains(|c: char| c.is_control()) {
        report.fault(path, "contains a control character", "Write one line of plain text.");
    }
    text.to_owned()
}
