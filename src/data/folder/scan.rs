//! Which files belong to which class.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Serialize;

use super::classes::{CLASS_LIST, names};
use super::split::{sort, split};
use super::{FolderError, FolderOptions, MAX_CLASSES, SUFFIXES};
use crate::data::list_folder;

/// Names of the folder with the pictures to learn from.
const TRAIN: [&str; 2] = ["train", "training"];
/// Names of the folder with the pictures to be tested on, the first that is there.
const TEST: [&str; 5] = ["test", "testing", "val", "valid", "validation"];

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub path: PathBuf,
    /// Its path from the folder of the class folders on, with slashes, as the operating system
    /// spells it: what its order and its half depend on.
    pub key: Vec<u8>,
    pub label: u16,
    /// Bytes of the file.
    pub bytes: u64,
    /// Time of the last change, nanoseconds since 1970.
    pub modified: u128,
}

impl Picture {
    /// The number that the name of the file is.
    pub fn number(&self) -> Option<u64> {
        let stem = self.path.file_stem()?.to_str()?;
        let digits = !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit());
        if digits { stem.parse().ok() } else { None }
    }
}

/// Files that are no pictures, which are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Files and folders whose names begin with a dot.
    pub hidden: usize,
    /// Files by the ending of their names.
    pub others: BTreeMap<String, usize>,
    /// Links to folders that were read already.
    pub links: usize,
}

impl Skipped {
    /// How many in all.
    pub fn count(&self) -> usize {
        self.hidden + self.links + self.others.values().sum::<usize>()
    }
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts: Vec<String> = self
            .others
            .iter()
            .map(|(ending, count)| format!("{count} {ending}"))
            .collect();
        if self.hidden > 0 {
            parts.push(format!("{} hidden", self.hidden));
        }
        if self.links > 0 {
            parts.push(format!("{} links to folders read already", self.links));
        }
        f.write_str(&parts.join(", "))
    }
}

/// All pictures of a data folder, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    /// Names of the classes, by label.
    pub classes: Vec<String>,
    pub train: Vec<Picture>,
    pub test: Vec<Picture>,
    pub skipped: Skipped,
    pub warnings: Vec<String>,
}

/// Files by the name of their class folder, which may be without any.
pub(super) type Classes = BTreeMap<String, Vec<PathBuf>>;

/// Lists the pictures of a data folder.
pub(super) fn scan(folder: &Path, options: &FolderOptions) -> Result<Listing, FolderError> {
    let mut listing = Listing::default();
    let parts = parts(folder, &mut listing.warnings);
    let train = classes_of(&parts.train, &mut listing.skipped)?;
    let test = match &parts.test {
        Some(place) => Some(classes_of(place, &mut listing.skipped)?),
        None => None,
    };
    listing.classes = names(folder, &parts.train, &train, options, &mut listing.warnings)?;
    listing.train = label(&parts.train, &train, &listing.classes);
    check(folder, &parts.train, &listing)?;
    match (&parts.test, test) {
        (Some(place), Some(test)) => {
            for (class, files) in &test {
                let learned = train.get(class).is_some_and(|files| !files.is_empty());
                // A trained model can be tested on a class that is not here to be learned from.
                let known = options.classes.is_some() && listing.classes.contains(class);
                if !files.is_empty() && !learned && !known {
                    return Err(FolderError::OnlyTested {
                        folder: place.display().to_string(),
                        class: class.clone(),
                        train: parts.train.join(class).display().to_string(),
                    });
                }
            }
            for class in &listing.classes {
                if test.get(class).is_none_or(Vec::is_empty) {
                    listing.warnings.push(format!(
                        "{}: the class '{class}' has no test picture, so that nothing can be said about it.",
                        place.display()
                    ));
                }
            }
            listing.test = label(place, &test, &listing.classes);
            if listing.test.is_empty() {
                return Err(no_pictures(place));
            }
        }
        _ => divide(folder, &mut listing, options)?,
    }
    sort(&mut listing.train);
    sort(&mut listing.test);
    Ok(listing)
}

