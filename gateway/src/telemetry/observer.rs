//! What becomes of an event: a counter, a log line, a place in the ring.

use super::brake::Brake;
use super::metrics::{Metrics, NO_CLIENT, Timers};
use super::ring::Ring;
use crate::audit::Audit;
use gateway_core::attempt::record::AttemptId;
use gateway_core::config::Limits;
use gateway_core::event::{Ending, Event, Finished, NodeEvent, Step, Subject};
use gateway_core::factor::Approval;
use gateway_core::limit::wrong_passwords::{Guess, Pause};
use gateway_core::reason::{Fault, Reason};
use gateway_core::time::Timestamp;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Dropped packets by RADIUS client, where it is known, and reason.
type Sums = HashMap<(Option<Arc<str>>, Reason), u64>;

/// Takes events from every thread.
pub struct Observer {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    timers: Timers,
    ring: Ring,
    sign_in_log: AtomicBool,
    drop_logs_per_second: AtomicU32,
    drops: Brake,
    refusal_logs_per_second: AtomicU32,
    refusals: Brake,
    /// Where what happened is written down, so that it can be proved.
    pub audit: Audit,
    /// Packets dropped since the audit was told of them.
    sums: Mutex<Sums>,
    /// Holds back lines about pauses.
    pauses: Brake,
}

impl Observer {
    /// One that keeps `ring` events.
    pub fn new(metrics: Arc<Metrics>, ring: usize, audit: Audit) -> Self {
        let timers = Timers::new(&metrics);
        Self {
            metrics,
            timers,
            ring: Ring::new(ring),
            sign_in_log: AtomicBool::new(true),
            drop_logs_per_second: AtomicU32::new(5),
            drops: Brake::default(),
            refusal_logs_per_second: AtomicU32::new(20),
            refusals: Brake::default(),
            audit,
            sums: Mutex::default(),
            pauses: Brake::default(),
        }
    }

    /// Settings of a new configuration.
    pub fn configure(&self, sign_in_log: bool, limits: &Limits) {
        self.sign_in_log.store(sign_in_log, Ordering::Relaxed);
        self.drop_logs_per_second.store(limits.drop_logs_per_second, Ordering::Relaxed);
        self.refusal_logs_per_second.store(limits.refusal_logs_per_second, Ordering::Relaxed);
    }

    /// Tells the sums of what is not told one by one. To be called once a second.
    pub fn tell_sums(&self, now: Timestamp) {
        let sums = std::mem::take(&mut *self.sums.lock().unwrap_or_else(PoisonError::into_inner));
        for ((client, reason), packets) in sums {
            self.audit.tell(&Event::Node(NodeEvent::Dropped { client, reason, packets }), now);
        }
        for (brake, lines, limit) in [
            (&self.drops, "dropped", "limits.drop_logs_per_second"),
            (&self.refusals, "a factor was refused", "limits.refusal_logs_per_second"),
        ] {
            let held_back = brake.held_back();
            if held_back > 0 {
                self.metrics.limit_hits.with_label_values(&[limit.trim_start_matches("limits.")]).inc_by(held_back);
                tracing::warn!(held_back, "so many lines of the kind `{lines}` were held back: {limit} allows no more");
            }
        }
    }

    /// Whether the log names users, and traces may.
    pub fn names_users(&self) -> bool {
        self.sign_in_log.load(Ordering::Relaxed)
    }

    /// The ring.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Takes one event, which happened at `now`.
    pub fn observe(&self, event: Event, now: Timestamp) {
        let _ = self.record(event, now);
    }

