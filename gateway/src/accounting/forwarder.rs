//! Sends what is in the spool to the other server, in order, each record until it is answered for (RFC 2866 §2).
//!
//! Several records are under way at the same time, but those of one session go one after another, and Accounting-On and -Off go
//! alone. The place up to which everything was answered for is written down about once a second: after a crash the rest is sent
//! again, which the other server must bear as it bears any retransmission.

use super::spool::{Found, HEADER, Place, Reader, read, segment_path, write_position};
use crate::clock::OsEntropy;
use crate::telemetry::metrics::Metrics;
use gateway_core::config::{Config, ForwardSink};
use gateway_core::entropy::draw;
use gateway_core::radius::{Attributes, Code, Packet, attribute, encode_request, verify_reply};
use gateway_core::retransmission::Retransmission;
use gateway_core::time::Timestamp;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// While records are under way, new ones in the spool are looked for this often.
const LOOK: Duration = Duration::from_millis(20);
/// The longest time between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How often what was answered for is written down.
const NOTE: Duration = Duration::from_secs(1);

/// Starts the thread.
///
/// # Errors
///
/// The system has no socket or no thread for it.
pub fn start(config: Arc<Config>, reader: Reader, metrics: Arc<Metrics>) -> io::Result<JoinHandle<()>> {
    let Some(sink) = &config.accounting.forward else { return Err(io::ErrorKind::InvalidInput.into()) };
    let socket = match sink.server.is_ipv4() {
        true => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
        false => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
    };
    socket.connect(sink.server)?;
    let next = reader.place;
    Builder::new().name("accounting-forwarder".to_owned()).spawn(move || {
        let Some(sink) = &config.accounting.forward else { return };
        let now = Instant::now();
        let flights = VecDeque::new();
        let file = None;
        Forwarder { sink, socket, reader, metrics, next, file, flights, held: None, identifier: 0, noted: now }.run();
    })
}

struct Forwarder<'a> {
    sink: &'a ForwardSink,
    socket: UdpSocket,
    /// Its place is what was answered for.
    reader: Reader,
    metrics: Arc<Metrics>,
    /// The next record to be read.
    next: Place,
    file: Option<(u64, File)>,
    flights: VecDeque<Flight>,
    /// Read, but one of its session is under way.
    held: Option<(Found, Place)>,
    identifier: u8,
    noted: Instant,
}

/// A record under way.
struct Flight {
    identifier: u8,
    bytes: Vec<u8>,
    session: Session,
    /// Behind it in the spool.
    end: Place,
    size: u64,
    due: Instant,
    waits: Retransmission,
    answered: bool,
}

/// What must go one after another.
#[derive(PartialEq, Eq)]
enum Session {
    One(Box<[u8]>, Box<[u8]>),
    All,
}

