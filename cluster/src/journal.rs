//! The durable memory of used codes: a file of lines in `state_dir`, appended and synced before an accept is spoken.
//!
//! ```text
//! orthrus used-codes 1 <since, µs> <names>
//! <token, hex> <moving factor> <forget, µs or -> <user, hex> <check, hex>
//! ```
//!
//! One thread writes: it takes what has piled up, writes it at once and calls `fdatasync` once for all of it. After each call
//! it rests for a moment, so that a busy node pays for hundreds of calls a second and not for tens of thousands; a code
//! that comes after the rest is written at once. A line
//! without its line end was never acknowledged and is cut off. Any other damage means that codes may be missing: the memory
//! then counts as beginning now, and codes that could have been used before are refused. The same holds where users are
//! called otherwise than before: `names` is the fingerprint of the rules by which names are read.

use gateway_core::factor::{CodeUse, TokenId};
use gateway_core::time::Timestamp;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const NAME: &str = "used-codes";
const TITLE: &str = "orthrus used-codes 1 ";
/// Lines that one `fdatasync` covers at most: what piles up during a sync is far less.
const GROUP: usize = 4096;
/// The rest between two calls of `fdatasync`: a call costs tens of microseconds of a core, and nobody who types a code feels
/// a millisecond.
const REST: Duration = Duration::from_millis(1);
/// A write that takes longer than this, in milliseconds, counts as failing.
const HANGS: u64 = 2_000;
/// While writes fail, the disk is tried this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The file is written anew when it is this long and most of it is history.
const COMPACT_AT: u64 = 16 << 20;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, read or written.
    #[error("{path}: {error}; state_dir must be a folder that this process may write, on a disk with room")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process holds it.
    #[error("{path}: another process uses this state_dir; give each node its own")]
    Locked {
        /// The file.
        path: PathBuf,
    },
}

type Used = HashMap<(Arc<str>, TokenId), (u64, Option<Timestamp>)>;
type Durable = oneshot::Receiver<Result<(), ()>>;

struct Entry {
    user: Arc<str>,
    code: CodeUse,
    done: oneshot::Sender<Result<(), ()>>,
}

/// An open journal. Dropping it writes what is queued and ends the thread.
pub struct Journal {
    since: Timestamp,
    remembered: Vec<(Arc<str>, CodeUse)>,
    queue: Option<mpsc::Sender<Entry>>,
    writer: Option<JoinHandle<()>>,
    failing: Arc<Failing>,
}

/// Whether codes get to the disk.
#[derive(Default)]
struct Failing {
    /// The last write failed.
    failed: AtomicBool,
    /// When the write that is under way began, in milliseconds since `start`, plus one; 0: none is.
    busy: AtomicU64,
    start: OnceLock<Instant>,
}

impl Failing {
    fn millis(&self) -> u64 {
        let start = self.start.get_or_init(Instant::now);
        u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// A disk that hangs is worse than one that says no.
    fn is_failing(&self) -> bool {
        let busy = self.busy.load(Ordering::Relaxed);
        let hangs = busy != 0 && self.millis().saturating_sub(busy) > HANGS;
        self.failed.load(Ordering::Relaxed) || hangs
    }
}

impl Journal {
    /// Opens or creates the journal in `state_dir`, drops what may be forgotten by `now`, and starts its thread.
    ///
    /// # Errors
    ///
    /// The folder or file cannot be used, or another process uses it.
    pub fn open(state_dir: &Path, names: &str, now: Timestamp) -> Result<Self, JournalError> {
        let path = state_dir.join(NAME);
        let failed = |error| JournalError::Io { path: path.clone(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(failed)?;
        // The lock is a file of its own, because the journal is replaced when it is compacted.
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(state_dir.join("lock"))
            .map_err(failed)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => JournalError::Locked { path: path.clone() },
            TryLockError::Error(error) => failed(error),
        })?;

        let (since, mut used, damage) = match read(&path, names) {
            Ok(Some(contents)) => contents,
            Ok(None) => (now, Used::new(), None),
            Err(error) => return Err(failed(error)),
        };
        let since = match damage {
            None => since,
            Some(line) => {
                tracing::error!(
                    path = %path.display(),
                    line,
                    "the memory of used codes is damaged, or users are named by other rules of [identity] than before: codes of time steps already begun are refused, and \
                     counter-based tokens must be enrolled again"
                );
                now
            }
        };
        if since > now {
            tracing::error!(
                path = %path.display(),
                "the memory of used codes begins in the future: the clock was or is wrong. Codes are refused until that \
                 time has come; set the clock"
            );
        }
        used.retain(|_, (_, forget)| forget.is_none_or(|forget| now < forget));
        let remembered = used.iter().map(|((user, token), (factor, forget))| {
            (user.clone(), CodeUse { token: *token, factor: *factor, forget: *forget })
        });
        let remembered = remembered.collect();

        let mut writer =
            Writer { path: path.clone(), since, names: names.to_owned(), used, file: None, length: 0, _lock: lock };
        writer.rewrite().map_err(failed)?;
        Self::start(writer, remembered)
    }

