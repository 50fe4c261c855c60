//! A file that is read again when it changes: what was good stays in force until something better is there.

use crate::looks::Looks;
use arc_swap::{ArcSwap, Guard};
use std::fs::{self, File};
use std::io::{self, Read};
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
    parse: Box<Parse<T>>,
    current: ArcSwap<T>,
    looks: Looks,
    /// One reads at a time, or older content could take the place of newer.
    reading: Mutex<()>,
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
        let looks = Looks::new(path);
        let first = read(looks.path(), &parse)?;
        Ok(Self { parse: Box::new(parse), current: ArcSwap::from_pointee(first), looks, reading: Mutex::new(()) })
    }

    /// What is in force.
    pub fn current(&self) -> Guard<Arc<T>> {
        self.current.load()
    }

    /// Looks at the file and reads it if it changed. It blocks on the disk.
    pub fn reload_if_changed(&self) -> Reload {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.looks.changed() {
            return Reload::Unchanged;
        }
        match read(self.looks.path(), &self.parse) {
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
