//! The binary layout of CIFAR-10: records of a label byte and 3,072 bytes of pixels, the red plane
//! first, then green, then blue, 32x32 each (<https://www.cs.toronto.edu/~kriz/cifar.html>).

use super::{DataError, Images, Pixels};
#[cfg(not(target_arch = "wasm32"))]
use super::{Dataset, list_folder, read_file};

/// Pixels of a side.
pub const CIFAR_SIDE: usize = 32;
const PLANE: usize = CIFAR_SIDE * CIFAR_SIDE;
/// Bytes of one image with its label.
pub const CIFAR_RECORD: usize = 1 + 3 * PLANE;

/// The classes, by label.
pub const CIFAR10_CLASSES: [&str; 10] = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

/// The files of the training images.
pub const CIFAR10_TRAIN: [&str; 5] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];
/// The file of the test images.
pub const CIFAR10_TEST: &str = "test_batch.bin";

/// Images of a file's bytes, whose pixels become (height, width, channels); `file` is its name for
/// messages.
///
/// # Errors
/// [`DataError`] for a length that is no whole number of records, and for a label above 9.
pub fn parse_cifar10(file: &str, bytes: &[u8]) -> Result<Images, DataError> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(CIFAR_RECORD) {
        return Err(DataError::WrongRecords {
            file: file.to_owned(),
            found: bytes.len(),
            record: CIFAR_RECORD,
        });
    }
    let mut images = Images {
        height: CIFAR_SIDE,
        width: CIFAR_SIDE,
        channels: 3,
        pixels: Pixels::default(),
        labels: Vec::with_capacity(bytes.len() / CIFAR_RECORD),
    };
    let mut pixels = Vec::with_capacity(bytes.len());
    for (image, record) in bytes.chunks(CIFAR_RECORD).enumerate() {
        let label = u16::from(record[0]);
        if usize::from(label) >= CIFAR10_CLASSES.len() {
            return Err(DataError::BadLabel {
                file: file.to_owned(),
                offset: image * CIFAR_RECORD,
                label,
                image,
                classes: CIFAR10_CLASSES.len(),
            });
        }
        images.labels.push(label);
        let planes = &record[1..];
        for pixel in 0..PLANE {
            let channels = [0, 1, 2].map(|c| planes[c * PLANE + pixel]);
            pixels.extend(channels);
        }
    }
    images.pixels = pixels.into();
    Ok(images)
}

/// One record: a label and (height, width, channels) pixels.
pub fn encode_cifar10(label: u8, pixels: &[u8]) -> Vec<u8> {
    let mut record = vec![label];
    for channel in 0..3 {
        record.extend(pixels.iter().skip(channel).step_by(3));
    }
    record
}

/// Whether a folder looks like CIFAR-10's.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn is_here(folder: &std::path::Path) -> bool {
    let mut names = CIFAR10_TRAIN.iter().chain([&CIFAR10_TEST]);
    names.any(|name| folder.join(name).exists())
}

/// Reads the six files.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn read(folder: &std::path::Path) -> Result<Dataset, DataError> {
    let part = |name: &str| -> Result<Images, DataError> {
        let path = folder.join(name);
        match read_file(&path)? {
            Some(bytes) => parse_cifar10(&path.display().to_string(), &bytes),
            None => Err(DataError::Missing {
                folder: folder.display().to_string(),
                wanted: name.to_owned(),
                present: list_folder(folder),
            }),
        }
    };
    let mut train = Images::default();
    for name in CIFAR10_TRAIN {
        let more = part(name)?;
        if train.labels.is_empty() {
            train = more;
        } else {
            train.pixels.extend_from_slice(&more.pixels);
            train.labels.extend(more.labels);
        }
    }
    Ok(Dataset {
        name: "CIFAR-10".to_owned(),
        classes: CIFAR10_CLASSES.map(str::to_owned).to_vec(),
        train,
        test: part(CIFAR10_TEST)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_become_pixels_and_back() {
        let pixels: Vec<u8> = (0..3 * PLANE).map(|i| (i * 7 % 251) as u8).collect();
        let record = encode_cifar10(4, &pixels);
        assert_eq!(record.len(), CIFAR_RECORD);
        let images = parse_cifar10("f", &[record.clone(), record].concat()).unwrap();
        assert_eq!(images.labels, [4, 4]);
        assert_eq!(images.image(1), pixels);
    }

    #[test]
    fn wrong_lengths_and_labels_are_named() {
        let error = parse_cifar10("f.bin", &[0; CIFAR_RECORD + 1]).unwrap_err();
        assert!(error.to_string().contains("3073"), "{error}");
        assert!(parse_cifar10("f.bin", &[]).is_err());
        let mut bytes = vec![0; 2 * CIFAR_RECORD];
        bytes[CIFAR_RECORD] = 10;
        let error = parse_cifar10("f.bin", &bytes).unwrap_err().to_string();
        assert!(error.contains("label 10 of image 1"), "{error}");
    }
}
