//! The thread of one sink: takes what has piled up, writes it at once, calls `fdatasync` once for all of it, and only then
//! lets any of it be answered.
//!
//! Records that the sink has already are not written again, but they are answered behind the same call: what they repeat may
//! be in this very group.

use super::Known;
use super::entry::{Answers, Entry, Outcome};
use crate::clock;
use crate::durable::{Failing, Say};
use gateway_core::accounting::recent::Recent;
use gateway_core::accounting::record::Record;
use gateway_core::accounting::report::Written;
use gateway_core::time::Timestamp;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Records that one `fdatasync` covers at most.
const GROUP: usize = 4096;
/// A sink with nothing to do looks at its files this often.
const IDLE: Duration = Duration::from_secs(1);

/// What the thread of a sink is told.
pub enum Job {
    /// Write this.
    Write(Arc<Entry>),
    /// Other nodes have written these: they need not be written here too.
    Elsewhere(Arc<[Written]>),
}

/// Where records go.
pub trait Sink: Send {
    /// Its name in metrics and the log.
    fn name(&self) -> &'static str;

    /// Appends a record to the group that is being gathered, in memory.
    fn gather(&mut self, entry: &Entry, record: &Record<'_>);

    /// Makes the group durable, or leaves nothing of it behind. Gathering begins anew either way.
    ///
    /// # Errors
    ///
    /// Nothing of the group may be answered.
    fn commit(&mut self, now: Timestamp) -> io::Result<()>;

    /// Makes durable what it can while nothing is to be written: a sink that fails is tried here too.
    ///
    /// # Errors
    ///
    /// It still fails.
    fn rest(&mut self, now: Timestamp) -> io::Result<()>;
}

/// Starts the thread.
///
/// # Errors
///
/// The system has no thread for it.
pub fn start(
    sink: Box<dyn Sink>,
    recent: Recent,
    queue: Receiver<Job>,
    known: Arc<Known>,
) -> io::Result<JoinHandle<()>> {
    let name = format!("accounting-{}", sink.name());
    let mut writer = Writer { sink, recent, known, failing: Failing::default() };
    Builder::new().name(name).spawn(move || writer.run(&queue))
}

struct Writer {
    sink: Box<dyn Sink>,
    recent: Recent,
    known: Arc<Known>,
    failing: Failing,
}

impl Writer {
    fn run(&mut self, queue: &Receiver<Job>) {
        let mut group: Vec<(Arc<Entry>, bool)> = Vec::new();
        loop {
            let first = match queue.recv_timeout(IDLE) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    let rested = self.sink.rest(clock::now());
                    self.say(&rested, clock::now());
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            for job in std::iter::once(first).chain(queue.try_iter()).take(GROUP) {
                match job {
                    Job::Write(entry) => group.push((entry, false)),
                    Job::Elsewhere(written) => self.remember(&written),
                }
            }
            if !group.is_empty() {
                self.write(&mut group, clock::now());
                group.clear();
            }
        }
    }

    fn remember(&mut self, written: &[Written]) {
        let forgotten = written.iter().filter(|one| self.recent.add(one.id, one.octets, one.received)).count();
        self.forgot(forgotten as u64);
    }

    fn forgot(&self, records: u64) {
        if records > 0 {
            self.known.metrics().limit_hits.with_label_values(&["accounting_records"]).inc_by(records);
        }
    }

    fn write(&mut self, group: &mut [(Arc<Entry>, bool)], now: Timestamp) {
        let mut forgotten = 0;
        for (entry, new) in group.iter_mut() {
            let Some(record) = entry.record() else { continue };
            *new = !self.recent.knows(&record, now);
            if *new {
                forgotten += u64::from(self.recent.add(record.id, record.octets, now));
                self.sink.gather(entry, &record);
            }
        }
        self.forgot(forgotten);
        let metrics = self.known.metrics();
        let written = self.sink.commit(now);
        metrics.accounting.syncs.with_label_values(&[self.sink.name()]).inc();
        match &written {
            Ok(()) => self.answer(group),
            Err(_) => {
                metrics.accounting.failures.with_label_values(&[self.sink.name()]).inc();
                for (entry, _) in group.iter().filter(|(_, new)| *new) {
                    let Some(record) = entry.record() else { continue };
                    self.recent.remove(record.id, record.octets);
                }
                for (entry, _) in group.iter() {
                    let reason = gateway_core::reason::Reason::AccountingNotWritten;
                    metrics.dropped.with_label_values(&[&entry.client.name, reason.label()]).inc();
                }
            }
        }
        self.say(&written, now);
    }

    fn answer(&self, group: &[(Arc<Entry>, bool)]) {
        let last = group.iter().filter(|(entry, new)| entry.durable(*new)).map(|(entry, _)| entry.clone());
        let done: Vec<Arc<Entry>> = last.collect();
        if done.is_empty() {
            return;
        }
        self.known.learn(&done);
        let meters = &self.known.metrics().accounting;
        let mut listeners: Vec<&Arc<Answers>> = Vec::new();
        for entry in &done {
            let client = &*entry.client.name;
            let (status, impossible) = entry.told();
            match entry.outcome() {
                Outcome::Written => meters.records.with_label_values(&[client, status.label()]).inc(),
                Outcome::Duplicate => meters.duplicates.with_label_values(&[client]).inc(),
            }
            if let Some(impossible) = impossible {
                meters.impossible_times.with_label_values(&[client, impossible.label()]).inc();
            }
            if let Some(answers) = entry.answer()
                && !listeners.iter().any(|known| Arc::ptr_eq(known, answers))
            {
                listeners.push(answers);
            }
        }
        listeners.into_iter().for_each(|answers| answers.wake());
    }

    /// Says that the sink fails, once a minute at most, and that it works again.
    fn say(&mut self, outcome: &io::Result<()>, now: Timestamp) {
        let (changed, say) = self.failing.note(outcome.is_err(), now);
        if changed {
            let gauge = self.known.metrics().accounting.failing.with_label_values(&[self.sink.name()]);
            gauge.set(outcome.is_err().into());
        }
        match (outcome, say) {
            (Ok(()), Some(Say::WorksAgain)) => {
                tracing::info!(sink = self.sink.name(), "accounting records get to the disk again");
            }
            (Err(error), Some(Say::Fails)) => {
                tracing::error!(
                    sink = self.sink.name(), %error,
                    "accounting records do not get to the disk, and none is answered: make room, or look at the disk"
                );
            }
            _ => {}
        }
    }
}
