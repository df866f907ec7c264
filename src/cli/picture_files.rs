//! Picture files, and folders of them, as a model reads them.

use crate::cli::output::say_error;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageReader};

use super::CliError;
use super::pictures::FORMATS;
use crate::data::Images;
use crate::picture::{Look, Picture, Prepared, prepare};

/// Largest side of a picture taken for sensible, in pixels.
const MAX_SIDE: u32 = 16_384;

/// Reads a picture and turns it upright, as its EXIF data says.
pub(super) fn read_picture(path: &Path) -> Result<Picture, CliError> {
    let shown = path.display();
    let unreadable = |reason: &dyn std::fmt::Display| {
        format!(
            "{shown}: not a picture that can be read ({reason}). PNG, JPEG, GIF and BMP files with up \
             to {MAX_SIDE} pixels a side can be."
        )
    };
    if path.is_dir() {
        return Err(format!("{shown}: a folder, not a picture. Name the pictures in it").into());
    }
    let mut reader = ImageReader::open(path)
        .and_then(ImageReader::with_guessed_format)
        .map_err(|e| format!("{shown}: {e}"))?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    reader.limits(limits);
    let upright = || {
        let mut decoder = reader.into_decoder()?;
        let orientation = decoder.orientation()?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        picture.apply_orientation(orientation);
        Ok::<_, image::ImageError>(picture)
    };
    let picture = upright().map_err(|e| unreadable(&e))?.into_rgba8();
    let width = picture.width() as usize;
    Ok(Picture::new(width, picture.into_raw()).ok_or_else(|| unreadable(&"it has no pixels"))?)
}

/// What a model reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reads {
    /// How its images look.
    pub look: Look,
    /// (height, width, channels)
    pub input: [usize; 3],
}

impl Reads {
    /// What a model of that input and those classes reads.
    pub fn new(input: [usize; 3], classes: &[String]) -> Self {
        Self {
            look: Look::of(input, classes),
            input,
        }
    }

    /// A picture file as the model reads it.
    pub fn read(&self, path: &Path) -> Result<Prepared, CliError> {
        Ok(prepare(&read_picture(path)?, self.look, self.input))
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

    /// Picture files as the model reads them; says on stderr which of them are blank.
    pub fn read_all(&self, paths: &[PathBuf]) -> Result<Images, CliError> {
        let mut images = self.none();
        for path in paths {
            let prepared = self.read(path)?;
            if prepared.blank {
                say_error!("note: {}: nothing is on this picture", path.display());
            }
            images.pixels.extend(prepared.pixels);
            images.labels.push(0);
        }
        Ok(images)
    }
}

/// Files below a folder whose suffix is that of a picture, sorted, without hidden ones. Links to folders are
/// not followed.
pub(super) fn pictures_below(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    walk(folder, &mut found)?;
    found.sort();
    if found.is_empty() {
        let known = FORMATS.map(|(suffix, _)| format!(".{suffix}")).join(", ");
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
        } else if FORMATS
            .iter()
            .any(|(name, _)| suffix.as_deref() == Some(name))
        {
            found.push(path);
        }
    }
    Ok(())
}
