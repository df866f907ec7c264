//! Data in an archive, as it was downloaded: a zip file, or tar with or without gzip.
//!
//! An archive is unpacked once, into the cache beside decoded pictures, and read there like any other folder. What lies in
//! it can be named as if the archive were a folder: `--data gzip.zip/gzip/emnist-letters`.
//!
//! ```text
//! CACHE/archives/<hash of the archive's path>/archive.json     which archive, and its size and time of change
//! CACHE/archives/<hash of the archive's path>/<name>/...       what was in it
//! CACHE/archives/unpacking-<hash>-<letters>/...                the same while it is unpacked
//! ```

mod draft;
mod unpack;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use draft::{ABANDONED, LOCK, remove_if_left};
use unpack::Unpacker;

pub(super) use draft::Draft;

use super::CliError;
use super::data_args::{cache_folder, text_hash};
use crate::data;
use crate::data::folder::{CACHE_LIMIT, is_picture_folder};

/// How many archives may lie in each other.
const MAX_DEPTH: usize = 3;
/// The name of the note beside what was unpacked.
const NOTE: &str = "archive.json";

/// How an archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Zip,
    Tar,
    TarGz,
}

/// What is known of an archive that was unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// Its path.
    source: PathBuf,
    /// Its size.
    bytes: u64,
    /// When it was changed: seconds and nanoseconds since 1970.
    modified: (u64, u32),
    /// Size of what came out of it.
    #[serde(default)]
    unpacked: u64,
}

/// Where data lie.
#[derive(Debug)]
pub(super) struct Place {
    /// What a person calls it.
    named: PathBuf,
    /// The folder to read, or what the names of files in one begin with.
    pub path: PathBuf,
    /// The archive, and the folder that it was unpacked into.
    archive: Option<(PathBuf, PathBuf)>,
}

impl Place {
    /// An error about the folder in words about the archive.
    pub fn explain(&self, error: impl Into<CliError>) -> CliError {
        let error = error.into();
        match &self.archive {
            None => error,
            Some((archive, folder)) => {
                let text = error.to_string();
                let names = [folder, archive].map(|path| path.display().to_string());
                text.replace(&names[0], &names[1]).into()
            }
        }
    }

    /// The name of the data, for reports and files that are made of them.
    pub fn name(&self) -> String {
        let real = self.named.canonicalize();
        let real = real.as_deref().unwrap_or(&self.named);
        match self.is_archive() {
            true => stem(real),
            false => real
                .file_name()
                .unwrap_or("data".as_ref())
                .to_string_lossy()
                .into_owned(),
        }
    }

    /// Whether the data are those of a whole archive, or of something in one.
    pub fn is_archive(&self) -> bool {
        self.archive.is_some()
    }
}

/// Whether a path leads to something that may be data: a folder, an archive or something in one, or what the names of files in
/// a folder begin with.
pub(super) fn is_there(path: &Path) -> bool {
    data::is_there(path) || split(path).is_some()
}

/// Where the data at a path are to be read. An archive is unpacked, unless it was before.
///
/// # Errors
/// If an archive is damaged, too large, protected by a password or unsafe to unpack, and if the cache cannot be written.
pub(super) fn open(path: &Path) -> Result<Place, CliError> {
    let mut place = Place {
        named: path.to_owned(),
        path: path.to_owned(),
        archive: None,
    };
    for _ in 0..MAX_DEPTH {
        let Some((archive, inside)) = split(&place.path) else {
            return Ok(place);
        };
        let folder = unpacked(&archive).map_err(|error| place.explain(error))?;
        let named = match &place.archive {
            None => archive,
            Some((outer, unpacked)) => match archive.strip_prefix(unpacked) {
                Ok(inner) => outer.join(inner),
                Err(_) => outer.clone(),
            },
        };
        place.path = folder.join(&inside);
        if inside == Path::new("") {
            place.path = root(&folder);
        }
        place.archive = Some((named, folder));
    }
    let deeper = split(&place.path).is_some();
    match deeper {
        true => Err(format!(
            "{}: archives in archives in archives. Unpack it.",
            path.display()
        )
        .into()),
        false => Ok(place),
    }
}

