//! Folders of pictures as data sets: one folder a class, as torchvision and Keras read them.
//!
//! ```text
//! DIR/train/cat/1.jpg          or            DIR/cat/1.jpg
//! DIR/train/dog/7.png                        DIR/dog/7.png
//! DIR/test/cat/3.jpg                         (a part of each class becomes the test images)
//! ```
//!
//! The steps: `scan` lists the files, `split` divides and orders them, `decode` makes one
//! picture into bytes of the wanted size, `load` does so with all of them on all cores, and
//! `cache` keeps the result in one file, so that the next run starts at once.

mod cache;
mod classes;
mod decode;
mod load;
mod scan;
mod sink;
mod split;
mod survey;

pub use cache::{CacheEntry, clear_cache, list_cache};
pub use scan::Skipped;
pub use survey::{ClassCount, Copy, Modes, Survey, survey};

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use super::Resize;
use super::{DataError, Dataset, Reading};

/// Most classes that a folder may have.
pub const MAX_CLASSES: usize = 1000;
/// Largest height or width that pictures can be brought to, in pixels.
pub const MAX_IMAGE_SIZE: usize = 1024;
/// Endings of file names that are read, in small letters.
pub const SUFFIXES: [&str; 6] = ["png", "jpg", "jpeg", "webp", "bmp", "gif"];
/// Total bytes that the cache may take unless said otherwise.
pub const CACHE_LIMIT: u64 = 20 << 30;
/// How many broken files an error names.
const NAMED_BROKEN: usize = 20;

/// How a folder of pictures is read.
#[derive(Clone, Debug, PartialEq)]
pub struct FolderOptions {
    /// Height and width that every picture gets, in pixels.
    pub size: [usize; 2],
    /// 1 for grey, 3 for colour; `None`: colour unless every file is a grey one.
    pub channels: Option<usize>,
    /// How a picture gets that size.
    pub resize: Resize,
    /// What shows through transparent pixels and around padded pictures: red, green, blue.
    pub background: [u8; 3],
    /// Whether pictures are turned the way their EXIF orientation says.
    pub exif: bool,
    /// Part of every class that becomes test images where the folder does not divide them itself,
    /// above 0 and below 1.
    pub test_fraction: f64,
    /// Decides which pictures that part consists of.
    pub split_seed: u64,
    /// Whether broken pictures are left out; otherwise they are an error.
    pub skip_broken: bool,
    /// The classes of a trained model, in its order, which the folder's classes must be among;
    /// `None`: the order of `classes.txt`, or of the code points of the folders' names.
    pub classes: Option<Vec<String>>,
    /// Folder for the cache; `None`: nothing is kept.
    pub cache: Option<PathBuf>,
    /// Total bytes of the cache, beyond which the files that were not used for longest are removed.
    pub cache_limit: u64,
    /// Bytes of a cached data set above which its file is mapped and not read into memory; `None`: a
    /// quarter of the free memory.
    pub map_above: Option<u64>,
}

impl FolderOptions {
    /// How a single picture becomes an image.
    pub fn reading(&self) -> Reading {
        Reading {
            resize: self.resize,
            background: self.background,
            exif: self.exif,
            test_fraction: Some(self.test_fraction),
        }
    }
}

impl Default for FolderOptions {
    fn default() -> Self {
        Self {
            size: [64, 64],
            channels: None,
            resize: Resize::Crop,
            background: [255; 3],
            exif: true,
            test_fraction: 0.2,
            split_seed: 1,
            skip_broken: false,
            classes: None,
            cache: None,
            cache_limit: CACHE_LIMIT,
            map_above: None,
        }
    }
}

