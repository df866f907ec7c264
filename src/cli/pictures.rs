//! Pictures for people: images enlarged by whole factors, in grids, with captions, in the format that the
//! file's suffix names.

use std::path::{Path, PathBuf};

use image::{ImageFormat, Rgb, RgbImage};
use plotters::prelude::*;

use super::CliError;
use super::charts::{FONT, load_font};
use crate::data::Images;
use crate::files::{self, Destination};

/// Size of type, in pixels.
const TYPE: u32 = 13;
/// Around everything, in pixels.
const MARGIN: u32 = 8;
/// Height of a line of text with its distance.
const LINE: u32 = 14;

const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: RGBColor = RGBColor(28, 28, 34);

/// Images in rows from the left, `columns` in each, with a pixel of distance times `scale`.
pub(crate) struct Grid<'a> {
    pub images: &'a Images,
    pub columns: usize,
    pub scale: u32,
}

impl Grid<'_> {
    fn cell(&self) -> [u32; 2] {
        [self.images.width, self.images.height].map(|side| (side as u32 + 1) * self.scale)
    }

    /// (width, height) in pixels.
    pub fn size(&self) -> [u32; 2] {
        let [width, height] = self.cell();
        let count = self.images.count();
        let columns = self.columns.min(count).max(1);
        let rows = count.div_ceil(columns);
        [width * columns as u32, height * rows as u32]
    }

    /// Draws it with its upper left corner at (x, y).
    pub fn draw(&self, picture: &mut RgbImage, [x, y]: [u32; 2]) {
        let (width, channels) = (self.images.width, self.images.channels);
        let [cell_width, cell_height] = self.cell();
        for i in 0..self.images.count() {
            let left = x + cell_width * (i % self.columns) as u32;
            let top = y + cell_height * (i / self.columns) as u32;
            for (at, pixel) in self.images.image(i).chunks(channels).enumerate() {
                let colour = match pixel {
                    [r, g, b] => Rgb([*r, *g, *b]),
                    _ => Rgb([pixel[0]; 3]),
                };
                let (column, row) = ((at % width) as u32, (at / width) as u32);
                for down in 0..self.scale {
                    for right in 0..self.scale {
                        let (px, py) = (column * self.scale + right, row * self.scale + down);
                        picture.put_pixel(left + px, top + py, colour);
                    }
                }
            }
        }
    }
}

/// An empty page.
pub(crate) fn page(width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width, height, PAPER)
}

/// Width of a text in pixels.
fn text_width(text: &str) -> u32 {
    load_font();
    let size = (FONT, TYPE).into_font().box_size(text);
    size.map_or(0, |(width, _)| width)
}

/// Writes text with its upper left corner at (x, y); what does not fit is cut off.
fn write_text(picture: &mut RgbImage, at: [u32; 2], text: &str) -> Result<(), CliError> {
    load_font();
    let size = picture.dimensions();
    let page = BitMapBackend::with_buffer(picture, size).into_drawing_area();
    let style = (FONT, TYPE).into_font().color(&INK);
    page.draw_text(text, &style, (at[0] as i32, at[1] as i32))?;
    Ok(page.present()?)
}