    fn start(writer: Writer, remembered: Vec<(Arc<str>, CodeUse)>) -> Result<Self, JournalError> {
        let (since, path) = (writer.since, writer.path.clone());
        let failing = Arc::new(Failing::default());
        let (queue, entries) = mpsc::channel::<Entry>();
        let flag = failing.clone();
        let thread = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run(&entries, &flag));
        let writer = Some(thread.map_err(|error| JournalError::Io { path, error })?);
        Ok(Self { since, remembered, queue: Some(queue), writer, failing })
    }

    /// One whose disk refuses every write until the folder `used-codes.new` is gone.
    #[cfg(test)]
    pub(crate) fn broken(state_dir: &Path) -> Self {
        let path = state_dir.join(NAME);
        fs::write(&path, "").expect("the folder is ours");
        fs::create_dir(path.with_extension("new")).expect("the folder is ours");
        let file = Some(File::open(&path).expect("it was just written"));
        let lock = File::open(&path).expect("it was just written");
        let (since, names) = (Timestamp::default(), String::new());
        let writer = Writer { path, since, names, used: Used::new(), file, length: 0, _lock: lock };
        Self::start(writer, vec![]).expect("a thread")
    }

    /// Begins the memory at `now` if there is none in `state_dir` yet. For whoever enrols tokens before the first start.
    ///
    /// # Errors
    ///
    /// The folder or file cannot be used.
    pub fn begin(state_dir: &Path, names: &str, now: Timestamp) -> Result<(), JournalError> {
        if state_dir.join(NAME).exists() {
            return Ok(());
        }
        match Self::open(state_dir, names, now) {
            // A gateway is just starting there, and begins it itself.
            Ok(_) | Err(JournalError::Locked { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Since when the memory is complete.
    pub fn since(&self) -> Timestamp {
        self.since
    }

    /// What was remembered when the journal was opened.
    pub fn remembered(&self) -> Vec<(Arc<str>, CodeUse)> {
        self.remembered.clone()
    }

    /// Whether the last write failed, or the one under way takes too long.
    pub fn is_failing(&self) -> bool {
        self.failing.is_failing()
    }

    /// Writes that `code` was used; the receiver hears when it is on the disk, or that it is not. The queue is bounded by the
    /// permits of the requests that wait for it.
    pub fn write(&self, user: Arc<str>, code: CodeUse) -> Durable {
        let (done, durable) = oneshot::channel();
        if let Some(queue) = &self.queue {
            // A thread that died drops the sender, which the receiver takes for a failure.
            if queue.send(Entry { user, code, done }).is_err() {
                self.failing.failed.store(true, Ordering::Relaxed);
            }
        }
        durable
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

struct Writer {
    path: PathBuf,
    since: Timestamp,
    names: String,
    used: Used,
    file: Option<File>,
    /// Octets in the file, to know when it is worth writing anew.
    length: u64,
    _lock: File,
}

impl Writer {
    fn run(mut self, entries: &mpsc::Receiver<Entry>, failing: &Failing) {
        let mut rested = Instant::now();
        loop {
            let first = match entries.recv_timeout(LOOK_AGAIN) {
                Ok(first) => first,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    // Nobody may come while this node is not ready, so the disk is tried without them.
                    if failing.failed.load(Ordering::Relaxed) {
                        failing.failed.store(self.rewrite().is_err(), Ordering::Relaxed);
                    }
                    continue;
                }
            };
            // Nothing wakes this thread meanwhile: what comes waits in the queue.
            std::thread::park_timeout(rested.saturating_duration_since(Instant::now()));
            let group: Vec<Entry> = [first].into_iter().chain(entries.try_iter().take(GROUP)).collect();
            failing.busy.store(failing.millis(), Ordering::Relaxed);
            let written = self.append(&group);
            failing.busy.store(0, Ordering::Relaxed);
            rested = Instant::now() + REST;
            failing.failed.store(written.is_err(), Ordering::Relaxed);
            if let Err(error) = &written {
                tracing::error!(path = %self.path.display(), %error, "a used code could not be written: sign-ins that \
                    need a code stay unanswered until the disk takes it");
            }
            for entry in group {
                let _ = entry.done.send(written.as_ref().copied().map_err(|_| ()));
            }
        }
    }

    fn append(&mut self, group: &[Entry]) -> io::Result<()> {
        let mut lines = String::new();
        for Entry { user, code, .. } in group {
            line(&mut lines, user, code.token, code.factor, code.forget);
        }
        if self.file.is_none() {
            self.rewrite()?;
        }
        let file = self.file.as_mut().ok_or(io::ErrorKind::NotFound)?;
        let outcome = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
        match outcome {
            Ok(()) => self.length += lines.len() as u64,
            Err(error) => {
                // What reached the file is of unknown extent; after an error of fdatasync even its cache is. Begin anew
                // from memory next time.
                self.file = None;
                return Err(error);
            }
        }
        for Entry { user, code, .. } in group {
            self.used.insert((user.clone(), code.token), (code.factor, code.forget));
        }
        if self.length > COMPACT_AT && self.length > 400 * self.used.len() as u64 {
            // History outweighs memory. What is written is written; but where the new file stands by now nobody knows after an
            // error, so the next group begins with another one.
            if self.rewrite().is_err() {
                self.file = None;
            }
        }
        Ok(())
    }

    /// Writes everything that is remembered into a new file and puts it in place of the old one.
    fn rewrite(&mut self) -> io::Result<()> {
        let mut text = format!("{TITLE}{} {}\n", self.since.as_micros(), self.names);
        for ((user, token), (factor, forget)) in &self.used {
            line(&mut text, user, *token, *factor, *forget);
        }
        let fresh = self.path.with_extension("new");
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        if let Some(dir) = self.path.parent() {
            File::open(dir)?.sync_all()?;
        }
        file.seek(SeekFrom::End(0))?;
        self.length = text.len() as u64;
        self.file = Some(file);
        Ok(())
    }
}

fn line(out: &mut String, user: &str, token: TokenId, factor: u64, forget: Option<Timestamp>) {
    let start = out.len();
    hex(out, &token.0);
    let _ = write!(out, " {factor} ");
    let _ = match forget {
        Some(forget) => write!(out, "{} ", forget.as_micros()),
        None => write!(out, "- "),
    };
    hex(out, user.as_bytes());
    let check = out.get(start..).map_or(0, |line| check(line.as_bytes()));
    out.push(' ');
    hex(out, &check.to_be_bytes());
    out.push('\n');
}

fn hex(out: &mut String, octets: &[u8]) {
    for nibble in octets.iter().flat_map(|octet| [octet >> 4, octet & 15]) {
        out.push(char::from(nibble + if nibble < 10 { b'0' } else { b'a' - 10 }));
    }
}

/// FNV-1a: finds a flipped bit, which is all it is for; whoever may write the file needs to break nothing.
fn check(octets: &[u8]) -> u32 {
    octets.iter().fold(0x811c_9dc5, |hash, octet| (hash ^ u32::from(*octet)).wrapping_mul(0x0100_0193))
}

type Contents = (Timestamp, Used, Option<usize>);

/// The file's contents, and the first line that is damaged; `None` if there is no file.
fn read(path: &Path, names: &str) -> io::Result<Option<Contents>> {
    let mut text = String::new();
    match File::open(path) {
        Ok(mut file) => {
            let mut octets = Vec::new();
            file.read_to_end(&mut octets)?;
            text.push_str(&String::from_utf8_lossy(&octets));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let mut used = Used::new();
    let complete = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
    let mut lines = complete.lines();
    let title = lines.next().and_then(|line| line.strip_prefix(TITLE)?.split_once(' '));
    let since =
        title.filter(|(_, of)| *of == names).and_then(|(since, _)| since.parse().ok().map(Timestamp::from_micros));
    let mut damage = if since.is_none() { Some(1) } else { None };
    for (at, text) in lines.enumerate() {
        match parse(text) {
            Some((user, CodeUse { token, factor, forget })) => {
                let kept = used.entry((user, token)).or_insert((factor, forget));
                *kept = (kept.0.max(factor), forget);
            }
            None => damage = damage.or(Some(at + 2)),
        }
    }
    Ok(Some((since.unwrap_or_default(), used, damage)))
}

fn parse(line: &str) -> Option<(Arc<str>, CodeUse)> {
    let (body, sum) = line.rsplit_once(' ')?;
    if check(body.as_bytes()) != u32::from_str_radix(sum, 16).ok()? {
        return None;
    }
    let mut fields = body.split(' ');
    let (token, factor, forget, user) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let forget = match forget {
        "-" => None,
        micros => Some(Timestamp::from_micros(micros.parse().ok()?)),
    };
    let user = String::from_utf8(unhex(user)?).ok()?;
    let token = TokenId(unhex(token)?.try_into().ok()?);
    Some((user.into(), CodeUse { token, factor: factor.parse().ok()?, forget }))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "0011223344556677";

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn code(token: u8, factor: u64, forget: Option<u64>) -> CodeUse {
        CodeUse { token: TokenId([token; 16]), factor, forget: forget.map(at) }
    }

    fn write(journal: &Journal, user: &str, code: CodeUse) {
        journal.write(user.into(), code).blocking_recv().unwrap().unwrap();
    }

    fn remembered(journal: &Journal) -> Vec<(String, u8, u64)> {
        let mut list: Vec<_> =
            journal.remembered().into_iter().map(|(user, c)| (user.to_string(), c.token.0[0], c.factor)).collect();
        list.sort();
        list
    }

    #[test]
    fn what_was_acknowledged_is_there_again_and_what_is_over_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), NAMES, at(5)).unwrap();
        write(&journal, "alice@corp example", code(1, 40, Some(100)));
        write(&journal, "alice@corp example", code(1, 41, Some(130)));
        write(&journal, "bob", code(2, 7, None));
        drop(journal);
        let journal = Journal::open(dir.path(), NAMES, at(99)).unwrap();
        assert_eq!(remembered(&journal), [("alice@corp example".into(), 1, 41), ("bob".into(), 2, 7)]);
        assert_eq!(journal.since(), at(5));
        drop(journal);
        let journal = Journal::open(dir.path(), NAMES, at(130)).unwrap();
        assert_eq!(remembered(&journal), [("bob".into(), 2, 7)]);
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let _journal = Journal::open(dir.path(), NAMES, at(5)).unwrap();
        assert!(matches!(Journal::open(dir.path(), NAMES, at(5)), Err(JournalError::Locked { .. })));
    }

    #[test]
    fn a_torn_last_line_was_never_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), NAMES, at(5)).unwrap();
        write(&journal, "bob", code(2, 7, None));
        drop(journal);
        let path = dir.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, [&whole[..], b"0202"].concat()).unwrap();
        let journal = Journal::open(dir.path(), NAMES, at(6)).unwrap();
        assert_eq!((remembered(&journal), journal.since()), (vec![("bob".into(), 2, 7)], at(5)));
    }

