//! The sink `forward`: a spool of records that the other server has not answered for yet.
//!
//! ```text
//! spool-0000000000000001.seg   records, one after another
//! position                     <segment> <offset>: what is before it was answered for
//! ┌──────┬────────┬──────────┬──────────────────────────────────────────────────────────────┐
//! │ ORTS │ length │ CRC-32   │ id 16 │ octets 16 │ received, µs 8 │ length 1, client │ packet │
//! └──────┴────────┴──────────┴──────────────────────────────────────────────────────────────┘
//! ```
//!
//! Numbers are big endian; length and CRC-32 are those of what follows. The position may be older than the truth after a crash: a
//! record is then sent again. Damage is put aside at the start, as a copy of the whole segment, and the records around it stay.

use super::entry::Entry;
use super::writer::Sink;
use crate::durable::{append, lock, sync_folder};
use crate::telemetry::metrics::Metrics;
use anyhow::Context;
use gateway_core::accounting::recent::Recent;
use gateway_core::accounting::record::Record;
use gateway_core::config::Config;
use gateway_core::time::Timestamp;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const MAGIC: &[u8; 4] = b"ORTS";
/// Magic, length and checksum.
pub(super) const HEADER: usize = 12;
/// The longest body: the fixed fields, a client's name and a packet.
const LONGEST: usize = 41 + 255 + 4096;
/// A segment is closed when it has grown to this many octets.
const SEGMENT: u64 = 8 << 20;

/// A place in the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The segment's number.
    pub segment: u64,
    /// Octets from its begin.
    pub offset: u64,
}

/// What writer and forwarder tell each other.
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// How far each of them is.
#[derive(Clone, Copy, Debug, Default)]
pub struct State {
    /// Everything before is durable.
    pub written: Place,
    /// Octets that were not answered for.
    pub waiting: u64,
    /// The writer has ended.
    pub closed: bool,
}

impl Shared {
    /// How far they are.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until more is written than `place`, the writer ends, or `patience` is over.
    pub fn wait(&self, place: Place, patience: Duration) -> State {
        let state = self.lock();
        let until = self.changed.wait_timeout_while(state, patience, |state| !state.closed && state.written <= place);
        *until.unwrap_or_else(PoisonError::into_inner).0
    }

