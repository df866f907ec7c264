//! Folders of IDX files: MNIST and all that copy its form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{DataError, Dataset, Images, folder_name, parse_images, parse_labels, read_file};

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
/// The first training and test labels of Fashion-MNIST, which has MNIST's files: so it is known wherever it lies.
const FASHION_BEGINS: [[u16; 10]; 2] = [
    [9, 0, 0, 3, 0, 2, 7, 2, 5, 5],
    [9, 2, 1, 1, 6, 1, 4, 6, 5, 7],
];
/// Most classes that are counted from labels, where nothing names them.
const MOST_CLASSES: usize = 256;
/// Folders that torchvision makes in the folder it is given, each with a folder `raw` in it.
const TORCHVISION: [&str; 5] = ["MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST"];
/// How a name says of what part a file is.
const TRAIN: [&str; 1] = ["train"];
const TEST: [&str; 2] = ["t10k", "test"];

/// The four files of a data set.
#[derive(Clone, Debug, Default)]
struct Files {
    /// Training images and labels, test images and labels.
    parts: [Option<PathBuf>; 4],
}

impl Files {
    fn any(&self) -> bool {
        self.parts.iter().any(Option::is_some)
    }

    fn all(&self) -> bool {
        self.parts.iter().all(Option::is_some)
    }
}

/// Names of the four files in messages.
const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// The data sets in a folder, by what the names of their files begin with: nothing for MNIST, `emnist-letters` and others
/// for EMNIST.
fn data_sets(folder: &Path) -> BTreeMap<String, Files> {
    let mut found: BTreeMap<String, Files> = BTreeMap::new();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Some(name) = path.file_name().map(|n| n.to_string_lossy().to_lowercase()) else {
            continue;
        };
        let stem = name.strip_suffix(".gz").unwrap_or(&name);
        let kind = if stem.ends_with("idx3-ubyte") {
            0
        } else if stem.ends_with("idx1-ubyte") || stem.ends_with("idx2-int") {
            1
        } else {
            continue;
        };
        let at = |words: &[&str]| words.iter().find_map(|word| stem.find(word));
        let (part, at) = match (at(&TRAIN), at(&TEST)) {
            (Some(at), _) => (0, at),
            (None, Some(at)) => (1, at),
            (None, None) => continue,
        };
        // Some archives unpack a file into a folder of its name.
        let inside = path.join(path.file_name().unwrap_or_default());
        let Some(file) = [path, inside].into_iter().find(|path| path.is_file()) else {
            continue;
        };
        let prefix = stem[..at].trim_end_matches(['-', '_', '.']).to_owned();
        let place = &mut found.entry(prefix).or_default().parts[2 * part + kind];
        // The first in the order of names: an unpacked file comes before its gzipped copy.
        place.get_or_insert(file);
    }
    found
}

/// Where a data set lies: its folder, what its names begin with, its files.
struct Place {
    folder: PathBuf,
    prefix: String,
    files: Files,
}

/// All complete data sets in a folder and in the folders that torchvision makes in it; of a path that is no folder, those in
/// its parent whose names begin like it.
fn places(folder: &Path) -> Vec<Place> {
    let in_folder = |folder: &Path| -> Vec<Place> {
        data_sets(folder)
            .into_iter()
            .filter(|(_, files)| files.any())
            .map(|(prefix, files)| Place {
                folder: folder.to_owned(),
                prefix,
                files,
            })
            .collect()
    };
    if !folder.is_dir() {
        let name = folder
            .file_name()
            .map(|n| n.to_string_lossy().to_lowercase());
        let Some((name, parent)) = name.zip(folder.parent()) else {
            return Vec::new();
        };
        let parent = if parent == Path::new("") {
            Path::new(".")
        } else {
            parent
        };
        return in_folder(parent)
            .into_iter()
            .filter(|place| place.prefix == name)
            .collect();
    }
    let mut below = vec![folder.to_owned(), folder.join("raw")];
    below.extend(TORCHVISION.map(|name| folder.join(name).join("raw")));
    let found = below.iter().map(|folder| in_folder(folder));
    let mut found: Vec<Place> = found.flatten().collect();
    // Half a data set is worth a message only if nothing else is there.
    if found.iter().any(|place| place.files.all()) {
        found.retain(|place| place.files.all());
    }
    found
}

/// Whether a path leads to any file in MNIST's format.
pub(super) fn is_here(folder: &Path) -> bool {
    !places(folder).is_empty()
}

