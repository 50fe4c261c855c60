//! Files of lines that are appended to and synced: those of accounting and of the audit.
//!
//! What was answered is in front of what was not: each group is synced before its answers, so that damage at the end of a file
//! (half a line after a crash, blocks that a power cut left empty) holds nothing that was answered. It is cut off at the
//! start, and kept beside under another name. A write that fails is taken back: the file is cut to what is durable before
//! anything else is written to it.

use anyhow::Context;
use gateway_core::config::FileSink;
use gateway_core::time::Timestamp;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// While a disk fails, this often a line says so.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// A line that can be read again.
pub trait ReadLine: Sized {
    /// Reads a line without its end; `None` if it is none.
    fn read(text: &[u8]) -> Option<Self>;

    /// When it was written, where it tells.
    fn received(&self) -> Option<Timestamp>;
}

/// Puts a file of these octets in place of the one that is there, whole or not at all, for its owner's eyes only. One caller at a time
/// for each path.
///
/// # Errors
///
/// The disk does not take it: the file is as it was.
pub fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(fresh, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// The files of one kind in one folder: `NAME.jsonl`, and those before it.
pub struct Files {
    name: &'static str,
    sink: FileSink,
    file: File,
    /// What is durable of the file.
    length: u64,
    begun: Timestamp,
    /// The file may hold more than what is durable.
    broken: bool,
    _lock: File,
}

/// The files as they are found at the start.
pub struct Opened<L> {
    /// They, ready to be appended to.
    pub files: Files,
    /// The newest lines, the oldest first.
    pub tail: Vec<L>,
    /// The end of the file could not be read and was put aside.
    pub damaged: bool,
}

impl Files {
    /// Opens the folder of `sink`, mends the newest file and reads the last `most` octets of them all. Files are called `name`.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, or another process uses it.
    pub fn open<L: ReadLine>(
        name: &'static str,
        sink: FileSink,
        most: u64,
        now: Timestamp,
    ) -> anyhow::Result<Opened<L>> {
        let folder = sink.folder.clone();
        let place = || format!("{name}.folder {}", folder.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).with_context(place)?;
        let lock = lock(&folder).with_context(place)?;
        let mut file = append(&newest(&folder, name)).with_context(place)?;
        let mut tails = Vec::new();
        let (newest, damaged) = mend(&mut file, name, &folder, most, now).with_context(place)?;
        // What a process before this one wrote may be in the page cache alone; it will be answered for as a duplicate.
        file.sync_data().and_then(|()| sync_folder(&folder)).with_context(place)?;
        let length = file.metadata().with_context(place)?.len();
        let begun = newest.first().and_then(L::received).unwrap_or(now);
        let mut left = most.saturating_sub(length);
        tails.push(newest);
        for old in closed(&folder, name).with_context(place)?.iter().rev() {
            if left == 0 {
                break;
            }
            let mut old = File::open(old).with_context(place)?;
            old.sync_data().with_context(place)?;
            let (text, _) = tail(&mut old, left).with_context(place)?;
            left = left.saturating_sub(text.len() as u64);
            tails.push(text.split(|octet| *octet == b'\n').filter_map(L::read).collect());
        }
        let tail = tails.into_iter().rev().flatten().collect();
        let files = Self { name, sink, file, length, begun, broken: false, _lock: lock };
        Ok(Opened { files, tail, damaged })
    }

    /// Appends `lines` and makes them durable, or leaves nothing of them behind. Nothing to append: makes durable what it can.
    ///
    /// # Errors
    ///
    /// Nothing of it may be answered.
    pub fn put(&mut self, lines: &[u8], now: Timestamp) -> io::Result<()> {
        let outcome = self.try_put(lines, now);
        if outcome.is_err() {
            // At once, so that a reader of the file does not see what was not answered; if it fails, it is tried before
            // the next write.
            let _ = self.restore();
        }
        outcome
    }

    fn try_put(&mut self, lines: &[u8], now: Timestamp) -> io::Result<()> {
        self.restore()?;
        if self.length > 0 {
            let old = now.since(self.begun) >= self.sink.rotate_after;
            if old || self.length.saturating_add(lines.len() as u64) > self.sink.rotate_size {
                self.rotate(now)?;
            }
        }
        if self.length == 0 {
            self.begun = now;
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.broken = true;
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.broken = false;
        self.length = self.length.saturating_add(lines.len() as u64);
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
        let (folder, name) = (&self.sink.folder, self.name);
        let mut serial = 0;
        let closed_as = loop {
            let path = folder.join(format!("{name}-{:012}-{serial:04}.jsonl", now.as_secs()));
            if !path.try_exists()? {
                break path;
            }
            serial += 1;
        };
        let newest = newest(folder, name);
        // A step that failed before may have left no file of this name.
        if newest.try_exists()? {
            fs::rename(&newest, closed_as)?;
        }
        let file = append(&newest)?;
        // Only a file whose name is durable is written to; until then all of this is tried again.
        sync_folder(folder)?;
        (self.file, self.length) = (file, 0);
        if self.sink.retain > 0 {
            let files = closed(folder, name)?;
            let gone = files.len().saturating_sub(self.sink.retain);
            files.iter().take(gone).try_for_each(fs::remove_file)?;
        }
        Ok(())
    }
}

/// Whether a disk fails, and when that was said last.
#[derive(Debug, Default)]
pub struct Failing {
    failing: bool,
    /// When it was last said that it fails, and whether it was said since that it works again.
    said: Option<(Timestamp, bool)>,
}

/// What is to be said of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// It fails.
    Fails,
    /// It works again.
    WorksAgain,
}

impl Failing {
    /// Takes note of a write: whether the disk began or ceased to fail, and what is to be said, once a minute at most.
    pub fn note(&mut self, failed: bool, now: Timestamp) -> (bool, Option<Say>) {
        let was = std::mem::replace(&mut self.failing, failed);
        let say = match self.said {
            Some((at, false)) if was && !failed => {
                self.said = Some((at, true));
                Some(Say::WorksAgain)
            }
            said if failed && said.is_none_or(|(at, _)| now.since(at) >= SAY_AGAIN) => {
                self.said = Some((now, false));
                Some(Say::Fails)
            }
            _ => None,
        };
        (was != failed, say)
    }
}

/// The file that is appended to.
pub fn newest(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.jsonl"))
}

/// Holds the folder against other processes.
///
/// # Errors
///
/// It cannot be written, or another process holds it.
pub fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
    lock.try_lock().map_err(|error| anyhow::anyhow!("{error}: another process uses it; give each node its own"))?;
    Ok(lock)
}

