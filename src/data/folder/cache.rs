//! Decoded pictures in one file, so that a data set is decoded once.
//!
//! ```text
//! bytes 0 to 63      magic, place, length and CRC-32 of the header; zeros until the file is complete
//! bytes 64 on        pixels of the training images, then of the test images
//! then to the end    the header in JSON: key, classes, sizes, labels, broken files, CRC-32 of the pixels
//! ```
//!
//! The name of the file depends on the data folder and on how it is read, its key on every path, size
//! and time of change. A file is written under a name of its own and then renamed, so that two programs
//! at once cannot disturb each other, and one that is killed leaves no half file under the real name. A
//! file that is in use may be removed or replaced: who has it open keeps it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::scan::{Listing, Picture};
use super::split::hash;
use super::{Broken, FolderOptions, Loaded};
use crate::data::{Dataset, Images, Pixels, folder_name};

/// Changes when the layout of the file, or what pictures become, changes.
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"gtcpics\n";
/// Where the pixels begin.
const START: u64 = 64;
/// Endings of complete files and of files that are being written.
const COMPLETE: &str = "pictures";
const DRAFT: &str = "pictures-draft";
/// A draft that nobody has touched for this long was left behind by a program that was killed.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// How much the cache may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of all files.
    pub total: u64,
    /// Bytes of pixels above which a file is mapped; `None`: a quarter of the free memory.
    pub map_above: Option<u64>,
}

/// What a file of the cache holds beside pixels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    pub version: u32,
    pub key: String,
    /// The data folder, for lists.
    pub source: String,
    pub classes: Vec<String>,
    /// (height, width, channels)
    pub size: [usize; 3],
    pub train_labels: Vec<u16>,
    pub test_labels: Vec<u16>,
    pub broken: Vec<Broken>,
    /// CRC-32 of all pixels.
    pub checksum: u32,
}

impl Header {
    /// Bytes of the pixels of (training, test) images.
    fn bytes(&self) -> Option<[u64; 2]> {
        let image = self
            .size
            .iter()
            .try_fold(1u64, |all, side| all.checked_mul(*side as u64))?;
        let train = image.checked_mul(self.train_labels.len() as u64)?;
        Some([train, image.checked_mul(self.test_labels.len() as u64)?])
    }
}

/// The place of one data set in the cache.
pub(super) struct Store {
    folder: PathBuf,
    path: PathBuf,
    key: String,
    limits: Limits,
}

/// A data set from the cache.
pub(super) struct Found {
    pub header: Header,
    train: Pixels,
    test: Pixels,
}

/// A file that is being written; it is removed unless it was finished.
pub(super) struct Draft {
    path: PathBuf,
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After a successful rename there is nothing under this name.
        std::fs::remove_file(&self.path).ok();
    }
}

