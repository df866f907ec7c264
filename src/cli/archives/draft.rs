//! Folders that archives are unpacked into, before they have their names.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place;
use crate::cli::data_args::text_hash;
use crate::files::{Lock, LockError};

/// A half unpacked archive without a lock that nobody has touched for this long was left behind by a program that was killed.
pub(super) const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// The lock in a folder that an archive is being unpacked into.
pub(super) const LOCK: &str = "unpacking.lock";

/// A folder that an archive is unpacked into. It goes with this value, and if the process was killed, with the next one that
/// unpacks the same archive.
#[derive(Debug)]
pub struct Draft {
    pub(super) folder: PathBuf,
    lock: Option<Lock>,
}

impl Draft {
    /// An empty one below `all`.
    pub(super) fn begin(all: &Path, archive: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(all)?;
        let name = format!("unpacking-{}-", text_hash(&archive.to_string_lossy()));
        for entry in std::fs::read_dir(all)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&name) {
                remove_if_left(&entry.path());
            }
        }
        let folder = tempfile::Builder::new().prefix(&name).tempdir_in(all)?;
        let owner = std::process::id().to_string();
        let lock = match Lock::take(&folder.path().join(LOCK), &owner) {
            Ok(lock) => lock,
            Err(LockError::Held(_)) => None,
            Err(LockError::Io(error)) => return Err(error),
        };
        Ok(Self {
            folder: folder.keep(),
            lock,
        })
    }

    /// One for an archive that is read once: in the cache, or without one where temporary files lie.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn of(archive: &Path) -> Result<Self, String> {
        let real = archive.canonicalize();
        let real = real.unwrap_or_else(|_| archive.to_owned());
        let in_cache = place().ok().map(|all| Self::begin(&all, &real));
        let draft = match in_cache {
            Some(Ok(draft)) => Ok(draft),
            _ => Self::begin(&std::env::temp_dir(), &real),
        };
        draft.map_err(|error| {
            format!(
                "{}: there is no room to unpack it: {error}",
                archive.display()
            )
        })
    }

    /// Makes a folder in it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.folder.join(name);
        std::fs::create_dir(&folder)?;
        Ok(folder)
    }

    /// Gives it its name.
    pub(super) fn rename(mut self, own: &Path) -> io::Result<()> {
        if self.lock.take().is_some() {
            std::fs::remove_file(self.folder.join(LOCK)).ok();
        }
        std::fs::rename(&self.folder, own)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Locked until it is empty.
        empty(&self.folder);
        self.lock = None;
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// Removes everything in a draft but its lock.
fn empty(draft: &Path) {
    for entry in std::fs::read_dir(draft).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            std::fs::remove_dir_all(entry.path()).ok();
        } else if entry.file_name() != LOCK {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

/// Removes a draft whose process was killed: nobody holds its lock.
pub(super) fn remove_if_left(draft: &Path) {
    let lock = draft.join(LOCK);
    if !lock.is_file() {
        return;
    }
    let is_old = || {
        let age = draft.metadata().and_then(|data| data.modified());
        let age = age.ok().and_then(|time| time.elapsed().ok());
        age.is_some_and(|age| age > ABANDONED)
    };
    let held = match Lock::take(&lock, "") {
        Ok(Some(held)) => Some(held),
        // No locks here, so time decides.
        Ok(None) if is_old() => None,
        Ok(None) | Err(_) => return,
    };
    empty(draft);
    drop(held);
    std::fs::remove_dir_all(draft).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::archives::list_in;

    #[test]
    fn what_a_killed_process_left_is_replaced() {
        let all = tempfile::tempdir().unwrap();
        let archive = Path::new("photos.zip");
        let mut killed = std::mem::ManuallyDrop::new(Draft::begin(all.path(), archive).unwrap());
        let files = killed.folder("photos").unwrap();
        std::fs::write(files.join("half"), [0; 100]).unwrap();
        // The same while the first is at work.
        drop(Draft::begin(all.path(), archive).unwrap());
        assert!(files.join("half").exists());
        assert!(list_in(all.path())[0].bytes > 100);
        killed.lock = None;
        let next = Draft::begin(all.path(), archive).unwrap();
        assert!(!killed.folder.exists());
        drop(next);
        assert!(list_in(all.path()).is_empty());
    }
}
