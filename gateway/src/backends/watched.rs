//! A file that is read again when it changes: what was good stays in force until something better is there.
//!
//! A change is seen by device, inode, length and the times of content and inode, behind symbolic links, because Kubernetes
//! swaps a link above a mounted file. A new file (a rename, a swapped link) is read at once. A file that was written in place
//! is read when two looks in a row saw the same, so that half a file is not taken for a short one.

use arc_swap::{ArcSwap, Guard};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// The longest file that is read, in octets.
const LONGEST: u64 = 64 << 20;

/// What looking at the file led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    /// The file is as it was, or still being written.
    Unchanged,
    /// What the file says now is in force.
    Reloaded,
    /// The file has faults, said once; what it said before stays in force.
    Faulty(Vec<String>),
}

type Parse<T> = dyn Fn(&str) -> Result<T, Vec<String>> + Send + Sync;

/// The content of one file.
pub struct Watched<T> {
    path: PathBuf,
    parse: Box<Parse<T>>,
    current: ArcSwap<T>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// The file as it was last read, well or badly.
    read: Result<Stamp, io::ErrorKind>,
    /// The file at the last look, if that was another one.
    settling: Option<Stamp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl<T> Watched<T> {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// All faults, each with the path.
    pub fn load(
        path: PathBuf,
        parse: impl Fn(&str) -> Result<T, Vec<String>> + Send + Sync + 'static,
    ) -> Result<Self, Vec<String>> {
        // Looked at before it is read, so that a change in between is seen at the next look.
        let stamp = fs::metadata(&path).map(|metadata| Stamp::of(&metadata)).map_err(|error| error.kind());
        let first = read(&path, &parse)?;
        let seen = Mutex::new(Seen { read: stamp, settling: None });
        Ok(Self { path, parse: Box::new(parse), current: ArcSwap::from_pointee(first), seen })
    }

    /// What is in force.
    pub fn current(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    /// Looks at the file and reads it if it changed. It blocks on the disk.
    pub fn reload_if_changed(&self) -> Reload {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let look = fs::metadata(&self.path).map(|metadata| Stamp::of(&metadata)).map_err(|error| error.kind());
        if look == seen.read {
            seen.settling = None;
            return Reload::Unchanged;
        }
        if let (Ok(new), Ok(old)) = (look, seen.read)
            && new.file == old.file
            && seen.settling != Some(new)
        {
            seen.settling = Some(new);
            return Reload::Unchanged;
        }
        *seen = Seen { read: look, settling: None };
        match read(&self.path, &self.parse) {
            Ok(new) => {
                self.current.store(Arc::new(new));
                Reload::Reloaded
            }
            Err(faults) => Reload::Faulty(faults),
        }
    }
}

fn read<T>(path: &Path, parse: impl Fn(&str) -> Result<T, Vec<String>>) -> Result<T, Vec<String>> {
    let text = text(path).map_err(|error| vec![format!("{}: the file cannot be read: {error}", path.display())])?;
    parse(&text).map_err(|faults| faults.into_iter().map(|fault| format!("{}: {fault}", path.display())).collect())
}

fn text(path: &Path) -> io::Result<Zeroizing<String>> {
    let fault = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let metadata = fs::metadata(path)?;
    // Opening a pipe would wait for a writer.
    if !metadata.is_file() {
        return fault("it is not a regular file");
    }
    if metadata.len() > LONGEST {
        return fault("it is longer than 64 MiB");
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn number(text: &str) -> Result<u32, Vec<String>> {
        text.trim().parse().map_err(|_| vec!["no number".to_owned()])
    }

    fn watched(text: &str) -> (TempDir, PathBuf, Watched<u32>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, text).unwrap();
        let watched = Watched::load(path.clone(), number).unwrap();
        (dir, path, watched)
    }

    /// As an editor that knows its trade does.
    fn replace(path: &Path, text: &str) {
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    #[test]
    fn a_new_file_is_read_at_once_and_a_faulty_one_keeps_the_old() {
        let (_dir, path, watched) = watched("1");
        assert_eq!(watched.reload_if_changed(), Reload::Unchanged);
        replace(&path, "2");
        assert_eq!((watched.reload_if_changed(), **watched.current()), (Reload::Reloaded, 2));
        replace(&path, "two");
        let fault = format!("{}: no number", path.display());
        assert_eq!((watched.reload_if_changed(), **watched.current()), (Reload::Faulty(vec![fault]), 2));
        assert_eq!(watched.reload_if_changed(), Reload::Unchanged, "a fault is said once");
        replace(&path, "3");
        assert_eq!((watched.reload_if_changed(), **watched.current()), (Reload::Reloaded, 3));
    }

    #[test]
    fn a_file_written_in_place_is_read_when_it_has_settled() {
        let (_dir, path, watched) = watched("1");
        fs::write(&path, "22").unwrap();
        assert_eq!((watched.reload_if_changed(), **watched.current()), (Reload::Unchanged, 1));
        fs::write(&path, "223").unwrap();
        assert_eq!((watched.reload_if_changed(), **watched.current()), (Reload::Unchanged, 1));
        assert_eq!((watched.reload_if_changed(), **watched.current()), (Reload::Reloaded, 223));
    }

    #[test]
    fn a_missing_file_keeps_the_old_and_is_taken_up_again() {
        let (_dir, path, watched) = watched("1");
        fs::remove_file(&path).unwrap();
        let Reload::Faulty(faults) = watched.reload_if_changed() else { panic!("a missing file is a fault") };
        assert!(faults[0].contains("cannot be read") && faults[0].contains("file"), "{faults:?}");
        assert_eq!((watched.reload_if_changed(), **watched.current()), (Reload::Unchanged, 1));
        fs::write(&path, "2").unwrap();
        assert_eq!((watched.reload_if_changed(), **watched.current()), (Reload::Reloaded, 2));
    }

    #[test]
    fn swapped_links_are_followed() {
        // `file -> ..data/file` and `..data -> 1`, as Kubernetes mounts a secret.
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("file"), version).unwrap();
        }
        symlink("1", at("..data")).unwrap();
        symlink("..data/file", at("file")).unwrap();
        let watched = Watched::load(at("file"), number).unwrap();
        symlink("2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!((watched.reload_if_changed(), **watched.current()), (Reload::Reloaded, 2));
    }

    #[test]
    fn what_is_no_file_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let fault = Watched::load(dir.path().to_owned(), number).err().unwrap();
        assert!(fault[0].contains("not a regular file"), "{fault:?}");
    }
}
