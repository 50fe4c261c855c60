//! The connections to one host. Over HTTP/2 many questions share one connection, up to `streams_per_connection` and what the
//! server allows: beyond that they would queue inside the library, unseen, behind people who look for their phones. So each question
//! takes a stream of the connection with the fewest, and another connection is opened when all are full. Over HTTP/1.1 each
//! question has a connection to itself.

use super::connect::{Body, Connected, Connector};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A connection that nobody used for so long is closed: firewalls forget them without a word, and what is then sent is lost.
const IDLE: Duration = Duration::from_secs(30);

/// HTTP/1.1 connections that are kept for the next question.
const KEPT: usize = 64;

/// Connections that are being opened at once.
const OPENING: usize = 32;

/// The connections to one host.
pub(super) struct Pool {
    host: String,
    connector: Arc<Connector>,
    streams: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    two: Vec<Arc<Shared>>,
    one: Vec<(http1::SendRequest<Body>, Instant)>,
    /// Questions that one new connection serves; `None` before the first is there.
    serves: Option<usize>,
    opening: usize,
    waiting: usize,
    failures: u64,
    failure: Arc<str>,
}

/// An HTTP/2 connection.
struct Shared {
    sender: http2::SendRequest<Body>,
    allowed: Arc<AtomicUsize>,
    open: AtomicUsize,
    used: Mutex<Instant>,
}

impl Shared {
    fn is_full(&self, streams: usize) -> bool {
        self.open.load(Ordering::Relaxed) >= streams.min(self.allowed.load(Ordering::Relaxed))
    }

    fn is_over(&self) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.sender.is_closed() || (self.open.load(Ordering::Relaxed) == 0 && used.elapsed() > IDLE)
    }
}

/// A stream of an HTTP/2 connection, or an HTTP/1.1 connection.
pub(super) enum Lease {
    Two(Stream),
    One(http1::SendRequest<Body>),
}

/// One stream; dropping it gives it back.
pub(super) struct Stream {
    shared: Arc<Shared>,
    pool: Arc<Pool>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        *self.shared.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.pool.changed.notify_one();
    }
}

impl Lease {
    /// Sends a request and waits for the head of the answer. The lease must live until the body is read.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match self {
            Self::Two(stream) => {
                let mut sender = stream.shared.sender.clone();
                sender.try_send_request(request).await
            }
            Self::One(sender) => sender.try_send_request(request).await,
        }
    }
}

/// Who opens a connection; dropped without a word, the others look again.
struct Opening<'a>(&'a Pool);

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.0.lock().opening -= 1;
        self.0.changed.notify_waiters();
    }
}

struct Waiting<'a>(&'a Pool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

enum Turn<'a> {
    Take(Lease),
    Open(Opening<'a>),
    Wait(Waiting<'a>, u64),
}

impl Pool {
    pub(super) fn new(host: String, connector: Arc<Connector>, streams: usize) -> Arc<Self> {
        Arc::new(Self { host, connector, streams, state: Mutex::default(), changed: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// HTTP/2 connections that are open, for tests.
    #[cfg(test)]
    pub(super) fn connections(&self) -> usize {
        self.lock().two.iter().filter(|shared| !shared.sender.is_closed()).count()
    }

    /// A place for one question. The error says why there is no connection; nothing was asked.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease, Arc<str>> {
        loop {
            let changed = self.changed.notified();
            match self.turn() {
                Turn::Take(lease) => return Ok(lease),
                Turn::Wait(waiting, failures) => {
                    changed.await;
                    drop(waiting);
                    let state = self.lock();
                    if state.failures != failures {
                        return Err(state.failure.clone());
                    }
                }
                Turn::Open(opening) => return Box::pin(self.open(opening)).await,
            }
        }
    }

    fn turn(self: &Arc<Self>) -> Turn<'_> {
        let mut state = self.lock();
        state.two.retain(|shared| !shared.is_over());
        let free = state.two.iter().filter(|shared| !shared.is_full(self.streams));
        if let Some(shared) = free.min_by_key(|shared| shared.open.load(Ordering::Relaxed)).cloned() {
            return Turn::Take(self.stream(shared));
        }
        while let Some((sender, since)) = state.one.pop() {
            if since.elapsed() < IDLE && sender.is_ready() {
                return Turn::Take(Lease::One(sender));
            }
        }
        // Before the first connection is there, nobody knows how many questions it will serve: one opens, the others wait.
        // Later, who opens one takes its first place.
        let others = state.serves.map_or(usize::MAX, |serves| serves.saturating_sub(1));
        let promised = state.opening.saturating_mul(others);
        if state.waiting >= promised && state.opening < OPENING {
            state.opening += 1;
            return Turn::Open(Opening(self));
        }
        state.waiting += 1;
        Turn::Wait(Waiting(self), state.failures)
    }

    /// Takes a stream; under the lock, so that nobody takes the same.
    fn stream(self: &Arc<Self>, shared: Arc<Shared>) -> Lease {
        shared.open.fetch_add(1, Ordering::Relaxed);
        Lease::Two(Stream { shared, pool: self.clone() })
    }

    async fn open(self: &Arc<Self>, opening: Opening<'_>) -> Result<Lease, Arc<str>> {
        let connected = self.connector.open(&self.host).await;
        let lease = {
            let mut state = self.lock();
            match connected {
                Ok(Connected::One(sender)) => {
                    state.serves = Some(1);
                    Ok(Lease::One(sender))
                }
                Ok(Connected::Two(sender, allowed)) => {
                    state.serves = Some(self.streams.min(allowed.load(Ordering::Relaxed)).max(1));
                    let (open, used) = (AtomicUsize::new(0), Mutex::new(Instant::now()));
                    let shared = Arc::new(Shared { sender, allowed, open, used });
                    state.two.push(shared.clone());
                    Ok(self.stream(shared))
                }
                Err(failure) => {
                    state.failures += 1;
                    state.failure = failure.into();
                    Err(state.failure.clone())
                }
            }
        };
        drop(opening);
        lease
    }

    /// The question is over. An HTTP/1.1 connection whose answer was read to its end serves another one.
    pub(super) fn give_back(&self, lease: Lease) {
        if let Lease::One(sender) = lease
            && !sender.is_closed()
        {
            let mut state = self.lock();
            state.one.retain(|(sender, since)| since.elapsed() < IDLE && !sender.is_closed());
            // After a burst of prompts, most of their connections are not needed again.
            if state.one.len() < KEPT {
                state.one.push((sender, Instant::now()));
            }
            drop(state);
            self.changed.notify_one();
        }
    }
}