/// An archive on the way to a path, and what follows it.
fn split(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let archive = path.ancestors().find(|ancestor| ancestor.is_file())?;
    kind(archive)?;
    let inside = path.strip_prefix(archive).ok()?;
    Some((archive.to_owned(), inside.to_owned()))
}

/// How a file is packed, by its first bytes, or if those say nothing, by its name; nothing if it is no archive. A file that is
/// called an archive and is none is found damaged when it is unpacked.
fn kind(path: &Path) -> Option<Kind> {
    let mut start = Vec::new();
    let file = File::open(path).ok()?;
    file.take(64 << 10).read_to_end(&mut start).ok()?;
    let is_tar = |bytes: &[u8]| bytes.get(257..262) == Some(b"ustar");
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        return Some(Kind::Zip);
    }
    if is_tar(&start) {
        return Some(Kind::Tar);
    }
    let mut block = [0; 512];
    if MultiGzDecoder::new(&start[..])
        .read_exact(&mut block)
        .is_ok()
        && is_tar(&block)
    {
        return Some(Kind::TarGz);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ending(&name).map(|(_, kind)| kind)
}

/// The ending by which a name says that it is an archive's.
fn ending(name: &str) -> Option<(&'static str, Kind)> {
    const ENDINGS: [(&str, Kind); 5] = [
        (".tar.gz", Kind::TarGz),
        (".tgz", Kind::TarGz),
        (".tar", Kind::Tar),
        (".zip", Kind::Zip),
        (".npz", Kind::Zip),
    ];
    let small = name.to_lowercase();
    let mut endings = ENDINGS.into_iter();
    endings.find(|(ending, _)| small.ends_with(ending))
}

/// The name of an archive without its endings.
fn stem(archive: &Path) -> String {
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let stem = &name[..name.len() - ending(&name).map_or(0, |(ending, _)| ending.len())];
    match stem {
        "" | "." | ".." => "data".to_owned(),
        stem => stem.to_owned(),
    }
}

/// The data within what an archive unpacked to: archives often hold one folder with everything in it, or one archive.
fn root(folder: &Path) -> PathBuf {
    let is_data = |path: &Path| data::holds_files(path) || is_picture_folder(path);
    let mut found = folder.to_owned();
    let mut at = folder.to_owned();
    for _ in 0..8 {
        let entries = std::fs::read_dir(&at).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        match (paths.pop(), paths.is_empty()) {
            (Some(only), true) if only.is_dir() => at = only,
            (Some(only), true) if kind(&only).is_some() => return only,
            _ => break,
        }
        // A folder of one class is data to its parent alone, which says what is missing.
        if is_data(&at) {
            found.clone_from(&at);
        }
    }
    found
}

/// Whether a file is an archive.
pub(super) fn is_archive(path: &Path) -> bool {
    path.is_file() && kind(path).is_some()
}

/// Writes what is in an archive into a folder, and returns how many bytes that are.
///
/// # Errors
/// If it is damaged, protected by a password or unsafe, or unpacks to more than `limit` bytes.
pub(super) fn unpack(
    archive: &Path,
    folder: &Path,
    bar: &ProgressBar,
    limit: u64,
) -> Result<u64, String> {
    let shown = archive.display();
    let failed = |error: io::Error| format!("{shown}: {error}");
    let file = BufReader::new(File::open(archive).map_err(failed)?);
    let time = archive.metadata().and_then(|data| data.modified());
    let mut unpacker = Unpacker {
        archive,
        folder,
        time: time.map_err(failed)?,
        bar,
        limit,
        bytes: 0,
        files: 0,
    };
    match kind(archive) {
        Some(Kind::Zip) => unpacker.zip(file)?,
        Some(Kind::TarGz) => unpacker.tar(MultiGzDecoder::new(bar.wrap_read(file)))?,
        Some(Kind::Tar) | None => unpacker.tar(bar.wrap_read(file))?,
    }
    Ok(unpacker.bytes)
}

