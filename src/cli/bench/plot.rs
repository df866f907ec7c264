//! Measurements as a picture: a bar a row, rows of one layer or batch together.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::cli::CliError;
use crate::cli::charts::{Chart, FONT, load_font};

/// One bar.
pub(super) struct Bar {
    /// What it belongs to.
    pub group: String,
    /// What it is of.
    pub name: String,
    /// Its length.
    pub value: f64,
}

/// Bars from the left, all on one scale that starts at zero.
pub(super) struct Bars<'a> {
    pub title: String,
    pub unit: &'a str,
    pub bars: &'a [Bar],
}

/// Sizes in pixels before the picture is enlarged.
const TYPE: u32 = 13;
const TITLE: u32 = 17;
const LINE: u32 = 18;
const MARGIN: u32 = 16;
/// Between groups.
const GAP: u32 = 8;
/// Below the title, and of the axis with its numbers and its unit.
const HEAD: u32 = TITLE + MARGIN;
const AXIS: u32 = 44;
/// Of the longest bar.
const LENGTH: u32 = 420;
/// How far names are indented below that of their group.
const INDENT: u32 = 12;
/// Every name keeps its colour; told apart by eyes that see no red or green, too (Okabe, Ito 2008), the last by brightness.
const COLOURS: [RGBColor; 10] = [
    RGBColor(0x99, 0x99, 0x99),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x33, 0x33, 0x33),
    RGBColor(0xf0, 0xe4, 0x42),
    RGBColor(0x88, 0x22, 0x55),
];

fn width_of(text: &str, size: u32) -> u32 {
    load_font();
    let size = (FONT, size).into_font().box_size(text);
    size.map_or(0, |(width, _)| width)
}

fn value_of(bar: &Bar) -> String {
    let decimals = if bar.value < 100.0 { 2 } else { 0 };
    format!("{:.decimals$}", bar.value)
}

impl Bars<'_> {
    fn groups(&self) -> impl Iterator<Item = &[Bar]> {
        self.bars.chunk_by(|a, b| a.group == b.group)
    }

    /// Width of what stands before the bars, and of the values behind them.
    fn around(&self) -> [u32; 2] {
        let before = |bar: &Bar| {
            let group = width_of(&bar.group, TYPE);
            group.max(INDENT + width_of(&bar.name, TYPE))
        };
        let behind = |bar: &Bar| width_of(&value_of(bar), TYPE);
        let widest = |width: &dyn Fn(&Bar) -> u32| self.bars.iter().map(width).max();
        [widest(&before), widest(&behind)].map(|width| width.unwrap_or(0) + 8)
    }

    fn bars_height(&self) -> u32 {
        self.groups()
            .map(|group| LINE * (1 + group.len() as u32) + GAP)
            .sum()
    }
}

