//! Folders of NumPy's arrays, and what an `.npz` file unpacks to: `x_train`, `y_train`, `x_test`, `y_test` as Keras has them, or
//! `train_images`, `train_labels`, `test_images`, `test_labels`, each with the ending `.npy`.

use std::path::{Path, PathBuf};

use npyz::{NpyFile, Order};

use super::idx_folder::classes_of;
use super::{DataError, Dataset, Images, MAX_SIDE, folder_name, read_file};

/// Training images and labels, test images and labels, in small letters.
const SETS: [[&str; 4]; 2] = [
    ["x_train", "y_train", "x_test", "y_test"],
    ["train_images", "train_labels", "test_images", "test_labels"],
];

/// The four files of a set that has at least one of them.
fn files(folder: &Path) -> Option<[(String, Option<PathBuf>); 4]> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    let find = |name: &str| {
        let named = |path: &&PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            file.to_lowercase() == format!("{name}.npy")
        };
        (format!("{name}.npy"), paths.iter().find(named).cloned())
    };
    let all = SETS.map(|set| set.map(find));
    all.into_iter()
        .find(|set| set.iter().any(|(_, path)| path.is_some()))
}

/// Whether a folder has any of the files.
pub(super) fn is_here(folder: &Path) -> bool {
    files(folder).is_some()
}

/// Reads them. Images are bytes, (count, height, width) or with 1 or 3 channels last, or second as PyTorch has them. Labels are
/// integers, (count) or (count, 1). `classes.txt` beside them names the classes, a line each.
///
/// # Errors
/// [`DataError`], naming the file and what is wrong with it.
pub(super) fn read(folder: &Path) -> Result<Dataset, DataError> {
    let found = files(folder).unwrap_or_else(|| SETS[0].map(|name| (name.to_owned(), None)));
    let mut paths = Vec::new();
    for (name, path) in found {
        paths.push(path.ok_or_else(|| super::missing(folder, &name))?);
    }
    let pair = |images: &Path, labels: &Path| {
        let (size, pixels) = read_images(images)?;
        let labels_read = read_labels(labels)?;
        if size[0] != labels_read.len() {
            return Err(DataError::CountMismatch {
                images_file: images.display().to_string(),
                images: size[0],
                labels_file: labels.display().to_string(),
                labels: labels_read.len(),
            });
        }
        Ok(Images {
            height: size[1],
            width: size[2],
            channels: size[3],
            pixels: pixels.into(),
            labels: labels_read,
        })
    };
    let train = pair(&paths[0], &paths[1])?;
    let test = pair(&paths[2], &paths[3])?;
    if train.size() != test.size() {
        let [train, test] = [&train, &test].map(|images| format!("{:?}", images.size()));
        let folder = folder.display().to_string();
        return Err(DataError::SizesDiffer(folder, train, test));
    }
    let classes = match super::listed_classes(folder)? {
        Some(classes) => classes,
        None => classes_of(&train, &test, [&paths[1], &paths[3]])?,
    };
    for (images, path) in [(&train, &paths[1]), (&test, &paths[3])] {
        let outside = |label: &u16| usize::from(*label) >= classes.len();
        if let Some(image) = images.labels.iter().position(outside) {
            return Err(unfit(
                path,
                &format!(
                    "label {} of image {image} is outside the {} classes",
                    images.labels[image],
                    classes.len()
                ),
            ));
        }
    }
    Ok(Dataset {
        name: folder_name(folder),
        classes,
        train,
        test,
    })
}

fn unfit(path: &Path, reason: &str) -> DataError {
    DataError::Unreadable {
        file: path.display().to_string(),
        reason: reason.to_owned(),
    }
}

/// An array whose numbers are all in the file, in the order of C.
struct Array<'b> {
    file: NpyFile<&'b [u8]>,
    shape: Vec<usize>,
    /// The type of its numbers without the order of bytes, such as `u1`.
    kind: String,
}