/// Divides the pictures of every class into those to learn from and those to be tested on.
fn divide(
    folder: &Path,
    listing: &mut Listing,
    options: &FolderOptions,
) -> Result<(), FolderError> {
    let mut by_class: Vec<Vec<Picture>> = vec![Vec::new(); listing.classes.len()];
    for picture in listing.train.drain(..) {
        by_class[usize::from(picture.label)].push(picture);
    }
    for (class, pictures) in listing.classes.iter().zip(by_class) {
        if pictures.is_empty() {
            continue;
        }
        let halves = split(pictures, options.test_fraction, options.split_seed);
        let (train, test) = halves.ok_or_else(|| FolderError::CannotSplit {
            folder: folder.display().to_string(),
            class: class.clone(),
        })?;
        listing.train.extend(train);
        listing.test.extend(test);
    }
    Ok(())
}

/// The folders that hold class folders.
struct Parts {
    train: PathBuf,
    test: Option<PathBuf>,
}

/// Whether the folder is divided into folders for learning and for testing, or consists of class
/// folders.
fn parts(folder: &Path, warnings: &mut Vec<String>) -> Parts {
    let whole = Parts {
        train: folder.to_owned(),
        test: None,
    };
    let inside: Vec<(String, PathBuf)> = visible_folders(folder).collect();
    let find = |names: &[&str]| {
        let lower = |wanted: &&str| {
            let mut inside = inside.iter();
            inside.find(|(name, place)| name.to_lowercase() == *wanted && has_class_folders(place))
        };
        let found: Vec<&PathBuf> = names
            .iter()
            .filter_map(lower)
            .map(|(_, place)| place)
            .collect();
        found.into_iter().cloned().collect::<Vec<PathBuf>>()
    };
    let (train, tests) = (find(&TRAIN), find(&TEST));
    let Some(train) = train.into_iter().next() else {
        return whole;
    };
    if tests.is_empty() {
        // A class may be called `train`; then there are others beside it.
        let beside = inside
            .iter()
            .any(|(_, place)| *place != train && has_picture(place));
        return if beside {
            whole
        } else {
            Parts { train, test: None }
        };
    }
    for unused in &tests[1..] {
        warnings.push(format!(
            "{}: not read, because {} holds the test pictures.",
            unused.display(),
            tests[0].display()
        ));
    }
    Parts {
        train,
        test: tests.into_iter().next(),
    }
}

/// Whether any visible folder inside holds a picture, at any depth.
pub(super) fn has_class_folders(folder: &Path) -> bool {
    visible_folders(folder).any(|(_, place)| has_picture(&place))
}

fn has_picture(folder: &Path) -> bool {
    let mut files = Vec::new();
    let mut walk = Walk {
        first_only: true,
        ..Walk::default()
    };
    walk.enter(folder, &mut files).is_ok() && !files.is_empty()
}

/// Name and path of the folders in a folder that are not hidden.
fn visible_folders(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| !is_hidden(&entry.file_name()))
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.path(),
            )
        })
        .filter(|(_, path)| path.is_dir())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// The files of every class folder; other files beside the class folders are counted.
fn classes_of(folder: &Path, skipped: &mut Skipped) -> Result<Classes, FolderError> {
    let mut classes = Classes::new();
    let mut walk = Walk::default();
    let real = folder.canonicalize().map_err(|e| unreadable(folder, &e))?;
    for entry in read_dir(folder)? {
        let name = entry.file_name().unwrap_or_default().to_owned();
        if is_hidden(&name) {
            walk.skipped.hidden += 1;
        } else if entry.is_dir() {
            let files = classes
                .entry(name.to_string_lossy().into_owned())
                .or_default();
            // A folder that two classes link to belongs to both; none may lead back up here, where
            // the pictures of all classes are.
            walk.seen = HashSet::from([real.clone()]);
            walk.enter(&entry, files)?;
        } else if name != CLASS_LIST {
            walk.skip(&entry);
        }
    }
    let found = walk.skipped;
    skipped.hidden += found.hidden;
    skipped.links += found.links;
    for (ending, count) in found.others {
        *skipped.others.entry(ending).or_default() += count;
    }
    Ok(classes)
}

