//! Charts, drawn by `plotters`, and the type of all pictures: one font, which the program holds, so that none need be
//! installed.

use std::path::{Path, PathBuf};
use std::sync::Once;

use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::CliError;
use super::pictures::{self, format_of};
use crate::files;

/// The font of all pictures by the name that SVG files ask for; what draws and measures it here is DejaVu Sans.
pub(crate) const FONT: &str = "sans-serif";

/// How much larger charts are drawn in pixels than their sizes say, for screens with small pixels.
const PIXELS: u32 = 2;

/// Makes the font known. Whoever draws or measures text calls it first.
pub(crate) fn load_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let font = dejavu::sans::regular();
        let known = plotters::style::register_font(FONT, FontStyle::Normal, font);
        assert!(known.is_ok(), "the font inside the program can be read");
    });
}

/// A white page whose SVG goes into a text.
///
/// # Errors
/// If it cannot be drawn.
pub(crate) fn svg_page(
    text: &mut String,
    size: (u32, u32),
) -> Result<DrawingArea<SVGBackend<'_>, Shift>, CliError> {
    load_font();
    let page = SVGBackend::with_string(text, size).into_drawing_area();
    page.fill(&WHITE)?;
    Ok(page)
}

/// What can be drawn both as SVG and in pixels.
pub(crate) trait Chart {
    /// Width and height, without a scale.
    fn size(&self) -> (u32, u32);

    /// Draws it on a white page of its size times `scale`.
    ///
    /// # Errors
    /// Those of the page.
    fn draw<B: DrawingBackend>(
        &self,
        page: &DrawingArea<B, Shift>,
        scale: u32,
    ) -> Result<(), CliError>
    where
        B::ErrorType: 'static;
}

/// A chart as the text of an SVG file.
pub(crate) fn svg(chart: &impl Chart) -> Result<String, CliError> {
    let mut text = String::new();
    let page = svg_page(&mut text, chart.size())?;
    chart.draw(&page, 1)?;
    page.present()?;
    drop(page);
    Ok(text)
}

/// A chart in pixels.
pub(crate) fn bitmap(chart: &impl Chart) -> Result<RgbImage, CliError> {
    load_font();
    let (width, height) = chart.size();
    let size = (width * PIXELS, height * PIXELS);
    let mut picture = pictures::page(size.0, size.1);
    let page = BitMapBackend::with_buffer(&mut picture, size).into_drawing_area();
    chart.draw(&page, PIXELS)?;
    page.present()?;
    drop(page);
    Ok(picture)
}

fn is_svg(path: &Path) -> bool {
    path.extension()
        .is_some_and(|suffix| suffix.eq_ignore_ascii_case("svg"))
}

/// Reads an argument that names a chart to write: its suffix must be known before work begins.
pub(crate) fn chart_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match is_svg(&path) {
        true => Ok(path),
        false => format_of(&path)
            .map(|_| path)
            .map_err(|e| format!("{e}, or .svg")),
    }
}

/// Writes a chart in the format that the file's suffix names, all or nothing.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn save(path: &Path, chart: &impl Chart) -> Result<(), CliError> {
    match is_svg(path) {
        true => Ok(files::write(path, svg(chart)?.as_bytes())?),
        false => pictures::save(path, &bitmap(chart)?),
    }
}
