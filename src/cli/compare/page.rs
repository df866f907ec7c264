//! The page of a comparison.

use std::fmt::Write;

use base64::Engine;
use plotters::prelude::*;

use super::Plan;
use super::energy::ACCELERATOR;
use super::rows::{HEADS, Row, cells};
use crate::cli::CliError;
use crate::cli::charts::{FONT, svg_page};
use crate::cli::output::escape;
use crate::cli::report::STYLE;

/// Colours that eyes without red or green tell apart (Okabe, Ito 2008): GTC, other methods that pack, those that do not.
const COLOURS: [RGBColor; 3] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x99, 0x99, 0x99),
];
const NAMES: [&str; 3] = ["gtc", "others that pack", "with factors or multipliers"];

/// Which of [`COLOURS`] a row has.
fn kind(row: &Row) -> usize {
    match (row.method.starts_with("gtc"), row.obstacle) {
        (true, _) => 0,
        (false, None) => 1,
        (false, Some(_)) => 2,
    }
}

/// The page.
///
/// # Errors
/// If a picture cannot be drawn.
pub(super) fn render(plan: &Plan, rows: &[Row]) -> Result<String, CliError> {
    let title = format!("{}: ways to quantise weights", plan.model);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{0} - gtc</title><style>{STYLE} .front td:first-child {{ font-weight: 700; }} figure {{ margin-bottom: 1rem; }}</style></head><body><main><h1>{0}</h1>",
        escape(&title)
    );
    let data = plan
        .data
        .as_ref()
        .map_or("the digits inside the program".to_owned(), |data| {
            data.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        });
    let limit = plan.limit.map_or(String::new(), |n| {
        format!(", the first {n} training images")
    });
    let seeds: Vec<String> = plan.seeds.iter().map(u64::to_string).collect();
    write!(
        page,
        "<p>Test accuracy after the last epoch on {}{limit}, {}. Every method has the same \
         trainer, data, order of images, epochs and rates. Rates were tuned for none; GTC's other settings are those of the \
         model's preset, which were chosen on test images. Its networks learn from the float network that shares their \
         weights, so that a step has two networks and takes up to twice the time; gtc-direct and all others learn from the \
         labels.</p>",
        escape(&data),
        match &seeds[..] {
            [one] => format!("one run, seed {one}"),
            all => format!("seeds {}: mean and standard deviation", all.join(", ")),
        }
    )?;
    let bits = |row: &Row| row.costs.code_bits;
    let energy = |row: &Row| row.energy;
    let size = |row: &Row| row.bytes / 1000.0;
    for (what, x) in [
        ("bits a weight", &bits as &dyn Fn(&Row) -> f64),
        ("size of the file, kB", &size),
        ("energy, µJ an image", &energy),
    ] {
        let picture = picture(what, rows, x)?;
        // A picture of its own, which the page's colours leave alone.
        let data = base64::engine::general_purpose::STANDARD.encode(picture);
        write!(
            page,
            "<figure><img style=\"width: 100%; border-radius: 6px\" alt=\"accuracy against {what}\" \
             src=\"data:image/svg+xml;base64,{data}\"></figure>"
        )?;
    }
    page += "<div class=\"scroll\"><table style=\"white-space: nowrap\"><tr>";
    for head in HEADS {
        write!(page, "<th>{head}</th>")?;
    }
    page += "</tr>";
    for row in rows {
        let class = if row.on_front || row.on_packed_front {
            " class=\"front\""
        } else {
            ""
        };
        write!(page, "<tr{class}><td>{}</td>", escape(&row.method))?;
        for cell in cells(row) {
            write!(page, "<td>{}</td>", escape(&cell))?;
        }
        page += "</tr>";
    }
    page += "</table></div>";
    writeln!(
        page,
        "<p>Bits a weight are those of the codes that are stored; entropy is what an ideal code of fixed statistics would take. \
        The file is the packed file, or for a method that cannot be packed one like it with four bytes for each factor; of \
        float its weights. Operations are those of one image: products with zeros are left out; a method with a factor keeps \
        one multiplication for each output. Energies are those of {ACCELERATOR}. On the front: no other method is at least as accurate with fewer bits a weight, or more accurate \
        with as many, among all or among those that pack.</p></main></body></html>"
    )?;
    Ok(page)
}

