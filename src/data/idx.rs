//! The IDX format of MNIST: a magic number, big-endian sizes, bytes.
//!
//! <http://yann.lecun.com/exdb/mnist/>: images 0x00000803, count, rows, columns; labels
//! 0x00000801, count. Files may be gzipped.

use std::borrow::Cow;
use std::io::Read;

use super::DataError;
#[cfg(not(target_arch = "wasm32"))]
use super::{Dataset, Images, folder_name, list_folder, read_file};

const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;
/// Largest height or width taken for sensible.
pub const MAX_SIDE: u32 = 4096;
/// Largest data taken for sensible.
const MAX_BYTES: u64 = 4 << 30;

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(word.try_into().ok()?))
}

/// Header words after the magic number, and the bytes they promise.
fn header(
    file: &str,
    bytes: &[u8],
    magic: u32,
    wanted: &'static str,
    dimensions: usize,
) -> Result<(Vec<u32>, u64), DataError> {
    let wrong = |found: String| DataError::WrongType {
        file: file.to_owned(),
        found,
        wanted,
        magic,
    };
    match be32(bytes, 0) {
        None => return Err(wrong(format!("the file has only {} bytes", bytes.len()))),
        Some(LABELS_MAGIC) if magic != LABELS_MAGIC => {
            return Err(wrong("0x00000801 marks a file of labels".to_owned()));
        }
        Some(IMAGES_MAGIC) if magic != IMAGES_MAGIC => {
            return Err(wrong("0x00000803 marks a file of images".to_owned()));
        }
        Some(found) if found != magic => {
            return Err(wrong(format!("found {found:#010x}")));
        }
        Some(_) => {}
    }
    let words: Vec<u32> = (0..dimensions)
        .map_while(|i| be32(bytes, 4 + 4 * i))
        .collect();
    let header = 4 + 4 * dimensions as u64;
    if words.len() < dimensions {
        return Err(DataError::WrongSize {
            file: file.to_owned(),
            expected: header,
            found: bytes.len() as u64,
        });
    }
    let absurd = |what: String| DataError::Absurd {
        file: file.to_owned(),
        what,
    };
    if words[0] == 0 {
        return Err(absurd("the header promises nothing".to_owned()));
    }
    if let Some(side) = words[1..]
        .iter()
        .find(|side| **side == 0 || **side > MAX_SIDE)
    {
        return Err(absurd(format!(
            "an image side of {side} pixels (1 to {MAX_SIDE} are possible)"
        )));
    }
    let bytes = words
        .iter()
        .try_fold(1u64, |product, word| product.checked_mul(u64::from(*word)));
    let total = bytes
        .filter(|bytes| *bytes <= MAX_BYTES)
        .ok_or_else(|| absurd(format!("{words:?} would be more than 4 GiB")))?;
    Ok((words, header + total))
}

/// Unpacks gzip, never beyond what the IDX header inside promises plus one byte.
fn unpack<'a>(
    file: &str,
    bytes: &'a [u8],
    magic: u32,
    wanted: &'static str,
    dimensions: usize,
) -> Result<Cow<'a, [u8]>, DataError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let bad = |error: std::io::Error| DataError::BadGzip {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    let mut decoder = flate2::read::GzDecoder::new(bytes);
    let mut unpacked = Vec::new();
    let head = 4 + 4 * dimensions as u64;
    (&mut decoder)
        .take(head)
        .read_to_end(&mut unpacked)
        .map_err(bad)?;
    let (_, total) = header(file, &unpacked, magic, wanted, dimensions)?;
    (&mut decoder)
        .take(total + 1 - head)
        .read_to_end(&mut unpacked)
        .map_err(bad)?;
    Ok(Cow::Owned(unpacked))
}

fn parse<'a>(
    file: &str,
    bytes: &'a [u8],
    magic: u32,
    wanted: &'static str,
    dimensions: usize,
) -> Result<(Vec<u32>, Cow<'a, [u8]>), DataError> {
    let unpacked = unpack(file, bytes, magic, wanted, dimensions)?;
    let (words, expected) = header(file, &unpacked, magic, wanted, dimensions)?;
    if unpacked.len() as u64 != expected {
        return Err(DataError::WrongSize {
            file: file.to_owned(),
            expected,
            found: unpacked.len() as u64,
        });
    }
    Ok((words, unpacked))
}

/// (count, height, width) and the pixels (count, height, width) of an IDX file of images, plain
/// or gzipped. `file` is its name for messages.
///
/// # Errors
/// [`DataError`] for anything that is not exactly such a file.
pub fn parse_images(file: &str, bytes: &[u8]) -> Result<([usize; 3], Vec<u8>), DataError> {
    let (words, data) = parse(file, bytes, IMAGES_MAGIC, "files of images", 3)?;
    let size = [words[0] as usize, words[1] as usize, words[2] as usize];
    Ok((size, data[16..].to_vec()))
}