    fn tell(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

/// The writing end.
pub struct Spool {
    folder: PathBuf,
    most: u64,
    file: File,
    segment: u64,
    length: u64,
    broken: bool,
    full: bool,
    buffer: Vec<u8>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    _lock: File,
}

/// What the forwarder begins with.
pub struct Reader {
    /// Where the segments are.
    pub folder: PathBuf,
    /// The first record that was not answered for.
    pub place: Place,
    /// How far the writer is.
    pub shared: Arc<Shared>,
}

impl Spool {
    /// Opens the folder and mends its segments.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, or another process uses it.
    pub fn open(config: Arc<Config>, metrics: &Arc<Metrics>, now: Timestamp) -> anyhow::Result<(Self, Recent, Reader)> {
        let sink = config.accounting.forward.as_ref().context("there is no server to forward to")?;
        let folder = sink.spool_folder.clone();
        let place = || format!("accounting.spool_folder {}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(place)?;
        let lock = lock(&folder).with_context(place)?;
        let mut recent = Recent::new(config.limits.accounting_records);
        let mut position = read_position(&folder);
        let (mut waiting, mut last) = (0, None);
        for (segment, path) in segments(&folder).with_context(place)? {
            let bounds = mend(&path, metrics, now).with_context(place)?;
            let end = bounds.last().map_or(0, |(at, found)| at + found.size);
            for (_, found) in &bounds {
                recent.add(found.id, found.octets, found.received);
            }
            // A place that is no begin of a record is none that we wrote: the segment is sent from its begin.
            let known = |offset: u64| offset == end || bounds.iter().any(|(at, _)| *at == offset);
            if segment == position.segment && !known(position.offset) {
                position.offset = 0;
            }
            let done = if segment == position.segment { position.offset } else { 0 };
            waiting += if segment < position.segment { 0 } else { end - done };
            last = Some((segment, end));
        }
        let (segment, length) = last.unwrap_or((position.segment.max(1), 0));
        if position.segment > segment || last.is_none() {
            position = Place { segment, offset: length };
        }
        let file = append(&segment_path(&folder, segment)).with_context(place)?;
        file.sync_data().and_then(|()| sync_folder(&folder)).with_context(place)?;
        let state = State { written: Place { segment, offset: length }, waiting, closed: false };
        metrics.accounting.spool_bytes.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let reader = Reader { folder: folder.clone(), place: position, shared: shared.clone() };
        let spool = Self {
            folder,
            most: sink.spool_max_bytes,
            file,
            segment,
            length,
            broken: false,
            full: false,
            buffer: Vec::new(),
            shared,
            metrics: metrics.clone(),
            _lock: lock,
        };
        Ok((spool, recent, reader))
    }

    fn put(&mut self) -> io::Result<()> {
        self.restore()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        let size = self.buffer.len() as u64;
        self.room(size)?;
        if self.length >= SEGMENT {
            let next = self.segment + 1;
            let file = append(&segment_path(&self.folder, next))?;
            // Only a file whose name is durable is written to.
            sync_folder(&self.folder)?;
            (self.file, self.segment, self.length) = (file, next, 0);
        }
        self.broken = true;
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()?;
        self.broken = false;
        self.length = self.length.saturating_add(size);
        let written = Place { segment: self.segment, offset: self.length };
        self.shared.tell(|state| {
            state.written = written;
            state.waiting = state.waiting.saturating_add(size);
        });
        let waiting = self.shared.lock().waiting;
        self.metrics.accounting.spool_bytes.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Whether so many octets have room. A spool that was full takes nothing until a sixteenth of it is free again, so that it
    /// is not full and not full by turns.
    fn room(&mut self, size: u64) -> io::Result<()> {
        let most = if self.full { self.most - self.most / 16 } else { self.most };
        self.full = self.shared.lock().waiting.saturating_add(size) > most;
        if self.full {
            let problem = "the spool is full (accounting.spool_max_bytes): the server of forward_to does not answer";
            return Err(io::Error::new(io::ErrorKind::StorageFull, problem));
        }
        Ok(())
    }

    fn restore(&mut self) -> io::Result<()> {
        if self.broken {
            self.file.set_len(self.length)?;
            self.file.sync_all()?;
            self.broken = false;
        }
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.tell(|state| state.closed = true);
    }
}

impl Sink for Spool {
    fn name(&self) -> &'static str {
        "forward"
    }

    fn gather(&mut self, entry: &Entry, record: &Record<'_>) {
        let (client, packet) = (entry.client.name.as_bytes(), record.packet.bytes());
        let begin = self.buffer.len();
        self.buffer.extend_from_slice(MAGIC);
        self.buffer.extend([0; 8]);
        self.buffer.extend(record.id.to_be_bytes());
        self.buffer.extend(record.octets.to_be_bytes());
        self.buffer.extend(entry.received.as_micros().to_be_bytes());
        self.buffer.push(u8::try_from(client.len()).unwrap_or_default());
        self.buffer.extend_from_slice(client);
        self.buffer.extend_from_slice(packet);
        let body = self.buffer.get(begin + HEADER..).unwrap_or_default();
        let (length, sum) = (u32::try_from(body.len()).unwrap_or_default(), crc32(body));
        let numbers = length.to_be_bytes().into_iter().chain(sum.to_be_bytes());
        self.buffer.iter_mut().skip(begin + 4).zip(numbers).for_each(|(octet, number)| *octet = number);
    }

    fn commit(&mut self, _: Timestamp) -> io::Result<()> {
        let outcome = self.put();
        self.buffer.clear();
        if outcome.is_err() {
            let _ = self.restore();
        }
        outcome
    }

    fn rest(&mut self, _: Timestamp) -> io::Result<()> {
        self.restore()?;
        self.room(0)
    }
}

/// A record as it stands in the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which record it is.
    pub id: u128,
    /// Its Request Authenticator.
    pub octets: u128,
    /// When it was received.
    pub received: Timestamp,
    /// From which client.
    pub client: Box<[u8]>,
    /// The packet.
    pub packet: Box<[u8]>,
    /// What it takes in the spool, in octets.
    pub size: u64,
}

/// Reads the record that begins here; `None` where there is none, or half of one, or a damaged one.
pub fn read(octets: &[u8]) -> Option<Found> {
    let (magic, rest) = octets.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= LONGEST)?;
    let body = rest.get(..length).filter(|_| magic == MAGIC)?;
    if crc32(body) != u32::from_be_bytes(*sum) {
        return None;
    }
    let (id, body) = body.split_first_chunk::<16>()?;
    let (octets, body) = body.split_first_chunk::<16>()?;
    let (received, body) = body.split_first_chunk::<8>()?;
    let (client_length, body) = body.split_first()?;
    let (client, packet) = body.split_at_checked(usize::from(*client_length))?;
    Some(Found {
        id: u128::from_be_bytes(*id),
        octets: u128::from_be_bytes(*octets),
        received: Timestamp::from_micros(u64::from_be_bytes(*received)),
        client: client.into(),
        packet: packet.into(),
        size: (HEADER + length) as u64,
    })
}

/// The path of a segment.
pub fn segment_path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("spool-{segment:016}.seg"))
}

/// The segments, the oldest first.
pub fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = name.strip_prefix("spool-").and_then(|name| name.strip_suffix(".seg"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found)
}

fn read_position(folder: &Path) -> Place {
    let text = fs::read_to_string(folder.join("position")).unwrap_or_default();
    let mut numbers = text.split_whitespace().map(|number| number.parse().unwrap_or_default());
    Place { segment: numbers.next().unwrap_or_default(), offset: numbers.next().unwrap_or_default() }
}