/// Accuracy against a cost, on a logarithmic axis: a point a method, with its standard deviation and its name.
fn picture(what: &str, rows: &[Row], x: &dyn Fn(&Row) -> f64) -> Result<String, CliError> {
    let ends = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        })
    };
    let (left, right) = ends(&mut rows.iter().map(x));
    let best = ends(&mut rows.iter().map(|row| row.accuracy + row.deviation)).1;
    let worst = ends(&mut rows.iter().map(|row| row.accuracy - row.deviation)).0;
    // What failed altogether would press the rest into a line.
    let low = worst.max(best - 12.0);
    let room = (0.06 * (best - low)).max(0.2);
    let mut text = String::new();
    {
        let root = svg_page(&mut text, (900, 520))?;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("accuracy against {what}"), (FONT, 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(
                (0.8 * left..1.5 * right).log_scale(),
                low - room..best + room,
            )?;
        chart
            .configure_mesh()
            .x_desc(what)
            .y_desc("test accuracy, %")
            .x_label_formatter(&|v| axis_label(*v))
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 15))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (number, (name, colour)) in NAMES.into_iter().zip(COLOURS).enumerate() {
            let own: Vec<&Row> = rows.iter().filter(|row| kind(row) == number).collect();
            let bars = own.iter().map(|row| {
                let at = x(row);
                let ends = [row.accuracy - row.deviation, row.accuracy + row.deviation];
                PathElement::new(
                    ends.map(|y| (at, y.max(low - room))).to_vec(),
                    colour.mix(0.6),
                )
            });
            chart.draw_series(bars)?;
            let circles = own
                .iter()
                .map(|row| Circle::new((x(row), row.accuracy.max(low - room)), 5, colour.filled()));
            chart
                .draw_series(circles)?
                .label(name)
                .legend(move |at| Circle::new(at, 5, colour.filled()));
        }
        chart
            .configure_series_labels()
            .label_font((FONT, 14))
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(0xcc, 0xcc, 0xcc))
            .draw()?;
        let points = rows
            .iter()
            .map(|row| chart.backend_coord(&(x(row), row.accuracy.max(low - room))));
        let points: Vec<(i32, i32)> = points.collect();
        let mut sizes = Vec::new();
        for row in rows {
            let style = (FONT, NAME_HEIGHT).into_font().into();
            sizes.push(root.estimate_text_size(&row.method, &style)?);
        }
        for ((row, place), from) in rows.iter().zip(places(&points, &sizes)).zip(&points) {
            let colour = COLOURS[kind(row)];
            if place.is_far {
                let to = (place.at.0.max(from.0.min(place.right)), place.middle);
                root.draw(&PathElement::new(vec![*from, to], colour.mix(0.5)))?;
            }
            let style = (FONT, NAME_HEIGHT).into_font().color(&colour);
            root.draw(&Text::new(row.method.clone(), place.at, style))?;
        }
        root.present()?;
    }
    Ok(text)
}

/// Pixels of the names of points.
const NAME_HEIGHT: i32 = 13;

/// Numbers on a logarithmic axis: those that have room.
fn axis_label(value: f64) -> String {
    let leading = value / 10f64.powf(value.log10().floor());
    match leading.round() as u32 {
        // As many digits as the first needs, below one too.
        1 | 2 | 3 | 5 | 10 => {
            let digits = -value.log10().floor();
            format!("{value:.*}", digits.max(0.0) as usize)
        }
        _ => String::new(),
    }
}

/// Where the name of a point stands.
struct Place {
    /// Its upper left corner.
    at: (i32, i32),
    right: i32,
    middle: i32,
    /// Whether it stands so far from the point that a line leads there.
    is_far: bool,
}

/// Places for names of these sizes, each beside its point as near as it can be without lying on a point or on another name.
fn places(points: &[(i32, i32)], sizes: &[(u32, u32)]) -> Vec<Place> {
    /// Pixels from the middle of a point to its rim, and some more.
    const RIM: i32 = 7;
    /// How many lines of text up or down a name may go.
    const FARTHEST: i32 = 8;
    type Area = [i32; 4];
    let meet = |a: &Area, b: &Area| a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
    let circles = points.iter().map(|(x, y)| [x - 5, y - 5, x + 5, y + 5]);
    let mut taken: Vec<Area> = circles.collect();
    let place = |((x, y), (width, _)): (&(i32, i32), &(u32, u32))| {
        let width = *width as i32;
        let lines = (0..=FARTHEST).flat_map(|line| [-line, line]);
        let sides = lines.flat_map(|line| [(line, x + RIM), (line, x - RIM - width)]);
        let areas = sides.map(|(line, left)| {
            let top = y - NAME_HEIGHT / 2 + line * NAME_HEIGHT;
            (line, [left, top, left + width, top + NAME_HEIGHT])
        });
        let mut areas = areas.skip_while(|(_, area)| taken.iter().any(|other| meet(area, other)));
        let (line, area) = areas.next().unwrap_or_else(|| {
            let top = y - NAME_HEIGHT / 2;
            (0, [x + RIM, top, x + RIM + width, top + NAME_HEIGHT])
        });
        taken.push(area);
        Place {
            at: (area[0], area[1]),
            right: area[2],
            middle: (area[1] + area[3]) / 2,
            is_far: line != 0,
        }
    };
    points.iter().zip(sizes).map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_near_points_do_not_lie_on_each_other() {
        let points = [(100, 100), (101, 101), (100, 99), (103, 100), (100, 400)];
        let sizes = [(60, 13); 5];
        let found = places(&points, &sizes);
        for (i, a) in found.iter().enumerate() {
            for b in &found[..i] {
                let apart = (a.middle - b.middle).abs() >= NAME_HEIGHT;
                assert!(apart || a.at.0 >= b.right || b.at.0 >= a.right, "{i}");
            }
        }
        assert!(!found[4].is_far, "alone");
        assert!(found[3].is_far, "the fourth of a heap");
    }

    #[test]
    fn crowded_numbers_are_left_out() {
        let shown = [1.0, 4.0, 30.0, 700.0, 1000.0].map(axis_label);
        assert_eq!(shown, ["1", "", "30", "", "1000"]);
    }
}
