//! The connections to one host. Over HTTP/2 many questions share one connection, up to `streams_per_connection` and what the
//! server allows: beyond that they would queue inside the library, unseen, behind people who look for their phones. So each question
//! takes a stream of the connection with the fewest, and another connection is opened when all are full. Over HTTP/1.1 each
//! question has a connection to itself.

use super::connect::{Body, Connected, Connector, Two};
use bytes::Bytes;
use h2::client::ResponseFuture;
use hyper::Request;
use hyper::client::conn::http1;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
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
    two: Two,
    used: Mutex<Instant>,
}

impl Shared {
    fn open(&self) -> usize {
        self.two.load.open.load(Ordering::Relaxed)
    }

    fn is_full(&self, streams: usize) -> bool {
        self.open() >= streams.min(self.two.load.allowed.load(Ordering::Relaxed))
    }

    fn is_over(&self) -> bool {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        self.two.task.is_finished() || (self.open() == 0 && used.elapsed() > IDLE)
    }

    /// Whether it takes another question. One that the server is closing does not, but lives until the last answer is there.
    fn takes(&self) -> bool {
        let ready = self.two.sender.clone().poll_ready(&mut Context::from_waker(Waker::noop()));
        matches!(ready, Poll::Ready(Ok(())))
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
        self.shared.two.load.open.fetch_sub(1, Ordering::Relaxed);
        self.pool.changed.notify_one();
    }
}

impl Stream {
    /// Sends a request, all of it, and does not wait. The error says why nothing was sent. The stream must live until the body of
    /// the answer is read; dropping the answer ends the call.
    pub(super) fn send(&self, request: Request<()>, body: Bytes) -> Result<ResponseFuture, h2::Error> {
        let (answer, mut sending) = self.shared.two.sender.clone().send_request(request, false)?;
        // What fails from here on fails the answer.
        let _ = sending.send_data(body, true);
        Ok(answer)
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
        self.lock().two.iter().filter(|shared| !shared.two.task.is_finished()).count()
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
        loop {
            let free = state.two.iter().filter(|shared| !shared.is_full(self.streams));
            let Some(shared) = free.min_by_key(|shared| shared.open()).cloned() else { break };
            if shared.takes() {
                return Turn::Take(self.stream(shared));
            }
            state.two.retain(|other| !Arc::ptr_eq(other, &shared));
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
        shared.two.load.open.fetch_add(1, Ordering::Relaxed);
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
                Ok(Connected::Two(two)) => {
                    state.serves = Some(self.streams.min(two.load.allowed.load(Ordering::Relaxed)).max(1));
                    let shared = Arc::new(Shared { two, used: Mutex::new(Instant::now()) });
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

    /// An HTTP/1.1 connection whose answer was read to its end serves another question.
    pub(super) fn give_back(&self, sender: http1::SendRequest<Body>) {
        if !sender.is_closed() {
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