/// Reads a folder in MNIST's format: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the
/// same with `t10k`, each plain or `.gz`; a dot instead of the last dash, other words before and `test` instead of `t10k` are
/// fine. The files may lie where torchvision puts them, in `MNIST/raw`. A file `classes.txt` with a name on
/// each line gives the classes; Fashion-MNIST is known by its labels, EMNIST's mapping is read where it is there, and else
/// classes are numbers. Images may have any size.
///
/// # Errors
/// [`DataError`], naming the file, the place and the remedy.
pub(super) fn read(folder: &Path) -> Result<Dataset, DataError> {
    let mut found = places(folder);
    if found.len() > 1 {
        let each = found.iter().map(|place| match place.prefix.as_str() {
            "" => place.folder.display().to_string(),
            prefix => place.folder.join(prefix).display().to_string(),
        });
        return Err(DataError::Several {
            folder: folder.display().to_string(),
            found: each.collect(),
        });
    }
    let Some(place) = found.pop() else {
        return Err(missing(folder, NAMES[0]));
    };
    let [
        Some(train_images),
        Some(train_labels),
        Some(test_images),
        Some(test_labels),
    ] = place.files.parts.clone()
    else {
        let first = place.files.parts.iter().position(Option::is_none);
        return Err(missing(&place.folder, NAMES[first.unwrap_or(0)]));
    };
    let listed = class_list(&place)?;
    let limit = listed.as_ref().map_or(MOST_CLASSES, Vec::len);
    let mut train = read_pair(&train_images, &train_labels, limit)?;
    let mut test = read_pair(&test_images, &test_labels, limit)?;
    if train.size() != test.size() {
        let text = |images: &Images| format!("{}x{}", images.height, images.width);
        let folder = folder.display().to_string();
        return Err(DataError::SizesDiffer(folder, text(&train), text(&test)));
    }
    let classes = match listed {
        Some(classes) => classes,
        None => classes_of(&train, &test, [&train_labels, &test_labels])?,
    };
    if place.prefix.starts_with("emnist") {
        // EMNIST's files hold columns where MNIST's hold rows.
        train = transposed(train);
        test = transposed(test);
    }
    Ok(Dataset {
        name: name_of(folder, &place),
        classes,
        train,
        test,
    })
}

/// What people would call the data set.
fn name_of(folder: &Path, place: &Place) -> String {
    match place.prefix.as_str() {
        "" if place.folder.ends_with("raw") => match place.folder.parent() {
            Some(above) => folder_name(above),
            None => folder_name(folder),
        },
        "" => folder_name(folder),
        prefix => prefix.to_owned(),
    }
}

/// The names in `classes.txt` or in EMNIST's mapping, if there is one.
fn class_list(place: &Place) -> Result<Option<Vec<String>>, DataError> {
    let listed = super::listed_classes(&place.folder)?;
    if listed.is_some() {
        return Ok(listed);
    }
    let mapping = place.folder.join(format!("{}-mapping.txt", place.prefix));
    let Some(bytes) = read_file(&mapping)? else {
        return Ok(None);
    };
    // A label, then the codes of its characters: "1 65 97".
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut classes = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let words: Result<Vec<u32>, _> = line.split_whitespace().map(str::parse).collect();
        let Some((label, codes)) = words
            .ok()
            .as_deref()
            .and_then(<[u32]>::split_first)
            .map(|(label, codes)| (*label as usize, codes.to_vec()))
        else {
            return Err(DataError::Unreadable {
                file: mapping.display().to_string(),
                reason: format!(
                    "line {}: a label and codes of characters are needed",
                    number + 1
                ),
            });
        };
        if label >= MOST_CLASSES {
            continue;
        }
        let characters: Vec<String> = codes
            .iter()
            .filter_map(|code| char::from_u32(*code))
            .map(String::from)
            .collect();
        // Letters count from one: the class before them is empty.
        while classes.len() <= label {
            classes.push(classes.len().to_string());
        }
        classes[label] = characters.join("/");
    }
    Ok(Some(classes))
}

/// The classes of labels that nothing names: clothes if the data are Fashion-MNIST, else numbers, at least ten.
pub(super) fn classes_of(
    train: &Images,
    test: &Images,
    files: [&Path; 2],
) -> Result<Vec<String>, DataError> {
    let begins = |images: &Images, wanted: &[u16; 10]| images.labels.starts_with(wanted);
    let sizes = [train.count(), test.count()];
    if sizes == [60_000, 10_000]
        && begins(train, &FASHION_BEGINS[0])
        && begins(test, &FASHION_BEGINS[1])
    {
        return Ok(FASHION.map(str::to_owned).to_vec());
    }
    let mut seen = [false; MOST_CLASSES];
    for label in &train.labels {
        seen[usize::from(*label)] = true;
    }
    // Ten digits, or as many classes as there are labels without a gap: a damaged label leaves one.
    let counted = 10 + seen[10..].iter().take_while(|seen| **seen).count();
    for (images, file) in [train, test].into_iter().zip(files) {
        let outside = |label: &u16| usize::from(*label) >= counted;
        if let Some(image) = images.labels.iter().position(outside) {
            return Err(DataError::BadLabel {
                file: file.display().to_string(),
                offset: 8 + image,
                label: images.labels[image],
                image,
                classes: counted,
            });
        }
    }
    Ok((0..counted).map(|class| class.to_string()).collect())
}