impl Store {
    pub fn new(
        place: &Path,
        limits: Limits,
        source: &Path,
        options: &FolderOptions,
        listing: &Listing,
    ) -> Self {
        let real = source.canonicalize().unwrap_or_else(|_| source.to_owned());
        let o = options;
        let settings = format!(
            "{VERSION} {:?} {:?} {:?} {:?} {} {} {}",
            o.size, o.channels, o.resize, o.background, o.exif, o.test_fraction, o.split_seed
        );
        let of_folder = hash(1, real.as_os_str().as_encoded_bytes());
        let name: String = folder_name(source)
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '_' })
            .take(40)
            .collect();
        let number = hash(of_folder, settings.as_bytes());
        Self {
            folder: place.to_owned(),
            path: place.join(format!("{name}-{number:016x}.{COMPLETE}")),
            key: key(&settings, listing),
            limits,
        }
    }

    /// The data set, if the file is there, undamaged and of the files as they are now.
    pub fn load(&self) -> Option<Found> {
        let file = File::open(&self.path).ok()?;
        let found = self.read(&file)?;
        // The time of the last use decides what goes first. A read-only cache is fine too.
        file.set_modified(SystemTime::now()).ok();
        Some(found)
    }

    /// What a complete file holds; nothing if it is damaged or of other files.
    pub fn read(&self, mut file: &File) -> Option<Found> {
        let header = read_header(file)?;
        let [train, test] = header.bytes()?;
        if header.version != VERSION || header.key != self.key {
            return None;
        }
        let (start, middle) = (START as usize, usize::try_from(START + train).ok()?);
        let end = usize::try_from(START + train + test).ok()?;
        if train + test > self.limits.map_above.unwrap_or_else(quarter_of_free_memory) {
            // SAFETY: files of the cache are never changed, only replaced or removed as a whole.
            let map = Arc::new(unsafe { memmap2::Mmap::map(file) }.ok()?);
            if map.len() < end {
                return None;
            }
            return Some(Found {
                train: Pixels::mapped(map.clone(), start..middle),
                test: Pixels::mapped(map, middle..end),
                header,
            });
        }
        let mut parts = [vec![0; middle - start], vec![0; end - middle]];
        let mut checksum = flate2::Crc::new();
        file.seek(SeekFrom::Start(START)).ok()?;
        for part in &mut parts {
            file.read_exact(part).ok()?;
            checksum.update(part);
        }
        let [train, test] = parts.map(Pixels::from);
        (checksum.sum() == header.checksum).then_some(Found {
            header,
            train,
            test,
        })
    }

    /// A file to write into from byte [`START`] on, after making room for `bytes`.
    pub fn begin(&self, bytes: u64) -> io::Result<(Draft, File)> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        std::fs::create_dir_all(&self.folder)?;
        self.make_room(bytes);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let own = format!("{}-{number}.{DRAFT}", std::process::id());
        let path = self.path.with_extension(own);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        Ok((Draft { path }, file))
    }

    /// Where the pixels begin in a file.
    pub const fn start() -> u64 {
        START
    }

    /// Writes the header after the pixels and gives the file its name.
    pub fn finish(&self, draft: &Draft, file: &mut File, mut header: Header) -> io::Result<()> {
        header.version = VERSION;
        header.key.clone_from(&self.key);
        let text = serde_json::to_vec(&header)?;
        let at = file.stream_position()?;
        file.write_all(&text)?;
        let mut checksum = flate2::Crc::new();
        checksum.update(&text);
        let mut first = [0; START as usize];
        first[..8].copy_from_slice(&MAGIC);
        first[8..16].copy_from_slice(&at.to_le_bytes());
        first[16..24].copy_from_slice(&(text.len() as u64).to_le_bytes());
        first[24..28].copy_from_slice(&checksum.sum().to_le_bytes());
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&first)?;
        file.sync_all()?;
        std::fs::rename(&draft.path, &self.path)
    }

    /// Removes the files that were not used for longest until `more` bytes fit in, and drafts of
    /// programs that were killed. The file of this data set stays.
    fn make_room(&self, more: u64) {
        for draft in files(&self.folder, DRAFT) {
            if draft.used.elapsed().is_ok_and(|age| age > ABANDONED) {
                std::fs::remove_file(&draft.path).ok();
            }
        }
        let mut others = files(&self.folder, COMPLETE);
        others.retain(|file| file.path != self.path);
        others.sort_by_key(|file| file.used);
        let mut total = more + others.iter().map(|file| file.bytes).sum::<u64>();
        for file in others {
            if total <= self.limits.total {
                break;
            }
            if std::fs::remove_file(&file.path).is_ok() {
                total -= file.bytes;
            }
        }
    }
}

/// A number of 128 bits that changes with anything that changes the images or their labels.
fn key(settings: &str, listing: &Listing) -> String {
    let mut sums = [hash(2, settings.as_bytes()), hash(3, settings.as_bytes())];
    let mut add = |bytes: &[u8]| sums = sums.map(|sum| hash(sum, bytes));
    for class in &listing.classes {
        add(class.as_bytes());
    }
    let mut record = Vec::new();
    for (part, pictures) in [&listing.train, &listing.test].into_iter().enumerate() {
        for Picture {
            key,
            label,
            bytes,
            modified,
            path: _,
        } in pictures
        {
            record.clear();
            record.extend_from_slice(key);
            record.push(part as u8);
            record.extend(label.to_le_bytes());
            record.extend(bytes.to_le_bytes());
            record.extend(modified.to_le_bytes());
            add(&record);
        }
    }
    format!("{:016x}{:016x}", sums[0], sums[1])
}

