//! The runtime for everything that goes out over HTTPS: threads of its own, so that a connection is driven whatever an arbiter
//! is busy with, and so that one pool of connections serves all of them. Arbiters only wait for an answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument;

/// Waiting takes no CPU, and the CPU of a call is small beside that of its TLS.
const THREADS: usize = 2;

/// Names are looked up on these.
const NAMES: usize = 16;

/// The runtime, built when it is first needed.
#[derive(Clone, Default)]
pub struct Outside(Arc<OnceLock<Owned>>);

struct Owned(Option<Runtime>);

impl Drop for Owned {
    fn drop(&mut self) {
        // Dropping it would wait for its threads, which an arbiter must not.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Outside {
    /// Where to spawn.
    ///
    /// # Errors
    ///
    /// The system gives no threads.
    pub fn handle(&self) -> std::io::Result<Handle> {
        if let Some(handle) = self.0.get().and_then(|owned| owned.0.as_ref()).map(Runtime::handle) {
            return Ok(handle.clone());
        }
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).max_blocking_threads(NAMES).thread_name("outside").enable_all();
        let runtime = cluster::threads::warmed(&mut builder)?;
        let handle = runtime.handle().clone();
        match self.0.set(Owned(Some(runtime))) {
            Ok(()) => Ok(handle),
            // Somebody else was faster; the one built here ends with its owner.
            Err(_) => self.handle(),
        }
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outside")
    }
}

/// A task there; dropping this gives it up.
pub struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    /// Begins `work` on `handle`, within the span that is current.
    pub fn begin(handle: &Handle, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(handle.spawn(work.in_current_span()))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
