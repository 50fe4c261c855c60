//! The thread of the audit: takes what has piled up, chains it, writes it at once, calls `fdatasync` once for all of it, and only then
//! tells those who wait.

use super::files::Chained;
use super::syslog::Syslog;
use super::{Job, State};
use crate::clock;
use crate::durable::{Failing, Say};
use crate::telemetry::metrics::Metrics;
use gateway_core::audit::Entry;
use gateway_core::event::{Event, NodeEvent};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::sync::oneshot;

/// Jobs that one `fdatasync` covers at most.
const GROUP: usize = 8192;
/// With nothing to do it looks at its files this often: one that fails is tried here too.
const IDLE: Duration = Duration::from_secs(1);

/// Starts the thread.
pub(super) fn start(
    files: Chained,
    syslog: Option<Syslog>,
    jobs: Receiver<Job>,
    state: Arc<State>,
    metrics: Arc<Metrics>,
) -> io::Result<JoinHandle<()>> {
    let mut writer = Writer { files, syslog, state, metrics, failing: Failing::default(), unwritten: 0 };
    Builder::new().name(super::files::NAME.to_owned()).spawn(move || writer.run(&jobs))
}

struct Writer {
    files: Chained,
    syslog: Option<Syslog>,
    state: Arc<State>,
    metrics: Arc<Metrics>,
    failing: Failing,
    /// Lines that could not be written, and of which no line tells yet.
    unwritten: u64,
}

impl Writer {
    fn run(&mut self, jobs: &Receiver<Job>) {
        let (mut lines, mut waiting, mut ends) = (Vec::new(), Vec::new(), false);
        while !ends {
            let first = match jobs.recv_timeout(IDLE) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            for job in first.into_iter().chain(jobs.try_iter()).take(GROUP) {
                match job {
                    Job::Line(entry) => lines.push(*entry),
                    Job::Barrier(sender) => waiting.push(sender),
                    Job::End => ends = true,
                }
            }
            self.write(&mut lines, &mut waiting);
        }
    }

    fn write(&mut self, lines: &mut Vec<Entry>, waiting: &mut Vec<oneshot::Sender<bool>>) {
        let now = clock::now();
        self.state.writing_since.store(now.as_micros(), Ordering::Relaxed);
        let told = self.unwritten;
        if told > 0 {
            self.files.gather(&unwritten(told, now));
        }
        lines.iter().for_each(|entry| self.files.gather(entry));
        let (syslog, lost) = (&mut self.syslog, self.metrics.audit.lost.with_label_values(&["syslog"]));
        let written = self.files.commit(now, |line| {
            if syslog.as_mut().is_some_and(|syslog| !syslog.send(line, now)) {
                lost.inc();
            }
        });
        self.state.writing_since.store(0, Ordering::Relaxed);
        self.state.failing.store(written.is_err(), Ordering::Relaxed);
        let meters = &self.metrics.audit;
        match &written {
            Ok(()) => {
                self.unwritten = 0;
                lines.iter().for_each(|entry| meters.lines.with_label_values(&[entry.event()]).inc());
                if !lines.is_empty() {
                    meters.syncs.inc();
                }
            }
            Err(_) => {
                self.unwritten = self.unwritten.saturating_add(lines.len() as u64);
                meters.lost.with_label_values(&["disk"]).inc_by(lines.len() as u64);
                self.state.failures.fetch_add(1, Ordering::Release);
                meters.failures.inc();
            }
        }
        lines.clear();
        for sender in waiting.drain(..) {
            // Whoever does not wait any more sends nothing.
            let _ = sender.send(written.is_ok());
        }
        self.say(&written, now);
    }

    fn say(&mut self, outcome: &io::Result<()>, now: gateway_core::time::Timestamp) {
        let (changed, say) = self.failing.note(outcome.is_err(), now);
        if changed {
            self.metrics.audit.failing.set(outcome.is_err().into());
        }
        match (outcome, say) {
            (Ok(()), Some(Say::WorksAgain)) => tracing::info!("the audit gets to the disk again"),
            (Err(error), Some(Say::Fails)) => tracing::error!(
                %error,
                "the audit does not get to the disk, and nobody is answered: make room in audit.folder, or look at its disk"
            ),
            _ => {}
        }
    }
}

/// The line that tells of lines which are not there.
fn unwritten(lines: u64, now: gateway_core::time::Timestamp) -> Entry {
    Entry::of(&Event::Node(NodeEvent::Unwritten { lines }), now).unwrap_or_else(|| Entry::new(now, "unwritten"))
}
