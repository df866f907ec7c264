//! Data sets: bytes in memory, a seeded order, one batch at a time.

mod augment;
mod cifar;
mod cifar100;
mod drawn;
mod embedded;
#[cfg(all(feature = "pictures", not(target_arch = "wasm32")))]
pub mod folder;
mod idx;
#[cfg(not(target_arch = "wasm32"))]
mod idx_folder;
#[cfg(not(target_arch = "wasm32"))]
mod npy;
mod pixels;
mod seen;

pub use augment::{Augment, Augmentation, Crop, Cutout, Flip, mix_up, smooth};
pub use cifar::{
    CIFAR_RECORD, CIFAR_SIDE, CIFAR10_CLASSES, CIFAR10_TEST, CIFAR10_TRAIN, encode_cifar10,
    parse_cifar10,
};
pub use cifar100::{
    CIFAR100_CLASSES, CIFAR100_RECORD, CIFAR100_TEST, CIFAR100_TRAIN, parse_cifar100,
};
pub use drawn::centre_drawing;
pub use embedded::{EMBEDDED_DIGITS, embedded_digits};
pub use idx::{MAX_SIDE, encode_images, encode_labels, parse_images, parse_labels};
pub use pixels::Pixels;
pub use seen::{Reading, Resize, Seen};

use std::collections::BTreeSet;

use crate::rng::Philox;

/// Why a data set could not be read. Every message names the file, the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A folder without one of the files.
    #[error(
        "{folder}: no {wanted} is here{present}. Give --data a folder with one folder of pictures for each \
         class, or with the files of MNIST's format or of CIFAR's; `gtc data` makes those."
    )]
    Missing {
        /// The folder.
        folder: String,
        /// The names looked for.
        wanted: String,
        /// What is there instead.
        present: String,
    },
    /// More than one data set.
    #[error("{folder}: several data sets are here. Name one of them: {}", found.join(", "))]
    Several {
        /// The folder.
        folder: String,
        /// What to name instead.
        found: Vec<String>,
    },
    /// The operating system refused.
    #[error("{file}: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// Its words.
        reason: String,
    },
    /// Not an IDX file of the wanted kind.
    #[error(
        "{file}: byte 0: {found}; {wanted} begin with {magic:#010x}. Is it the right file, and complete?"
    )]
    WrongType {
        /// The file.
        file: String,
        /// What the first bytes say.
        found: String,
        /// What was wanted.
        wanted: &'static str,
        /// Its first four bytes.
        magic: u32,
    },
    /// Shorter or longer than its header says.
    #[error(
        "{file}: the header at byte 4 promises {expected} bytes in all, the file has {found}. Fetch it again."
    )]
    WrongSize {
        /// The file.
        file: String,
        /// Bytes by the header.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// Not a whole number of records.
    #[error(
        "{file}: {found} bytes are not a whole number of records of {record} bytes. The file is cut or damaged; fetch it again."
    )]
    WrongRecords {
        /// The file.
        file: String,
        /// Its bytes.
        found: usize,
        /// Bytes of a record.
        record: usize,
    },
    /// A header no sensible file has.
    #[error("{file}: byte 4: {what}. Is this a data set of small images?")]
    Absurd {
        /// The file.
        file: String,
        /// What is absurd.
        what: String,
    },
    /// A compressed file that does not unpack.
    #[error("{file}: damaged gzip data: {reason}. Fetch it again.")]
    BadGzip {
        /// The file.
        file: String,
        /// The decoder's words.
        reason: String,
    },
    /// Counts that differ.
    #[error(
        "{images_file} holds {images} images, {labels_file} {labels} labels. They must come in pairs."
    )]
    CountMismatch {
        /// The image file.
        images_file: String,
        /// Images in it.
        images: usize,
        /// The label file.
        labels_file: String,
        /// Labels in it.
        labels: usize,
    },
    /// A label no class has.
    #[error("{file}: byte {offset}: label {label} of image {image} is outside the {classes} classes 0 to {}", classes - 1)]
    BadLabel {
        /// The file.
        file: String,
        /// Where.
        offset: usize,
        /// Its value.
        label: u16,
        /// Whose.
        image: usize,
        /// How many classes there are.
        classes: usize,
    },
    /// Training and test images of different sizes.
    #[error("{0}: training images are {1}, test images {2}. Both must have one size.")]
    SizesDiffer(String, String, String),
}