/// The header of a complete file.
fn read_header(mut file: &File) -> Option<Header> {
    let length = file.metadata().ok()?.len();
    let mut first = [0; START as usize];
    file.seek(SeekFrom::Start(0)).ok()?;
    file.read_exact(&mut first).ok()?;
    let word = |at: usize| Some(u64::from_le_bytes(first.get(at..at + 8)?.try_into().ok()?));
    let (at, size) = (word(8)?, word(16)?);
    if first[..8] != MAGIC || at < START || at.checked_add(size)? != length {
        return None;
    }
    file.seek(SeekFrom::Start(at)).ok()?;
    let mut text = vec![0; usize::try_from(size).ok()?];
    file.read_exact(&mut text).ok()?;
    let mut checksum = flate2::Crc::new();
    checksum.update(&text);
    if checksum.sum().to_le_bytes() != first[24..28] {
        return None;
    }
    let header: Header = serde_json::from_slice(&text).ok()?;
    let [train, test] = header.bytes()?;
    (START.checked_add(train)?.checked_add(test)? == at).then_some(header)
}

fn quarter_of_free_memory() -> u64 {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    system.available_memory() / 4
}

impl Found {
    /// The data set, with what its folder's listing has to say.
    pub fn into_loaded(self, folder: &Path, listing: Listing) -> Loaded {
        let [height, width, channels] = self.header.size;
        let images = |pixels, labels| Images {
            height,
            width,
            channels,
            pixels,
            labels,
        };
        Loaded {
            data: Dataset {
                name: folder_name(folder),
                classes: self.header.classes,
                train: images(self.train, self.header.train_labels),
                test: images(self.test, self.header.test_labels),
            },
            warnings: listing.warnings,
            skipped: listing.skipped,
            broken: self.header.broken,
            from_cache: true,
        }
    }
}

/// A file of the cache.
#[derive(Clone, Debug, Serialize)]
pub struct CacheEntry {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last used.
    #[serde(skip)]
    pub used: SystemTime,
    /// The data folder it was made of; `None` for a damaged or unfinished file.
    pub source: Option<String>,
    /// (height, width, channels) of its images.
    pub size: [usize; 3],
    /// How many images it holds.
    pub images: usize,
}

/// Files of the cache with an ending, without a look into them.
fn files(folder: &Path, ending: &str) -> Vec<CacheEntry> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = |path: &Path| {
        let name = path.extension().and_then(std::ffi::OsStr::to_str);
        name.is_some_and(|name| name == ending)
    };
    entries
        .filter(|entry| ours(&entry.path()))
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some(CacheEntry {
                path: entry.path(),
                bytes: metadata.len(),
                used: metadata.modified().ok()?,
                source: None,
                size: [0; 3],
                images: 0,
            })
        })
        .collect()
}

/// The files in a cache folder, the last used first.
pub fn list_cache(folder: &Path) -> Vec<CacheEntry> {
    let mut found = files(folder, COMPLETE);
    for entry in &mut found {
        let header = File::open(&entry.path)
            .ok()
            .and_then(|file| read_header(&file));
        if let Some(header) = header {
            entry.images = header.train_labels.len() + header.test_labels.len();
            entry.size = header.size;
            entry.source = Some(header.source);
        }
    }
    found.extend(files(folder, DRAFT));
    found.sort_by_key(|entry| std::cmp::Reverse(entry.used));
    found
}

/// Removes all files of the cache and returns how many there were and their bytes. Other files in the
/// folder stay.
///
/// # Errors
/// When a file cannot be removed.
pub fn clear_cache(folder: &Path) -> io::Result<(usize, u64)> {
    let all = list_cache(folder);
    for entry in &all {
        std::fs::remove_file(&entry.path)?;
    }
    Ok((all.len(), all.iter().map(|entry| entry.bytes).sum()))
}
