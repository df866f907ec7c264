//! `report.html`: one page that needs nothing else, light or dark as the reader prefers.

mod charts;
mod vae;

use std::fmt::Write;

use base64::Engine;

use charts::{LAYER_COLOURS, Series, chart, heat_map, series};
pub(crate) use vae::AutoEncoderPage;

use super::CliError;
use super::output::{escape, short};
use super::run_folder::{ElboTerms, EpochMetrics};
use crate::checkpoint::Header;
use crate::data::Images;
use crate::evaluate::Predictions;
use crate::inspect::{LayerReport, mean_bits, weighted_bits};
use crate::quantiser::Quantiser;
use crate::train::Objective;

/// Misread images shown at most.
const SHOWN_ERRORS: usize = 60;

/// Everything a report shows.
pub(crate) struct ReportData<'a> {
    /// Names and settings.
    pub header: &'a Header,
    /// One entry an epoch.
    pub history: &'a [EpochMetrics],
    /// Layers before the first step.
    pub start: Vec<LayerReport>,
    /// Layers now.
    pub end: Vec<LayerReport>,
    /// Test images.
    pub test: &'a Images,
    /// What LP made of them, before it joins HP; may be empty.
    pub predictions: &'a Predictions,
    /// What only auto-encoders have.
    pub auto_encoder: Option<AutoEncoderPage>,
}

impl ReportData<'_> {
    /// Whether weights were trained on levels: those of floats alone never were, and others once LP has joined.
    fn has_levels(&self) -> bool {
        let joined = |last: &EpochMetrics| last.lp_loss.is_some();
        self.header.options.objective != Objective::Float && self.history.last().is_none_or(joined)
    }
}

pub(in crate::cli) const STYLE: &str = include_str!("../../../assets/report.css");

/// The page.
///
/// # Errors
/// When a picture cannot be encoded.
pub(crate) fn render(data: &ReportData<'_>) -> Result<String, CliError> {
    let title = format!("{} on {}", data.header.model, data.header.data);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{0} - gtc</title><style>{STYLE}</style></head><body><main><h1>{0}</h1>",
        escape(&title)
    );
    summary(&mut page, data)?;
    curves(&mut page, data)?;
    if let Some(auto_encoder) = &data.auto_encoder {
        vae::sections(&mut page, auto_encoder)?;
    }
    histograms(&mut page, data)?;
    if !data.predictions.class.is_empty() {
        confusion(&mut page, data)?;
        misread(&mut page, data)?;
    }
    settings(&mut page, data)?;
    page += "</main></body></html>\n";
    Ok(page)
}

fn summary(page: &mut String, data: &ReportData<'_>) -> Result<(), CliError> {
    let Some(last) = data.history.last() else {
        return Ok(());
    };
    page.push_str("<section class=\"tiles\">");
    let percent = |x: f64| format!("{:.2} %", 100.0 * x);
    let weights = data.header.model()?.quantiser.weights_in_words();
    let of_lp = |lp| (percent(lp), format!("test accuracy with {weights} (LP)"));
    let mut tiles = match (last.lp_accuracy, last.hp_accuracy) {
        (Some(lp), Some(hp)) => vec![of_lp(lp), (percent(hp), "with floats (HP)".to_owned())],
        (Some(lp), None) => vec![of_lp(lp)],
        (None, Some(hp)) => {
            let later = match data.header.options.objective {
                Objective::Float => String::new(),
                _ => format!("; {weights} (LP) join later"),
            };
            vec![(
                percent(hp),
                format!("test accuracy with floats (HP){later}"),
            )]
        }
        _ => vae::tiles(last, weights),
    };
    if data.has_levels() {
        tiles.extend([
            (
                format!("{:.2}", mean_bits(&data.end)),
                "bits, mean over layers".to_owned(),
            ),
            (
                format!("{:.2}", weighted_bits(&data.end)),
                "bits, mean over weights".to_owned(),
            ),
        ]);
    }
    for (value, what) in tiles {
        write!(
            page,
            "<div class=\"tile\"><b>{value}</b><span>{what}</span></div>"
        )?;
    }
    page.push_str("</section>");
    Ok(())
}

