//! The binary layout of CIFAR-100: records of two label bytes, one of 20 coarse classes and one of 100
//! fine ones, and 3,072 bytes of pixels as in CIFAR-10 (<https://www.cs.toronto.edu/~kriz/cifar.html>).
//! The fine labels are the ones that are learned.

use super::{CIFAR_RECORD, CIFAR_SIDE, DataError, Images};
#[cfg(not(target_arch = "wasm32"))]
use super::{Dataset, list_folder, read_file};

/// Fine classes.
pub const CIFAR100_CLASSES: usize = 100;
/// Bytes of one image with its two labels.
pub const CIFAR100_RECORD: usize = 1 + CIFAR_RECORD;
/// The file of the training images.
pub const CIFAR100_TRAIN: &str = "train.bin";
/// The file of the test images.
pub const CIFAR100_TEST: &str = "test.bin";
/// The names of the fine classes, one a line.
#[cfg(not(target_arch = "wasm32"))]
const NAMES: &str = "fine_label_names.txt";

/// Images of a file's bytes, whose pixels become (height, width, channels), with their fine labels;
/// `file` is its name for messages.
///
/// # Errors
/// [`DataError`] for a length that is no whole number of records, and for a label above 99.
pub fn parse_cifar100(file: &str, bytes: &[u8]) -> Result<Images, DataError> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(CIFAR100_RECORD) {
        return Err(DataError::WrongRecords {
            file: file.to_owned(),
            found: bytes.len(),
            record: CIFAR100_RECORD,
        });
    }
    let plane = CIFAR_SIDE * CIFAR_SIDE;
    let mut pixels = Vec::with_capacity(bytes.len());
    let mut labels = Vec::with_capacity(bytes.len() / CIFAR100_RECORD);
    for (image, record) in bytes.chunks(CIFAR100_RECORD).enumerate() {
        let label = u16::from(record[1]);
        if usize::from(label) >= CIFAR100_CLASSES {
            return Err(DataError::BadLabel {
                file: file.to_owned(),
                offset: image * CIFAR100_RECORD + 1,
                label,
                image,
                classes: CIFAR100_CLASSES,
            });
        }
        labels.push(label);
        let planes = &record[2..];
        pixels.extend((0..plane).flat_map(|pixel| [0, 1, 2].map(|c| planes[c * plane + pixel])));
    }
    Ok(Images {
        height: CIFAR_SIDE,
        width: CIFAR_SIDE,
        channels: 3,
        pixels: pixels.into(),
        labels,
    })
}

/// Whether a folder looks like CIFAR-100's.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn is_here(folder: &std::path::Path) -> bool {
    [CIFAR100_TRAIN, CIFAR100_TEST]
        .iter()
        .any(|name| folder.join(name).is_file())
}

/// Reads the two files, and the names of the classes where they are there.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn read(folder: &std::path::Path) -> Result<Dataset, DataError> {
    let part = |name: &str| -> Result<Images, DataError> {
        let path = folder.join(name);
        let bytes = read_file(&path)?.ok_or_else(|| DataError::Missing {
            folder: folder.display().to_string(),
            wanted: name.to_owned(),
            present: list_folder(folder),
        })?;
        parse_cifar100(&path.display().to_string(), &bytes)
    };
    let numbers = || (0..CIFAR100_CLASSES).map(|class| class.to_string());
    let classes = match read_file(&folder.join(NAMES))? {
        Some(bytes) => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
            names.map(str::to_owned).collect()
        }
        None => numbers().collect::<Vec<String>>(),
    };
    if classes.len() != CIFAR100_CLASSES {
        return Err(DataError::Unreadable {
            file: folder.join(NAMES).display().to_string(),
            reason: format!("{} names for {CIFAR100_CLASSES} classes", classes.len()),
        });
    }
    Ok(Dataset {
        name: "CIFAR-100".to_owned(),
        classes,
        train: part(CIFAR100_TRAIN)?,
        test: part(CIFAR100_TEST)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(coarse: u8, fine: u8) -> Vec<u8> {
        let pixels = (0..CIFAR_RECORD - 1).map(|i| (i * 7 % 251) as u8);
        [coarse, fine].into_iter().chain(pixels).collect()
    }

    #[test]
    fn fine_labels_and_interleaved_pixels_are_read() {
        let bytes = [record(3, 77), record(19, 99)].concat();
        let images = parse_cifar100("f", &bytes).unwrap();
        assert_eq!(images.labels, [77, 99]);
        let plane = CIFAR_SIDE * CIFAR_SIDE;
        assert_eq!(
            images.image(1)[..3],
            [0, plane, 2 * plane].map(|i| (i * 7 % 251) as u8)
        );
    }

    #[test]
    fn wrong_lengths_and_labels_are_named() {
        let error = parse_cifar100("f.bin", &[0; CIFAR100_RECORD + 1]).unwrap_err();
        assert!(error.to_string().contains("3074"), "{error}");
        let bytes = [record(0, 1), record(0, 100)].concat();
        let error = parse_cifar100("f.bin", &bytes).unwrap_err().to_string();
        assert!(
            error.contains("label 100 of image 1") && error.contains("byte 3075"),
            "{error}"
        );
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn a_folder_is_found_with_its_names() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("cifar-100-binary");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join(CIFAR100_TRAIN), record(0, 5)).unwrap();
        std::fs::write(inside.join(CIFAR100_TEST), record(0, 6)).unwrap();
        let data = crate::data::read_folder(folder.path()).unwrap();
        assert_eq!((data.classes[5].as_str(), data.test.labels[0]), ("5", 6));
        let names: Vec<String> = (0..100).map(|i| format!("thing {i}")).collect();
        std::fs::write(inside.join(NAMES), names.join("\n")).unwrap();
        let data = crate::data::read_folder(folder.path()).unwrap();
        assert_eq!(data.classes[99], "thing 99");
        std::fs::write(inside.join(NAMES), "one\ntwo\n").unwrap();
        let error = crate::data::read_folder(folder.path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("2 names for 100 classes"), "{error}");
    }
}