fn transposed(images: Images) -> Images {
    let (height, width) = (images.height, images.width);
    let mut pixels = Vec::with_capacity(images.pixels.len());
    for i in 0..images.count() {
        let image = images.image(i);
        for column in 0..width {
            pixels.extend((0..height).map(|row| image[row * width + column]));
        }
    }
    Images {
        height: width,
        width: height,
        pixels: pixels.into(),
        ..images
    }
}

fn read_pair(images: &Path, labels: &Path, classes: usize) -> Result<Images, DataError> {
    let bytes = |path: &Path| -> Result<Vec<u8>, DataError> {
        let found = read_file(path)?;
        found.ok_or_else(|| missing(path.parent().unwrap_or(path), &path.display().to_string()))
    };
    let [images_file, labels_file] = [images, labels].map(|path| path.display().to_string());
    let ([images, height, width], pixels) = parse_images(&images_file, &bytes(images)?)?;
    let labels = parse_labels(&labels_file, &bytes(labels)?, classes)?;
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

fn missing(folder: &Path, wanted: &str) -> DataError {
    super::missing(folder, &format!("{wanted} (or {wanted}.gz)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{encode_images, encode_labels};

    fn write(folder: &Path, names: [&str; 4], labels: &[u8]) {
        std::fs::create_dir_all(folder).unwrap();
        let pixels: Vec<u8> = (0..6 * labels.len()).map(|i| i as u8).collect();
        for (name, is_labels) in names.into_iter().zip([false, true, false, true]) {
            let bytes = match is_labels {
                true => encode_labels(labels),
                false => encode_images(2, 3, &pixels),
            };
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }

    #[test]
    fn data_lie_where_programs_leave_them() {
        let labels = [0, 1, 2, 9];
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        // torchvision
        write(&root.join("vision/MNIST/raw"), NAMES, &labels);
        for place in ["vision", "vision/MNIST", "vision/MNIST/raw"] {
            let data = read(&root.join(place)).unwrap();
            assert_eq!((data.train.count(), data.classes.len()), (4, 10), "{place}");
            assert_eq!(data.name, "MNIST", "{place}");
        }
        write(&root.join("vision/FashionMNIST/raw"), NAMES, &labels);
        let error = read(&root.join("vision")).unwrap_err().to_string();
        assert!(error.contains("FashionMNIST"), "{error}");
        // A folder beside a file of like name, as Kaggle's copy has it.
        let kaggle = root.join("kaggle");
        let dots = NAMES.map(|name| name.replace("-idx", ".idx"));
        write(&kaggle, [&dots[0], &dots[1], &dots[2], &dots[3]], &labels);
        for name in NAMES {
            std::fs::create_dir(kaggle.join(name)).unwrap();
        }
        std::fs::copy(kaggle.join(&dots[0]), kaggle.join(NAMES[0]).join(NAMES[0])).unwrap();
        assert_eq!(read(&kaggle).unwrap().train.count(), 4);
        // Half a data set names what is missing.
        std::fs::remove_file(kaggle.join(&dots[3])).unwrap();
        let error = read(&kaggle).unwrap_err().to_string();
        assert!(error.contains("t10k-labels-idx1-ubyte"), "{error}");
    }

    #[test]
    fn letters_have_names_and_stand_upright() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let names = |split: &str| {
            [
                "train-images-idx3",
                "train-labels-idx1",
                "test-images-idx3",
                "test-labels-idx1",
            ]
            .map(|name| format!("emnist-{split}-{name}-ubyte"))
        };
        for split in ["letters", "digits"] {
            let names = names(split);
            write(root, [&names[0], &names[1], &names[2], &names[3]], &[1, 2]);
        }
        std::fs::write(
            root.join("emnist-letters-mapping.txt"),
            "1 65 97\n2 66 98\n",
        )
        .unwrap();
        let error = read(root).unwrap_err().to_string();
        assert!(
            error.contains("emnist-letters") && error.contains("emnist-digits"),
            "{error}"
        );
        let letters = read(&root.join("emnist-letters")).unwrap();
        assert_eq!(letters.classes, ["0", "A/a", "B/b"]);
        assert_eq!(letters.train.size(), [3, 2, 1]);
        assert_eq!(letters.train.image(0), [0, 3, 1, 4, 2, 5]);
    }

    #[test]
    fn classes_are_counted_but_not_over_gaps() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<u8> = (0..49).collect();
        write(folder.path(), NAMES, &all);
        assert_eq!(read(folder.path()).unwrap().classes.len(), 49);
        write(folder.path(), NAMES, &[0, 1, 60]);
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("label 60 of image 2"), "{error}");
        // Numbers of 32 bits, the first of each row.
        let mut wide: Vec<u8> = [0x0c02u32, 2, 2, 7, 100, 3, 200]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect();
        assert_eq!(parse_labels("wide", &wide, 10).unwrap(), [7, 3]);
        wide[3] = 1;
        assert!(parse_labels("wide", &wide, 10).is_err());
    }
}