fn open<'b>(path: &Path, bytes: &'b [u8]) -> Result<Array<'b>, DataError> {
    let damaged = || {
        unfit(
            path,
            "cut or damaged, or no array of NumPy. Fetch it again.",
        )
    };
    let file = NpyFile::new(bytes).map_err(|_| damaged())?;
    let kind = file.dtype().descr();
    let kind = kind.trim_matches(['\'', '<', '>', '|', '=']).to_owned();
    let sizes = file.shape().iter().map(|size| usize::try_from(*size));
    let shape: Vec<usize> = sizes.collect::<Result<_, _>>().map_err(|_| damaged())?;
    // Memory is asked for by the shape, so that it must not promise more than there is.
    let width = kind.get(1..).and_then(|width| width.parse::<usize>().ok());
    let width = width.filter(|width| *width > 0);
    let width =
        width.ok_or_else(|| unfit(path, &format!("an array of '{kind}', not of numbers")))?;
    let promised = shape
        .iter()
        .try_fold(width, |all, size| all.checked_mul(*size));
    if promised.is_none_or(|promised| promised > bytes.len()) {
        return Err(damaged());
    }
    if file.order() != Order::C && shape.len() > 1 {
        return Err(unfit(
            path,
            "the order of its numbers is Fortran's; numpy.ascontiguousarray changes it",
        ));
    }
    Ok(Array { file, shape, kind })
}

/// (count, height, width, channels), and the bytes.
fn read_images(path: &Path) -> Result<([usize; 4], Vec<u8>), DataError> {
    let bytes = read_file(path)?.unwrap_or_default();
    let array = open(path, &bytes)?;
    if array.kind != "u1" {
        return Err(unfit(
            path,
            &format!(
                "an array of '{}'; images are bytes, from 0 to 255 (numpy.uint8)",
                array.kind
            ),
        ));
    }
    let (size, planes) = match array.shape[..] {
        [count, height, width] => ([count, height, width, 1], false),
        [count, height, width, channels @ (1 | 3)] => ([count, height, width, channels], false),
        [count, channels @ (1 | 3), height, width] => ([count, height, width, channels], true),
        _ => {
            return Err(unfit(
                path,
                &format!(
                    "an array of shape {:?}; images are (count, height, width), or with 1 or 3 channels",
                    array.shape
                ),
            ));
        }
    };
    if size.contains(&0) || size[1..3].iter().any(|side| *side > MAX_SIDE as usize) {
        return Err(unfit(
            path,
            &format!("an array of shape {:?}: no small images", array.shape),
        ));
    }
    let pixels: Vec<u8> = array
        .file
        .into_vec()
        .map_err(|error| unfit(path, &error.to_string()))?;
    if !planes {
        return Ok((size, pixels));
    }
    let (area, channels) = (size[1] * size[2], size[3]);
    let images = pixels.chunks(area * channels);
    let mut last = Vec::with_capacity(pixels.len());
    for image in images {
        for pixel in 0..area {
            last.extend((0..channels).map(|channel| image[channel * area + pixel]));
        }
    }
    Ok((size, last))
}

fn read_labels(path: &Path) -> Result<Vec<u16>, DataError> {
    fn numbers<T: npyz::Deserialize + TryInto<u16>>(file: NpyFile<&[u8]>) -> Option<Vec<u16>> {
        let numbers: Vec<T> = file.into_vec().ok()?;
        let small = |number: T| number.try_into().ok().filter(|label| *label < 256);
        numbers.into_iter().map(small).collect()
    }
    let bytes = read_file(path)?.unwrap_or_default();
    let array = open(path, &bytes)?;
    if !matches!(array.shape[..], [_] | [_, 1]) {
        return Err(unfit(
            path,
            &format!(
                "an array of shape {:?}; labels are one integer an image",
                array.shape
            ),
        ));
    }
    let labels = match &array.kind[..] {
        "u1" => numbers::<u8>(array.file),
        "i1" => numbers::<i8>(array.file),
        "u2" => numbers::<u16>(array.file),
        "i2" => numbers::<i16>(array.file),
        "u4" => numbers::<u32>(array.file),
        "i4" => numbers::<i32>(array.file),
        "u8" => numbers::<u64>(array.file),
        "i8" => numbers::<i64>(array.file),
        kind => {
            let what = format!("an array of '{kind}'; labels are integers");
            return Err(unfit(path, &what));
        }
    };
    labels.ok_or_else(|| unfit(path, "labels are integers from 0 to 255, one an image"))
}

