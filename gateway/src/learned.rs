//! Which sources have shown that they sign (Message-Authenticator), for clients with
//! `require_message_authenticator = "auto"`.
//!
//! What was learned is kept in `state_dir/signing-sources`, one address to a line, and is never unlearned by itself: an
//! attacker who strips the attribute must not be able to wait for it. An operator who replaces a NAS by one that cannot sign
//! removes its line and sends SIGHUP, or sets the client to `"no"`.

use crate::durable;
use gateway_core::exchange::admission::Source;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};

const NAME: &str = "signing-sources";

/// The sources that sign.
pub struct Learned {
    path: PathBuf,
    sources: RwLock<HashSet<IpAddr>>,
    limit: AtomicUsize,
    /// What is not in the file yet.
    unsaved: Mutex<HashSet<IpAddr>>,
    /// One writes at a time.
    writing: Mutex<()>,
}

/// What came of learning.
#[derive(Debug, PartialEq, Eq)]
pub enum Lesson {
    /// It was known.
    Known,
    /// It is known from now on.
    New,
    /// As many are known as `limits.learned_sources` allows.
    Full,
}

impl Learned {
    /// What was learned before.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read, or holds something else: a source that was learned must not be forgotten.
    pub fn load(state_dir: &Path, limit: usize) -> io::Result<Self> {
        let path = state_dir.join(NAME);
        let sources = RwLock::new(read(&path)?);
        Ok(Self { path, sources, limit: AtomicUsize::new(limit), unsaved: Mutex::default(), writing: Mutex::default() })
    }

    /// Reads the file again, for an operator who has edited it.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load); what is known stays.
    pub fn reload(&self, limit: usize) -> io::Result<()> {
        let mut sources = read(&self.path)?;
        sources.extend(self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).iter());
        *self.sources.write().unwrap_or_else(PoisonError::into_inner) = sources;
        self.limit.store(limit, Ordering::Relaxed);
        Ok(())
    }

    /// Whether `source` signs.
    pub fn signs(&self, source: IpAddr) -> bool {
        self.sources.read().unwrap_or_else(PoisonError::into_inner).contains(&source)
    }

    /// What admission wants to know of `source`.
    pub fn source(&self, source: IpAddr, secret: usize) -> Source {
        Source { signs: self.signs(source), secret }
    }

    /// `source` has sent a right Message-Authenticator. It counts from now on; [`persist`](Self::persist) writes it down.
    pub fn learn(&self, source: IpAddr) -> Lesson {
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        if sources.contains(&source) {
            return Lesson::Known;
        }
        if sources.len() >= self.limit.load(Ordering::Relaxed) {
            return Lesson::Full;
        }
        sources.insert(source);
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).insert(source);
        Lesson::New
    }

    /// Writes down what was learned since the last time: a new file in place of the old one. It blocks on the disk, so it is
    /// called where that holds up nobody: after each lesson, and once a second in case that failed.
    ///
    /// # Errors
    ///
    /// The file cannot be written; the next call tries again.
    pub fn persist(&self) -> io::Result<()> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let unsaved = self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if unsaved.is_empty() {
            return Ok(());
        }
        let mut sources: Vec<IpAddr> =
            self.sources.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        sources.sort_unstable();
        let text: String = sources.iter().map(|source| format!("{source}\n")).collect();
        durable::replace(&self.path, text.as_bytes())?;
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner).retain(|source| !unsaved.contains(source));
        Ok(())
    }
}

fn read(path: &Path) -> io::Result<HashSet<IpAddr>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    };
    let mut sources = HashSet::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let source = line.trim().parse().map_err(|_| {
            let place = format!("{}:{}", path.display(), at + 1);
            io::Error::new(io::ErrorKind::InvalidData, format!("{place}: not an address; correct or remove the line"))
        })?;
        sources.insert(source);
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn what_was_learned_survives_and_only_an_operator_unlearns() {
        let dir = tempfile::tempdir().unwrap();
        let learned = Learned::load(dir.path(), 2).unwrap();
        assert!(!learned.signs(ip(1)));
        assert_eq!(learned.learn(ip(1)), Lesson::New);
        assert_eq!(learned.learn(ip(1)), Lesson::Known);
        assert_eq!(learned.learn(ip(2)), Lesson::New);
        assert_eq!(learned.learn(ip(3)), Lesson::Full);
        learned.reload(2).unwrap();
        assert!(learned.signs(ip(1)), "not written yet, and not forgotten");
        learned.persist().unwrap();
        let again = Learned::load(dir.path(), 2).unwrap();
        assert!(again.signs(ip(1)) && again.signs(ip(2)) && !again.signs(ip(3)));
        fs::write(dir.path().join(NAME), "192.0.2.2\n").unwrap();
        again.reload(2).unwrap();
        assert!(!again.signs(ip(1)) && again.signs(ip(2)));
    }

    #[test]
    fn a_damaged_file_is_refused_and_what_is_known_stays() {
        let dir = tempfile::tempdir().unwrap();
        let learned = Learned::load(dir.path(), 2).unwrap();
        learned.learn(ip(1));
        fs::write(dir.path().join(NAME), "192.0.2.1\nnonsense\n").unwrap();
        let error = learned.reload(2).unwrap_err().to_string();
        assert!(error.contains("signing-sources:2"), "{error}");
        assert!(learned.signs(ip(1)));
        assert!(Learned::load(dir.path(), 2).is_err());
    }
}
