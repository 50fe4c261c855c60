//! Accounting at the edge: records go from the listeners to one thread for each sink, are made durable there, and are answered
//! when the last sink has them.
//!
//! ```text
//!   listener ── Entry ──► queue ──► writer(file)  ── fdatasync ──┐ last one
//!   listener ── Entry ──► queue ──► writer(spool) ── fdatasync ──┴► sessions, answers ──► listener
//!                                        spool ──► forwarder ──► other server
//!                                  sessions ◄──► sharer ◄──► store ◄──► other nodes
//! ```
//!
//! No arbiter waits for a disk: the queues are bounded, and what finds no place is dropped without an answer.

pub mod entry;
pub mod file;
pub mod forwarder;
pub mod reload;
pub mod sharer;
pub mod spool;
pub mod writer;

use crate::telemetry::metrics::Metrics;
use cluster::Store;
use entry::{Entry, Outcome};
use gateway_core::accounting::record::Status;
use gateway_core::accounting::report::Written;
use gateway_core::accounting::sessions::{Sessions, Taken};
use gateway_core::config::Config;
use gateway_core::identity::Rules;
use gateway_core::time::Timestamp;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use writer::Job;

/// What a node knows of accounting, and where it puts records.
pub struct Accounting {
    sinks: Arc<Mutex<Vec<SyncSender<Job>>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    sessions: Arc<Known>,
    /// The sharer, which ends when this goes.
    sharer: Mutex<Option<(SyncSender<()>, JoinHandle<()>)>>,
}

/// The open sessions, and what they are counted with.
pub struct Known {
    sessions: Mutex<Sessions>,
    rules: Rules,
    metrics: Arc<Metrics>,
}

impl Accounting {
    /// Opens the sinks of `config` and starts their threads. Without a sink there is nothing to start, and no session. Where other
    /// nodes use `store` too, sessions are shared with them.
    ///
    /// # Errors
    ///
    /// A folder cannot be used: which, and what to do.
    pub fn start(
        config: &Arc<Config>,
        store: &Arc<dyn Store>,
        metrics: &Arc<Metrics>,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let limits = &config.limits;
        let mut open = Sessions::new(limits.sessions, config.accounting.session_timeout);
        let rules = Rules::from(&config.identity);
        let mut writers: Vec<(Box<dyn writer::Sink>, gateway_core::accounting::recent::Recent)> = Vec::new();
        let mut threads = Vec::new();
        if let Some(sink) = &config.accounting.file {
            let (file, recent, tail, damaged) =
                file::Files::open(sink.clone(), limits.accounting_records, config.dictionary.clone(), now)?;
            if damaged {
                metrics.accounting.damaged.with_label_values(&["file"]).inc();
            }
            reload::sessions(&tail, &rules, &mut open, now);
            writers.push((Box::new(file), recent));
        }
        if config.accounting.forward.is_some() {
            let (spool, recent, reader) = spool::Spool::open(config.clone(), metrics, now)?;
            writers.push((Box::new(spool), recent));
            threads.push(forwarder::start(config.clone(), reader, metrics.clone())?);
        }
        metrics.accounting.sessions.set(i64::try_from(open.len()).unwrap_or(i64::MAX));
        let known = Arc::new(Known { sessions: Mutex::new(open), rules, metrics: metrics.clone() });
        let mut sinks = Vec::new();
        for (sink, recent) in writers {
            let (sender, receiver) = sync_channel(limits.accounting_queue);
            threads.push(writer::start(sink, recent, receiver, known.clone())?);
            sinks.push(sender);
        }
        let shared = store.is_shared() && !sinks.is_empty();
        let sinks = Arc::new(Mutex::new(sinks));
        let sharer = if shared {
            let (stop, stopped) = sync_channel(0);
            Some((stop, sharer::start(store.clone(), known.clone(), sinks.clone(), stopped)?))
        } else {
            None
        };
        Ok(Self { sinks, threads: Mutex::new(threads), sessions: known, sharer: Mutex::new(sharer) })
    }

    /// What a listener needs to put records into the sinks.
    pub fn intake(&self) -> Intake {
        Intake(self.sinks.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The open sessions.
    pub fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock()
    }

    /// How many sessions the user who is called so has open.
    pub fn count(&self, user_name: &[u8], now: Timestamp) -> usize {
        let Ok(identity) = self.sessions.rules.read(user_name) else { return 0 };
        self.sessions().count(&identity.canonical, now)
    }

    /// Forgets sessions of which nothing was heard for too long.
    pub fn sweep(&self, config: &Config, now: Timestamp) {
        let mut sessions = self.sessions();
        sessions.set_limits(config.limits.sessions, config.accounting.session_timeout);
        sessions.expire(now);
        self.sessions.show(sessions, 0);
    }

    /// Writes what is queued and ends the threads, once the listeners are gone with their intakes.
    pub fn stop(&self) {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let sharer = self.sharer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The writers tell it the last of what they wrote.
        threads.into_iter().for_each(ended);
        if let Some((stop, thread)) = sharer {
            drop(stop);
            ended(thread);
        }
    }
}

fn ended(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of accounting had ended before, by a fault in Orthrus");
    }
}

/// The queues of the sinks.
#[derive(Clone)]
pub struct Intake(Vec<SyncSender<Job>>);

impl Intake {
    /// How many sinks must have a record before it is answered.
    pub fn sinks(&self) -> usize {
        self.0.len()
    }

    /// Puts the record into every queue. Where one is full the record will not be answered, whatever the others do with it.
    ///
    /// # Errors
    ///
    /// A queue was full, or its thread is gone.
    pub fn put(&self, entry: &Arc<Entry>) -> Result<(), QueueFull> {
        let mut outcome = Ok(());
        for sink in &self.0 {
            if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = sink.try_send(Job::Write(entry.clone()))
            {
                outcome = Err(QueueFull);
            }
        }
        outcome
    }
}

/// A queue has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

impl Known {
    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// These records are durable everywhere: what they say of sessions is known from now on.
    pub fn learn(&self, entries: &[Arc<Entry>]) {
        let mut sessions = self.lock();
        let mut full = 0;
        for entry in entries.iter().filter(|entry| entry.outcome() == Outcome::Written) {
            let Some(record) = entry.record() else { continue };
            let (client, nas, now) = (&entry.client.name, entry.peer.ip(), entry.received);
            let at = if record.impossible.is_some() { now } else { record.at };
            let written = Some(Written { id: record.id, octets: record.octets, received: now });
            match record.status {
                Status::Start | Status::Interim => {
                    let session = record.session(client, nas, &self.rules, now);
                    full += u64::from(sessions.report(session, written) == Taken::Full);
                }
                Status::Stop => drop(sessions.stop(client, record.acct_session_id, at, now, written)),
                Status::On | Status::Off => {
                    let nas_ip = gateway_core::accounting::record::nas_ip(&record.packet);
                    let identifier = record.packet.first(gateway_core::radius::attribute::NAS_IDENTIFIER);
                    sessions.restart(client, nas, nas_ip, identifier, at, now);
                }
                Status::Other(_) => {}
            }
        }
        self.show(sessions, full);
    }

    /// Shows how many sessions are open, and that `full` found no place.
    fn show(&self, sessions: MutexGuard<'_, Sessions>, full: u64) {
        let open = i64::try_from(sessions.len()).unwrap_or(i64::MAX);
        drop(sessions);
        self.metrics.accounting.sessions.set(open);
        if full > 0 {
            self.metrics.limit_hits.with_label_values(&["sessions"]).inc_by(full);
        }
    }
}
