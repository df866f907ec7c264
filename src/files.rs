//! Files written all or nothing, at paths that anyone may have named.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Most symbolic links on the way to a file.
const LINKS: usize = 40;
/// The end of the name of a file that is not whole yet; it begins with a dot and the name of the file it becomes.
const UNFINISHED: &str = ".tmp";

/// What a path leads to, when all symbolic links are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A file, or a place where one can be made.
    File(PathBuf),
    /// A device, a named pipe, or an open stream such as `/dev/stdout`: bytes go straight into it.
    Stream(PathBuf),
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {reason}{}", if *.kept { ". The file that was there before is untouched" } else { "" })]
pub struct WriteError {
    /// The file.
    pub file: String,
    /// The operating system's words.
    pub reason: String,
    /// Whether a file of this name was there, and still is as it was.
    pub kept: bool,
}

/// Follows a path.
///
/// # Errors
/// For a folder, for links that go round in a circle, and where the operating system refuses to look.
pub fn destination(path: &Path) -> io::Result<Destination> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        if is_open_stream(&path) {
            return Ok(Destination::Stream(path));
        }
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found.file_type(),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Destination::File(path));
            }
            Err(error) => return Err(error),
        };
        if found.is_symlink() {
            path = folder_of(&path).join(fs::read_link(&path)?);
        } else if found.is_dir() {
            return Err(io::Error::new(
                ErrorKind::IsADirectory,
                "this is a folder; name a file",
            ));
        } else if found.is_file() {
            return Ok(Destination::File(path));
        } else {
            return Ok(Destination::Stream(path));
        }
    }
    Err(io::Error::other("its symbolic links lead nowhere"))
}

/// Whether a path names something that a process has open already: `/proc/self/fd/1`, `/dev/fd/1`.
fn is_open_stream(path: &Path) -> bool {
    let Ok(folder) = folder_of(path).canonicalize() else {
        return false;
    };
    folder == Path::new("/dev/fd") || (folder.starts_with("/proc") && folder.ends_with("fd"))
}

/// The folder that a file lies in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Writes a file so that at every moment either the old or the new one is there, whole: into a temporary file of its own
/// beside it, to the disk, then renamed. A file that was there passes its permissions on. Links are followed; into a
/// device or a pipe the bytes go straight.
///
/// # Errors
/// [`WriteError`]. A file that was there before is then as it was.
pub fn write(path: &Path, data: &[u8]) -> Result<(), WriteError> {
    let mut kept = false;
    let written = destination(path).and_then(|destination| match destination {
        Destination::Stream(stream) => OpenOptions::new()
            .append(true)
            .open(stream)?
            .write_all(data),
        Destination::File(file) => {
            kept = file.exists();
            replace(&file, data)
        }
    });
    written.map_err(|error| WriteError {
        file: path.display().to_string(),
        reason: error.to_string(),
        kept,
    })
}

fn replace(file: &Path, data: &[u8]) -> io::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let prefix = format!(".{name}.");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(UNFINISHED);
    // Like a file that was made in the ordinary way: what the process's mask leaves of "everyone".
    #[cfg(unix)]
    let everyone = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666);
    #[cfg(unix)]
    builder.permissions(everyone);
    let folder = folder_of(file);
    let mut temporary = builder.tempfile_in(folder).map_err(|error| {
        let shown = folder.display();
        match error.kind() {
            ErrorKind::NotFound => {
                io::Error::new(error.kind(), format!("there is no folder {shown}"))
            }
            // Its own text repeats the folder and the temporary's name.
            kind => io::Error::new(kind, format!("{}, in folder {shown}", kind_text(&error))),
        }
    })?;
    temporary.write_all(data)?;
    if let Ok(before) = fs::metadata(file) {
        temporary.as_file().set_permissions(before.permissions())?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(file).map_err(|failed| failed.error)?;
    Ok(())
}

fn kind_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code).to_string(),
        None => error.kind().to_string(),
    }
}

/// Removes what killed processes left of files of these names. For folders that nobody else writes to now.
pub fn remove_unfinished(folder: &Path, names: &[&str]) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries {
        let found = entry.file_name();
        let found = found.to_string_lossy();
        let ours = |name: &&str| found.starts_with(&format!(".{name}."));
        if found.ends_with(UNFINISHED) && names.iter().any(ours) {
            // Best effort: what stays is only in the way.
            fs::remove_file(entry.path()).ok();
        }
    }
}