    /// As [`observe`](Self::observe). `false`: the audit has no place for it, and nothing that it tells of may be answered.
    pub fn record(&self, event: Event, now: Timestamp) -> bool {
        let audited = self.audit.tell(&event, now);
        match &event {
            Event::Dropped { client, source, reason, detail } => {
                let name = client.as_deref().unwrap_or(NO_CLIENT);
                self.metrics.dropped.with_label_values(&[name, reason.label()]).inc();
                if *reason == Reason::Overload {
                    self.metrics.limit_hits.with_label_values(&["in_progress"]).inc();
                }
                if self.may_log_drop(now) {
                    let detail = detail.unwrap_or_default();
                    tracing::warn!(
                        %source, client = name, reason = reason.label(), reason_id = reason.id(), detail, "dropped: {} {}",
                        reason.cause(), reason.remedy()
                    );
                }
                if self.audit.is_on() {
                    let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
                    *sums.entry((client.clone(), *reason)).or_default() += 1;
                }
                // Whoever floods us must not wash the story of a sign-in out of the ring.
                return audited;
            }
            Event::Duplicate { client, replayed } => {
                let kind = if *replayed { "replayed" } else { "in_flight_local" };
                self.metrics.duplicates.with_label_values(&[client, kind]).inc();
                return audited;
            }
            Event::StatusServer { .. } | Event::Node(_) => return audited,
            Event::Step { id, subject, step } => {
                self.step(*id, subject, step, now);
                // The line that ends the request names both: they need no place of their own.
                if matches!(step, Step::FirstFactor { .. } | Step::Policy { .. }) {
                    return audited;
                }
            }
            Event::Finished(finished) => self.finished(finished),
            Event::PasswordsPaused { id, guess, pause } => self.passwords_paused(*id, guess, pause, now),
            Event::Unanswered { id, user, client, begun, reason } => {
                self.metrics.sign_ins.with_label_values(&[client, Ending::Silence.label(), reason.label()]).inc();
                let after = now.since(*begun).as_secs_f64();
                tracing::info!(attempt = %id, client = &**client, user = &**user, result = "unanswered",
                    reason = reason.label(), reason_id = reason.id(), since_begun = after, "sign-in");
            }
        }
        if self.ring.push(now, event) {
            self.metrics.events_dropped.inc();
        }
        audited
    }

    fn step(&self, id: AttemptId, subject: &Subject, step: &Step, now: Timestamp) {
        if let Some((kind, factor, reason)) = refusal(step) {
            self.refused(id, subject, (kind, factor), reason, now);
        }
        match step {
            Step::FirstFactor { factor, failure, took } => {
                let result = match failure {
                    None => "proved",
                    Some(reason) => reason.label(),
                };
                let seconds = took.as_secs_f64();
                self.metrics.first_factor_duration.with_label_values(&[factor, result]).observe(seconds);
                if *failure == Some(Reason::PasswordQueueFull) {
                    self.metrics.limit_hits.with_label_values(&["password_queue"]).inc();
                }
            }
            Step::Challenged { factor, .. } => {
                self.metrics.mfa_requests.with_label_values(&[factor, "code", "challenge"]).inc();
            }
            Step::Code { factor, failure, .. } => {
                let result = failure.map_or("right", Reason::label);
                self.metrics.mfa_requests.with_label_values(&[factor, "code", result]).inc();
            }
            Step::PasswordChange { factor, failure } => {
                let result = failure.map_or("changed", Reason::label);
                self.metrics.password_changes.with_label_values(&[factor, result]).inc();
            }
            Step::Unexpected { stage, input } => {
                let reason = Reason::Unexpected;
                tracing::error!(attempt = %id, stage, input, reason_id = reason.id(), "{} {}", reason.cause(), reason.remedy());
            }
            Step::Unrendered { policy, attribute, reason, problem } => {
                tracing::warn!(
                    attempt = %id, policy = &**policy, attribute = &**attribute, problem, reason = reason.label(),
                    reason_id = reason.id(), "no reply: {} {}", reason.cause(), reason.remedy()
                );
            }
            Step::Prompted { factor } => {
                self.metrics.mfa_requests.with_label_values(&[factor, "prompt", "sent"]).inc();
            }
            Step::Prompt { factor, answer, .. } => {
                let result = match answer {
                    Ok(Approval::User) => "approved",
                    Ok(Approval::Unregistered) => "unregistered_passed",
                    Err(reason) => reason.label(),
                };
                self.metrics.mfa_requests.with_label_values(&[factor, "prompt", result]).inc();
            }
            Step::Joined => self.metrics.prompts_suppressed.with_label_values(&["joined"]).inc(),
            Step::Withheld { until, code } => {
                self.metrics.prompts_suppressed.with_label_values(&["withheld"]).inc();
                let until = until.map_or_else(|| "an operator lifts it".to_owned(), Timestamp::utc);
                let reason = Reason::PromptWithheld;
                tracing::warn!(
                    attempt = %id, until, code_instead = code, reason = reason.label(), reason_id = reason.id(),
                    "a prompt is withheld: {} {}", reason.cause(), reason.remedy()
                );
            }
            Step::TakenOver { .. } => self.metrics.taken_over.inc(),
            Step::Policy { .. } | Step::Claimed { .. } | Step::Postponed | Step::Answered | Step::Committed => {}
        }
    }