    #[test]
    fn any_flipped_octet_begins_the_memory_anew() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), NAMES, at(5)).unwrap();
        write(&journal, "bob", code(2, 7, None));
        write(&journal, "eve", code(3, 8, None));
        drop(journal);
        let path = dir.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        let second = whole.iter().position(|octet| *octet == b'\n').unwrap() + 1;
        for flip in [0, second, second + 33, second + 40] {
            let mut damaged = whole.clone();
            damaged[flip] ^= 0x04;
            fs::write(&path, damaged).unwrap();
            assert_eq!(Journal::open(dir.path(), NAMES, at(60)).unwrap().since(), at(60), "octet {flip}");
        }
    }

    #[test]
    fn other_rules_for_names_begin_the_memory_anew() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), NAMES, at(5)).unwrap();
        write(&journal, "bob", code(2, 7, None));
        drop(journal);
        assert_eq!(Journal::open(dir.path(), "ffeeddccbbaa9988", at(60)).unwrap().since(), at(60));
        assert_eq!(Journal::open(dir.path(), "ffeeddccbbaa9988", at(70)).unwrap().since(), at(60), "once");
    }

    #[test]
    fn a_disk_that_comes_back_is_found_without_a_sign_in() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), NAMES, at(5)).unwrap();
        // A folder in the way of the file that replaces the journal makes every rewrite fail, also for root.
        let way = dir.path().join("used-codes.new");
        fs::create_dir(&way).unwrap();
        journal.failing.failed.store(true, Ordering::Relaxed);
        std::thread::park_timeout(LOOK_AGAIN * 2);
        assert!(journal.is_failing());
        fs::remove_dir(&way).unwrap();
        for _ in 0..100 {
            std::thread::park_timeout(Duration::from_millis(100));
            if !journal.is_failing() {
                return;
            }
        }
        panic!("still failing");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let error = Journal::open(Path::new("/proc/orthrus"), NAMES, at(5)).err().unwrap();
        assert!(error.to_string().contains("/proc/orthrus"), "{error}");
    }
}
