//! The page of a comparison.

use std::fmt::Write;

use base64::Engine;
use plotters::prelude::*;

use super::Plan;
use super::energy::ACCELERATOR;
use super::rows::{HEADS, Row, cells};
use crate::cli::CliError;
use crate::cli::charts::{FONT, svg_page};
use crate::cli::report::{STYLE, escape};

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
        "<p>Test accuracy after the last epoch on {}{limit}, seeds {}: mean and standard deviation. Every method has the same \
         trainer, data, order of images, epochs and rates. Rates were tuned for none; GTC's other settings were chosen on test \
         images of the embedded digits. Its networks learn from the float network that shares their \
         weights, so that a step has two networks and takes up to twice the time; gtc-direct and all others learn from the \
         labels.</p>",
        escape(&data),
        seeds.join(", ")
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
    page += "<div class=\"scroll\"><table><tr>";
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
        one multiplication for each output. Energies are those of {ACCELERATOR}. On the front: no other method is as accurate with fewer bits a weight, among all \
        or among those that pack.</p></main></body></html>"
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
            .x_label_formatter(&|v| format!("{v:.0}"))
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
            let names = own.iter().map(|row| {
                EmptyElement::at((x(row), row.accuracy.max(low - room)))
                    + Text::new(
                        row.method.clone(),
                        (8, -6),
                        (FONT, 13).into_font().color(&colour),
                    )
            });
            chart.draw_series(names)?;
        }
        chart
            .configure_series_labels()
            .label_font((FONT, 14))
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(0xcc, 0xcc, 0xcc))
            .draw()?;
        root.present()?;
    }
    Ok(text)
}
