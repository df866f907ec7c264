//! One picture: from the bytes of a file to (height, width, channels).

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{
    DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits, Rgb, RgbImage,
};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::FolderOptions;
use crate::data::Resize;

/// Largest height or width of a picture that is decoded, in pixels.
const MAX_SIDE: usize = 32_768;
/// Most pixels of a picture that is decoded.
const MAX_PIXELS: usize = 1 << 28;
/// Most bytes that a decoder may take.
const MAX_BYTES: u64 = 5 << 28;
/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 30;
/// Pictures of more pixels than this are decoded one at a time, so that memory holds one of them.
const LARGE: usize = 1 << 25;
/// A picture that is longer than this many of its widths, in the shape that is wanted, loses its ends
/// before it is scaled.
const LONGEST: usize = 8;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What a picture is, before anything was done to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kind {
    /// (height, width), as it is to be seen.
    pub size: [usize; 2],
    pub colour: bool,
    /// Whether a pixel is transparent.
    pub transparent: bool,
    /// Whether a channel has 16 bits.
    pub deep: bool,
}

/// The bytes of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let found = std::fs::metadata(path).map_err(|e| e.to_string())?;
    // A pipe would never end.
    if !found.is_file() {
        return Err("it is no ordinary file".to_owned());
    }
    match found.len() {
        0 => Err("the file is empty".to_owned()),
        1..=MAX_FILE => std::fs::read(path).map_err(|e| e.to_string()),
        length => Err(format!(
            "a file of {length} bytes, more than any picture has"
        )),
    }
}

/// Whether a picture has colours, from the first bytes of its file.
pub(super) fn has_colour(path: &Path) -> Result<bool, String> {
    let found = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !found.is_file() {
        return Err("it is no ordinary file".to_owned());
    }
    let reader = ImageReader::open(path).and_then(ImageReader::with_guessed_format);
    let decoder = reader.map_err(|e| e.to_string())?.into_decoder();
    Ok(decoder.map_err(|e| e.to_string())?.color_type().has_color())
}

/// A picture as (height, width, channels) bytes of the wanted size, and what it was before.
pub(super) fn picture(
    bytes: &[u8],
    options: &FolderOptions,
    channels: usize,
) -> Result<(Vec<u8>, Kind), String> {
    let work = || {
        let (image, kind) = decode(bytes, options.exif)?;
        Ok((
            fit(flat(image, options.background), options, channels),
            kind,
        ))
    };
    // A decoder that breaks on one file must not end the program.
    let result = catch_unwind(AssertUnwindSafe(work));
    let result = result.unwrap_or_else(|_| Err("it breaks the decoder".to_owned()));
    result.map_err(|reason| reason.trim_end().to_owned())
}

/// A picture file as it is to be seen, of any size and kind.
pub(super) fn whole(bytes: &[u8]) -> Result<DynamicImage, String> {
    let work = || decode(bytes, true).map(|(image, _)| image);
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("it breaks the decoder".to_owned()))
}

/// Decodes the first frame and turns it the way it is to be seen.
fn decode(bytes: &[u8], exif: bool) -> Result<(DynamicImage, Kind), String> {
    let format = image::guess_format(bytes)
        .map_err(|_| "no picture: its first bytes are unknown".to_owned())?;
    let (mut image, orientation) = match format {
        ImageFormat::Jpeg => jpeg(bytes)?,
        ImageFormat::Png | ImageFormat::WebP | ImageFormat::Bmp | ImageFormat::Gif => {
            other(bytes, format)?
        }
        other => return Err(format!("{other:?} pictures are not read")),
    };
    if exif {
        image.apply_orientation(orientation);
    }
    let colour = image.color();
    let kind = Kind {
        size: [image.height() as usize, image.width() as usize],
        colour: colour.has_color(),
        transparent: colour.has_alpha() && is_transparent(&image),
        deep: usize::from(colour.bytes_per_pixel()) > usize::from(colour.channel_count()),
    };
    Ok((image, kind))
}

fn is_transparent(image: &DynamicImage) -> bool {
    match image {
        DynamicImage::ImageRgba8(image) => image.pixels().any(|p| p[3] < 255),
        DynamicImage::ImageLumaA8(image) => image.pixels().any(|p| p[1] < 255),
        image => image.to_rgba8().pixels().any(|p| p[3] < 255),
    }
}