/// A picture that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Its path inside the data folder.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// Why a folder of pictures could not be read. Every message names the thing, the place and the
/// remedy.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// An option outside what makes sense.
    #[error("--{option} {value}: {remedy}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What to do.
        remedy: String,
    },
    /// The operating system refused a folder or a file.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The folder or the file.
        path: String,
        /// Its words.
        reason: String,
    },
    /// No class folder with a picture in it.
    #[error(
        "{folder}: no folder in it holds pictures{present}. Make one folder for each class and put its \
         pictures (PNG, JPEG, WebP, BMP, GIF) into it."
    )]
    NoPictures {
        /// The folder.
        folder: String,
        /// What is there instead.
        present: String,
    },
    /// A single class.
    #[error(
        "{folder}: '{class}' is the only class that has pictures, and telling classes apart needs two. \
         Name the folder that holds the class folders, and put pictures into a second one."
    )]
    OneClass {
        /// The folder.
        folder: String,
        /// The class.
        class: String,
    },
    /// More classes than can be.
    #[error("{folder}: {found} classes; at most {MAX_CLASSES} are possible")]
    TooManyClasses {
        /// The folder.
        folder: String,
        /// How many there are.
        found: usize,
    },
    /// A list of classes that cannot be used.
    #[error("{file}: {what}. Write the name of one class folder on each line.")]
    BadClassList {
        /// The file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// Class folders that a model does not know.
    #[error(
        "{folder}: the class '{class}' is none of the model's ({known}). Rename the folder, or take it away."
    )]
    UnknownClass {
        /// The folder.
        folder: String,
        /// The class.
        class: String,
        /// The classes of the model.
        known: String,
    },
    /// A class with test pictures alone.
    #[error(
        "{folder}: the class '{class}' has test pictures and none to learn from. Put some into {train}."
    )]
    OnlyTested {
        /// The folder.
        folder: String,
        /// The class.
        class: String,
        /// Where they belong.
        train: String,
    },
    /// A class of one picture.
    #[error(
        "{folder}: the class '{class}' has a single picture, which cannot be both learned from and tested \
         on. Add a second one, or divide the pictures yourself into the folders train and test."
    )]
    CannotSplit {
        /// The folder.
        folder: String,
        /// The class.
        class: String,
    },
    /// Pictures that cannot be read.
    #[error(
        "{folder}: {count} broken picture(s):\n{listed}\nReplace or remove them, or leave them out with \
         --skip-broken."
    )]
    Broken {
        /// The folder.
        folder: String,
        /// How many.
        count: usize,
        /// The first ones, one a line.
        listed: String,
    },
    /// Nothing left to learn from or to test on.
    #[error("{folder}: no {part} picture is left: all of them are broken")]
    NothingLeft {
        /// The folder.
        folder: String,
        /// `training` or `test`.
        part: &'static str,
    },
    /// The files of MNIST's format or of CIFAR's.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl FolderError {
    fn broken(folder: &Path, broken: &[Broken]) -> Self {
        let named = broken.iter().take(NAMED_BROKEN);
        let mut lines: Vec<String> = named
            .map(|b| format!("  {}: {}", b.file, b.reason))
            .collect();
        if broken.len() > NAMED_BROKEN {
            lines.push(format!("  and {} more", broken.len() - NAMED_BROKEN));
        }
        Self::Broken {
            folder: folder.display().to_string(),
            count: broken.len(),
            listed: lines.join("\n"),
        }
    }
}

/// A data set, and what its reader has to say about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The data set.
    pub data: Dataset,
    /// Things that a person should know, each a whole sentence that names the class or the file.
    pub warnings: Vec<String>,
    /// Files that are no pictures.
    pub skipped: Skipped,
    /// Broken pictures that were left out.
    pub broken: Vec<Broken>,
    /// Whether the pictures came from the cache and no file was decoded.
    pub from_cache: bool,
}

impl Loaded {
    /// A data set about which there is nothing to say.
    pub fn plain(data: Dataset) -> Self {
        Self {
            data,
            warnings: Vec::new(),
            skipped: Skipped::default(),
            broken: Vec::new(),
            from_cache: false,
        }
    }
}

/// Called from several threads with the number of pictures done and of all pictures.
pub type Tick<'t> = &'t (dyn Fn(usize, usize) + Sync);

/// The picture in the bytes of a file, turned upright, as red, green, blue and opacity.
///
/// # Errors
/// What is wrong with the bytes, in words.
pub fn read_picture(bytes: &[u8]) -> Result<image::RgbaImage, String> {
    Ok(decode::whole(bytes)?.into_rgba8())
}

