//! Tells the other nodes what this one hears of sessions, and hears what they tell, so that `max_sessions` counts those of all
//! nodes and any node can end a session. Nobody waits for it: a sign-in looks at what this node has heard so far.

use super::Known;
use super::writer::Job;
use cluster::{Heard, Since, Store, StoreError, Telling};
use gateway_core::accounting::report::Written;
use gateway_core::accounting::sessions::Taken;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How often it is told and heard.
const EVERY: Duration = Duration::from_millis(500);
/// After a store that did not take it.
const AFTER_FAILURE: Duration = Duration::from_secs(3);
/// Reports that are told at a time.
const MOST_TOLD: usize = 256;
/// A NAS repeats a record within this time. Older ones, of which a node hears many when it starts, would only take the place of others.
const REPEATED_WITHIN: Duration = Duration::from_secs(600);
/// For each session that may be open, as many ends are kept in the store.
const ENDS: usize = 2;

/// Starts the thread; it ends when `stop` does, after it has told the rest.
///
/// # Errors
///
/// The system has no thread for it.
pub fn start(
    store: Arc<dyn Store>,
    known: Arc<Known>,
    sinks: Arc<Mutex<Vec<SyncSender<Job>>>>,
    stop: Receiver<()>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Builder::new().name("accounting-sharer".to_owned()).spawn(move || {
        known.lock().share();
        let since = Since::default();
        let mut sharer = Sharer { store, known, sinks, since, life: String::new(), behind: false, failovers: 0 };
        let mut wait = EVERY;
        loop {
            let stopping = stop.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
            wait = if runtime.block_on(sharer.round()).is_ok() { EVERY } else { AFTER_FAILURE };
            if stopping {
                return;
            }
        }
    })
}

struct Sharer {
    store: Arc<dyn Store>,
    known: Arc<Known>,
    /// None once the node stops.
    sinks: Arc<Mutex<Vec<SyncSender<Job>>>>,
    since: Since,
    /// Of the store; empty while there is nothing in it.
    life: String,
    /// What was told may be lost with a primary, and the times of what is to be heard may have gone back.
    behind: bool,
    /// Those of the store that are seen to.
    failovers: u64,
}

impl Sharer {
    /// Tells and hears all that there is.
    async fn round(&mut self) -> Result<(), StoreError> {
        let failovers = self.store.stats().map_or(0, |stats| stats.failovers.get());
        self.behind |= std::mem::replace(&mut self.failovers, failovers) != failovers;
        loop {
            if self.behind {
                self.since = Since::default();
            }
            // Nothing is taken from what is untold before a store answers that may have been lost.
            let most = if self.behind { 0 } else { MOST_TOLD };
            let telling = self.telling(most);
            let all = telling.reports.len() < MOST_TOLD;
            let Some(asked) = self.store.share_sessions(telling) else { return Ok(()) };
            let heard = match asked.await {
                Ok(heard) => heard,
                Err(error) => {
                    self.behind = true;
                    return Err(error);
                }
            };
            let done = all && !heard.more && !self.behind;
            self.hear(heard);
            if std::mem::take(&mut self.behind) {
                self.known.lock().share();
            }
            if done {
                return Ok(());
            }
        }
    }

    fn telling(&self, most: usize) -> Telling {
        let mut sessions = self.known.lock();
        let reports = sessions.untold(most);
        let (lives, most) = (sessions.timeout(), sessions.limit().saturating_mul(1 + ENDS));
        Telling { reports, since: self.since.clone(), lives, most }
    }

    fn hear(&mut self, heard: Heard) {
        let Heard { reports, since, life, .. } = heard;
        self.since = since;
        let now = crate::clock::now();
        let mut sessions = self.known.lock();
        let (mut news, mut full) = (0, 0);
        let lately = |record: &Written| now.since(record.received) < REPEATED_WITHIN;
        let written: Arc<[Written]> = reports.iter().filter_map(|report| report.record).filter(lately).collect();
        for report in reports {
            match sessions.hear(report, now) {
                Taken::Opened | Taken::Renewed => news += 1,
                Taken::Late => {}
                Taken::Full => full += 1,
            }
        }
        if !self.life.is_empty() && self.life != life {
            // The store was emptied: every node brings what it knows.
            self.since = Since::default();
            sessions.share();
        }
        self.life = life;
        self.known.show(sessions, full);
        self.known.metrics().accounting.sessions_heard.inc_by(news);
        if !written.is_empty() {
            // A sink with a full queue writes a repeat a second time, and that is all.
            let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
            sinks.iter().for_each(|sink| drop(sink.try_send(Job::Elsewhere(written.clone()))));
        }
    }
}