/// A walk through a folder and the folders in it.
#[derive(Default)]
struct Walk {
    /// Folders that were entered, without links: what ends loops of links.
    seen: HashSet<PathBuf>,
    skipped: Skipped,
    /// Stop at the first picture.
    first_only: bool,
}

impl Walk {
    fn enter(&mut self, folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), FolderError> {
        let real = folder.canonicalize().map_err(|e| unreadable(folder, &e))?;
        if !self.seen.insert(real) {
            self.skipped.links += 1;
            return Ok(());
        }
        for path in read_dir(folder)? {
            if is_hidden(path.file_name().unwrap_or_default()) {
                self.skipped.hidden += 1;
            } else if path.is_dir() {
                self.enter(&path, files)?;
            } else if is_picture(&path) {
                files.push(path);
            } else {
                self.skip(&path);
            }
            if self.first_only && !files.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn skip(&mut self, file: &Path) {
        let ending = match file.extension() {
            Some(ending) => format!(".{}", ending.to_string_lossy().to_lowercase()),
            None => "without an ending".to_owned(),
        };
        *self.skipped.others.entry(ending).or_default() += 1;
    }
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| SUFFIXES.contains(&ending.to_lowercase().as_str()))
}

/// The paths in a folder, by name.
fn read_dir(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let entries = std::fs::read_dir(folder).map_err(|e| unreadable(folder, &e))?;
    let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths.map_err(|e: std::io::Error| unreadable(folder, &e))?;
    paths.sort();
    Ok(paths)
}

pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> FolderError {
    FolderError::Unreadable {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}

fn no_pictures(folder: &Path) -> FolderError {
    FolderError::NoPictures {
        folder: folder.display().to_string(),
        present: list_folder(folder),
    }
}

/// The files with their labels; those of folders that are no classes are left out.
fn label(place: &Path, found: &Classes, classes: &[String]) -> Vec<Picture> {
    let mut pictures = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        for path in found.get(class).into_iter().flatten() {
            let (bytes, modified) = std::fs::metadata(path).map_or((0, 0), |file| {
                let time = file.modified().ok();
                let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                (file.len(), since.map_or(0, |since| since.as_nanos()))
            });
            pictures.push(Picture {
                key: key(path.strip_prefix(place).unwrap_or(path)),
                path: path.clone(),
                label: label as u16,
                bytes,
                modified,
            });
        }
    }
    pictures
}

/// A relative path as bytes that are the same on every system.
fn key(relative: &Path) -> Vec<u8> {
    let parts = relative.iter().map(|part| part.as_encoded_bytes());
    parts.collect::<Vec<&[u8]>>().join(&b'/')
}

/// Whether there is enough to learn from.
fn check(folder: &Path, train: &Path, listing: &Listing) -> Result<(), FolderError> {
    let classes = &listing.classes;
    if classes.len() > MAX_CLASSES {
        return Err(FolderError::TooManyClasses {
            folder: train.display().to_string(),
            found: classes.len(),
        });
    }
    let mut with_pictures: Vec<u16> = listing.train.iter().map(|picture| picture.label).collect();
    with_pictures.sort_unstable();
    with_pictures.dedup();
    match with_pictures[..] {
        [] => Err(no_pictures(train)),
        [only] if classes.len() < 2 => Err(FolderError::OneClass {
            folder: folder.display().to_string(),
            class: classes[usize::from(only)].clone(),
        }),
        _ => Ok(()),
    }
}