#[cfg(test)]
mod tests {
    use npyz::WriterBuilder;
    use proptest::prelude::*;

    use super::*;

    fn write<T: npyz::AutoSerialize + Copy>(path: &Path, shape: &[u64], values: &[T]) {
        std::fs::write(path, encoded(shape, values)).unwrap();
    }

    fn encoded<T: npyz::AutoSerialize + Copy>(shape: &[u64], values: &[T]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let options = npyz::WriteOptions::new().default_dtype().shape(shape);
        let mut writer = options.writer(&mut bytes).begin_nd().unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        bytes
    }

    /// Two training images and one test image.
    fn set(folder: &Path, names: [&str; 4]) {
        let at = |number: usize| folder.join(format!("{}.npy", names[number]));
        let pixels: Vec<u8> = (0..12).collect();
        write(&at(0), &[2, 2, 3], &pixels);
        write(&at(1), &[2], &[1u8, 9]);
        write(&at(2), &[1, 2, 3], &pixels[..6]);
        write(&at(3), &[1, 1], &[3i64]);
    }

    #[test]
    fn arrays_of_keras_and_others_are_read() {
        for names in [
            ["x_train", "y_train", "x_test", "y_test"],
            ["X_train", "Y_train", "X_test", "Y_test"],
            SETS[1],
        ] {
            let folder = tempfile::tempdir().unwrap();
            set(folder.path(), names);
            let data = super::super::read_folder(folder.path()).unwrap();
            assert_eq!(data.train.size(), [2, 3, 1]);
            assert_eq!(
                (&data.train.labels[..], &data.test.labels[..]),
                (&[1, 9][..], &[3][..])
            );
            assert_eq!(data.train.image(1), [6, 7, 8, 9, 10, 11]);
            assert_eq!(data.classes.len(), 10);
        }
    }

    #[test]
    fn channels_come_last_wherever_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        let pixels: Vec<u8> = (0..12).collect();
        write(&path, &[1, 3, 2, 2], &pixels);
        let (size, found) = read_images(&path).unwrap();
        assert_eq!(size, [1, 2, 2, 3]);
        assert_eq!(found, [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
        write(&path, &[1, 2, 2, 3], &pixels);
        assert_eq!(read_images(&path).unwrap(), ([1, 2, 2, 3], pixels));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        set(folder.path(), SETS[0]);
        let at = |name: &str| folder.path().join(name);
        let refused = |word: &str| {
            let error = read(folder.path()).unwrap_err().to_string();
            assert!(error.contains(word), "no '{word}' in {error}");
        };
        write(&at("x_test.npy"), &[1, 2, 3], &[0.5f32; 6]);
        refused("'f4'; images are bytes");
        write(&at("x_test.npy"), &[1, 2, 2], &[5u8; 4]);
        refused("[2, 2, 1]");
        write(&at("x_test.npy"), &[6], &[5u8; 6]);
        refused("shape [6]");
        set(folder.path(), SETS[0]);
        write(&at("y_test.npy"), &[1], &[-1i32]);
        refused("y_test.npy: labels are integers from 0");
        write(&at("y_test.npy"), &[2], &[1u8, 2]);
        refused("1 images");
        write(&at("y_test.npy"), &[1, 10], &[0u8; 10]);
        refused("shape [1, 10]");
        std::fs::remove_file(at("y_test.npy")).unwrap();
        refused("y_test.npy");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn damaged_arrays_do_no_harm(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            length in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let folder = tempfile::tempdir().unwrap();
            set(folder.path(), SETS[0]);
            let path = folder.path().join("x_train.npy");
            let mut bytes = std::fs::read(&path).unwrap();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Some(length) = length {
                bytes.truncate(length.index(bytes.len()));
            }
            std::fs::write(&path, &bytes).unwrap();
            std::fs::copy(&path, folder.path().join("y_test.npy")).unwrap();
            let pixels = read_images(&path).map(|(_, pixels)| pixels.len());
            let labels = read_labels(&path).map(|labels| labels.len());
            for count in [pixels, labels].into_iter().flatten() {
                prop_assert!(count <= bytes.len());
            }
            let _ = read(folder.path());
        }
    }
}
