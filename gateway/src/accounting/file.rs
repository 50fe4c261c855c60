//! The sink `file`: `accounting.jsonl`, appended to and synced, and the files before it.
//!
//! What was answered is in front of what was not: each group is synced before its answers, so that damage at the end of a file
//! (half a line after a crash, blocks that a power cut left empty) holds nothing that was answered. It is cut off at the
//! start, and kept beside under another name. A write that fails is taken back: the file is cut to what is durable before
//! anything else is written to it.

use super::entry::Entry;
use super::reload::Line;
use super::writer::Sink;
use anyhow::Context;
use gateway_core::accounting::line;
use gateway_core::accounting::recent::Recent;
use gateway_core::accounting::record::Record;
use gateway_core::config::FileSink;
use gateway_core::radius::Dictionary;
use gateway_core::time::Timestamp;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NAME: &str = "accounting.jsonl";
/// What is read of old files at the start, in octets: records and sessions beyond are not known again.
const TAIL: u64 = 64 << 20;

/// The files of the sink.
pub struct Files {
    sink: FileSink,
    dictionary: Arc<Dictionary>,
    file: File,
    /// What is durable of the file.
    length: u64,
    begun: Timestamp,
    /// The file may hold more than what is durable.
    broken: bool,
    buffer: Vec<u8>,
    _lock: File,
}

/// The sink as it is found at the start.
pub struct Opened {
    files: Files,
    recent: Recent,
    /// The newest lines, the oldest first.
    pub tail: Vec<Line>,
    /// The end of the file could not be read and was put aside.
    pub damaged: bool,
}

impl Opened {
    /// The sink, and the records that it has.
    pub fn ready(self) -> (Files, Recent) {
        (self.files, self.recent)
    }
}

impl Files {
    /// Opens the folder, mends the newest file and reads what is needed of the old ones.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, or another process uses it.
    pub fn open(sink: FileSink, records: usize, dictionary: Arc<Dictionary>, now: Timestamp) -> anyhow::Result<Opened> {
        let folder = sink.folder.clone();
        let place = || format!("accounting.folder {}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(place)?;
        let lock = lock(&folder).with_context(place)?;
        let path = folder.join(NAME);
        let mut file = append(&path).with_context(place)?;
        let mut tails = Vec::new();
        let (newest, damaged) = mend(&mut file, &folder, now).with_context(place)?;
        // What a process before this one wrote may be in the page cache alone; it will be answered for as a duplicate.
        file.sync_data().and_then(|()| sync_folder(&folder)).with_context(place)?;
        let length = file.metadata().with_context(place)?.len();
        let begun = newest.first().map_or(now, |line| line.received);
        let mut left = TAIL.saturating_sub(length);
        tails.push(newest);
        for old in closed(&folder).with_context(place)?.iter().rev() {
            if left == 0 {
                break;
            }
            let mut old = File::open(old).with_context(place)?;
            old.sync_data().with_context(place)?;
            let (text, _) = tail(&mut old, left).with_context(place)?;
            left = left.saturating_sub(text.len() as u64);
            tails.push(text.split(|octet| *octet == b'\n').filter_map(Line::read).collect());
        }
        let tail: Vec<Line> = tails.into_iter().rev().flatten().collect();
        let mut recent = Recent::new(records);
        for line in &tail {
            recent.add(line.id, line.octets, line.received);
        }
        let buffer = Vec::new();
        let files = Self { sink, dictionary, file, length, begun, broken: false, buffer, _lock: lock };
        Ok(Opened { files, recent, tail, damaged })
    }

    fn put(&mut self, now: Timestamp) -> io::Result<()> {
        self.restore()?;
        if self.length > 0 {
            let old = now.since(self.begun) >= self.sink.rotate_after;
            if old || self.length.saturating_add(self.buffer.len() as u64) > self.sink.rotate_size {
                self.rotate(now)?;
            }
        }
        if self.length == 0 {
            self.begun = now;
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.broken = true;
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()?;
        self.broken = false;
        self.length = self.length.saturating_add(self.buffer.len() as u64);
        Ok(())
    }

    /// Cuts the file to what is durable.
    fn restore(&mut self) -> io::Result<()> {
        if self.broken {
            self.file.set_len(self.length)?;
            self.file.sync_all()?;
            self.broken = false;
        }
        Ok(())
    }

    /// Closes the file under the name of the time, and begins the next one.
    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let folder = &self.sink.folder;
        let mut serial = 0;
        let closed_as = loop {
            let path = folder.join(format!("accounting-{:012}-{serial:04}.jsonl", now.as_secs()));
            if !path.try_exists()? {
                break path;
            }
            serial += 1;
        };
        // A step that failed before may have left no file of this name.
        if folder.join(NAME).try_exists()? {
            fs::rename(folder.join(NAME), closed_as)?;
        }
        let file = append(&folder.join(NAME))?;
        // Only a file whose name is durable is written to; until then all of this is tried again.
        sync_folder(folder)?;
        (self.file, self.length) = (file, 0);
        if self.sink.retain > 0 {
            let files = closed(folder)?;
            let gone = files.len().saturating_sub(self.sink.retain);
            files.iter().take(gone).try_for_each(fs::remove_file)?;
        }
        Ok(())
    }
}

impl Sink for Files {
    fn name(&self) -> &'static str {
        "file"
    }