/// A picture file as images of a data set were made of theirs: (height, width, channels) bytes of `size`.
///
/// # Errors
/// What is wrong with the bytes, in words.
pub fn as_read(bytes: &[u8], reading: &Reading, size: [usize; 3]) -> Result<Vec<u8>, String> {
    let [height, width, channels] = size;
    let options = FolderOptions {
        size: [height, width],
        resize: reading.resize,
        background: reading.background,
        exif: reading.exif,
        ..FolderOptions::default()
    };
    Ok(decode::picture(bytes, &options, channels)?.0)
}

/// Whether [`open_folder`] takes a folder for class folders of pictures.
pub fn holds_pictures(folder: &Path) -> bool {
    !super::holds_files(folder) && is_picture_folder(folder)
}

/// Whether a folder holds class folders with pictures.
pub fn is_picture_folder(folder: &Path) -> bool {
    scan::has_class_folders(folder)
}

/// Reads a data folder of any kind: the files of MNIST's format or of CIFAR's, or class folders of
/// pictures. The options are for the last kind alone.
///
/// # Errors
/// [`FolderError`], naming the thing, the place and the remedy.
pub fn open_folder(
    folder: &Path,
    options: &FolderOptions,
    tick: Tick<'_>,
) -> Result<Loaded, FolderError> {
    if !holds_pictures(folder) {
        return Ok(Loaded::plain(super::read_folder(folder)?));
    }
    read_pictures(folder, options, tick)
}

/// Reads class folders of pictures. Every picture is decoded once, by all cores; with a cache the
/// next call with the same files and options takes the bytes from there.
///
/// The order of the images depends on the names of the files alone: a picture whose name is a number
/// has its place by that number, whatever its class, so that images that were written out as
/// `00000.png`, `00001.png` and so on come back in the order they had. All other pictures follow in an
/// order drawn from a hash of their paths, so that the first images are of all classes.
///
/// # Errors
/// [`FolderError`], naming the thing, the place and the remedy.
pub fn read_pictures(
    folder: &Path,
    options: &FolderOptions,
    tick: Tick<'_>,
) -> Result<Loaded, FolderError> {
    options.check()?;
    let listing = scan::scan(folder, options)?;
    let store = options.cache.as_deref().map(|place| {
        let limits = cache::Limits {
            total: options.cache_limit,
            map_above: options.map_above,
        };
        cache::Store::new(place, limits, folder, options, &listing)
    });
    if let Some(found) = store.as_ref().and_then(cache::Store::load)
        && (found.header.broken.is_empty() || options.skip_broken)
    {
        return Ok(found.into_loaded(folder, listing));
    }
    load::load(folder, listing, options, store.as_ref(), tick)
}

impl FolderOptions {
    /// Checks every number against what makes sense.
    ///
    /// # Errors
    /// [`FolderError::BadOption`], naming option, value and remedy.
    pub fn check(&self) -> Result<(), FolderError> {
        let bad = |option, value: String, remedy: String| {
            Err(FolderError::BadOption {
                option,
                value,
                remedy,
            })
        };
        let [height, width] = self.size;
        if !(1..=MAX_IMAGE_SIZE).contains(&height) || !(1..=MAX_IMAGE_SIZE).contains(&width) {
            let remedy = format!("height and width must be 1 to {MAX_IMAGE_SIZE} pixels");
            return bad("image-size", format!("{height}x{width}"), remedy);
        }
        if !(self.test_fraction > 0.0 && self.test_fraction < 1.0) {
            let remedy = "it must be above 0 and below 1".to_owned();
            return bad("test-fraction", self.test_fraction.to_string(), remedy);
        }
        if let Some(channels) = self.channels.filter(|channels| ![1, 3].contains(channels)) {
            let remedy = "pictures have 1 channel (grey) or 3 (colour)".to_owned();
            return bad("channels", channels.to_string(), remedy);
        }
        Ok(())
    }
}