/// Writes down what was answered for.
///
/// # Errors
///
/// The disk does not take it: after a crash records are sent again.
pub fn write_position(folder: &Path, place: Place) -> io::Result<()> {
    let new = folder.join("position.new");
    fs::write(&new, format!("{} {}\n", place.segment, place.offset))?;
    fs::rename(new, folder.join("position"))
}

/// Reads a segment. Where something in it is no record, the segment as it was is kept under another name, and written anew with the
/// records that can be read.
fn mend(path: &Path, metrics: &Metrics, now: Timestamp) -> io::Result<Vec<(u64, Found)>> {
    let octets = fs::read(path)?;
    let (mut found, mut at, mut lost) = (Vec::new(), 0, 0);
    while let Some(rest) = octets.get(at..).filter(|rest| !rest.is_empty()) {
        match read(rest) {
            Some(record) => {
                let size = usize::try_from(record.size).unwrap_or(usize::MAX);
                found.push((at, record));
                at = at.saturating_add(size);
            }
            None => {
                // On to whatever may be the next one.
                let skip = rest.iter().skip(1).position(|octet| *octet == MAGIC[0]).map_or(rest.len(), |skip| skip + 1);
                lost += skip;
                at += skip;
            }
        }
    }
    if lost > 0 {
        let aside = path.with_extension(format!("damaged-{}", now.as_secs()));
        let mut copy = append(&aside)?;
        copy.write_all(&octets)?;
        copy.sync_all()?;
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        for (at, record) in &found {
            let size = usize::try_from(record.size).unwrap_or(usize::MAX);
            file.write_all(octets.get(*at..at.saturating_add(size)).unwrap_or_default())?;
        }
        file.sync_all()?;
        fs::rename(new, path)?;
        if let Some(folder) = path.parent() {
            sync_folder(folder)?;
        }
        metrics.accounting.damaged.with_label_values(&["forward"]).inc();
        tracing::error!(
            segment = %path.display(), lost, records = found.len(), aside = %aside.display(),
            "octets of the spool are no records, as after a crash or on a failing disk: the segment as it was is kept, and its records are sent"
        );
    }
    let mut place = 0;
    let placed = found.into_iter().map(|(_, record)| {
        let here = place;
        place += record.size;
        (here, record)
    });
    Ok(placed.collect())
}

/// CRC-32 as in Ethernet (polynomial 0x04C11DB7, reflected).
fn crc32(octets: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |sum: u32, octet: &u8| {
        let place = usize::from(sum.to_le_bytes()[0] ^ octet);
        TABLE.get(place).copied().unwrap_or_default() ^ (sum >> 8)
    };
    !octets.iter().fold(u32::MAX, step)
}

#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses a place beyond the end")]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut place: u32 = 0;
    while place < 256 {
        let (mut value, mut bit) = (place, 0);
        while bit < 8 {
            value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[place as usize] = value;
        place += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u8) -> Vec<u8> {
        let packet = [number; 60];
        let body = [&[number; 16][..], &[number; 16], &[0; 8], &[3], b"vpn", &packet].concat();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [MAGIC.as_slice(), &length, &crc32(&body).to_be_bytes(), &body].concat()
    }

    #[test]
    fn the_checksum_is_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn every_prefix_and_every_flipped_bit_of_a_record_is_noticed() {
        let whole = record(7);
        assert_eq!(read(&whole).unwrap().packet.len(), 60);
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&flipped), None, "{bit}");
        }
    }

    #[test]
    fn damage_is_put_aside_and_the_records_around_it_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = segment_path(folder.path(), 1);
        let metrics = Metrics::new().unwrap();
        let whole = [record(1), record(2), record(3)].concat();
        let one = record(1).len();
        let now = Timestamp::from_secs(9);
        let ids = |found: Vec<(u64, Found)>| -> Vec<u8> { found.iter().map(|(_, found)| found.packet[0]).collect() };
        // Flipped bits in the second.
        let mut flipped = whole.clone();
        flipped[one + 40] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        assert_eq!(ids(mend(&path, &metrics, now).unwrap()), [1, 3]);
        assert_eq!(fs::read(path.with_extension("damaged-9")).unwrap(), flipped);
        assert_eq!(fs::read(&path).unwrap(), [record(1), record(3)].concat());
        assert_eq!(ids(mend(&path, &metrics, now).unwrap()), [1, 3]);
        assert_eq!(metrics.accounting.damaged.with_label_values(&["forward"]).get(), 1);
        // Cut in half, anywhere.
        for end in 0..=whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let whole_records = u8::try_from(end / one).unwrap();
            assert_eq!(ids(mend(&path, &metrics, now).unwrap()), (1..=whole_records).collect::<Vec<_>>(), "{end}");
        }
    }
}