/// Refuses sizes that would take more memory than is sensible.
fn check_size(width: usize, height: usize) -> Result<(), String> {
    if width == 0 || height == 0 {
        return Err(format!("{width}x{height} pixels, which is nothing"));
    }
    if width > MAX_SIDE || height > MAX_SIDE || width * height > MAX_PIXELS {
        return Err(format!(
            "{width}x{height} pixels, more than is read ({MAX_SIDE} a side, {} million in all)",
            MAX_PIXELS / 1_000_000
        ));
    }
    Ok(())
}

/// Decodes a JPEG in the strict mode of the decoder, which, unlike `image`, refuses a file that was cut.
fn jpeg(bytes: &[u8]) -> Result<(DynamicImage, Orientation), String> {
    match jpeg_with(bytes, true) {
        // Harmless, and some cameras write it.
        Err(reason) if reason.contains("Extra bytes between headers") => jpeg_with(bytes, false),
        result => result,
    }
}

fn jpeg_with(bytes: &[u8], strict: bool) -> Result<(DynamicImage, Orientation), String> {
    let options = DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions().ok_or("a JPEG without a size")?;
    check_size(width, height)?;
    if !has_jpeg_end(bytes) {
        return Err("the JPEG ends too early".to_owned());
    }
    let _alone = (width * height > LARGE).then(|| ONE_AT_A_TIME.lock());
    let grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let colours = if grey {
        ColorSpace::Luma
    } else {
        ColorSpace::RGB
    };
    let options = decoder.options().jpeg_set_out_colorspace(colours);
    decoder.set_options(options);
    let orientation = decoder
        .exif()
        .and_then(|exif| Orientation::from_exif_chunk(exif));
    let pixels = decoder.decode().map_err(|e| e.to_string())?;
    let (width, height) = (width as u32, height as u32);
    let image = match grey {
        true => ImageBuffer::from_raw(width, height, pixels).map(DynamicImage::ImageLuma8),
        false => ImageBuffer::from_raw(width, height, pixels).map(DynamicImage::ImageRgb8),
    };
    let image = image.ok_or("a JPEG with fewer pixels than its header says")?;
    Ok((image, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Whether an end-of-image marker follows the compressed pixels, in which it cannot occur. Bytes may
/// follow it: some cameras add a film.
fn has_jpeg_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    // From marker to marker until the compressed pixels begin.
    while let Some([0xff, marker]) = bytes.get(at..at + 2) {
        match marker {
            0xff => at += 1,
            0xda => return bytes[at..].windows(2).any(|two| two == [0xff, 0xd9]),
            0x01 | 0xd0..=0xd8 => at += 2,
            _ => match bytes.get(at + 2..at + 4) {
                Some([high, low]) => at += 2 + usize::from(u16::from_be_bytes([*high, *low])),
                _ => return false,
            },
        }
    }
    // Not the layout of a plain file: the strict decoder alone decides.
    true
}

fn other(bytes: &[u8], format: ImageFormat) -> Result<(DynamicImage, Orientation), String> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|e| e.to_string())?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
    let _alone = (width * height > LARGE).then(|| ONE_AT_A_TIME.lock());
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(|e| e.to_string())?;
    Ok((image, orientation))
}

/// The picture over a background, 8 bits a channel: grey as grey, all others as red, green, blue.
fn flat(image: DynamicImage, background: [u8; 3]) -> DynamicImage {
    let colour = image.color();
    if !colour.has_alpha() {
        return match colour.has_color() {
            true => DynamicImage::ImageRgb8(image.into_rgb8()),
            false => DynamicImage::ImageLuma8(image.into_luma8()),
        };
    }
    let over = |top: u8, under: u8, alpha: u8| {
        let (top, under, alpha) = (u32::from(top), u32::from(under), u32::from(alpha));
        ((top * alpha + under * (255 - alpha) + 127) / 255) as u8
    };
    let image = image.into_rgba8();
    let mut flat = RgbImage::new(image.width(), image.height());
    for (to, from) in flat.pixels_mut().zip(image.pixels()) {
        *to = Rgb([0, 1, 2].map(|c| over(from[c], background[c], from[3])));
    }
    DynamicImage::ImageRgb8(flat)
}