    fn gather(&mut self, entry: &Entry, record: &Record<'_>) {
        line::write(&mut self.buffer, record, &entry.client.name, entry.peer, entry.received, &self.dictionary);
    }

    fn commit(&mut self, now: Timestamp) -> io::Result<()> {
        let outcome = self.put(now);
        self.buffer.clear();
        if outcome.is_err() {
            // At once, so that a reader of the file does not see what was not answered; if it fails, it is tried before
            // the next write.
            let _ = self.restore();
        }
        outcome
    }

    fn rest(&mut self, now: Timestamp) -> io::Result<()> {
        self.put(now)
    }
}

/// Holds the folder against other processes.
pub(super) fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
    lock.try_lock().map_err(|error| anyhow::anyhow!("{error}: another process uses it; give each node its own"))?;
    Ok(lock)
}

/// Opens a file to append to it.
pub(super) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)
}

/// Makes names of files durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The closed files, the oldest first.
fn closed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("accounting-") && name.ends_with(".jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The last whole lines of a file, at most `most` octets, and where they begin.
fn tail(file: &mut File, most: u64) -> io::Result<(Vec<u8>, u64)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(most);
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.take(most).read_to_end(&mut text)?;
    if from == 0 {
        return Ok((text, 0));
    }
    // The first one is half a line.
    let skip = text.iter().position(|octet| *octet == b'\n').map_or(text.len(), |at| at + 1);
    text.drain(..skip);
    Ok((text, from.saturating_add(skip as u64)))
}

/// Reads the end of the newest file, and cuts off what is no record. What stands in front of a record was there before it, and
/// stays: it is damage of the disk, and not the trace of a crash.
fn mend(file: &mut File, folder: &Path, now: Timestamp) -> io::Result<(Vec<Line>, bool)> {
    let (text, begin) = tail(file, TAIL)?;
    let mut lines = Vec::new();
    let (mut at, mut good, mut bad) = (0, 0, 0_usize);
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        at += line.len();
        match line.strip_suffix(b"\n").and_then(Line::read) {
            Some(read) => {
                lines.push(read);
                good = at;
            }
            None => bad += 1,
        }
    }
    let rest = text.get(good..).unwrap_or_default();
    if bad == 0 {
        return Ok((lines, false));
    }
    if !rest.is_empty() {
        let aside = folder.join(format!("accounting-{:012}.damaged", now.as_secs()));
        let mut copy = append(&aside)?;
        copy.write_all(rest)?;
        copy.sync_all()?;
        file.set_len(begin.saturating_add(good as u64))?;
        file.sync_all()?;
    }
    tracing::warn!(
        bad,
        put_aside = rest.len(),
        "lines of accounting.jsonl are no records: those at its end, as after a crash, were put aside beside it"
    );
    Ok((lines, true))
}