/// Opens a file to append to it.
///
/// # Errors
///
/// It cannot be opened.
pub fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)
}

/// Makes names of files durable.
///
/// # Errors
///
/// The disk does not take them.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The closed files, the oldest first.
///
/// # Errors
///
/// The folder cannot be read.
pub fn closed(folder: &Path, called: &str) -> io::Result<Vec<PathBuf>> {
    let prefix = format!("{called}-");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(&prefix) && name.ends_with(".jsonl") {
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
fn mend<L: ReadLine>(
    file: &mut File,
    name: &str,
    folder: &Path,
    most: u64,
    now: Timestamp,
) -> io::Result<(Vec<L>, bool)> {
    let (text, begin) = tail(file, most)?;
    let mut lines = Vec::new();
    let (mut at, mut good, mut bad) = (0, 0, 0_usize);
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        at += line.len();
        match line.strip_suffix(b"\n").and_then(L::read) {
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
        let aside = folder.join(format!("{name}-{:012}.damaged", now.as_secs()));
        let mut copy = append(&aside)?;
        copy.write_all(rest)?;
        copy.sync_all()?;
        file.set_len(begin.saturating_add(good as u64))?;
        file.sync_all()?;
    }
    tracing::warn!(
        bad,
        put_aside = rest.len(),
        "lines of {name}.jsonl cannot be read: those at its end, as after a crash, were put aside beside it"
    );
    Ok((lines, true))
}