/// Grids beside each other, each under its caption.
///
/// # Errors
/// If they cannot be written.
pub(crate) fn side_by_side(panels: &[(String, Grid<'_>)]) -> Result<RgbImage, CliError> {
    let widths: Vec<u32> = panels
        .iter()
        .map(|(caption, grid)| grid.size()[0].max(text_width(caption)))
        .collect();
    let height = panels.iter().map(|(_, g)| g.size()[1]).max().unwrap_or(0);
    let width = widths.iter().sum::<u32>() + MARGIN * (1 + panels.len() as u32);
    let mut picture = page(width, 2 * MARGIN + LINE + height);
    let mut x = MARGIN;
    for ((caption, grid), width) in panels.iter().zip(widths) {
        write_text(&mut picture, [x, MARGIN - 2], caption)?;
        grid.draw(&mut picture, [x, MARGIN + LINE]);
        x += width + MARGIN;
    }
    Ok(picture)
}

/// Rows of images, each with its caption at the left; `columns` images in a line, further ones in
/// lines below, which repeat the rows.
///
/// # Errors
/// If the captions cannot be written.
pub(crate) fn rows(
    rows: &[(&str, &Images)],
    columns: usize,
    scale: u32,
) -> Result<RgbImage, CliError> {
    let left = rows.iter().map(|(name, _)| text_width(name)).max();
    let left = left.unwrap_or(0) + 2 * MARGIN;
    let count = rows.first().map_or(0, |(_, images)| images.count());
    let blocks: Vec<Vec<(&str, Images)>> = (0..count.div_ceil(columns))
        .map(|block| {
            let part = |images: &Images| {
                let range = block * columns..((block + 1) * columns).min(count);
                slice(images, range)
            };
            rows.iter()
                .map(|(name, images)| (*name, part(images)))
                .collect()
        })
        .collect();
    let grid = |images| Grid {
        images,
        columns,
        scale,
    };
    let size = |images| grid(images).size();
    let widest = blocks
        .iter()
        .flatten()
        .map(|(_, images)| size(images)[0])
        .max();
    let tall: u32 = blocks
        .iter()
        .map(|block| MARGIN + block.iter().map(|(_, images)| size(images)[1]).sum::<u32>())
        .sum();
    let mut picture = page(left + widest.unwrap_or(0) + MARGIN, tall + MARGIN);
    let mut y = MARGIN;
    for block in &blocks {
        for (name, images) in block {
            let height = size(images)[1];
            let top = y + height.saturating_sub(TYPE) / 2;
            write_text(&mut picture, [MARGIN, top], name)?;
            grid(images).draw(&mut picture, [left, y]);
            y += height;
        }
        y += MARGIN;
    }
    Ok(picture)
}

pub(crate) fn slice(images: &Images, range: std::ops::Range<usize>) -> Images {
    let size: usize = images.size().iter().product();
    Images {
        pixels: images.pixels[range.start * size..range.end * size]
            .to_vec()
            .into(),
        labels: images.labels[range].to_vec(),
        ..*images
    }
}

/// The bytes of a PNG file.
pub(crate) fn png(picture: &RgbImage) -> Result<Vec<u8>, CliError> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}

/// Suffixes of the formats that pictures are written in.
pub(crate) const FORMATS: [(&str, ImageFormat); 5] = [
    ("png", ImageFormat::Png),
    ("jpg", ImageFormat::Jpeg),
    ("jpeg", ImageFormat::Jpeg),
    ("gif", ImageFormat::Gif),
    ("bmp", ImageFormat::Bmp),
];
/// Quality of JPEG files, of 100.
const JPEG_QUALITY: u8 = 92;

/// The format that a file's suffix names; PNG for a device or a pipe, which has none.
///
/// # Errors
/// For no suffix and for an unknown one, with the known ones.
pub(crate) fn format_of(path: &Path) -> Result<ImageFormat, String> {
    if matches!(files::destination(path), Ok(Destination::Stream(_))) {
        return Ok(ImageFormat::Png);
    }
    let suffix = path.extension().map(|s| s.to_string_lossy().to_lowercase());
    let known = FORMATS.map(|(suffix, _)| format!(".{suffix}")).join(", ");
    let Some(suffix) = suffix else {
        return Err(format!(
            "a picture's suffix names its format: add one of {known}"
        ));
    };
    let found = FORMATS.iter().find(|(name, _)| *name == suffix);
    let unknown = || format!("pictures cannot be written as .{suffix}; use one of {known}");
    found.map(|(_, format)| *format).ok_or_else(unknown)
}

/// Reads an argument that names a picture to write: its suffix must be known before work begins.
pub(crate) fn picture_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    format_of(&path).map(|_| path)
}

/// Writes a picture in the format that the file's suffix names, all or nothing.
pub(crate) fn save(path: &Path, picture: &RgbImage) -> Result<(), CliError> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    match format_of(path)? {
        ImageFormat::Jpeg => {
            let encoder =
                image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
            picture.write_with_encoder(encoder)?;
        }
        format => picture.write_to(&mut bytes, format)?,
    }
    Ok(files::write(path, &bytes.into_inner())?)
}

/// Writes an animation that repeats for ever.
pub(crate) fn save_gif(
    path: &Path,
    frames: Vec<RgbImage>,
    milliseconds: u32,
) -> Result<(), CliError> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    encoder.set_repeat(image::codecs::gif::Repeat::Infinite)?;
    for frame in frames {
        let picture = image::DynamicImage::ImageRgb8(frame).into_rgba8();
        let delay = image::Delay::from_numer_denom_ms(milliseconds, 1);
        encoder.encode_frame(image::Frame::from_parts(picture, 0, 0, delay))?;
    }
    drop(encoder);
    Ok(files::write(path, &bytes)?)
}
