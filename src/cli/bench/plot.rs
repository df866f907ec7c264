//! Measurements as a picture: a bar a row, rows of one layer or batch together.

use std::path::Path;

use image::{Rgb, RgbImage};

use crate::cli::CliError;
use crate::cli::pictures::{page, save as save_picture, text_width, write_text};

/// One bar.
pub(super) struct Bar {
    /// What it belongs to.
    pub group: String,
    /// What it is of.
    pub name: String,
    /// Its length.
    pub value: f64,
}

/// Pixels before the picture is enlarged.
const LINE: u32 = 11;
const GAP: u32 = 9;
const MARGIN: u32 = 10;
const LENGTH: u32 = 300;
/// Every name keeps its colour; told apart by eyes that see no red or green, too (Okabe, Ito 2008).
const COLOURS: [Rgb<u8>; 7] = [
    Rgb([0x99, 0x99, 0x99]),
    Rgb([0x00, 0x72, 0xb2]),
    Rgb([0x56, 0xb4, 0xe9]),
    Rgb([0xd5, 0x5e, 0x00]),
    Rgb([0xe6, 0x9f, 0x00]),
    Rgb([0x00, 0x9e, 0x73]),
    Rgb([0xcc, 0x79, 0xa7]),
];

fn fill(picture: &mut RgbImage, [x, y]: [u32; 2], [width, height]: [u32; 2], colour: Rgb<u8>) {
    for py in y..y + height {
        for px in x..x + width {
            picture.put_pixel(px, py, colour);
        }
    }
}

/// Draws bars from the left, all on one scale that starts at zero.
pub(super) fn draw(title: &str, unit: &str, bars: &[Bar]) -> RgbImage {
    let groups: Vec<&[Bar]> = bars.chunk_by(|a, b| a.group == b.group).collect();
    let mut names: Vec<&str> = Vec::new();
    for bar in bars {
        if !names.contains(&bar.name.as_str()) {
            names.push(&bar.name);
        }
    }
    let widest = |texts: &mut dyn Iterator<Item = u32>| texts.max().unwrap_or(0);
    let left = widest(&mut bars.iter().map(|b| text_width(&b.group)))
        .max(widest(&mut bars.iter().map(|b| text_width(&b.name) + 16)));
    let right = text_width(&format!("00000.00 {unit}"));
    let width = (3 * MARGIN + left + LENGTH + right).max(2 * MARGIN + text_width(title));
    let lines = bars.len() + groups.len();
    let height = 3 * MARGIN + LINE + lines as u32 * LINE + groups.len() as u32 * GAP;
    let mut picture = page(width, height);
    write_text(&mut picture, [MARGIN, MARGIN], title);
    let most = bars.iter().fold(f64::MIN_POSITIVE, |m, b| m.max(b.value));
    let mut y = 2 * MARGIN + LINE;
    for group in groups {
        write_text(&mut picture, [MARGIN, y], &group[0].group);
        y += LINE;
        for bar in group {
            let colour = names.iter().position(|n| *n == bar.name).unwrap_or(0);
            let x = 2 * MARGIN + left;
            let length = (bar.value / most * f64::from(LENGTH)).round() as u32;
            write_text(&mut picture, [MARGIN + 16, y], &bar.name);
            fill(
                &mut picture,
                [x, y],
                [length.max(1), LINE - 3],
                COLOURS[colour % 7],
            );
            let value = format!("{:.2} {unit}", bar.value);
            write_text(&mut picture, [x + length + 4, y], &value);
            y += LINE;
        }
        y += GAP;
    }
    image::imageops::resize(
        &picture,
        2 * width,
        2 * height,
        image::imageops::FilterType::Nearest,
    )
}

/// Draws bars into a PNG file.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn save(path: &Path, title: &str, unit: &str, bars: &[Bar]) -> Result<(), CliError> {
    save_picture(path, &draw(title, unit, bars))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bar = |name: &str, value| Bar {
            group: "layer".to_owned(),
            name: name.to_owned(),
            value,
        };
        let picture = draw("title", "x", &[bar("a", 1.0), bar("b", 4.0)]);
        let count = |colour| picture.pixels().filter(|p| **p == colour).count();
        assert_eq!(4 * count(COLOURS[0]), count(COLOURS[1]));
    }
}