/// Images with their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Images {
    /// Pixels.
    pub height: usize,
    /// Pixels.
    pub width: usize,
    /// 1 for grey, 3 for colour.
    pub channels: usize,
    /// (count, height, width, channels)
    pub pixels: Pixels,
    /// (count), each below the number of classes
    pub labels: Vec<u16>,
}

impl Images {
    /// How many.
    pub fn count(&self) -> usize {
        self.labels.len()
    }

    /// (height, width, channels)
    pub fn size(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// Which image is number i of a sample: in the order of the images, round and round, unless the first of them are of few
    /// classes, as in files that are sorted by class. Then they are taken from everywhere.
    pub(crate) fn sample(&self) -> impl Fn(usize) -> u32 + use<> {
        /// Images among which most classes are, if they are in no order.
        const FIRST: usize = 1000;
        let classes = |labels: &[u16]| labels.iter().collect::<BTreeSet<_>>().len();
        let count = self.count().max(1);
        let first = classes(&self.labels[..self.count().min(FIRST)]);
        let step = match 2 * first >= classes(&self.labels) {
            true => 1,
            // A prime number, so that every image has its turn.
            false => [7919, 7907]
                .into_iter()
                .find(|step| !count.is_multiple_of(*step))
                .unwrap_or(1),
        };
        move |i| (i % count * step % count) as u32
    }

    /// Bytes of one image, (height, width, channels).
    pub fn image(&self, i: usize) -> &[u8] {
        let size = self.height * self.width * self.channels;
        &self.pixels[i * size..(i + 1) * size]
    }
}

/// Images to learn from and images to be tested on.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// For reports.
    pub name: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// To learn from.
    pub train: Images,
    /// To be tested on, never learned from.
    pub test: Images,
}

impl Dataset {
    /// Keeps only the first training images.
    pub fn limit(&mut self, count: usize) {
        let size: usize = self.train.size().iter().product();
        self.train.labels.truncate(count);
        self.train.pixels.truncate(count * size);
    }
}

/// Reads a folder with the files of MNIST's format, NumPy's arrays of Keras's names, or CIFAR-10's or CIFAR-100's binary
/// version; the last two may lie in a folder `cifar-10-batches-bin` or `cifar-100-binary` in it, as their archives
/// unpack.
///
/// # Errors
/// [`DataError`], naming the file, the place and the remedy.
#[cfg(not(target_arch = "wasm32"))]
pub fn read_folder(folder: &std::path::Path) -> Result<Dataset, DataError> {
    let other = |reason: &str| {
        Err(DataError::Unreadable {
            file: folder.display().to_string(),
            reason: reason.to_owned(),
        })
    };
    if !folder.exists() && !idx_folder::is_here(folder) {
        return other("there is no such folder or file");
    }
    if folder.is_file() {
        return other(&match archive_of(folder) {
            Some(kind) => format!(
                "an archive of {kind}, which this program does not unpack. Unpack it, and name the folder"
            ),
            None => {
                "a file that is no archive (zip, tar, tar.gz); --data names a folder or an archive"
                    .to_owned()
            }
        });
    }
    let pickled = ["data_batch_1", "cifar-10-batches-py", "cifar-100-python"];
    if pickled.iter().any(|name| folder.join(name).exists()) {
        return other(
            "CIFAR in its version for Python, which only Python reads. `gtc data get cifar10` fetches the binary version, \
             which has the same images",
        );
    }
    for place in [folder, &folder.join("cifar-10-batches-bin")] {
        if cifar::is_here(place) {
            return cifar::read(place);
        }
    }
    for place in [folder, &folder.join("cifar-100-binary")] {
        if cifar100::is_here(place) {
            return cifar100::read(place);
        }
    }
    if npy::is_here(folder) {
        return npy::read(folder);
    }
    idx_folder::read(folder)
}

/// The names in `classes.txt`, one a line, if it is there.
#[cfg(not(target_arch = "wasm32"))]
fn listed_classes(folder: &std::path::Path) -> Result<Option<Vec<String>>, DataError> {
    let names = |bytes: Vec<u8>| {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let text = text.trim_start_matches('\u{feff}');
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect()
    };
    Ok(read_file(&folder.join("classes.txt"))?.map(names))
}

