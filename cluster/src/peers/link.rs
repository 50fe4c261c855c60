//! One connection between two nodes, once each knows who the other is. Both sides ask and answer on it.
//!
//! What can pile up is bounded: questions that wait by `in_flight`, packets of the other side that are being looked at by the same,
//! frames that wait for the network by the length of a queue. A side that does not read is given up.

use super::wire::{self, ANSWER, Frame, LONGEST, Packet, Refusal, Reply, frame, kind};
use super::{Serve, Shared};
use gateway_core::attempt::record::Owner;
use gateway_core::reason::Reason;
use serde::Serialize;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, split};
use tokio::sync::{Notify, mpsc, oneshot};

/// A connection that was replaced goes on for what is under way on it, for so long at most.
const LINGERS: Duration = Duration::from_secs(120);

/// Frames beside answers that may wait for the network.
const SPARE: usize = 16;

/// A connection to another node.
pub(super) struct Link {
    /// Who is at the other end.
    pub(super) owner: Owner,
    out: mpsc::Sender<Vec<u8>>,
    waiting: Mutex<HashMap<u64, Waiting>>,
    number: AtomicU64,
    serving: AtomicUsize,
    retired: AtomicBool,
    retire: Notify,
    most: usize,
}

enum Waiting {
    Reply(oneshot::Sender<Result<Reply, Refusal>>),
    Pong(Instant),
}

/// What goes out on a link, for whoever runs it.
pub(super) type Outgoing = mpsc::Receiver<Vec<u8>>;

impl Link {
    pub(super) fn new(owner: Owner, in_flight: usize) -> (Arc<Self>, Outgoing) {
        let (out, outgoing) = mpsc::channel(in_flight.saturating_add(SPARE));
        let link = Self {
            owner,
            out,
            waiting: Mutex::default(),
            number: AtomicU64::new(1),
            serving: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            retire: Notify::new(),
            most: in_flight,
        };
        (Arc::new(link), outgoing)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another connection is used from now on; this one ends when nothing is under way on it.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.retire.notify_one();
    }

    /// Packets that wait for what becomes of them.
    pub(super) fn questions(&self) -> usize {
        self.waiting().values().filter(|waiting| matches!(waiting, Waiting::Reply(_))).count()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.questions() == 0 && self.serving.load(Ordering::Acquire) == 0
    }

