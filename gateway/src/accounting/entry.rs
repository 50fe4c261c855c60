//! One record on its way through the sinks, and how its answer gets back to the socket that it came in by.

use crate::actors::messages::Recorded;
use crate::listen::udp::Outgoing;
use actix::Recipient;
use gateway_core::accounting::record::{Impossible, Record, RecordId, Status};
use gateway_core::config::Client;
use gateway_core::radius::{Attributes, Code, Packet, attribute, encode_reply};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A record, read and checked, and its packet.
pub struct Entry {
    /// The packet.
    pub bytes: Box<[u8]>,
    /// Who sent it.
    pub client: Arc<Client>,
    /// From where.
    pub peer: SocketAddr,
    /// To where.
    pub local: SocketAddr,
    /// When.
    pub received: Timestamp,
    secret: usize,
    status: Status,
    at: Timestamp,
    impossible: Option<Impossible>,
    id: RecordId,
    near: Option<[RecordId; 2]>,
    octets: u128,
    /// Sinks that do not have it yet.
    left: AtomicUsize,
    /// A sink has written it, and did not have it before.
    written: AtomicBool,
    answers: Arc<Answers>,
}

/// What became of a record that every sink has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Written,
    /// Every sink had it before.
    Duplicate,
}

/// What an entry is made from, beside its record.
pub struct Origin {
    /// Who sent it.
    pub client: Arc<Client>,
    /// From where.
    pub peer: SocketAddr,
    /// To where.
    pub local: SocketAddr,
    /// When.
    pub received: Timestamp,
}

impl Entry {
    /// Reads and checks a packet. `sinks` of them must have it before `answers` gets its answer.
    ///
    /// # Errors
    ///
    /// Why it gets no answer.
    pub fn read(bytes: Box<[u8]>, origin: Origin, sinks: usize, answers: &Arc<Answers>) -> Result<Arc<Self>, Reason> {
        let Origin { client, peer, local, received } = origin;
        let packet = Packet::whole(&bytes).map_err(|_| Reason::Malformed)?;
        let record = Record::read(packet, &client, received)?;
        let Record { secret, status, at, impossible, id, near, octets, .. } = record;
        Ok(Arc::new(Self {
            bytes,
            client,
            peer,
            local,
            received,
            secret,
            status,
            at,
            impossible,
            id,
            near,
            octets,
            left: AtomicUsize::new(sinks),
            written: AtomicBool::new(false),
            answers: answers.clone(),
        }))
    }

    /// The record again, as a view of the packet. It was read once, so that nothing is checked again.
    pub fn record(&self) -> Option<Record<'_>> {
        let packet = Packet::whole(&self.bytes).ok()?;
        let Self { secret, status, at, impossible, id, near, octets, .. } = *self;
        let acct_session_id = packet.first(attribute::ACCT_SESSION_ID).unwrap_or_default();
        Some(Record { packet, secret, status, acct_session_id, at, impossible, id, near, octets })
    }

    /// What happened, and whether its time can be.
    pub fn told(&self) -> (Status, Option<Impossible>) {
        (self.status, self.impossible)
    }

    /// One sink has the record on the disk; `new` says whether it did not have it before. Whether it was the last sink.
    pub fn durable(&self, new: bool) -> bool {
        if new {
            self.written.store(true, Ordering::Release);
        }
        self.left.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// What became of it. Only right once every sink has it.
    pub fn outcome(&self) -> Outcome {
        if self.written.load(Ordering::Acquire) { Outcome::Written } else { Outcome::Duplicate }
    }

    /// Writes the Accounting-Response and puts it where the listener finds it.
    pub fn answer(&self) -> Option<&Arc<Answers>> {
        let packet = Packet::whole(&self.bytes).ok()?;
        let secret = self.client.secrets.get(self.secret)?;
        let bytes = encode_reply(Code::ACCOUNTING_RESPONSE, &packet, &Attributes::new(), secret).ok()?;
        let outgoing = Outgoing { bytes: bytes.into(), peer: self.peer, local: self.local };
        self.answers.lock().push((outgoing, self.client.name.clone()));
        Some(&self.answers)
    }
}

/// Answers for one listener. Bounded by what the queues of the sinks hold.
pub struct Answers {
    waiting: Mutex<Vec<(Outgoing, Arc<str>)>>,
    listener: Recipient<Recorded>,
}

impl Answers {
    /// For `listener`.
    pub fn new(listener: Recipient<Recorded>) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), listener })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Outgoing, Arc<str>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the answers that wait.
    pub fn take(&self) -> Vec<(Outgoing, Arc<str>)> {
        std::mem::take(&mut *self.lock())
    }

    /// Tells the listener that there are answers: once for a group of them.
    pub fn wake(&self) {
        self.listener.do_send(Recorded);
    }
}