/// The labels of an IDX file, plain or gzipped, each checked against the number of classes.
///
/// # Errors
/// [`DataError`] for anything that is not exactly such a file.
pub fn parse_labels(file: &str, bytes: &[u8], classes: usize) -> Result<Vec<u16>, DataError> {
    let (_, data) = parse(file, bytes, LABELS_MAGIC, "files of labels", 1)?;
    let labels: Vec<u16> = data[8..].iter().map(|label| u16::from(*label)).collect();
    match labels
        .iter()
        .position(|label| usize::from(*label) >= classes)
    {
        None => Ok(labels),
        Some(image) => Err(DataError::BadLabel {
            file: file.to_owned(),
            offset: 8 + image,
            label: labels[image],
            image,
            classes,
        }),
    }
}

/// An IDX file of images (count, height, width).
pub fn encode_images(height: usize, width: usize, pixels: &[u8]) -> Vec<u8> {
    let count = pixels.len() / (height * width);
    let mut bytes = Vec::with_capacity(16 + pixels.len());
    for word in [IMAGES_MAGIC, count as u32, height as u32, width as u32] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend_from_slice(pixels);
    bytes
}

/// An IDX file of labels.
pub fn encode_labels(labels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + labels.len());
    for word in [LABELS_MAGIC, labels.len() as u32] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend_from_slice(labels);
    bytes
}

#[cfg(not(target_arch = "wasm32"))]
const FASHION: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Reads a folder in MNIST's format: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the
/// same with `t10k`, each plain or `.gz`; a dot instead of the last dash is fine. Fashion-MNIST
/// is recognised by the folder's name and gets its class names. A file `classes.txt` with a name on
/// each line gives other classes than the ten digits, up to 256. Images may have any size.
///
/// # Errors
/// [`DataError`], naming the file, the place and the remedy.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn read(folder: &std::path::Path) -> Result<Dataset, DataError> {
    let name = folder_name(folder);
    let classes: Vec<String> = if let Some(listed) = class_list(folder)? {
        listed
    } else if name.to_lowercase().contains("fashion") {
        FASHION.map(str::to_owned).to_vec()
    } else {
        (0..10).map(|digit: u8| digit.to_string()).collect()
    };
    let train = read_pair(folder, "train", classes.len())?;
    let test = read_pair(folder, "t10k", classes.len())?;
    if train.size() != test.size() {
        let text = |images: &Images| format!("{}x{}", images.height, images.width);
        let folder = folder.display().to_string();
        return Err(DataError::SizesDiffer(folder, text(&train), text(&test)));
    }
    Ok(Dataset {
        name,
        classes,
        train,
        test,
    })
}

/// The names in `classes.txt`, if there is one.
#[cfg(not(target_arch = "wasm32"))]
fn class_list(folder: &std::path::Path) -> Result<Option<Vec<String>>, DataError> {
    let Some(bytes) = read_file(&folder.join("classes.txt"))? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(Some(lines.map(str::to_owned).collect()))
}

/// Whether a folder holds any file in MNIST's format.
#[cfg(all(feature = "pictures", not(target_arch = "wasm32")))]
pub(super) fn is_here(folder: &std::path::Path) -> bool {
    let parts = [
        ("train-images", "idx3-ubyte"),
        ("train-labels", "idx1-ubyte"),
        ("t10k-images", "idx3-ubyte"),
        ("t10k-labels", "idx1-ubyte"),
    ];
    let mut names = parts.iter().flat_map(|(stem, suffix)| names(stem, suffix));
    names.any(|name| folder.join(name).is_file())
}

/// How a file in MNIST's format may be called.
#[cfg(not(target_arch = "wasm32"))]
fn names(stem: &str, suffix: &str) -> [String; 4] {
    [
        format!("{stem}-{suffix}"),
        format!("{stem}-{suffix}.gz"),
        format!("{stem}.{suffix}"),
        format!("{stem}.{suffix}.gz"),
    ]
}

#[cfg(not(target_arch = "wasm32"))]
fn read_pair(folder: &std::path::Path, part: &str, classes: usize) -> Result<Images, DataError> {
    let (images_file, bytes) = find(folder, &format!("{part}-images"), "idx3-ubyte")?;
    let ([images, height, width], pixels) = parse_images(&images_file, &bytes)?;
    let (labels_file, bytes) = find(folder, &format!("{part}-labels"), "idx1-ubyte")?;
    let labels = parse_labels(&labels_file, &bytes, classes)?;
    if images != labels.len() {
        return Err(DataError::CountMismatch {
            images_file,
            images,
            labels_file,
            labels: labels.len(),
        });
    }
    Ok(Images {
        height,
        width,
        channels: 1,
        pixels: pixels.into(),
        labels,
    })
}

#[cfg(not(target_arch = "wasm32"))]
fn find(
    folder: &std::path::Path,
    stem: &str,
    suffix: &str,
) -> Result<(String, Vec<u8>), DataError> {
    let names = names(stem, suffix);
    for name in &names {
        let path = folder.join(name);
        if let Some(bytes) = read_file(&path)? {
            return Ok((path.display().to_string(), bytes));
        }
    }
    Err(DataError::Missing {
        folder: folder.display().to_string(),
        wanted: names.join(", "),
        present: list_folder(folder),
    })
}
