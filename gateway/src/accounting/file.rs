//! The sink `file`: `accounting.jsonl`, appended to and synced, and the files before it ([`durable`]).

use super::entry::Entry;
use super::reload::Line;
use super::writer::Sink;
use crate::durable::{self, Opened};
use gateway_core::accounting::line;
use gateway_core::accounting::recent::Recent;
use gateway_core::accounting::record::Record;
use gateway_core::config::FileSink;
use gateway_core::radius::Dictionary;
use gateway_core::time::Timestamp;
use std::io;
use std::sync::Arc;

/// What is read of old files at the start, in octets: records and sessions beyond are not known again.
const TAIL: u64 = 64 << 20;

/// The files of the sink.
pub struct Files {
    files: durable::Files,
    dictionary: Arc<Dictionary>,
    buffer: Vec<u8>,
}

impl Files {
    /// Opens the folder, mends the newest file and reads what is needed of the old ones: the sink, the records that it has, the newest
    /// lines with the oldest first, and whether the end of the file was put aside.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, or another process uses it.
    pub fn open(
        sink: FileSink,
        records: usize,
        dictionary: Arc<Dictionary>,
        now: Timestamp,
    ) -> anyhow::Result<(Self, Recent, Vec<Line>, bool)> {
        let Opened { files, tail, damaged } = durable::Files::open::<Line>("accounting", sink, TAIL, now)?;
        let mut recent = Recent::new(records);
        for line in &tail {
            recent.add(line.id, line.octets, line.received);
        }
        Ok((Self { files, dictionary, buffer: Vec::new() }, recent, tail, damaged))
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
        let outcome = self.files.put(&self.buffer, now);
        self.buffer.clear();
        outcome
    }

    fn rest(&mut self, now: Timestamp) -> io::Result<()> {
        self.files.put(&[], now)
    }
}
