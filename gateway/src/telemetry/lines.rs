//! Lines of the log on their way to standard error: a bounded queue and a thread that writes, so that a slow terminal or pipe never
//! holds up a sign-in. Lines that find no place are lost, counted, and told of as soon as the writer has caught up.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::Builder;
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for the writer. Beyond it lines are lost rather than sign-ins held up.
const WAITING: usize = 32_768;
/// How long the end of the process waits for what is still queued.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Lines of the log that this process has lost.
static LOST: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// On the thread that writes: a line of its own goes out at once.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// How many lines of the log this process has lost.
pub fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

enum Job {
    Line(Box<[u8]>),
    End,
}

/// Where the log's layer writes lines to.
#[derive(Clone)]
pub struct Lines(SyncSender<Job>);

/// Writes what is queued when it is dropped, for a moment at most.
pub struct Guard {
    lines: Lines,
    closing: Arc<AtomicBool>,
    ended: Receiver<()>,
}

/// Starts the thread that writes to standard error.
///
/// # Errors
///
/// The system has no thread for it.
pub fn start() -> io::Result<(Lines, Guard)> {
    let (sender, queue) = sync_channel(WAITING);
    let (end, ended) = sync_channel(1);
    let closing = Arc::new(AtomicBool::new(false));
    let lines = Lines(sender);
    let guard = Guard { lines: lines.clone(), closing: closing.clone(), ended };
    Builder::new().name("log".to_owned()).spawn(move || {
        WRITES.set(true);
        run(&queue, &closing);
        let _ = end.try_send(());
    })?;
    Ok((lines, guard))
}

fn run(queue: &Receiver<Job>, closing: &AtomicBool) {
    let mut told = 0;
    let mut next = queue.recv().ok();
    while let Some(job) = next {
        if let Job::Line(line) = job {
            write(&line);
        }
        next = queue.try_recv().ok();
        if next.is_some() {
            continue;
        }
        // Caught up: whoever reads has read all the lines before those that were lost, or will.
        let lost = lost();
        if lost > told {
            tell(lost - told);
            told = lost;
        }
        if closing.load(Ordering::Acquire) {
            return;
        }
        next = queue.recv().ok();
    }
}

/// Written by this very thread, so that it is not lost too.
fn tell(lost: u64) {
    tracing::error!(
        lost,
        "{lost} lines of the log were lost: standard error is read too slowly. Have it read faster, write it to a file, or raise \
         telemetry.log_level; [audit] loses nothing"
    );
}

/// Nobody can be told that standard error is gone.
fn write(line: &[u8]) {
    let mut out = io::stderr().lock();
    let _ = out.write_all(line).and_then(|()| out.flush());
}

impl Write for &Lines {
    /// Takes one whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if WRITES.get() {
            write(line);
        } else if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            self.0.try_send(Job::Line(line.into()))
        {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Lines;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        // A full queue wakes the thread without it.
        let _ = self.lines.0.try_send(Job::End);
        let _ = self.ended.recv_timeout(LAST_LINES);
    }
}
