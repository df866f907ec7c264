//! The IDX format of MNIST: a magic number, big-endian sizes, bytes.
//!
//! <http://yann.lecun.com/exdb/mnist/>: images 0x00000803, count, rows, columns; labels
//! 0x00000801, count. Files may be gzipped.

use std::borrow::Cow;
use std::io::Read;

use super::DataError;

const IMAGES_MAGIC: u32 = 0x0000_0803;
const LABELS_MAGIC: u32 = 0x0000_0801;
/// Labels of 32 bits, big-endian.
const WIDE_LABELS_MAGIC: u32 = 0x0000_0c01;
/// Several numbers of 32 bits an image, as QMNIST has them, of which the first is the label.
const WIDE_ROWS_MAGIC: u32 = 0x0000_0c02;
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
    let bytes = words.iter().try_fold(width(magic), |product, word| {
        product.checked_mul(u64::from(*word))
    });
    let total = bytes
        .filter(|bytes| *bytes <= MAX_BYTES)
        .ok_or_else(|| absurd(format!("{words:?} would be more than 4 GiB")))?;
    Ok((words, header + total))
}

/// Bytes of a number.
fn width(magic: u32) -> u64 {
    match magic {
        WIDE_LABELS_MAGIC | WIDE_ROWS_MAGIC => 4,
        _ => 1,
    }
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
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
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

/// The labels of an IDX file, plain or gzipped, each checked against the number of classes. They are bytes, or numbers of
/// 32 bits, alone or as the first of several for each image.
///
/// # Errors
/// [`DataError`] for anything that is not exactly such a file.
pub fn parse_labels(file: &str, bytes: &[u8], classes: usize) -> Result<Vec<u16>, DataError> {
    let magic = magic_of(bytes);
    let (labels, header, row) = match magic {
        Some(WIDE_LABELS_MAGIC | WIDE_ROWS_MAGIC) => {
            let magic = magic.unwrap_or_default();
            let dimensions = if magic == WIDE_LABELS_MAGIC { 1 } else { 2 };
            let (words, data) = parse(file, bytes, magic, "files of labels", dimensions)?;
            let columns = words.get(1).map_or(1, |columns| *columns as usize);
            let (header, row) = (4 + 4 * dimensions, 4 * columns);
            let rows = data[header..].chunks_exact(row);
            // What does not fit is outside of all classes anyway.
            let label = |row: &[u8]| be32(row, 0).and_then(|v| u16::try_from(v).ok());
            let labels = rows.map(|row| label(row).unwrap_or(u16::MAX)).collect();
            (labels, header, row)
        }
        _ => {
            let (_, data) = parse(file, bytes, LABELS_MAGIC, "files of labels", 1)?;
            let labels: Vec<u16> = data[8..].iter().map(|label| u16::from(*label)).collect();
            (labels, 8, 1)
        }
    };
    match labels
        .iter()
        .position(|label| usize::from(*label) >= classes)
    {
        None => Ok(labels),
        Some(image) => Err(DataError::BadLabel {
            file: file.to_owned(),
            offset: header + row * image,
            label: labels[image],
            image,
            classes,
        }),
    }
}

/// The first four bytes of a file, unpacked if it is gzipped.
fn magic_of(bytes: &[u8]) -> Option<u32> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return be32(bytes, 0);
    }
    let mut head = Vec::new();
    let decoder = flate2::read::MultiGzDecoder::new(bytes);
    // What cannot be unpacked is named by whoever unpacks all of it.
    decoder.take(4).read_to_end(&mut head).ok()?;
    be32(&head, 0)
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