/// Folder for what was unpacked.
fn place() -> Result<PathBuf, String> {
    cache_folder()
        .map(|cache| cache.join("archives"))
        .ok_or_else(|| {
            "this user has no cache folder to unpack an archive into. Unpack it, or name a folder in GTC_CACHE_DIR".to_owned()
        })
}

/// The folder with what is in an archive.
fn unpacked(archive: &Path) -> Result<PathBuf, String> {
    let shown = archive.display();
    let failed = |error: io::Error| format!("{shown}: {error}");
    let real = archive.canonicalize().map_err(failed)?;
    let metadata = real.metadata().map_err(failed)?;
    let time = metadata.modified().map_err(failed)?;
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let note = Note {
        bytes: metadata.len(),
        modified: (since.as_secs(), since.subsec_nanos()),
        unpacked: 0,
        source: real,
    };
    let all = place()?;
    let own = all.join(text_hash(&note.source.to_string_lossy()));
    let folder = own.join(stem(&note.source));
    if is_complete(&own, &note) {
        // The time of the last use decides what goes first.
        touch(&own);
        return Ok(folder);
    }
    let no_cache = |error: io::Error| {
        format!(
            "{shown}: it could not be unpacked into {}: {error}. Unpack it yourself, or name another folder in GTC_CACHE_DIR",
            all.display()
        )
    };
    let draft = Draft::begin(&all, &note.source).map_err(no_cache)?;
    let target = draft.folder(&stem(&note.source)).map_err(no_cache)?;
    let bar = progress(&note);
    let bytes = unpack(archive, &target, &bar, CACHE_LIMIT)?;
    bar.finish_and_clear();
    make_room(&all, &own, CACHE_LIMIT - bytes);
    let complete = Note {
        unpacked: bytes,
        ..note.clone()
    };
    let text = serde_json::to_vec(&complete).map_err(|error| failed(error.into()))?;
    std::fs::write(draft.folder.join(NOTE), text).map_err(no_cache)?;
    std::fs::remove_dir_all(&own).ok();
    let renamed = draft.rename(&own);
    // Another process may have been faster.
    match renamed {
        Err(error) if !is_complete(&own, &note) => Err(no_cache(error)),
        _ => Ok(folder),
    }
}