impl Chart for Bars<'_> {
    fn size(&self) -> (u32, u32) {
        let [before, behind] = self.around();
        let width = (before + LENGTH + behind).max(width_of(&self.title, TITLE));
        let height = HEAD + self.bars_height() + AXIS;
        (width + 2 * MARGIN, height + 2 * MARGIN)
    }

    fn draw<B: DrawingBackend>(
        &self,
        page: &DrawingArea<B, Shift>,
        scale: u32,
    ) -> Result<(), CliError>
    where
        B::ErrorType: 'static,
    {
        let pixels = |size: u32| (size * scale) as i32;
        let type_of = |size: u32| (FONT, size * scale).into_font();
        let text = |side: HPos| {
            type_of(TYPE)
                .color(&BLACK)
                .pos(Pos::new(side, VPos::Center))
        };
        let [before, behind] = self.around();
        let margin = MARGIN * scale;
        let page = page.margin(margin, margin, margin, margin);
        let title = type_of(TITLE).color(&BLACK);
        page.draw(&Text::new(self.title.as_str(), (0, 0), title))?;

        let (_, place) = page.split_vertically(HEAD * scale);
        let (place, _) = place.split_horizontally((before + LENGTH + behind) * scale);
        let most = self.bars.iter().map(|bar| bar.value);
        let most = most.fold(f64::MIN_POSITIVE, f64::max);
        let height = self.bars_height();
        let mut chart = ChartBuilder::on(&place)
            .x_label_area_size(AXIS * scale)
            .margin_left(before * scale)
            .margin_right(behind * scale)
            .build_cartesian_2d(0.0..most, f64::from(height)..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(0xdd, 0xdd, 0xdd).stroke_width(scale))
            .x_labels(6)
            .x_desc(self.unit)
            .x_label_style(type_of(TYPE - 1))
            .axis_desc_style(type_of(TYPE))
            .draw()?;

        let mut names: Vec<&str> = Vec::new();
        let mut y = 0;
        for group in self.groups() {
            let middle = |y: u32| pixels(HEAD) + pixels(y + LINE / 2);
            let name = Text::new(group[0].group.as_str(), (0, middle(y)), text(HPos::Left));
            page.draw(&name)?;
            y += LINE;
            for bar in group {
                let known = names.iter().position(|name| *name == bar.name);
                let number = known.unwrap_or_else(|| {
                    names.push(&bar.name);
                    names.len() - 1
                });
                let name = Text::new(
                    bar.name.as_str(),
                    (pixels(INDENT), middle(y)),
                    text(HPos::Left),
                );
                page.draw(&name)?;
                let ends = [f64::from(y + 3), f64::from(y + LINE - 3)];
                let colour = COLOURS[number % COLOURS.len()].filled();
                let corners = [(0.0, ends[0]), (bar.value, ends[1])];
                chart.draw_series([Rectangle::new(corners, colour)])?;
                let value = Text::new(value_of(bar), (pixels(5), 0), text(HPos::Left));
                let end = (bar.value, f64::from(y + LINE / 2));
                chart.draw_series([EmptyElement::at(end) + value])?;
                y += LINE;
            }
            y += GAP;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::charts::{bitmap, svg};

    fn bars() -> Vec<Bar> {
        let bar = |name: &str, value| Bar {
            group: "a < b".to_owned(),
            name: name.to_owned(),
            value,
        };
        vec![bar("a", 1.0), bar("b", 4.0)]
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let bars = bars();
        let chart = Bars {
            title: "title".to_owned(),
            unit: "x",
            bars: &bars,
        };
        let picture = bitmap(&chart).unwrap();
        let size = chart.size();
        assert_eq!(picture.dimensions(), (2 * size.0, 2 * size.1));
        let length = |colour: RGBColor| {
            let own = |row: &u32| {
                let pixels = (0..picture.width()).map(|x| picture.get_pixel(x, *row).0);
                pixels
                    .filter(|p| *p == [colour.0, colour.1, colour.2])
                    .count()
            };
            (0..picture.height()).map(|row| own(&row)).max().unwrap()
        };
        let [short, long] = [COLOURS[0], COLOURS[1]].map(length);
        assert!(long.abs_diff(2 * LENGTH as usize) <= 2, "{long}");
        assert!((4 * short).abs_diff(long) <= 8, "{short}, {long}");
        // Type is grey at its edges, ink in the middle.
        let dark = picture
            .pixels()
            .filter(|p| p.0[0] < 40 && p.0[1] < 40)
            .count();
        assert!(dark > 200, "{dark}");
    }

    #[test]
    fn names_are_text_in_svg() {
        let bars = bars();
        let chart = Bars {
            title: "title".to_owned(),
            unit: "x",
            bars: &bars,
        };
        let text = svg(&chart).unwrap();
        assert!(
            text.contains("a &lt; b") && text.contains("\n4.00\n"),
            "{text}"
        );
        assert_eq!(text.matches("#0072B2").count(), 1, "{text}");
    }
}