/// Whether two paths lead to the same file that is there.
pub fn same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

/// A file that one process at a time may hold. The operating system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it, which left this text in it.
    Held(String),
    /// The operating system's words.
    Io(io::Error),
}

impl Lock {
    /// Takes the lock, and leaves a text in the file that says who holds it. `Ok(None)`: this file system knows no locks.
    ///
    /// # Errors
    /// [`LockError`]
    pub fn take(path: &Path, owner: &str) -> Result<Option<Self>, LockError> {
        let open = || {
            OpenOptions::new()
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(path)
        };
        let mut file = open().map_err(LockError::Io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                // Unreadable on systems whose locks forbid reading.
                let holder = fs::read_to_string(path).unwrap_or_default();
                return Err(LockError::Held(holder.trim().to_owned()));
            }
            Err(fs::TryLockError::Error(error)) => {
                return match error.kind() {
                    ErrorKind::Unsupported => Ok(None),
                    _ => Err(LockError::Io(error)),
                };
            }
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{owner}"));
        written.map_err(LockError::Io)?;
        Ok(Some(Self { _file: file }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_touched() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        // A name that a temporary might have had.
        fs::write(at("a.tmp"), "mine").unwrap();
        fs::write(at("a.txt"), "old").unwrap();
        write(&at("a.txt"), b"new").unwrap();
        assert_eq!(fs::read(at("a.txt")).unwrap(), b"new");
        assert_eq!(fs::read(at("a.tmp")).unwrap(), b"mine");
        assert_eq!(names(folder.path()), ["a.tmp", "a.txt"]);
    }

    #[test]
    fn errors_say_whether_something_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/such/file");
        let error = write(&missing, b"x").unwrap_err().to_string();
        assert!(error.contains("no folder"), "{error}");
        assert!(!error.contains("untouched"), "{error}");
        let error = write(folder.path(), b"x").unwrap_err().to_string();
        assert!(error.contains("this is a folder"), "{error}");
        assert!(!error.contains("untouched"), "{error}");
    }

    #[test]
    fn a_lock_has_one_owner_and_says_who() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = Lock::take(&path, "first").unwrap().unwrap();
        match Lock::take(&path, "second") {
            Err(LockError::Held(holder)) => assert_eq!(holder, "first"),
            other => panic!("{other:?}"),
        }
        drop(held);
        assert!(Lock::take(&path, "third").unwrap().is_some());
    }

    #[test]
    fn what_killed_processes_left_is_removed_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let kept = ["config.toml", ".config.toml", ".other.abc.tmp"];
        for name in kept.iter().chain(&[".config.toml.abc.tmp"]) {
            fs::write(folder.path().join(name), "").unwrap();
        }
        remove_unfinished(folder.path(), &["config.toml"]);
        let mut kept = kept.to_vec();
        kept.sort_unstable();
        assert_eq!(names(folder.path()), kept);
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("below")).unwrap();
        fs::write(at("below/real"), "old").unwrap();
        fs::set_permissions(at("below/real"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("below/real", at("link")).unwrap();
        symlink("link", at("second")).unwrap();
        symlink("below/new", at("dangling")).unwrap();
        write(&at("second"), b"new").unwrap();
        assert_eq!(fs::read(at("below/real")).unwrap(), b"new");
        assert!(fs::symlink_metadata(at("link")).unwrap().is_symlink());
        let mode = fs::metadata(at("below/real")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        write(&at("dangling"), b"made").unwrap();
        assert_eq!(fs::read(at("below/new")).unwrap(), b"made");
        symlink("round", at("round")).unwrap();
        let error = write(&at("round"), b"x").unwrap_err().to_string();
        assert!(error.contains("lead nowhere"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn streams_get_bytes_and_stay_streams() {
        use std::os::unix::fs::FileTypeExt;
        write(Path::new("/dev/null"), b"x").unwrap();
        let kind = fs::metadata("/dev/null").unwrap().file_type();
        assert!(kind.is_char_device());
        for stream in ["/dev/stdout", "/proc/self/fd/0", "/dev/stderr"] {
            let found = destination(Path::new(stream)).unwrap();
            assert!(matches!(found, Destination::Stream(_)), "{stream}");
        }
    }
}