/// Bytes of all files below a folder.
fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_of(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

fn is_complete(own: &Path, note: &Note) -> bool {
    let found = std::fs::read(own.join(NOTE)).ok();
    let found: Option<Note> = found.and_then(|text| serde_json::from_slice(&text).ok());
    found.is_some_and(|found| {
        Note {
            unpacked: 0,
            ..found
        } == *note
    })
}

fn touch(own: &Path) {
    let note = File::options().append(true).open(own.join(NOTE));
    note.and_then(|file| file.set_modified(SystemTime::now()))
        .ok();
}

fn progress(note: &Note) -> ProgressBar {
    let bar = ProgressBar::new(note.bytes);
    let style = "unpacking {msg} {bar:24} {bytes}/{total_bytes}";
    bar.set_message(stem(&note.source));
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// An archive in the cache.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Kept {
    #[serde(skip)]
    folder: PathBuf,
    #[serde(skip)]
    used: Option<SystemTime>,
    /// Size of what came out of it.
    pub bytes: u64,
    /// The archive; nothing if it was not unpacked to its end.
    pub source: Option<PathBuf>,
}

/// All archives in the cache, the last used first.
pub(super) fn list() -> Vec<Kept> {
    place().map(|folder| list_in(&folder)).unwrap_or_default()
}

fn list_in(all: &Path) -> Vec<Kept> {
    let entries = std::fs::read_dir(all).into_iter().flatten().flatten();
    let kept = entries.map(|entry| {
        let folder = entry.path();
        let text = std::fs::read(folder.join(NOTE)).ok();
        let note: Option<Note> = text.and_then(|text| serde_json::from_slice(&text).ok());
        let dated = match &note {
            Some(_) => folder.join(NOTE),
            None => folder.clone(),
        };
        Kept {
            used: dated.metadata().and_then(|data| data.modified()).ok(),
            bytes: match &note {
                Some(note) => note.unpacked,
                None => size_of(&folder),
            },
            source: note.map(|note| note.source),
            folder,
        }
    });
    let mut kept: Vec<Kept> = kept.collect();
    kept.sort_by_key(|kept| std::cmp::Reverse(kept.used));
    kept
}

/// Removes all archives of the cache and returns how many there were and the bytes of what came out of them.
pub(super) fn clear() -> io::Result<(usize, u64)> {
    let all = list();
    for kept in &all {
        std::fs::remove_dir_all(&kept.folder)?;
    }
    Ok((all.len(), all.iter().map(|kept| kept.bytes).sum()))
}

/// Removes the archives that were not used for longest until the others than `own` take no more than `limit` bytes, and what
/// programs left behind that were killed.
fn make_room(all: &Path, own: &Path, limit: u64) {
    let mut total = 0;
    for kept in list_in(all) {
        if kept.folder == own {
            continue;
        }
        total += kept.bytes;
        let age = kept.used.and_then(|used| used.elapsed().ok());
        // What is unfinished may be another process's work: then its lock is held.
        let goes = match kept.source {
            Some(_) => total > limit,
            None if kept.folder.join(LOCK).is_file() => {
                remove_if_left(&kept.folder);
                false
            }
            None => age.is_some_and(|age| age > ABANDONED),
        };
        if goes {
            std::fs::remove_dir_all(&kept.folder).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::files::Lock;

    #[test]
    fn names_lose_the_endings_of_archives() {
        for (name, wanted) in [
            ("photos.zip", "photos"),
            ("cifar-10-binary.TAR.GZ", "cifar-10-binary"),
            ("v1.2.tgz", "v1.2"),
            ("download", "download"),
            (".zip", "data"),
        ] {
            assert_eq!(stem(Path::new(name)), wanted);
        }
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let all = tempfile::tempdir().unwrap();
        let hour = |hours: u64| SystemTime::now() - Duration::from_secs(3600 * hours);
        let names = ["own", "new", "old", "unfinished", "abandoned", "killed"];
        for (name, hours) in names.into_iter().zip([9, 1, 5, 2, 99, 2]) {
            let folder = all.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            if name == "killed" {
                std::fs::write(folder.join(LOCK), "1").unwrap();
            }
            if ["own", "new", "old"].contains(&name) {
                let note = Note {
                    source: name.into(),
                    bytes: 1,
                    modified: (0, 0),
                    unpacked: 100,
                };
                std::fs::write(folder.join(NOTE), serde_json::to_vec(&note).unwrap()).unwrap();
                let file = File::options().append(true).open(folder.join(NOTE));
                file.unwrap().set_modified(hour(hours)).unwrap();
            }
            File::open(&folder)
                .unwrap()
                .set_modified(hour(hours))
                .unwrap();
        }
        let left = |limit: u64| {
            make_room(all.path(), &all.path().join("own"), limit);
            names.map(|name| all.path().join(name).exists())
        };
        let lock = Lock::take(&all.path().join("killed").join(LOCK), "").unwrap();
        assert_eq!(left(250), [true, true, true, true, false, true]);
        drop(lock);
        assert_eq!(left(150), [true, true, false, true, false, false]);
        assert_eq!(left(99), [true, false, false, true, false, false]);
    }
}
