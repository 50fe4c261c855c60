//! The files of the audit and their chain: the key that seals it, and the head in `state_dir` that shows what was cut off.

use crate::clock::OsEntropy;
use crate::durable::{self, Opened, ReadLine};
use anyhow::{Context, anyhow};
use gateway_core::audit::chain::{Sealed, read_head};
use gateway_core::audit::{Chain, Entry, Key, Link};
use gateway_core::config::{Audit, Config};
use gateway_core::entropy::draw;
use gateway_core::secret::Secret;
use gateway_core::time::Timestamp;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The files: `audit.jsonl` and those before it.
pub const NAME: &str = "audit";
/// The key of a node without a cluster key, in `state_dir`.
const KEY: &str = "audit-key";
/// The head, in `state_dir`.
pub const HEAD: &str = "audit-head";
/// What is read of old files at the start, in octets: the last line, which is one of them.
const TAIL: u64 = 1 << 20;

/// The name of a line that was read.
struct Last(Link);

impl ReadLine for Last {
    fn read(text: &[u8]) -> Option<Self> {
        Sealed::read(text).map(|sealed| Self(sealed.link))
    }

    fn received(&self) -> Option<Timestamp> {
        None
    }
}

/// The keys that may have sealed lines, that in force first. `make`: a node without a cluster key makes one of its own, once.
///
/// # Errors
///
/// The file of the key cannot be used.
pub fn keys(config: &Config, make: bool) -> anyhow::Result<Vec<Key>> {
    let cluster = [&config.cluster.key, &config.cluster.second_key];
    let mut keys: Vec<Key> = cluster.into_iter().flatten().map(Key::of).collect();
    let path = config.state_dir.join(KEY);
    let own = match fs::read(&path) {
        Ok(octets) => Some(octets),
        Err(error) if error.kind() == io::ErrorKind::NotFound && make && keys.is_empty() => Some(make_key(&path)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(anyhow!("{}: {error}", path.display())),
    };
    if let Some(octets) = own {
        if octets.len() < 32 {
            return Err(anyhow!("{}: it is no key of 32 octets: put back what it held", path.display()));
        }
        keys.push(Key::of(&Secret::new(octets)));
    }
    Ok(keys)
}

fn make_key(path: &Path) -> anyhow::Result<Vec<u8>> {
    let octets = draw::<32>(&mut OsEntropy::new()).to_vec();
    durable::replace(path, &octets).with_context(|| format!("the key of the audit, {}", path.display()))?;
    Ok(octets)
}

/// The last line as `state_dir` tells it; `None` where it tells of none.
///
/// # Errors
///
/// It tells of one that cannot be believed.
pub fn head(config: &Config, keys: &[Key]) -> anyhow::Result<Option<Link>> {
    let path = config.state_dir.join(HEAD);
    match fs::read_to_string(&path) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => match read_head(keys, &text) {
            Some(link) => Ok(Some(link)),
            None => Err(anyhow!(
                "{}: it was changed, or was written under a key that is not known: whether lines were cut off cannot be told",
                path.display()
            )),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(anyhow!("{}: {error}", path.display())),
    }
}

/// The files with their chain.
pub struct Chained {
    files: durable::Files,
    chain: Chain,
    head: File,
    buffer: Vec<u8>,
    /// The last line that is durable.
    durable: Link,
}

/// The first and the last of lines that are missing.
pub type Cut = Option<(u64, u64)>;

impl Chained {
    /// Opens the files, and finds what was cut off at their end while no node ran.
    ///
    /// # Errors
    ///
    /// A folder cannot be used: which, and what to do.
    pub fn open(audit: &Audit, config: &Config, keys: &[Key], now: Timestamp) -> anyhow::Result<(Self, Cut)> {
        let Opened { files, tail, .. } = durable::Files::open::<Last>(NAME, audit.file.clone(), TAIL, now)?;
        let last = tail.last().map_or(Link::BEGINNING, |Last(link)| *link);
        let head = head(config, keys).unwrap_or_else(|error| {
            tracing::error!("the audit: {error:#}");
            None
        });
        let key = keys.first().cloned().context("there is no key for the audit")?;
        let cut =
            head.filter(|head| head.number > last.number).map(|head| (last.number.saturating_add(1), head.number));
        if let Some((from, to)) = cut {
            tracing::error!(
                from,
                to,
                "the audit: lines were cut off its end while this node did not run: look for who did it"
            );
        }
        // Their numbers are not given again, so that the gap shows.
        let number = cut.map_or(last.number, |(_, to)| to);
        let chain = Chain::new(key, &config.cluster.node_id, Link { number, ..last });
        let path = config.state_dir.join(HEAD);
        let head = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let head = head.with_context(|| path.display().to_string())?;
        let durable = chain.last();
        Ok((Self { files, chain, head, buffer: Vec::new(), durable }, cut))
    }

    /// Adds a line to the group that is being gathered, in memory.
    pub fn gather(&mut self, entry: &Entry) {
        self.chain.add(&mut self.buffer, entry);
    }

    /// Makes the group durable, or leaves nothing of it behind, and hands it to `written`. Gathering begins anew either way.
    ///
    /// # Errors
    ///
    /// Nothing of the group may be answered.
    pub fn commit(&mut self, now: Timestamp, mut written: impl FnMut(&[u8])) -> io::Result<()> {
        let outcome = self.files.put(&self.buffer, now);
        if outcome.is_ok() {
            if self.durable != self.chain.last() {
                self.durable = self.chain.last();
                // It is never ahead of what is durable, and a crash that leaves it behind does no harm.
                if let Err(error) = self.head.write_all_at(self.chain.head().as_bytes(), 0) {
                    tracing::warn!(%error, "audit-head in state_dir cannot be written: what is cut off the audit would not show");
                }
            }
            self.buffer.split_inclusive(|octet| *octet == b'\n').for_each(&mut written);
        } else {
            self.chain.go_back(self.durable);
        }
        self.buffer.clear();
        outcome
    }
}
