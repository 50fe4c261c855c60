//! The audit at the edge: lines go into one bounded queue, one thread chains them, makes them durable in groups, and only then lets
//! whatever they tell of be answered.
//!
//! ```text
//!   observer ── Entry ────► queue ──► writer ── chain, write, fdatasync ──► head in state_dir, syslog
//!   exchange ── Barrier ──►                └──────► reply
//! ```
//!
//! What finds no place in the queue, or cannot be written, is not answered: the NAS hears nothing, and the node is not ready.

pub mod files;
mod syslog;
mod writer;

use crate::clock;
use crate::telemetry::metrics::Metrics;
use anyhow::Context;
use gateway_core::audit::Entry;
use gateway_core::config::Config;
use gateway_core::event::{Event, NodeEvent};
use gateway_core::time::Timestamp;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// A write that takes longer is a disk that stands still.
const STANDS_STILL: Duration = Duration::from_secs(5);

/// What the writer is told.
enum Job {
    /// Write this.
    Line(Box<Entry>),
    /// Say whether everything before is durable.
    Barrier(oneshot::Sender<bool>),
    /// Write what is before, and end.
    End,
}

/// The audit of a node, where one is configured.
#[derive(Default)]
pub struct Audit(Option<Inner>);

struct Inner {
    queue: SyncSender<Job>,
    thread: Mutex<Option<JoinHandle<()>>>,
    state: Arc<State>,
    metrics: Arc<Metrics>,
}

/// How the writer is.
#[derive(Default)]
struct State {
    /// The last write failed.
    failing: AtomicBool,
    /// Writes that failed.
    failures: AtomicU64,
    /// When the write that is under way began, in microseconds; 0: none is.
    writing_since: AtomicU64,
}

impl Audit {
    /// Opens the files of `config` and starts the thread; without `[audit]` there is nothing to do.
    ///
    /// # Errors
    ///
    /// The folder or the key cannot be used: which, and what to do.
    pub fn start(config: &Config, metrics: &Arc<Metrics>, now: Timestamp) -> anyhow::Result<Self> {
        let Some(audit) = &config.audit else { return Ok(Self(None)) };
        let keys = files::keys(config, true)?;
        let (files, cut) = files::Chained::open(audit, config, &keys, now)?;
        let syslog = audit.syslog.as_ref().map(|path| syslog::Syslog::new(path.clone(), &config.cluster.node_id));
        let state = Arc::new(State::default());
        let (queue, jobs) = sync_channel(config.limits.audit_queue);
        let thread =
            writer::start(files, syslog, jobs, state.clone(), metrics.clone()).context("no thread for the audit")?;
        let inner = Inner { queue, thread: Mutex::new(Some(thread)), state, metrics: metrics.clone() };
        let started = Self(Some(inner));
        if let Some((from, to)) = cut {
            started.tell(&Event::Node(NodeEvent::Cut { from, to }), now);
        }
        Ok(started)
    }

    /// Whether there is one.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Puts the line of an event into the queue. `false`: it found no place, so that nothing that it tells of may be answered.
    pub fn tell(&self, event: &Event, now: Timestamp) -> bool {
        let Some(inner) = &self.0 else { return true };
        let Some(entry) = Entry::of(event, now) else { return true };
        let put = inner.queue.try_send(Job::Line(Box::new(entry))).is_ok();
        if !put {
            inner.metrics.audit.lost.with_label_values(&["queue"]).inc();
            inner.metrics.limit_hits.with_label_values(&["audit_queue"]).inc();
        }
        put
    }

    /// How many writes have failed so far.
    pub fn failures(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.state.failures.load(Ordering::Acquire))
    }

    /// Waits until everything is durable that this thread has told since it saw `failures`; `None` where there is no audit, `false`
    /// where it is not durable.
    pub fn durable(&self, failures: u64) -> Option<impl Future<Output = bool> + use<>> {
        let inner = self.0.as_ref()?;
        let (sender, receiver) = oneshot::channel();
        let put = inner.queue.try_send(Job::Barrier(sender)).is_ok();
        let state = inner.state.clone();
        // A group before may have failed with a line of it, and this one not.
        let whole = move || state.failures.load(Ordering::Acquire) == failures;
        Some(async move { put && receiver.await.unwrap_or(false) && whole() })
    }

    /// What is wrong with it: `None` where there is no audit.
    pub fn trouble(&self) -> Option<Result<(), &'static str>> {
        let state = &self.0.as_ref()?.state;
        let since = state.writing_since.load(Ordering::Relaxed);
        let stands_still = since > 0 && clock::now().since(Timestamp::from_micros(since)) > STANDS_STILL;
        Some(if state.failing.load(Ordering::Relaxed) {
            Err("the audit cannot be written, and nobody is answered: make room in audit.folder, or look at its disk")
        } else if stands_still {
            Err("a write of the audit takes longer than 5 s, and nobody is answered: look at the disk of audit.folder")
        } else {
            Ok(())
        })
    }

    /// Writes what is queued and ends the thread.
    pub fn stop(&self) {
        let Some(inner) = &self.0 else { return };
        let Some(thread) = inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if inner.queue.send(Job::End).is_err() || thread.join().is_err() {
            tracing::error!("the thread of the audit had ended before, by a fault in Orthrus");
        }
    }
}