fn curves(page: &mut String, data: &ReportData<'_>) -> Result<(), CliError> {
    let h = data.history;
    page.push_str("<h2>How it learned</h2><section class=\"charts\">");
    let elbo: Vec<&ElboTerms> = h.iter().filter_map(|m| m.elbo.as_ref()).collect();
    if elbo.is_empty() {
        let accuracy = |of: fn(&EpochMetrics) -> Option<f64>| {
            h.iter().map(move |m| of(m).map(|share| 100.0 * share))
        };
        let lines = [
            series("HP", 0, accuracy(|m| m.hp_accuracy)),
            series("LP", 1, accuracy(|m| m.lp_accuracy)),
        ];
        chart(page, "Test accuracy, %", &lines)?;
        let lp_training = match data.header.options.objective {
            Objective::Direct => "LP training",
            _ => "LP distillation",
        };
        let loss = [
            series("HP test", 0, h.iter().map(|m| m.hp_loss)),
            series("LP test", 1, h.iter().map(|m| m.lp_loss)),
            series("HP training", 2, h.iter().map(|m| m.train_hp_loss)),
            series(lp_training, 3, h.iter().map(|m| m.train_lp_loss)),
        ];
        chart(page, "Cross entropy", &loss)?;
    } else {
        let loss = [
            series("HP", 0, h.iter().map(|m| m.hp_loss)),
            series("LP", 1, h.iter().map(|m| m.lp_loss)),
        ];
        chart(page, "Test -ELBO, nats", &loss)?;
        let lines = [
            series("HP", 0, elbo.iter().map(|e| e.hp_reconstruction)),
            series("LP", 1, elbo.iter().map(|e| e.lp_reconstruction)),
        ];
        chart(page, "Reconstruction, nats", &lines)?;
        let lines = [
            series("HP", 0, elbo.iter().map(|e| e.hp_divergence)),
            series("LP", 1, elbo.iter().map(|e| e.lp_divergence)),
        ];
        chart(page, "KL(q || N(0, 1)), nats", &lines)?;
    }
    let by_layer = |values: fn(&EpochMetrics) -> &Vec<u32>| -> Vec<Series> {
        let of = |i: usize| {
            h.iter()
                .map(move |m| values(m).get(i).map_or(0.0, |v| f64::from(*v)))
        };
        (0..data.end.len())
            .map(|i| series(&data.end[i].name, LAYER_COLOURS[i % 8], of(i)))
            .collect()
    };
    let of_layers = [
        ("Bits of each layer", by_layer(|m| &m.bits)),
        ("Exponents in use, by layer", by_layer(|m| &m.levels)),
    ];
    for (title, lines) in of_layers.into_iter().filter(|_| data.has_levels()) {
        if lines.len() > LAYER_COLOURS.len() {
            heat_map(page, title, &lines)?;
        } else {
            chart(page, title, &lines)?;
        }
    }
    page.push_str("</section>");
    Ok(())
}

fn histograms(page: &mut String, data: &ReportData<'_>) -> Result<(), CliError> {
    let is_gtc = data.header.model()?.quantiser.is_gtc();
    let rule = match data.has_levels() && is_gtc {
        true => " Q(w) = &plusmn;2<sup>e</sup>.",
        false => "",
    };
    write!(
        page,
        "<h2>Where the weights went</h2><p>Share of each layer's weights by exponent, before the \
         first step and now.{rule}</p><section class=\"charts\">"
    )?;
    for (start, end) in data.start.iter().zip(&data.end) {
        let low = start.exponent_min.min(end.exponent_min);
        let high = start.exponent_max.max(end.exponent_max);
        let (width, height) = (420.0, 180.0);
        let slot = (width - 20.0) / f64::from(high - low + 1);
        let share = |layer: &LayerReport, e: i32| {
            let (negative, positive) = usize::try_from(e - layer.exponent_min)
                .ok()
                .and_then(|i| layer.histogram.get(i).copied())
                .unwrap_or((0, 0));
            (negative + positive) as f64 / layer.weights as f64
        };
        let learned = match end.quantiser {
            Quantiser::Gtc => format!(
                "slope {:.3} &rarr; {:.3}, intercept {:.2} &rarr; {:.2}",
                start.slope, end.slope, start.intercept, end.intercept
            ),
            other => format!("{other}, {} values", end.levels.len()),
        };
        let learned = match data.has_levels() {
            true => format!(": {} &rarr; {} bits; {learned}", start.bits, end.bits),
            false => String::new(),
        };
        let tallest = (low..=high)
            .flat_map(|e| [share(start, e), share(end, e)])
            .fold(1e-9, f64::max);
        write!(
            page,
            "<figure><figcaption><b>{}</b> {:?}, {} weights{learned}</figcaption>\
             <svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"exponents of {}\">",
            escape(&end.name),
            end.shape,
            end.weights,
            escape(&end.name)
        )?;
        let every = ((high - low + 1) / 10 + 1).max(1);
        for e in low..=high {
            let x = 10.0 + slot * f64::from(e - low);
            for (layer, class, shift) in [(start, "before", 0.0), (end, "now", 0.5)] {
                let tall = 140.0 * share(layer, e) / tallest;
                write!(
                    page,
                    "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>2^{e}: {:.2} %</title></rect>",
                    x + slot * (0.05 + 0.9 * shift),
                    150.0 - tall,
                    slot * 0.42,
                    100.0 * share(layer, e)
                )?;
            }
            if (e - low) % every == 0 {
                write!(
                    page,
                    "<text x=\"{:.1}\" y=\"168\" text-anchor=\"middle\">{e}</text>",
                    x + slot / 2.0
                )?;
            }
        }
        page.push_str("</svg></figure>");
    }
    page.push_str(
        "</section><div class=\"legend\"><span class=\"before\">before the first step</span>\
         <span class=\"now\">now</span></div>",
    );
    Ok(())
}

