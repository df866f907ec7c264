//! Picture files, and folders of them, as a model reads them.

use crate::cli::output::say_error;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::CliError;
use crate::data::folder::{self, SUFFIXES};
use crate::data::{Images, Seen};
use crate::picture::{Look, Picture, Prepared, prepare};

/// Largest file of a picture that is read, in bytes.
const MOST_BYTES: u64 = 1 << 30;
/// The name that stands for standard input.
const STANDARD_INPUT: &str = "-";

/// The bytes of a picture file, or of standard input.
fn bytes_of(path: &Path) -> Result<Vec<u8>, CliError> {
    let shown = path.display();
    if path.is_dir() {
        return Err(format!("{shown}: a folder, not a picture. Name the pictures in it").into());
    }
    let mut bytes = Vec::new();
    let read = match path == Path::new(STANDARD_INPUT) {
        true => std::io::stdin()
            .lock()
            .take(MOST_BYTES)
            .read_to_end(&mut bytes),
        // Whatever can be opened: also a pipe.
        false => {
            std::fs::File::open(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut bytes))
        }
    };
    read.map_err(|e| format!("{shown}: {e}"))?;
    Ok(bytes)
}

/// Why a picture file could not be used.
fn unreadable(path: &Path, reason: &str) -> String {
    format!(
        "{}: not a picture that can be read ({reason}). PNG, JPEG, WebP, GIF and BMP files can be",
        path.display()
    )
}

/// A picture of any size, turned upright.
fn picture_in(bytes: &[u8]) -> Result<Picture, String> {
    let pixels = folder::read_picture(bytes)?;
    let width = pixels.width() as usize;
    Picture::new(width, pixels.into_raw()).ok_or_else(|| "it has no pixels".to_owned())
}

/// The files that patterns stand for, where no shell has put them in their place; other paths as they are.
///
/// # Errors
/// For a pattern that is none, and for one that nothing fits.
pub(super) fn spread(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut all = Vec::new();
    for path in paths {
        let text = path.to_string_lossy();
        if path.exists() || !text.contains(['*', '?', '[']) {
            all.push(path.clone());
            continue;
        }
        let failed = |reason: &dyn std::fmt::Display| format!("{text}: {reason}");
        let found = glob::glob(&text).map_err(|e| failed(&e))?;
        let before = all.len();
        for path in found {
            all.push(path.map_err(|e| failed(&e))?);
        }
        if all.len() == before {
            return Err(failed(&"no file fits this pattern").into());
        }
    }
    Ok(all)
}

/// What a model reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads {
    /// How its images look.
    pub look: Look,
    /// (height, width, channels)
    pub input: [usize; 3],
    /// What is known of the images that it learned from.
    pub seen: Option<Seen>,
}

impl Reads {
    /// What a model of that input and those classes reads, which learned from images that look so.
    ///
    /// # Errors
    /// If no picture is such an input.
    pub fn new(
        input: [usize; 3],
        classes: &[String],
        seen: Option<Seen>,
    ) -> Result<Self, CliError> {
        let channels = input[2];
        if channels != 1 && channels != 3 {
            return Err(format!(
                "the model reads images of {channels} channels, and pictures have 1 (grey) or 3 (red, green, blue)"
            )
            .into());
        }
        Ok(Self {
            look: Look::of(input, classes),
            input,
            seen,
        })
    }

    /// A picture file as the model reads it: as the pictures that it learned from, if it learned from a folder of them.
    /// Digits on a dark ground are cut out and centred wherever they come from.
    pub fn read(&self, path: &Path) -> Result<Prepared, CliError> {
        let bytes = bytes_of(path)?;
        let failed = |reason: String| unreadable(path, &reason);
        if bytes.is_empty() {
            return Err(failed("the file is empty".to_owned()).into());
        }
        let drawn = |seen: &Seen| self.look == Look::Digits && seen.is_dark();
        let reading = self
            .seen
            .filter(|seen| !drawn(seen))
            .and_then(|seen| seen.reading);
        let Some(reading) = reading else {
            let picture = picture_in(&bytes).map_err(failed)?;
            return Ok(prepare(&picture, self.look, self.input));
        };
        let pixels = folder::as_read(&bytes, &reading, self.input).map_err(failed)?;
        let channels = self.input[2];
        Ok(Prepared {
            blank: pixels
                .chunks(channels)
                .all(|pixel| pixel == &pixels[..channels]),
            inverted: false,
            pixels,
        })
    }

    /// The same, with a word on stderr if the picture is blank.
    pub fn read_shown(&self, path: &Path) -> Result<Prepared, CliError> {
        let prepared = self.read(path)?;
        if prepared.blank {
            say_error!("note: {}: nothing is on this picture", path.display());
        }
        Ok(prepared)
    }

    /// Images to put pictures into.
    pub fn none(&self) -> Images {
        let [height, width, channels] = self.input;
        Images {
            height,
            width,
            channels,
            ..Images::default()
        }
    }

    /// Picture files as the model reads them; says on stderr which of them are blank. Those that cannot be read are named
    /// and left out: (the others, the number left out).
    ///
    /// # Errors
    /// If none can be read.
    pub fn read_all(&self, paths: &[PathBuf]) -> Result<(Images, usize), CliError> {
        let mut images = self.none();
        let mut failed = Vec::new();
        for path in paths {
            let prepared = match self.read_shown(path) {
                Ok(prepared) => prepared,
                Err(error) => {
                    failed.push(error);
                    continue;
                }
            };
            images.pixels.extend(prepared.pixels);
            images.labels.push(0);
        }
        if images.count() > 0 {
            failed.iter().for_each(|error| say_error!("{error}"));
            return Ok((images, failed.len()));
        }
        match failed.into_iter().next() {
            Some(error) => Err(error),
            None => Ok((images, 0)),
        }
    }
}

/// Files below a folder whose suffix is that of a picture, sorted, without hidden ones. Links to folders are
/// not followed.
pub(super) fn pictures_below(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    walk(folder, &mut found)?;
    found.sort();
    if found.is_empty() {
        let known = SUFFIXES.map(|suffix| format!(".{suffix}")).join(", ");
        return Err(format!("{}: no pictures in this folder ({known})", folder.display()).into());
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let suffix = path.extension().map(|s| s.to_string_lossy().to_lowercase());
        if entry.file_type().map_err(failed)?.is_dir() {
            walk(&path, found)?;
        } else if suffix.is_some_and(|suffix| SUFFIXES.contains(&suffix.as_str())) {
            found.push(path);
        }
    }
    Ok(())
}