    fn passwords_paused(&self, id: AttemptId, guess: &Guess, pause: &Pause, now: Timestamp) {
        let limit = pause.scope.limit();
        self.metrics.password_pauses.with_label_values(&[limit]).inc();
        if !self.pauses.allows(self.drop_logs_per_second.load(Ordering::Relaxed), now) {
            return;
        }
        let named = self.names_users();
        let user = if named { &*guess.user } else { "" };
        let station =
            guess.station.as_deref().filter(|_| named).map(|octets| String::from_utf8_lossy(octets).into_owned());
        let reason = Reason::PasswordPaused;
        tracing::warn!(
            attempt = %id, limit, failures = pause.failures, pause = pause.until.since(now).as_secs_f64(), user,
            station = station.unwrap_or_default(), group = &*guess.group, source = %guess.source, reason = reason.label(),
            reason_id = reason.id(), "passwords pause: {} {}", reason.cause(), reason.remedy()
        );
    }

    fn finished(&self, finished: &Finished) {
        let Finished { client, ending, reason, .. } = finished;
        let label = reason.map_or("", Reason::label);
        self.metrics.sign_ins.with_label_values(&[client, ending.label(), label]).inc();
        let (at, asked) = (*ending as usize, usize::from(finished.second_factor.is_some()));
        if let Some(timer) = self.timers.request.get(at).and_then(|timers| timers.get(asked)) {
            timer.observe(finished.took.as_secs_f64());
        }
        match reason {
            Some(Reason::ChallengeBurnt) => self.metrics.limit_hits.with_label_values(&["attempts_per_user"]).inc(),
            Some(Reason::TooManyWrongCodes) => self.metrics.limit_hits.with_label_values(&["wrong_codes"]).inc(),
            Some(Reason::PromptsFull) => self.metrics.limit_hits.with_label_values(&["pending_prompts"]).inc(),
            Some(Reason::Superseded) if finished.prompted => self.nas_gave_up(client, finished.took),
            Some(reason @ (Reason::PromptPending | Reason::RepeatWhilePending | Reason::RepeatAfterSuccess)) => {
                self.metrics.prompts_suppressed.with_label_values(&[reason.label()]).inc();
            }
            Some(Reason::StoreFull) => self.metrics.limit_hits.with_label_values(&["attempts"]).inc(),
            _ => {}
        }
        if finished.second_factor.is_some() && matches!(ending, Ending::Accept | Ending::Reject) {
            let method = if finished.prompted { "prompt" } else { "code" };
            self.metrics.mfa_wait.with_label_values(&[method]).observe(finished.since_begun.as_secs_f64());
        }
        if self.names_users() {
            log(finished);
        }
    }