fn confusion(page: &mut String, data: &ReportData<'_>) -> Result<(), CliError> {
    let classes = &data.header.classes;
    let mut counts = vec![vec![0usize; classes.len()]; classes.len()];
    for (label, class) in data.test.labels.iter().zip(&data.predictions.class) {
        counts[usize::from(*label)][usize::from(*class)] += 1;
    }
    let last = data.history.last();
    let joined = last.is_none_or(|metrics| metrics.lp_accuracy.is_some());
    write!(
        page,
        "<h2>What it takes for what</h2><p>Rows: what the picture shows. Columns: what {} reads.</p>",
        if joined { "LP" } else { "HP" }
    )?;
    page.push_str("<div class=\"scroll\"><table class=\"confusion\"><tr><th></th>");
    for class in classes {
        write!(page, "<th>{}</th>", escape(class))?;
    }
    page.push_str("<th>right</th></tr>");
    for (i, row) in counts.iter().enumerate() {
        let all: usize = row.iter().sum();
        write!(page, "<tr><th>{}</th>", escape(&classes[i]))?;
        for (j, count) in row.iter().enumerate() {
            let share = *count as f64 / all.max(1) as f64;
            let class = if i == j { "hit" } else { "miss" };
            let strength = if i == j {
                share
            } else {
                (share * 20.0).min(1.0)
            };
            let text = if *count > 0 {
                count.to_string()
            } else {
                String::new()
            };
            write!(
                page,
                "<td class=\"{class}\" style=\"--s:{strength:.2}\">{text}</td>"
            )?;
        }
        write!(
            page,
            "<td>{:.1} %</td></tr>",
            100.0 * row[i] as f64 / all.max(1) as f64
        )?;
    }
    page.push_str("</table></div>");
    Ok(())
}

fn misread(page: &mut String, data: &ReportData<'_>) -> Result<(), CliError> {
    let wrong: Vec<usize> = (0..data.predictions.class.len())
        .filter(|&i| data.predictions.class[i] != data.test.labels[i])
        .collect();
    write!(
        page,
        "<h2>What it misread</h2><p>{} of {} test images{}.</p><section class=\"digits\">",
        wrong.len(),
        data.test.count(),
        if wrong.len() > SHOWN_ERRORS {
            format!(", {SHOWN_ERRORS} shown")
        } else {
            String::new()
        }
    )?;
    for &i in wrong.iter().take(SHOWN_ERRORS) {
        let name = |class: u16| escape(&data.header.classes[usize::from(class)]);
        let (label, class) = (data.test.labels[i], data.predictions.class[i]);
        let sure = data.predictions.probabilities[i][usize::from(class)];
        write!(
            page,
            "<figure><img alt=\"test image {i}, a {0}\" src=\"{1}\"><figcaption>{0} read as <b>{2}</b><br>{3:.0} % sure</figcaption></figure>",
            name(label),
            png(data.test, i)?,
            name(class),
            100.0 * sure
        )?;
    }
    page.push_str("</section>");
    Ok(())
}

/// One image as a data address.
fn png(images: &Images, i: usize) -> Result<String, CliError> {
    let (width, height) = (images.width as u32, images.height as u32);
    let colour = if images.channels == 1 {
        image::ExtendedColorType::L8
    } else {
        image::ExtendedColorType::Rgb8
    };
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    image::ImageEncoder::write_image(encoder, images.image(i), width, height, colour)?;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    Ok(format!("data:image/png;base64,{text}"))
}

fn settings(page: &mut String, data: &ReportData<'_>) -> Result<(), CliError> {
    page.push_str("<h2>Layers and settings</h2><div class=\"scroll\"><table><tr><th>layer</th><th>weights</th>");
    if data.has_levels() {
        page.push_str("<th>bits</th><th>levels</th>");
    }
    page.push_str("</tr>");
    for layer in &data.end {
        let [min, max] = [layer.exponent_min, layer.exponent_max];
        let levels = match &layer.levels[..] {
            [first, .., last] if !layer.quantiser.is_shift() => {
                let count = layer.levels.len();
                format!("{count} values from {} to {}", short(*first), short(*last))
            }
            _ if min == max => format!("&plusmn;2<sup>{min}</sup>"),
            _ => format!("&plusmn;2<sup>{min}</sup> to &plusmn;2<sup>{max}</sup>"),
        };
        let zero = if layer.zeros > 0 {
            format!(", 0 ({} times)", layer.zeros)
        } else {
            String::new()
        };
        let (name, weights) = (escape(&layer.name), layer.weights);
        write!(page, "<tr><td>{name}</td><td>{weights}</td>")?;
        if data.has_levels() {
            write!(page, "<td>{}</td><td>{levels}{zero}</td>", layer.bits)?;
        }
        page.push_str("</tr>");
    }
    let options = toml::to_string(&data.header.options)?;
    write!(page, "</table></div><pre>{}</pre>", escape(&options))?;
    Ok(())
}