    /// Sends a packet and waits for what becomes of it, `patience` at most.
    pub(super) async fn forward(&self, packet: &Packet, patience: Duration) -> Result<Reply, Reason> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let octets = frame(kind::PACKET, number, packet).ok_or(Reason::PeerRefused)?;
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if waiting.len() >= self.most {
                return Err(Reason::PeerBusy);
            }
            waiting.insert(number, Waiting::Reply(answer));
        }
        // Whoever gives this future up, or is too late, leaves no entry behind.
        let _gone = Gone { link: self, number };
        self.out.try_send(octets).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Reason::PeerBusy,
            mpsc::error::TrySendError::Closed(_) => Reason::PeerUnreachable,
        })?;
        match tokio::time::timeout(patience, answered).await {
            Err(_) => Err(Reason::PeerLate),
            Ok(Err(_)) => Err(Reason::PeerUnreachable),
            Ok(Ok(Ok(reply))) => Ok(reply),
            Ok(Ok(Err(Refusal::Busy))) => Err(Reason::PeerBusy),
            Ok(Ok(Err(_))) => Err(Reason::PeerRefused),
        }
    }

    async fn answer(&self, kind: u16, number: u64, body: &impl Serialize) {
        let octets = frame(kind, number, body).or_else(|| frame(kind::REFUSAL, number, &Refusal::Malformed));
        if let Some(octets) = octets {
            // It waits while the other side does not read: then nothing more is read of it either.
            let _ = self.out.send(octets).await;
        }
    }

    /// Runs the connection until it ends; why it did.
    pub(super) async fn run(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite,
        outgoing: Outgoing,
        shared: Arc<Shared>,
    ) -> io::Result<()> {
        let silence = shared.settings.timeout.saturating_mul(3);
        let (reader, writer) = split(stream);
        let reading = pin!(self.read(reader, &shared, silence));
        let writing = pin!(write(writer, outgoing, silence));
        let trying = pin!(self.ping(shared.settings.timeout));
        let leaving = pin!(self.leave());
        let outcome = tokio::select! {
            outcome = reading => outcome,
            outcome = writing => outcome,
            () = trying => Ok(()),
            () = leaving => Ok(()),
        };
        // Whoever waits for an answer is told that there is none.
        self.waiting().clear();
        outcome
    }

    async fn read(
        self: &Arc<Self>,
        reader: impl AsyncRead + Unpin,
        shared: &Arc<Shared>,
        silence: Duration,
    ) -> io::Result<()> {
        let mut reader = BufReader::new(reader);
        loop {
            let read = tokio::time::timeout(silence, wire::read(&mut reader, LONGEST)).await;
            self.take(read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??, shared).await;
        }
    }

    async fn take(self: &Arc<Self>, frame: Frame, shared: &Arc<Shared>) {
        let number = frame.number;
        match frame.kind {
            kind::PING => self.answer(kind::PONG, number, &()).await,
            kind::PACKET => self.serve(&frame, shared).await,
            kind::PONG => {
                if let Some(Waiting::Pong(asked)) = self.waiting().remove(&number) {
                    shared.round_trip(&self.owner, asked.elapsed());
                }
            }
            kind::REPLY | kind::REFUSAL => {
                let answer = match frame.kind {
                    kind::REPLY => frame.read::<Reply>().ok_or(Refusal::Malformed),
                    _ => Err(frame.read::<Refusal>().unwrap_or(Refusal::Other)),
                };
                // One that nobody waits for any more came too late.
                if let Some(Waiting::Reply(waiting)) = self.waiting().remove(&number) {
                    let _ = waiting.send(answer);
                }
            }
            kind if kind < ANSWER => {
                shared.stats.unknown.inc();
                self.answer(kind::REFUSAL, number, &Refusal::UnknownMessage).await;
            }
            _ => shared.stats.unknown.inc(),
        }
    }

    async fn serve(self: &Arc<Self>, frame: &Frame, shared: &Arc<Shared>) {
        let number = frame.number;
        if self.serving.load(Ordering::Acquire) >= self.most {
            shared.stats.busy.inc();
            return self.answer(kind::REFUSAL, number, &Refusal::Busy).await;
        }
        let (Some(packet), Some(node)) = (frame.read::<Packet>(), Weak::upgrade(&shared.serve)) else {
            return self.answer(kind::REFUSAL, number, &Refusal::Malformed).await;
        };
        shared.stats.served.inc();
        let serving = Serving::begin(self.clone());
        let patience = Duration::from_millis(packet.patience.into());
        shared.handle.spawn(async move {
            let served = serving;
            let outcome = tokio::time::timeout(patience, Serve::packet(&*node, packet)).await;
            drop(node);
            match outcome {
                Ok(Ok(reply)) => served.0.answer(kind::REPLY, number, &reply).await,
                Ok(Err(refusal)) => served.0.answer(kind::REFUSAL, number, &refusal).await,
                // The other side does not wait any more.
                Err(_) => {}
            }
        });
    }

    /// Says something from time to time, and learns how long an answer takes.
    async fn ping(&self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let number = self.number.fetch_add(1, Ordering::Relaxed);
            {
                let mut waiting = self.waiting();
                waiting.retain(|_, waiting| !matches!(waiting, Waiting::Pong(_)));
                waiting.insert(number, Waiting::Pong(Instant::now()));
            }
            if let Some(octets) = frame(kind::PING, number, &()) {
                let _ = self.out.try_send(octets);
            }
        }
    }

    async fn leave(&self) {
        while !self.retired.load(Ordering::Acquire) {
            self.retire.notified().await;
        }
        let end = Instant::now() + LINGERS;
        // The other side may have put something on its way before it heard of the new connection.
        let mut quiet = 0;
        while quiet < 5 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100)).await;
            quiet = if self.is_idle() { quiet + 1 } else { 0 };
        }
    }
}

/// A question that waits; its entry goes with it.
struct Gone<'a> {
    link: &'a Link,
    number: u64,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.link.waiting().remove(&self.number);
    }
}

/// A packet of the other side that is being looked at.
struct Serving(Arc<Link>);

impl Serving {
    fn begin(link: Arc<Link>) -> Self {
        link.serving.fetch_add(1, Ordering::AcqRel);
        Self(link)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn write(mut writer: impl AsyncWrite + Unpin, mut outgoing: Outgoing, patience: Duration) -> io::Result<()> {
    let late = |_| io::Error::from(io::ErrorKind::TimedOut);
    while let Some(octets) = outgoing.recv().await {
        within(patience, writer.write_all(&octets)).await.map_err(late)??;
        // What has gathered meanwhile leaves with it.
        while let Ok(octets) = outgoing.try_recv() {
            within(patience, writer.write_all(&octets)).await.map_err(late)??;
        }
        within(patience, writer.flush()).await.map_err(late)??;
    }
    Ok(())
}

fn within<F: Future>(patience: Duration, work: F) -> tokio::time::Timeout<F> {
    tokio::time::timeout(patience, work)
}