/// A folder without a file.
#[cfg(not(target_arch = "wasm32"))]
fn missing(folder: &std::path::Path, wanted: &str) -> DataError {
    DataError::Missing {
        folder: folder.display().to_string(),
        wanted: wanted.to_owned(),
        present: list_folder(folder),
    }
}

/// What packed a file, if it is an archive of a kind that few programs read, by its first bytes.
#[cfg(not(target_arch = "wasm32"))]
fn archive_of(file: &std::path::Path) -> Option<&'static str> {
    use std::io::Read;
    const KINDS: [(&[u8], &str); 5] = [
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh", "bzip2"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
    ];
    let mut start = Vec::new();
    let file = std::fs::File::open(file).ok()?;
    file.take(8).read_to_end(&mut start).ok()?;
    let known = KINDS.iter().find(|(magic, _)| start.starts_with(magic));
    known.map(|(_, name)| *name)
}

/// Whether a path leads to something that may be data: a folder, or what the names of files in one begin with.
#[cfg(not(target_arch = "wasm32"))]
pub fn is_there(path: &std::path::Path) -> bool {
    path.is_dir() || idx_folder::is_here(path)
}

/// Whether a folder holds any of the files that [`read_folder`] reads.
#[cfg(all(feature = "pictures", not(target_arch = "wasm32")))]
pub fn holds_files(folder: &std::path::Path) -> bool {
    let ten = [folder, &folder.join("cifar-10-batches-bin")].map(cifar::is_here);
    let hundred = [folder, &folder.join("cifar-100-binary")].map(cifar100::is_here);
    let records = ten.contains(&true) || hundred.contains(&true);
    records || npy::is_here(folder) || idx_folder::is_here(folder)
}

/// The name of a folder, for reports.
#[cfg(not(target_arch = "wasm32"))]
fn folder_name(folder: &std::path::Path) -> String {
    let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    absolute
        .file_name()
        .map_or_else(|| "data".to_owned(), |n| n.to_string_lossy().into_owned())
}

/// The bytes of a file, if there is one.
#[cfg(not(target_arch = "wasm32"))]
fn read_file(path: &std::path::Path) -> Result<Option<Vec<u8>>, DataError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DataError::Unreadable {
            file: path.display().to_string(),
            reason: error.to_string(),
        }),
    }
}

/// What a folder holds, in parentheses, for messages.
#[cfg(not(target_arch = "wasm32"))]
fn list_folder(folder: &std::path::Path) -> String {
    let entries = match std::fs::read_dir(folder) {
        Err(error) => return format!(" ({error})"),
        Ok(entries) => entries,
    };
    let mut present: Vec<String> = entries
        .filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()))
        .collect();
    present.sort();
    present.truncate(8);
    if present.is_empty() {
        " (the folder is empty)".to_owned()
    } else {
        format!(" (it holds {})", present.join(", "))
    }
}

/// The order in which an epoch visits the images: a function of seed and epoch alone, so that a
/// resumed run visits them as an uninterrupted one.
pub fn epoch_order(seed: u64, epoch: u32, count: usize) -> Vec<u32> {
    const ORDER_STREAM: u64 = 1 << 32;
    Philox::new(seed, ORDER_STREAM + u64::from(epoch)).permutation(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_sorted_files_have_all_classes() {
        let of = |label: fn(usize) -> u16| Images {
            height: 1,
            width: 1,
            channels: 1,
            pixels: vec![0; 20_000].into(),
            labels: (0..20_000).map(label).collect(),
        };
        let mixed = of(|i| (i % 10) as u16).sample();
        assert!((0..40_000).all(|i| mixed(i) == (i % 20_000) as u32));
        let sorted = of(|i| (i / 2000) as u16).sample();
        let classes: BTreeSet<u32> = (0..30).map(|i| sorted(i) / 2000).collect();
        assert_eq!(classes.len(), 10);
        let all: BTreeSet<u32> = (0..20_000).map(sorted).collect();
        assert_eq!(all.len(), 20_000);
    }
}