/// Brings a picture to the wanted size and number of channels. One that has the size already keeps
/// its bytes.
fn fit(image: DynamicImage, options: &FolderOptions, channels: usize) -> Vec<u8> {
    let image = match channels {
        1 => DynamicImage::ImageLuma8(image.into_luma8()),
        _ => DynamicImage::ImageRgb8(image.into_rgb8()),
    };
    let [height, width] = options.size.map(|side| side as u32);
    let fitted = match options.resize {
        Resize::Stretch => scale(&image, width, height),
        Resize::Crop => cover(image, width, height),
        Resize::Pad => contain(&image, width, height, options.background),
    };
    match channels {
        1 => fitted.into_luma8().into_raw(),
        _ => fitted.into_rgb8().into_raw(),
    }
}

fn scale(image: &DynamicImage, width: u32, height: u32) -> DynamicImage {
    if (image.width(), image.height()) == (width, height) {
        return image.clone();
    }
    // Linear, over all pixels that a smaller one covers: what torchvision calls antialiased.
    image.resize_exact(width, height, FilterType::Triangle)
}

/// `a * b / c`, rounded down, at least 1.
fn in_proportion(a: u32, b: u32, c: u32) -> u32 {
    (u64::from(a) * u64::from(b) / u64::from(c)).max(1) as u32
}

/// Scales until the wanted size is covered, then cuts its middle out.
fn cover(image: DynamicImage, width: u32, height: u32) -> DynamicImage {
    let image = without_ends(image, width, height);
    let (w, h) = (image.width(), image.height());
    // Compares width / w with height / h.
    let wide = u64::from(width) * u64::from(h) >= u64::from(height) * u64::from(w);
    let (scaled_width, scaled_height) = match wide {
        true => (width, in_proportion(h, width, w).max(height)),
        false => (in_proportion(w, height, h).max(width), height),
    };
    let scaled = scale(&image, scaled_width, scaled_height);
    let left = half(scaled_width - width);
    let top = half(scaled_height - height);
    scaled.crop_imm(left, top, width, height)
}

/// Half of a number of pixels, rounded to the nearest, to the even one of two: as torchvision's
/// CenterCrop.
fn half(pixels: u32) -> u32 {
    let down = pixels / 2;
    down + (pixels % 2) * (down % 2)
}

/// Cuts the ends off a picture that is very long, which a scaled copy would not show anyway: scaling
/// all of it would take any amount of memory.
fn without_ends(image: DynamicImage, width: u32, height: u32) -> DynamicImage {
    let (w, h) = (image.width(), image.height());
    let most_high = in_proportion(w, height * LONGEST as u32, width);
    let most_wide = in_proportion(h, width * LONGEST as u32, height);
    if h > most_high {
        image.crop_imm(0, (h - most_high) / 2, w, most_high)
    } else if w > most_wide {
        image.crop_imm((w - most_wide) / 2, 0, most_wide, h)
    } else {
        image
    }
}

/// Scales until the picture fits in, with the background around it.
fn contain(image: &DynamicImage, width: u32, height: u32, background: [u8; 3]) -> DynamicImage {
    let (w, h) = (image.width(), image.height());
    let wide = u64::from(width) * u64::from(h) >= u64::from(height) * u64::from(w);
    let (scaled_width, scaled_height) = match wide {
        true => (in_proportion(w, height, h).min(width), height),
        false => (width, in_proportion(h, width, w).min(height)),
    };
    let scaled = scale(image, scaled_width, scaled_height);
    let (left, top) = (half(width - scaled_width), half(height - scaled_height));
    let paper = DynamicImage::ImageRgb8(RgbImage::from_pixel(width, height, Rgb(background)));
    let mut page = match image.color().has_color() {
        true => paper,
        false => DynamicImage::ImageLuma8(paper.into_luma8()),
    };
    match (&mut page, &scaled) {
        (DynamicImage::ImageRgb8(page), DynamicImage::ImageRgb8(scaled)) => {
            imageops::replace(page, scaled, i64::from(left), i64::from(top));
        }
        (DynamicImage::ImageLuma8(page), DynamicImage::ImageLuma8(scaled)) => {
            imageops::replace(page, scaled, i64::from(left), i64::from(top));
        }
        _ => unreachable!("both were made of one of two kinds"),
    }
    page
}