    /// A NAS has given a packet up after so long. Whoever sets `answer_within` needs to know, so a change is logged.
    pub fn nas_gave_up(&self, client: &str, patience: Duration) {
        let gauge = self.metrics.nas_gives_up.with_label_values(&[client]);
        let (before, seconds) = (gauge.get(), patience.as_secs_f64());
        gauge.set(seconds);
        if (before - seconds).abs() > 1.0 {
            tracing::info!(client, seconds, "this NAS gives a packet up after so long: answer_within must be shorter");
        }
    }

    /// Whether a drop may be logged: a flood must not fill the disk. Counters count every one.
    fn may_log_drop(&self, now: Timestamp) -> bool {
        self.drops.allows(self.drop_logs_per_second.load(Ordering::Relaxed), now)
    }

    /// One line for each factor that was judged and refused. Whoever guesses causes them, so that there are so many a second.
    fn refused(&self, id: AttemptId, subject: &Subject, (kind, factor): (&str, &str), reason: Reason, now: Timestamp) {
        if !self.refusals.allows(self.refusal_logs_per_second.load(Ordering::Relaxed), now) {
            return;
        }
        let Subject { client, source, user, station } = subject;
        let named = self.names_users();
        let source = source.map(|source| source.to_string()).unwrap_or_default();
        let station = station.as_deref().filter(|_| named).map(String::from_utf8_lossy).unwrap_or_default();
        tracing::warn!(
            attempt = %id,
            client = &**client,
            source,
            user = if named { &**user } else { "" },
            station = &*station,
            factor,
            kind,
            reason = reason.label(),
            reason_id = reason.id(),
            "a factor was refused"
        );
    }
}

/// The factor that a step judged and refused: password, code or prompt, its configured name, and why. A factor that could not be
/// asked has judged nothing.
fn refusal(step: &Step) -> Option<(&'static str, &str, Reason)> {
    let (kind, factor, reason) = match step {
        Step::FirstFactor { factor, failure, .. } => ("password", factor, *failure),
        Step::Code { factor, failure, .. } => ("code", factor, *failure),
        Step::Prompt { factor, answer, .. } => ("prompt", factor, answer.err()),
        Step::PasswordChange { factor, failure } => ("password_change", factor, *failure),
        _ => return None,
    };
    reason.filter(|reason| !matches!(reason.fault(), Fault::BackEnd)).map(|reason| (kind, &**factor, reason))
}

/// The one line of a finished request. A challenge is not the end of an attempt and is told at `debug`. Names that somebody
/// typed are given as text, whose control characters the layer escapes in either form.
fn log(finished: &Finished) {
    let Finished { id, client, source, user, station, ending, reason, .. } = finished;
    let station = station.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
    let (label, code) = reason.map_or(("", ""), |reason| (reason.label(), reason.id()));
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                attempt = %id,
                client = &**client,
                source = %source,
                user = &**user,
                station = &*station,
                first_factor = finished.first_factor.as_deref().unwrap_or_default(),
                policy = finished.policy.as_deref().unwrap_or_default(),
                second_factor = finished.second_factor.as_deref().unwrap_or_default(),
                result = ending.label(),
                reason = label,
                reason_id = code,
                first_factor_took = finished.first_factor_took.as_secs_f64(),
                second_factor_took = finished.second_factor_took.as_secs_f64(),
                since_begun = finished.since_begun.as_secs_f64(),
                took = finished.took.as_secs_f64(),
                "sign-in"
            )
        };
    }
    let troubled =
        reason.is_some_and(|reason| matches!(reason.fault(), Fault::BackEnd)) || *reason == Some(Reason::Unexpected);
    match ending {
        // Somebody else may be riding on what the user approves.
        _ if troubled || (finished.prompted && *reason == Some(Reason::Superseded)) => line!(warn),
        Ending::Challenge => line!(debug),
        Ending::Accept | Ending::Reject | Ending::Silence => line!(info),
    }
}
