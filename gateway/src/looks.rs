//! Whether a file has changed.
//!
//! A change is seen by device, inode, length and the times of content and inode, behind symbolic links, because Kubernetes
//! swaps a link above a mounted file. A new file (a rename, a swapped link) is read at once. A file that was written in place
//! is read when two looks in a row saw the same, so that half a file is not taken for a short one.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Whether a file has changed since it was last read.
#[derive(Debug)]
pub struct Looks {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// The file as it was last read, well or badly.
    read: Result<Stamp, io::ErrorKind>,
    /// The file at the last look, if that was another one.
    settling: Option<Stamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, io::ErrorKind> {
        let metadata = fs::metadata(path).map_err(|error| error.kind())?;
        Ok(Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

impl Looks {
    /// Of a file that is read after this: a change in between is seen at the next look.
    pub fn new(path: PathBuf) -> Self {
        let seen = Mutex::new(Seen { read: Stamp::of(&path), settling: None });
        Self { path, seen }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is time to read the file again; it then counts as read. It blocks on the disk.
    pub fn changed(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let look = Stamp::of(&self.path);
        if look == seen.read {
            seen.settling = None;
            return false;
        }
        if let (Ok(new), Ok(old)) = (look, seen.read)
            && new.file == old.file
            && seen.settling != Some(new)
        {
            seen.settling = Some(new);
            return false;
        }
        *seen = Seen { read: look, settling: None };
        true
    }
}