impl Forwarder<'_> {
    fn run(&mut self) {
        loop {
            let state = self.reader.shared.lock().closed;
            if state {
                break;
            }
            let read = self.fill();
            if let Err(error) = read {
                tracing::error!(%error, "the spool of accounting cannot be read: it is tried again");
                self.reader.shared.wait(Place { segment: u64::MAX, offset: 0 }, NOTE);
            }
            if self.flights.is_empty() {
                self.note();
                self.reader.shared.wait(self.next, NOTE);
                continue;
            }
            self.receive();
            self.send_again();
            self.settle();
        }
        self.note();
    }

    /// Sends records until the window is full or the spool is empty.
    fn fill(&mut self) -> io::Result<()> {
        while self.flights.len() < self.sink.window {
            let Some((found, end)) = (match self.held.take() {
                Some(held) => Some(held),
                None => self.read()?,
            }) else {
                return Ok(());
            };
            let session = session(&found);
            let waits =
                self.flights.iter().filter(|flight| !flight.answered).any(|flight| {
                    session == Session::All || flight.session == Session::All || flight.session == session
                });
            if waits {
                self.held = Some((found, end));
                return Ok(());
            }
            self.begin(&found, end, session);
        }
        Ok(())
    }

    fn begin(&mut self, found: &Found, end: Place, session: Session) {
        let taken = |identifier: u8| self.flights.iter().any(|flight| flight.identifier == identifier);
        let mut identifier = self.identifier;
        // The window is smaller than there are identifiers.
        while taken(identifier) {
            identifier = identifier.wrapping_add(1);
        }
        self.identifier = identifier.wrapping_add(1);
        let bytes = request(found, identifier, self.sink, crate::clock::now());
        let mut waits = Retransmission::new(self.sink.timeout, LONGEST_WAIT);
        let due = Instant::now() + waits.wait(random());
        // What cannot be written as a packet was none when it was received, which the door prevents.
        let answered = bytes.is_none();
        let bytes = bytes.unwrap_or_default();
        if !answered {
            let _ = self.socket.send(&bytes);
        }
        self.flights.push_back(Flight { identifier, bytes, session, end, size: found.size, due, waits, answered });
    }

    /// The next record of the spool and the place behind it.
    fn read(&mut self) -> io::Result<Option<(Found, Place)>> {
        let written = self.reader.shared.lock().written;
        if self.next >= written {
            return Ok(None);
        }
        if self.file.as_ref().is_none_or(|(segment, _)| *segment != self.next.segment) {
            match File::open(segment_path(&self.reader.folder, self.next.segment)) {
                Ok(file) => self.file = Some((self.next.segment, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.next.segment < written.segment => {
                    self.next = Place { segment: self.next.segment + 1, offset: 0 };
                    return self.read();
                }
                Err(error) => return Err(error),
            }
        }
        let Some((_, file)) = &self.file else { return Ok(None) };
        if self.next.segment < written.segment && self.next.offset >= file.metadata()?.len() {
            self.next = Place { segment: self.next.segment + 1, offset: 0 };
            return self.read();
        }
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, self.next.offset)?;
        let [_, _, _, _, a, b, c, d, ..] = header;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX).min(1 << 16);
        let mut octets = vec![0; HEADER + length];
        file.read_exact_at(&mut octets, self.next.offset)?;
        let Some(found) = read(&octets) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a record has changed since it was written"));
        };
        self.next.offset += found.size;
        Ok(Some((found, self.next)))
    }

    fn receive(&mut self) {
        let now = Instant::now();
        let due = self.flights.iter().filter(|flight| !flight.answered).map(|flight| flight.due).min();
        let patience = due.map_or(LOOK, |due| due.saturating_duration_since(now)).clamp(Duration::from_millis(1), LOOK);
        if self.socket.set_read_timeout(Some(patience)).is_err() {
            return;
        }
        let mut buffer = [0; 4096];
        // Errors are timeouts, and what ICMP has to say of a server that is not there.
        while let Ok(length) = self.socket.recv(&mut buffer) {
            if self.answered(buffer.get(..length).unwrap_or_default()) {
                break;
            }
        }
    }

    /// Whether it is the answer to a record under way.
    fn answered(&mut self, octets: &[u8]) -> bool {
        let Ok(reply) = Packet::parse(octets) else { return false };
        let flight = self.flights.iter_mut().find(|flight| flight.identifier == reply.identifier() && !flight.answered);
        let Some(flight) = flight.filter(|_| reply.code() == Code::ACCOUNTING_RESPONSE) else { return false };
        let Ok(request) = Packet::whole(&flight.bytes) else { return false };
        if verify_reply(&reply, request.authenticator(), &self.sink.secret).is_err() {
            return false;
        }
        flight.answered = true;
        self.metrics.accounting.forwarded.inc();
        true
    }

    fn send_again(&mut self) {
        let now = Instant::now();
        for flight in self.flights.iter_mut().filter(|flight| !flight.answered && flight.due <= now) {
            // The same octets: Acct-Delay-Time stays what it was, so that it is the same packet to the other server.
            let _ = self.socket.send(&flight.bytes);
            self.metrics.accounting.resent.inc();
            flight.due = now + flight.waits.wait(random());
        }
    }

    /// Gives up the place of everything that was answered for up to the first record that was not.
    fn settle(&mut self) {
        let mut size = 0;
        while self.flights.front().is_some_and(|flight| flight.answered) {
            let Some(flight) = self.flights.pop_front() else { break };
            self.reader.place = flight.end;
            size += flight.size;
        }
        if size == 0 {
            return;
        }
        let mut state = self.reader.shared.lock();
        state.waiting = state.waiting.saturating_sub(size);
        self.metrics.accounting.spool_bytes.set(i64::try_from(state.waiting).unwrap_or(i64::MAX));
        drop(state);
        if self.noted.elapsed() >= NOTE {
            self.note();
        }
    }

    /// Writes down what was answered for, and removes the segments before it.
    fn note(&mut self) {
        let (folder, place) = (&self.reader.folder, self.reader.place);
        self.noted = Instant::now();
        if let Err(error) = write_position(folder, place) {
            tracing::warn!(%error, "what the server of forward_to has answered for cannot be written down: after a restart it is sent again");
            return;
        }
        let gone = super::spool::segments(folder).unwrap_or_default().into_iter();
        for (_, path) in gone.filter(|(segment, _)| *segment < place.segment) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Random bits, so that nodes that began to wait together do not go on together.
fn random() -> u32 {
    u32::from_be_bytes(draw(&mut OsEntropy::new()))
}

fn session(found: &Found) -> Session {
    let Ok(packet) = Packet::whole(&found.packet) else { return Session::All };
    match packet.first(attribute::ACCT_STATUS_TYPE) {
        Some([0, 0, 0, 7 | 8]) => Session::All,
        _ => {
            let session = packet.first(attribute::ACCT_SESSION_ID).unwrap_or_default();
            Session::One(found.client.clone(), session.into())
        }
    }
}

/// Attributes that accounting must not carry (RFC 2866 §4.1, RFC 3579 §3.3): it proves somebody, or belongs to a conversation. A secret that a NAS
/// put into a record by mistake does not travel on under another one's key.
const KEPT_BACK: [u8; 7] = [
    attribute::USER_PASSWORD,
    attribute::CHAP_PASSWORD,
    attribute::REPLY_MESSAGE,
    attribute::STATE,
    attribute::ARAP_PASSWORD,
    attribute::EAP_MESSAGE,
    attribute::MESSAGE_AUTHENTICATOR,
];

/// Writes the record as a packet of ours: attributes and Proxy-State as they came but for [`KEPT_BACK`], Acct-Delay-Time longer by the
/// time in the spool (RFC 2866 §5.2), and the authenticator made with the other server's secret. It is not signed beside, as servers
/// expect of accounting (RFC 2869 §5.19).
fn request(found: &Found, identifier: u8, sink: &ForwardSink, now: Timestamp) -> Option<Vec<u8>> {
    let packet = Packet::whole(&found.packet).ok()?;
    let waited = u32::try_from(now.since(found.received).as_secs()).unwrap_or(u32::MAX);
    let delay = packet.first(attribute::ACCT_DELAY_TIME).and_then(|octets| octets.try_into().ok());
    let delay = delay.map_or(0, u32::from_be_bytes).saturating_add(waited);
    let encode = |with_delay: bool| {
        let mut attributes = Attributes::new();
        for attribute in packet.attributes().filter(|attribute| !KEPT_BACK.contains(&attribute.kind)) {
            if with_delay && attribute.kind == attribute::ACCT_DELAY_TIME {
                continue;
            }
            attributes.push(attribute.kind, attribute.value).ok()?;
        }
        if with_delay && delay > 0 {
            attributes.push_integer(attribute::ACCT_DELAY_TIME, delay);
        }
        encode_request(Code::ACCOUNTING_REQUEST, identifier, [0; 16], &attributes, &sink.secret, false).ok()
    };
    // A packet that is full to the last octet has no room for more.
    encode(true).or_else(|| encode(false))
}
