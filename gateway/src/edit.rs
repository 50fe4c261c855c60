//! Editing a TOML file that others read and edit: one writer at a time, whole or not at all, comments kept, and never into
//! something that the gateway would refuse.
//!
//! The directory is locked, for the file itself is replaced. A symbolic link stays one: what it points to is replaced.

use anyhow::{Context, anyhow, bail};
use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, TomlError};
use zeroize::Zeroizing;

/// Changes the file; one that does not exist is made, for its owner's eyes only. `check` is what the gateway would say of
/// the text: a faulty file must become better.
///
/// # Errors
/// If the file cannot be read, locked or written, if the change leaves as many faults as there were, or what `change` says.
pub(crate) fn edit<T>(
    path: &Path,
    check: impl Fn(&str) -> Result<(), Vec<String>>,
    change: impl FnOnce(&mut DocumentMut) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let (dir, path) = place(path)?;
    // Released when it is closed.
    let directory = File::open(&dir).with_context(|| format!("{} cannot be opened", dir.display()))?;
    directory.lock().with_context(|| format!("{} cannot be locked", dir.display()))?;
    let before = read(&path)?;
    let mut document = document(&path, &before)?;
    let outcome = change(&mut document)?;
    let after = Zeroizing::new(document.to_string());
    if let Err(faults) = check(&after) {
        // An edit may mend a faulty file, one fault after another.
        let found = check(&before).err().map_or(0, |faults| faults.len());
        if faults.len() >= found {
            let blame =
                if found == 0 { "the gateway would not take this" } else { "the file has faults; mend them first" };
            bail!("{}: {blame}; nothing was changed:\n  {}", path.display(), faults.join("\n  "));
        }
    }
    if *after != *before {
        write(&dir, &path, &after).with_context(|| {
            format!("{} cannot be written and stays as it was; run this as the owner of the file", path.display())
        })?;
        directory.sync_all().with_context(|| format!("{} cannot be made durable", dir.display()))?;
    }
    Ok(outcome)
}

/// The text of a file, or none if there is no file.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    match File::open(path).and_then(|mut file| {
        // Room for all at once, so that growing leaves no copies of secrets behind.
        text.reserve_exact(usize::try_from(file.metadata()?.len()).unwrap_or(0) + 1);
        file.read_to_string(&mut text)
    }) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(text),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

/// Parses `text` for editing. The parser's own error would repeat the line, which may hold a secret.
///
/// # Errors
/// If it is not TOML.
pub(crate) fn document(path: &Path, text: &str) -> anyhow::Result<DocumentMut> {
    text.parse().map_err(|error: TomlError| {
        let above = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = above.matches('\n').count() + 1;
        anyhow!("{} is not TOML; mend line {line}: {}", path.display(), error.message())
    })
}

/// The directory and path of the file itself, behind symbolic links.
fn place(path: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        // A link to nothing would be replaced by a file, in the wrong place.
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => path.to_owned(),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be found", path.display())),
    };
    let dir = match real.parent() {
        Some(dir) if dir.as_os_str().is_empty() => PathBuf::from("."),
        Some(dir) => dir.to_owned(),
        None => bail!("{} is no file", path.display()),
    };
    Ok((dir, real))
}

fn write(dir: &Path, path: &Path, text: &str) -> anyhow::Result<()> {
    // Made with mode 0600, and removed if anything fails.
    let mut new = tempfile::NamedTempFile::new_in(dir)?;
    new.write_all(text.as_bytes())?;
    if let Some(old) = fs::metadata(path).map(Some).or_else(|error| match error.kind() {
        ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    })? {
        let made = new.as_file().metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            fchown(new.as_file(), Some(old.uid()), Some(old.gid())).context("its owner cannot be kept")?;
        }
        new.as_file().set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    }
    new.as_file().sync_all()?;
    new.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::thread;

    fn count(document: &mut DocumentMut) -> anyhow::Result<i64> {
        let next = document.get("count").and_then(|count| count.as_integer()).unwrap_or(0) + 1;
        document["count"] = toml_edit::value(next);
        Ok(next)
    }

    fn anything(_: &str) -> Result<(), Vec<String>> {
        Ok(())
    }

    #[test]
    fn writers_wait_for_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.toml");
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..25).for_each(|_| assert!(edit(&path, anything, count).unwrap() > 0)));
            }
            // A reader sees whole files only.
            scope.spawn(|| {
                for _ in 0..200 {
                    let text = read(&path).unwrap();
                    assert!(text.is_empty() || (text.starts_with("count = ") && text.ends_with('\n')), "{text:?}");
                }
            });
        });
        assert_eq!(*read(&path).unwrap(), "count = 100\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn modes_links_and_comments_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file.toml"), dir.path().join("link.toml"));
        fs::write(&path, "# Hand-made\nother = 1 # kept\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        symlink("file.toml", &link).unwrap();
        edit(&link, anything, count).unwrap();
        assert!(link.is_symlink());
        assert_eq!(*read(&path).unwrap(), "# Hand-made\nother = 1 # kept\ncount = 1\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);

        let new = dir.path().join("new.toml");
        edit(&new, anything, count).unwrap();
        assert_eq!(fs::metadata(&new).unwrap().mode() & 0o7777, 0o600);
    }

    #[test]
    fn an_edit_may_mend_faults_but_not_leave_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.toml");
        // Every 3 and every 5 is a fault.
        let check = |text: &str| {
            let faults: Vec<_> = text.chars().filter(|c| "35".contains(*c)).map(|c| format!("fault {c}")).collect();
            if faults.is_empty() { Ok(()) } else { Err(faults) }
        };
        fs::write(&path, "count = 1\n").unwrap();
        assert_eq!(edit(&path, check, count).unwrap(), 2);
        let error = format!("{:#}", edit(&path, check, count).unwrap_err());
        assert!(
            error.contains("file.toml: the gateway would not take this; nothing was changed:\n  fault 3"),
            "{error}"
        );
        assert_eq!(*read(&path).unwrap(), "count = 2\n");

        fs::write(&path, "other = 3\ncount = 1\n").unwrap();
        let error = format!("{:#}", edit(&path, check, count).unwrap_err());
        assert!(error.contains("mend them first"), "{error}");
        fs::write(&path, "other = 3\ncount = 35\n").unwrap();
        assert_eq!(edit(&path, check, count).unwrap(), 36);
        assert_eq!(*read(&path).unwrap(), "other = 3\ncount = 36\n");
        fs::write(&path, "count = ").unwrap();
        let error = format!("{:#}", edit(&path, check, count).unwrap_err());
        assert!(error.contains("is not TOML"), "{error}");
    }

    #[test]
    fn places_that_cannot_be_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", edit(&dir.path().join("none/file.toml"), anything, count).unwrap_err());
        assert!(error.contains("none cannot be opened"), "{error}");
        symlink("nowhere", dir.path().join("dangling")).unwrap();
        let error = format!("{:#}", edit(&dir.path().join("dangling"), anything, count).unwrap_err());
        assert!(error.contains("dangling cannot be found"), "{error}");
    }
}
