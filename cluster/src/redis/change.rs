//! One exchange of records: run the transition on the copy, put the result in place if the store still holds what the copy was
//! taken from, and otherwise run it again on what the store holds.

use super::lane::{Known, Lane};
use super::link::Link;
use super::memory::{self, Memory};
use super::scripts::EXCHANGE;
use super::settings::WhenLost;
use super::{clock, no_rules};
use crate::StoreError;
use crate::keys::{USER_OUTLIVES, UserName};
use crate::sealed::{HEADER, Header, Unopened};
use gateway_core::attempt::records::Records;
use gateway_core::attempt::transition::{Change, Transition, Unanswered};
use gateway_core::time::Timestamp;
use redis::{Pipeline, RedisError, Value, cmd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Before a question is asked again.
const PAUSE: Duration = Duration::from_millis(10);

/// What one exchange of records is about.
#[derive(Clone, Copy, Default)]
pub(super) struct Terms {
    pub(super) now: Option<Timestamp>,
    /// A person would be disturbed.
    pub(super) prompts: bool,
    /// It records a code.
    pub(super) proves: bool,
    /// The write is to count as later than this one.
    pub(super) after: u64,
}

/// What else is to happen to what a step wrote.
#[derive(Clone, Copy, Default)]
pub(super) struct Then {
    /// Whoever waits for the user is told.
    pub(super) told: bool,
    /// Where there are replicas, one is to have it before it is believed, and the primary is to be the one that is known. So it is
    /// written also where nothing was changed: what was read may be another node's write that no replica has.
    pub(super) lasts: bool,
}

/// The same records, once more.
fn same(_: &mut Records, _: Timestamp) -> ((), Then) {
    ((), Then { told: false, lasts: true })
}

/// What is to be sent, and what holds if it is taken.
struct Prepared<T> {
    pipeline: Pipeline,
    /// A replica is asked whether it has it.
    acknowledged: bool,
    /// Names the write, if it is one.
    identity: Option<[u8; HEADER]>,
    next: Known,
    outcome: T,
    unanswered: Vec<Unanswered>,
}

/// What the script made of it.
enum Exchanged {
    Done,
    Other(Option<Vec<u8>>),
    Memory,
    Huge,
}

impl Lane {
    /// The records to run on, with what the store knows beside them.
    fn base(
        &self,
        name: &UserName,
        user: &Arc<str>,
        now: Timestamp,
        memory: Option<&memory::Body>,
    ) -> (Known, Records) {
        let copy = self.copies.borrow().get(name).cloned().unwrap_or_else(|| Known {
            identity: None,
            head: Header { serial: 0, epoch: 0, expires: Timestamp::default() },
            records: Records::default(),
            user: user.clone(),
            used: Instant::now(),
            dirty: false,
        });
        let mut records = copy.records.clone();
        // Without the store nothing is known of codes.
        records.used_since = memory.map_or(now, |memory| memory.since);
        records.counters_since = memory.map_or(now, |memory| memory.counters_since);
        // An epoch that was given before the record was forgotten must not come again.
        records.epoch_floor = if copy.identity.is_some() { copy.head.epoch } else { now.as_micros() };
        for code in self.shared.counters_of(user) {
            records.remember(user, code);
        }
        (copy, records)
    }

    /// Runs `step` on the records and puts the result in place, again where somebody else has written meanwhile. `step` may so
    /// run more than once, each time on records as they were; it says what else is to happen.
    pub(super) async fn change<T: Clone>(
        self: &Rc<Self>,
        name: &UserName,
        user: &Arc<str>,
        terms: Terms,
        step: impl Fn(&mut Records, Timestamp) -> (T, Then),
    ) -> Result<T, StoreError> {
        let shared = self.shared.clone();
        let patience = Instant::now() + shared.settings.timeout * 2;
        let key = shared.keys.user(name);
        let mut by_digest = true;
        // Writes of ours whose fate is unknown: one of them may be what the store shows next.
        let mut unknown: Vec<([u8; HEADER], Known, T, bool)> = Vec::new();
        loop {
            let Some(mut link) = self.link_until(patience).await else {
                self.lose("it does not answer");
                return Err(StoreError::Unavailable);
            };
            let Some(memory) = self.memory(name.group) else {
                self.refresh(&mut link, name.group).await?;
                continue;
            };
            let Prepared { pipeline, acknowledged, identity, next, outcome, unanswered } =
                self.prepare(name, user, terms, &memory, by_digest, &step)?;
            let asked = clock();
            let answers = match link.run(&key, pipeline).await {
                Ok(answers) => answers,
                Err(error) => {
                    unknown.extend(identity.map(|identity| (identity, next, outcome, acknowledged)));
                    self.failed(&error);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            self.answered();
            let mut answers = answers.into_iter();
            let exchanged = match self.exchanged(answers.next().unwrap_or_default(), asked) {
                Ok(exchanged) => exchanged,
                Err(error) => {
                    by_digest = self.may_try_again(&error, Instant::now() >= patience)?;
                    continue;
                }
            };
            match exchanged {
                Exchanged::Done => {
                    self.keep(name, next);
                    shared.tell_unanswered(unanswered);
                    self.abandoned.borrow_mut().remove(name);
                    if acknowledged && let Err(error) = self.acknowledged(&mut link, name, answers, &memory).await {
                        let alone = self.lost.get() && shared.settings.when_lost == WhenLost::Local;
                        if !alone || terms.proves {
                            return Err(error);
                        }
                        // The primary has it, and this node goes on alone: whoever comes next is told of it.
                        self.copies.borrow_mut().entry(name.clone()).and_modify(|known| known.dirty = true);
                        shared.stats.alone.inc();
                    }
                    return Ok(outcome);
                }
                Exchanged::Other(value) => {
                    let header = value.as_deref().and_then(|value| value.first_chunk::<HEADER>().copied());
                    if let Some(at) = unknown.iter().position(|(identity, ..)| Some(*identity) == header) {
                        let (_, known, outcome, lasts) = unknown.swap_remove(at);
                        self.keep(name, known);
                        if lasts {
                            // It stands there; whether a replica has it, only a write on this connection tells.
                            Box::pin(self.change(name, user, terms, same)).await?;
                        }
                        return Ok(outcome);
                    }
                    shared.stats.conflicts.inc();
                    let found = shared.open(&key, user, value.as_deref())?;
                    if self.is_older(name, &found) {
                        // A fail-over that was not noticed yet, or somebody put an old value back.
                        self.refresh(&mut link, name.group).await?;
                        if self.memory(name.group).is_some_and(|now| now.value == memory.value) {
                            return Err(shared.count(Unopened::Tampered));
                        }
                        Box::pin(self.reassert(name, user)).await;
                        return Err(StoreError::Settling);
                    }
                    self.keep(name, found);
                }
                Exchanged::Memory => {
                    self.refresh(&mut link, name.group).await?;
                    Box::pin(self.reassert(name, user)).await;
                    if terms.prompts {
                        return Err(StoreError::Settling);
                    }
                }
                Exchanged::Huge => {
                    shared.stats.tampered.inc();
                    return Err(StoreError::Tampered);
                }
            }
            if Instant::now() >= patience {
                return Err(StoreError::Unavailable);
            }
        }
    }

    /// Whether what was found is an earlier write than the one that this node has seen. One that was made anew, after the old one
    /// was forgotten, has a higher epoch.
    fn is_older(&self, name: &UserName, found: &Known) -> bool {
        self.copies.borrow().get(name).is_some_and(|seen| {
            let both = found.identity.is_some() && seen.identity.is_some() && !seen.dirty;
            both && found.head.precedes(&seen.head)
        })
    }

    /// Runs the step on the copy, and writes down what to send.
    fn prepare<T>(
        &self,
        name: &UserName,
        user: &Arc<str>,
        terms: Terms,
        memory: &Memory,
        by_digest: bool,
        step: &impl Fn(&mut Records, Timestamp) -> (T, Then),
    ) -> Result<Prepared<T>, StoreError> {
        let shared = &self.shared;
        let window = shared.settings.wrong_codes_window;
        let now = self.store_now(terms.now);
        let (known, mut records) = self.base(name, user, now, Some(&memory.body));
        let unanswered = records.sweep(now, window);
        self.abandon(name, &mut records, now);
        let (outcome, then) = step(&mut records, now);
        let acknowledged = then.lasts && shared.settings.mode.has_replicas();
        let floor = std::mem::take(&mut records.epoch_floor);
        (records.used_since, records.counters_since) = (Timestamp::default(), Timestamp::default());
        let lasts = records.lasts_until(window);
        let head = Header {
            serial: known.head.serial.max(terms.after).saturating_add(1),
            epoch: known.head.epoch.max(floor).max(records.highest_epoch()),
            expires: lasts.unwrap_or_default(),
        };
        let key = shared.keys.user(name);
        let (what, value) = if records == known.records && !acknowledged {
            ("read", Vec::new())
        } else if records.is_empty() {
            ("delete", Vec::new())
        } else {
            ("write", shared.seal(&key, head, &records)?)
        };
        let lifetime = lasts.map_or(0, |until| (until.since(now) + USER_OUTLIVES).as_millis());
        let mut call = EXCHANGE.call(by_digest, &[&key, &shared.keys.memory(name.group)]);
        call.arg(&memory.value).arg(known.identity.as_ref().map_or(&[][..], |identity| identity));
        call.arg(what).arg(&value).arg(lifetime.to_string());
        call.arg(if then.told { shared.keys.channel(name) } else { String::new() });
        let mut pipeline = Pipeline::new();
        pipeline.add_command(call);
        if acknowledged {
            let wait = shared.settings.timeout.as_millis() / 2;
            pipeline.add_command(cmd("WAIT").arg(1).arg(wait.to_string()).to_owned());
            pipeline.add_command(cmd("INFO").arg("replication").to_owned());
        }
        let identity = value.first_chunk().copied();
        let used = Instant::now();
        let next = match what {
            "read" => Known { used, ..known },
            _ => Known { identity, head, records, used, dirty: false, ..known },
        };
        shared.stats.round_trips.inc();
        Ok(Prepared { pipeline, acknowledged, identity, next, outcome, unanswered })
    }

    /// A claim of which nobody knows whether it stands in the store, and that nobody goes on with, must not keep the user from
    /// signing in.
    fn abandon(&self, name: &UserName, records: &mut Records, now: Timestamp) {
        for (key, id) in self.abandoned.borrow().get(name).into_iter().flatten() {
            let Some(epoch) = records.attempts.get(key).filter(|attempt| attempt.id == *id).map(|found| found.epoch)
            else {
                continue;
            };
            let (change, rules) = (Change::Abandon { epoch }, Arc::new(no_rules()));
            Transition { key: key.clone(), change, rules }.apply(records, now);
        }
    }

    /// What is to be done about an error that the store answered; whether the script is known to it by name.
    fn may_try_again(self: &Rc<Self>, error: &RedisError, late: bool) -> Result<bool, StoreError> {
        use redis::{ErrorKind::Server, ServerErrorKind};
        if error.kind() == Server(ServerErrorKind::NoScript) {
            return Ok(false);
        }
        self.shared.stats.errors.inc();
        if error.code() == Some("WRONGTYPE") {
            self.shared.stats.tampered.inc();
            return Err(StoreError::Tampered);
        }
        let moved = matches!(
            error.kind(),
            Server(
                ServerErrorKind::Moved
                    | ServerErrorKind::Ask
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
            )
        );
        if late || !moved {
            self.lose(&error.to_string());
            return Err(StoreError::Unavailable);
        }
        // The connection leads to a server that is no primary (any more).
        self.broken(&error.to_string());
        Ok(true)
    }

    /// Whether a replica has it, and the primary is the one whose memory is known: otherwise it is not to be believed.
    async fn acknowledged(
        self: &Rc<Self>,
        link: &mut Link,
        name: &UserName,
        mut answers: impl Iterator<Item = Value>,
        memory: &Memory,
    ) -> Result<(), StoreError> {
        let acks: i64 = answers.next().and_then(|acks| redis::from_redis_value(acks).ok()).unwrap_or(0);
        if acks < 1 {
            self.shared.stats.unacknowledged.inc();
            self.lose("no replica acknowledges what is written: look at the replicas");
            return Err(StoreError::Unavailable);
        }
        let primary = answers.next().map(memory::primary);
        if matches!(primary, Some(Ok(primary)) if primary == memory.body.primary) {
            return Ok(());
        }
        // Another primary: who knows what went down with the old one.
        self.refresh(link, name.group).await?;
        Err(StoreError::Settling)
    }

    fn exchanged(&self, answer: Value, asked: Timestamp) -> Result<Exchanged, RedisError> {
        type Answer = (i64, u64, u64, Option<Vec<u8>>);
        let (status, seconds, micros, value): Answer = redis::from_redis_value(answer.extract_error()?)?;
        let time = Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros));
        self.shared.learn_time(time, asked, clock());
        Ok(match status {
            0 => Exchanged::Done,
            1 => Exchanged::Other(value),
            2 => Exchanged::Memory,
            _ => Exchanged::Huge,
        })
    }

    /// The transition by this node alone: on its copy, which the store will be told of when it is back.
    pub(super) fn alone<T>(
        &self,
        name: &UserName,
        user: &Arc<str>,
        given: Option<Timestamp>,
        step: impl Fn(&mut Records, Timestamp) -> (T, Then),
    ) -> T {
        self.shared.stats.alone.inc();
        let now = self.store_now(given);
        let (copy, mut records) = self.base(name, user, now, None);
        let unanswered = records.sweep(now, self.shared.settings.wrong_codes_window);
        let (outcome, _) = step(&mut records, now);
        records.epoch_floor = 0;
        (records.used_since, records.counters_since) = (Timestamp::default(), Timestamp::default());
        self.shared.tell_unanswered(unanswered);
        self.keep(name, Known { records, dirty: true, used: Instant::now(), ..copy });
        self.shared.notify(&self.shared.keys.channel(name));
        outcome
    }

    pub(super) fn keep(&self, name: &UserName, copy: Known) {
        let mut copies = self.copies.borrow_mut();
        let before = copies.len();
        if copy.identity.is_none() && !copy.dirty {
            copies.remove(name);
        } else {
            copies.insert(name.clone(), copy);
        }
        let (held, after) = (&self.shared.held, copies.len());
        if after > before {
            held.fetch_add(1, Ordering::Relaxed)
        } else {
            held.fetch_sub(before - after, Ordering::Relaxed)
        };
    }
}
