//! What an event is in the audit. No entry carries a password, a code or a secret, as no event does.

use crate::attempt::record::AttemptId;
use crate::event::{Event, Finished, NodeEvent, Order, Step, Subject};
use crate::factor::Approval;
use crate::reason::{Fault, Reason};
use crate::time::Timestamp;
use std::borrow::Cow;

/// A value of a line.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Text(Box<str>),
    Number(u64),
    Seconds(f64),
}

/// One line, before it is chained.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    at: Timestamp,
    event: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl Entry {
    /// An entry without fields.
    pub fn new(at: Timestamp, event: &'static str) -> Self {
        Self { at, event, fields: Vec::with_capacity(12) }
    }

    /// The entry of an event; `None` where the audit does not tell of it.
    pub fn of(event: &Event, now: Timestamp) -> Option<Self> {
        match event {
            Event::Dropped { .. } | Event::Duplicate { .. } | Event::StatusServer { .. } => None,
            Event::Step { id, subject, step } => Self::step(*id, subject, step, now),
            Event::Finished(finished) => Some(Self::finished(finished, now)),
            Event::Unanswered { id, reason, user, client, begun } => Some(
                Self::new(now, "unanswered")
                    .attempt(*id)
                    .text("client", client)
                    .text("user", user)
                    .reason(Some(*reason))
                    .seconds("since_begun", now.since(*begun).as_secs_f64()),
            ),
            Event::PasswordsPaused { id, guess, pause } => Some(
                Self::new(now, "passwords_paused")
                    .attempt(*id)
                    .text("group", &guess.group)
                    .text("source", &guess.source.to_string())
                    .text("user", &guess.user)
                    .text("station", &guess.station.as_deref().map(String::from_utf8_lossy).unwrap_or_default())
                    .text("limit", pause.scope.limit())
                    .number("failures", u64::from(pause.failures))
                    .seconds("pause", pause.until.since(now).as_secs_f64()),
            ),
            Event::Node(event) => Some(Self::node(event, now)),
        }
    }

    fn step(id: AttemptId, subject: &Subject, step: &Step, now: Timestamp) -> Option<Self> {
        let (event, factor, judged) = match step {
            Step::FirstFactor { factor, failure, .. } => ("password", factor, Some(*failure)),
            Step::Code { factor, failure, .. } => ("code", factor, Some(*failure)),
            Step::Prompt { factor, answer, .. } => ("prompt", factor, Some(answer.err())),
            Step::PasswordChange { factor, failure } => ("password_change", factor, Some(*failure)),
            Step::Prompted { factor } => ("prompted", factor, None),
            Step::Withheld { until, .. } => {
                let entry = Self::new(now, "prompt_withheld").attempt(id).subject(subject);
                let entry = entry.reason(Some(Reason::PromptWithheld));
                return Some(until.map_or(entry.clone(), |until| entry.text("until", &until.utc())));
            }
            Step::Unexpected { .. } => {
                let entry = Self::new(now, "outcome").attempt(id).subject(subject).text("result", "silence");
                return Some(entry.reason(Some(Reason::Unexpected)));
            }
            // The line of the outcome tells of policy and challenge; the rest is how it is done.
            Step::Policy { .. }
            | Step::Unrendered { .. }
            | Step::Claimed { .. }
            | Step::Joined
            | Step::TakenOver { .. }
            | Step::Postponed
            | Step::Challenged { .. }
            | Step::Answered
            | Step::Committed => return None,
        };
        let mut entry = Self::new(now, event).attempt(id).subject(subject).text("factor", factor);
        if let Some(failure) = judged {
            let result = match (failure, step) {
                (None, Step::Prompt { answer: Ok(Approval::Unregistered), .. }) => "unregistered_passed",
                (None, _) => "passed",
                // Nobody has judged it.
                (Some(reason), _) if reason.fault() == Fault::BackEnd => "unavailable",
                (Some(_), _) => "refused",
            };
            entry = entry.text("result", result).reason(failure);
        }
        Some(entry)
    }

    fn finished(finished: &Finished, now: Timestamp) -> Self {
        let Finished { id, client, source, user, station, first_factor, policy, second_factor, .. } = finished;
        Self::new(now, "outcome")
            .attempt(*id)
            .text("client", client)
            .text("source", &source.to_string())
            .text("user", user)
            .text("station", &station.as_deref().map(String::from_utf8_lossy).unwrap_or_default())
            .text("first_factor", first_factor.as_deref().unwrap_or_default())
            .text("policy", policy.as_deref().unwrap_or_default())
            .text("second_factor", second_factor.as_deref().unwrap_or_default())
            .text("result", finished.ending.label())
            .reason(finished.reason)
            .seconds("since_begun", finished.since_begun.as_secs_f64())
    }

    fn node(event: &NodeEvent, now: Timestamp) -> Self {
        match event {
            NodeEvent::Started { version, config } => {
                Self::new(now, "started").text("version", version).text("config", config)
            }
            NodeEvent::Stopped => Self::new(now, "stopped"),
            NodeEvent::Reloaded { config: Ok(config) } => {
                Self::new(now, "reload").text("result", "in_force").text("config", config)
            }
            NodeEvent::Reloaded { config: Err(faults) } => {
                Self::new(now, "reload").text("result", "refused").text("faults", faults)
            }
            NodeEvent::Ordered { by: Order::Socket { uid, pid }, command } => {
                let entry = Self::new(now, "command").text("command", command).number("uid", u64::from(*uid));
                pid.and_then(|pid| u64::try_from(pid).ok()).map_or(entry.clone(), |pid| entry.number("pid", pid))
            }
            NodeEvent::Ordered { by: Order::Http { from, token }, command } => {
                let from = from.map(|from| from.to_string()).unwrap_or_default();
                Self::new(now, "command").text("command", command).text("from", &from).text("token", token)
            }
            NodeEvent::Dropped { client, reason, packets } => {
                let entry = Self::new(now, "dropped").text("client", client.as_deref().unwrap_or_default());
                entry.reason(Some(*reason)).number("packets", *packets)
            }
            NodeEvent::Unwritten { lines } => Self::new(now, "unwritten").number("lines", *lines),
            NodeEvent::Cut { from, to } => Self::new(now, "cut").number("from", *from).number("to", *to),
        }
    }

    /// What it tells of.
    pub fn event(&self) -> &'static str {
        self.event
    }

    fn attempt(self, id: AttemptId) -> Self {
        self.text("attempt", &id.to_string())
    }

    fn subject(self, subject: &Subject) -> Self {
        let Subject { client, source, user, station } = subject;
        let source = source.map(|source| source.to_string()).unwrap_or_default();
        let station = station.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        self.text("client", client).text("source", &source).text("user", user).text("station", &station)
    }

    fn reason(self, reason: Option<Reason>) -> Self {
        match reason {
            None => self,
            Some(reason) => self.text("reason", reason.label()).text("reason_id", reason.id()),
        }
    }

    /// Adds a text, unless it is empty.
    fn text(mut self, key: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.fields.push((key, Value::Text(value.into())));
        }
        self
    }

    fn number(mut self, key: &'static str, value: u64) -> Self {
        self.fields.push((key, Value::Number(value)));
        self
    }

    fn seconds(mut self, key: &'static str, value: f64) -> Self {
        self.fields.push((key, Value::Seconds(value)));
        self
    }

    /// Appends the line's middle: its time, the node, what it tells of, and its fields.
    pub(super) fn write(&self, out: &mut Vec<u8>, node: &str) {
        out.extend_from_slice(b"\"time\":");
        json(out, &time(self.at));
        out.extend_from_slice(b",\"node\":");
        json(out, node);
        out.extend_from_slice(b",\"event\":");
        json(out, self.event);
        for (key, value) in &self.fields {
            out.push(b',');
            json(out, key);
            out.push(b':');
            match value {
                Value::Text(text) => json(out, text),
                Value::Number(number) => out.extend_from_slice(number.to_string().as_bytes()),
                Value::Seconds(seconds) => out.extend_from_slice(format!("{seconds:.6}").as_bytes()),
            }
        }
    }
}

/// Appends a string as JSON; what a terminal would take for a command is escaped too.
fn json(out: &mut Vec<u8>, text: &str) {
    let escaped: Cow<'_, str> = if text.chars().any(hides) {
        let shown = |c: char| if hides(c) { format!("<U+{:04X}>", u32::from(c)) } else { c.to_string() };
        text.chars().map(shown).collect::<String>().into()
    } else {
        text.into()
    };
    // Writing text to memory cannot fail.
    let _ = serde_json::to_writer(out, &*escaped);
}

/// Characters that change what is seen of the others: C1 controls, DEL, and what orders or hides text (UAX #9).
const fn hides(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// RFC 3339, to the microsecond, in UTC.
pub fn time(at: Timestamp) -> String {
    let micros = i64::try_from(at.as_micros()).ok();
    micros
        .and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok())
        .map(|at| format!("{at:.6}"))
        .unwrap_or_default()
}
