//! The report: one page that needs nothing else, light or dark as the reader prefers.

use std::fmt::{self, Write};

use super::charts;
use super::tables::{self, Unit, count, significant};
use super::{Results, SWEPT, engines};
use crate::cli::output::escape;
use crate::simulate::{Energy, Format, NODES};

const STYLE: &str = include_str!("../../../assets/report.css");
/// What charts of this page need besides.
const MORE_STYLE: &str = ".charts { grid-template-columns: repeat(auto-fill, minmax(min(100%, 330px), 1fr)); } \
    svg text.over { paint-order: stroke; stroke: var(--card); stroke-width: 5px; fill: var(--text); } \
    svg rect { fill: var(--c); } .base { stroke: var(--text); stroke-dasharray: 3 3; } \
    .first { background: var(--card); border-left: 4px solid var(--k1); border-radius: 6px; padding: .6rem 1rem; } \
    .first p { color: var(--text); margin: .3rem 0; } td.text, th.text { text-align: left; } \
    .scroll td, .scroll th { white-space: nowrap; } td.wide { white-space: normal !important; min-width: 16rem; text-align: left; } \
    .unchecked { color: var(--k1); } li { margin: .2rem 0; } ul { padding-left: 1.2rem; }";

/// Colours of the parts of an energy, in the order of [`Energy::PARTS`].
const PART_COLOURS: [usize; 5] = [0, 6, 1, 4, 5];

/// The page.
///
/// # Errors
/// None in practice: text is written to memory.
pub(super) fn render(results: &Results) -> Result<String, fmt::Error> {
    let title = format!("{} in hardware: a model, not silicon", results.model);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{0} - gtc</title><style>{STYLE}{MORE_STYLE}</style></head><body><main><h1>{0}</h1>",
        escape(&title)
    );
    let unit = Unit::of(results.of(Format::Packed).energy.total());
    summary(&mut page, results, &unit)?;
    formats(&mut page, results, &unit)?;
    layers(&mut page, results, &unit)?;
    zeros(&mut page, results)?;
    sensitivity(&mut page, results, &unit)?;
    other_nodes(&mut page, results)?;
    engines::section(&mut page, results)?;
    constants(&mut page, results)?;
    assumptions(&mut page, results)?;
    page += "</main></body></html>\n";
    Ok(page)
}

fn parts() -> [(&'static str, usize); 5] {
    [0, 1, 2, 3, 4].map(|i| (Energy::PARTS[i], PART_COLOURS[i]))
}

fn shown(energy: &Energy, unit: &Unit) -> Vec<f64> {
    energy.parts().iter().map(|pj| unit.value(*pj)).collect()
}

fn summary(page: &mut String, results: &Results, unit: &Unit) -> fmt::Result {
    write!(
        page,
        "<p>{}; {}. {} multiply-accumulates an image, {} weights.</p>",
        tables::machine(&results.accelerator),
        escape(&results.node.title),
        count(results.macs),
        count(results.weights)
    )?;
    page.push_str("<section class=\"first\">");
    for line in tables::control(results) {
        write!(page, "<p>{}</p>", escape(&line))?;
    }
    page.push_str("</section><br><section class=\"tiles\">");
    let [packed, same, int8] =
        [Format::Packed, Format::SameBits, Format::Linear(8)].map(|format| results.of(format));
    let mine = packed.energy.total();
    let rate = 1e6 * results.node.clock.mhz / packed.cycles;
    for (value, what) in [
        (
            format!("{} {}", unit.show(mine), unit.name),
            "an image, packed".to_owned(),
        ),
        (
            format!("{:.3} x", same.energy.total() / mine),
            "as much in linear integers of the same bits".to_owned(),
        ),
        (
            format!("{:.2} x", int8.energy.total() / mine),
            "as much in integers of 8 bits".to_owned(),
        ),
        (
            count(packed.cycles.round() as u64),
            format!(
                "cycles an image: {} images a second at {} MHz",
                significant(rate),
                results.node.clock.mhz
            ),
        ),
    ] {
        write!(
            page,
            "<div class=\"tile\"><b>{value}</b><span>{what}</span></div>"
        )?;
    }
    page.push_str("</section>");
    Ok(())
}

/// A table: headings, and rows whose first cell is a name.
pub(super) fn table(page: &mut String, headings: &[&str], rows: &[Vec<String>]) -> fmt::Result {
    page.push_str("<div class=\"scroll\"><table><tr>");
    for (i, heading) in headings.iter().enumerate() {
        let class = if i == 0 { " class=\"text\"" } else { "" };
        write!(page, "<th{class}>{}</th>", escape(heading))?;
    }
    page.push_str("</tr>");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            write!(page, "<td>{}</td>", escape(cell))?;
        }
        page.push_str("</tr>");
    }
    page.push_str("</table></div>");
    Ok(())
}

fn formats(page: &mut String, results: &Results, unit: &Unit) -> fmt::Result {
    let mine = results.of(Format::Packed).energy.total();
    write!(
        page,
        "<h2>The same network in other numbers</h2><p>{} an image. The bound counts every weight once from where it lies \
         and every activation once in and out, without registers: no dataflow that runs layer by layer and computes \
         zeros can stay below it.</p>",
        unit.name
    )?;
    let skips = results.activity.is_some();
    let rows: Vec<Vec<String>> = results
        .formats
        .iter()
        .map(|format| {
            let energy = &format.energy;
            let memory = match format.weights_off_chip {
                true => " off-chip",
                false => "",
            };
            let skipping = format.skipping.map(|skipping| skipping.energy.total());
            vec![
                format.format.clone(),
                format!(
                    "{} KiB{memory}",
                    significant((format.weight_bytes + format.table_bytes) as f64 / 1024.0)
                ),
                unit.show(energy.total()),
                format!("{:.2}", energy.total() / mine),
                unit.show(energy.arithmetic),
                unit.show(energy.registers),
                unit.show(energy.on_chip()),
                unit.show(energy.off_chip),
                unit.show(format.bound.total()),
                skipping.map_or("-".to_owned(), |pj| unit.show(pj)),
                count(format.cycles.round() as u64),
            ]
        })
        .collect();
    table(
        page,
        &[
            "format",
            "weights",
            "total",
            "/ packed",
            "arithmetic",
            "registers",
            "on-chip",
            "off-chip",
            "bound",
            "without zeros",
            "cycles",
        ],
        &rows,
    )?;
    page.push_str("<br><section class=\"charts\">");
    let bars: Vec<(String, Vec<f64>)> = results
        .formats
        .iter()
        .map(|format| (format.format.clone(), shown(&format.energy, unit)))
        .collect();
    let title = |what: &str| format!("{what}, {} an image", unit.name);
    charts::bars(page, &title("Energy"), &parts(), &bars)?;
    let narrow: Vec<(String, Vec<f64>)> = bars
        .iter()
        .zip(&results.formats)
        .filter(|(_, format)| !format.format.starts_with("float"))
        .map(|(bar, _)| bar.clone())
        .collect();
    charts::bars(page, &title("Energy of integers alone"), &parts(), &narrow)?;
    let dots: Vec<(String, Vec<f64>)> = results
        .formats
        .iter()
        .map(|format| {
            let skipping = format.skipping.map_or(0.0, |s| s.energy.total());
            let values = [format.energy.total(), format.bound.total(), skipping];
            let values = values.map(|pj| unit.value(pj));
            (format.format.clone(), values.to_vec())
        })
        .collect();
    let kinds = [("total", 1), ("bound", 0), ("without zeros", 4)];
    let kinds = if skips { &kinds[..] } else { &kinds[..2] };
    charts::dots(page, &title("Total and bound, logarithmic"), kinds, &dots)?;
    page.push_str("</section>");
    Ok(())
}

fn layers(page: &mut String, results: &Results, unit: &Unit) -> fmt::Result {
    let packed = results.of(Format::Packed);
    page.push_str(
        "<h2>Layer by layer</h2><p>The packed network. Memory traffic in kbit an image.</p>",
    );
    let kbit = |bits: f64| significant(bits / 1000.0);
    let rows: Vec<Vec<String>> = packed
        .layers
        .iter()
        .map(|layer| {
            let bits = |n: u32| {
                if n == 0 {
                    "-".to_owned()
                } else {
                    n.to_string()
                }
            };
            vec![
                layer.name.clone(),
                layer.operation.to_owned(),
                count(layer.macs),
                bits(layer.weight_bits),
                bits(layer.accumulator_bits),
                count(layer.cycles.round() as u64),
                format!("{:.0} %", 100.0 * layer.utilisation),
                kbit(layer.traffic.weights),
                kbit(layer.traffic.activations),
                kbit(layer.traffic.off_chip),
                unit.show(layer.energy.total()),
                unit.show(layer.bound.total()),
            ]
        })
        .collect();
    let energy = format!("{} total", unit.name);
    table(
        page,
        &[
            "layer",
            "operation",
            "MACs",
            "bits",
            "sum bits",
            "cycles",
            "used",
            "weights",
            "activations",
            "off-chip",
            &energy,
            "bound",
        ],
        &rows,
    )?;
    page.push_str("<br><section class=\"charts\">");
    let bars: Vec<(String, Vec<f64>)> = packed
        .layers
        .iter()
        .map(|layer| (layer.name.clone(), shown(&layer.energy, unit)))
        .collect();
    let title = format!("Energy of the packed layers, {} an image", unit.name);
    charts::bars(page, &title, &parts(), &bars)?;
    page.push_str("</section>");
    write!(
        page,
        "<p>The same layers in all formats, {}.</p>",
        unit.name
    )?;
    let rows: Vec<Vec<String>> = (0..packed.layers.len())
        .map(|i| {
            let name = packed.layers[i].name.clone();
            let cells = results
                .formats
                .iter()
                .map(|format| unit.show(format.layers[i].energy.total()));
            std::iter::once(name).chain(cells).collect()
        })
        .collect();
    let names = results.formats.iter().map(|format| format.format.as_str());
    let headings: Vec<&str> = std::iter::once("layer").chain(names).collect();
    table(page, &headings, &rows)
}

fn zeros(page: &mut String, results: &Results) -> fmt::Result {
    page.push_str("<h2>Zeros</h2>");
    let (Some(activity), Some(on)) = (&results.activity, &results.counted_on) else {
        page.push_str("<p>Not counted: no images were read.</p>");
        return Ok(());
    };
    write!(
        page,
        "<p>Counted exactly on {}. A multiply-accumulate with an activation of zero changes nothing. Lanes leave its cycle \
         out, with the weights that it would read; systolic arrays only spare the arithmetic. Weights of zero are \
         counted, and no energy here makes use of them.</p>",
        escape(on)
    )?;
    let share = |part: u64, of: u64| match of {
        0 => "-".to_owned(),
        of => format!("{:.1} %", 100.0 * part as f64 / of as f64),
    };
    let layers = &results.of(Format::Packed).layers;
    let rows: Vec<Vec<String>> = layers
        .iter()
        .zip(&activity.works)
        .map(|(layer, work)| {
            vec![
                layer.name.clone(),
                share(work.zeros, work.numbers),
                share(work.zero_macs, work.macs),
                share(work.idle_macs, work.macs),
                layer
                    .skipping
                    .map_or("-".to_owned(), |s| count(s.cycles.round() as u64)),
            ]
        })
        .collect();
    table(
        page,
        &[
            "layer",
            "zeros among inputs",
            "MACs with activation 0",
            "or weight 0",
            "cycles without zeros",
        ],
        &rows,
    )?;
    page.push_str("<br><section class=\"charts\">");
    let bars: Vec<(String, Vec<f64>)> = layers
        .iter()
        .zip(&activity.works)
        .filter(|(_, work)| work.macs > 0)
        .map(|(layer, work)| (layer.name.clone(), vec![100.0 * work.zero_share()]))
        .collect();
    charts::bars(
        page,
        "Multiply-accumulates with an activation of zero, %",
        &[("zero", 0)],
        &bars,
    )?;
    page.push_str("</section>");
    Ok(())
}

fn sensitivity(page: &mut String, results: &Results, unit: &Unit) -> fmt::Result {
    write!(
        page,
        "<h2>What the numbers hang on</h2><p>Each number of the model is changed alone. Energy in {}; the two ratios are \
         linear integers of the same bits, and integers of 8 bits, by the packed network.</p><section class=\"charts\">",
        unit.name
    )?;
    let base = unit.value(results.of(Format::Packed).energy.total());
    let rows: Vec<charts::Swing> = results
        .sensitivity
        .iter()
        .filter(|row| row.swing() > 0.0)
        .map(|row| {
            let end = |i: usize| {
                let point = &row.points[i];
                (point.setting.clone(), unit.value(point.packed))
            };
            (row.what.to_owned(), [end(0), end(1)])
        })
        .collect();
    let title = format!("Energy of the packed network, {} an image", unit.name);
    charts::tornado(page, &title, base, &rows)?;
    let at: Vec<f64> = results.sram_sweep.iter().map(|(kib, _)| *kib).collect();
    let colours = [1, 0, 4, 5, 6];
    let series: Vec<(String, usize, Vec<f64>)> = SWEPT
        .iter()
        .enumerate()
        .map(|(i, format)| {
            let values = results.sram_sweep.iter().map(|(_, v)| unit.value(v[i]));
            (format.name(), colours[i], values.collect())
        })
        .collect();
    let title = format!(
        "Energy by on-chip memory in KiB, {} an image: where a line falls, weights or activations begin to fit",
        unit.name
    );
    charts::lines(page, &title, &at, &series)?;
    page.push_str("</section><br>");
    let rows: Vec<Vec<String>> = results
        .sensitivity
        .iter()
        .flat_map(|row| {
            row.points.iter().map(|point| {
                vec![
                    row.what.to_owned(),
                    point.setting.clone(),
                    unit.show(point.packed),
                    format!("{:.3}", point.same_bits_ratio),
                    format!("{:.2}", point.int8_ratio),
                    count(point.cycles.round() as u64),
                ]
            })
        })
        .collect();
    table(
        page,
        &[
            "what",
            "setting",
            &format!("packed, {}", unit.name),
            "same bits / packed",
            "int8 / packed",
            "cycles",
        ],
        &rows,
    )
}

fn other_nodes(page: &mut String, results: &Results) -> fmt::Result {
    if results.other_nodes.is_empty() {
        return Ok(());
    }
    page.push_str("<h2>In other processes</h2>");
    let rows: Vec<Vec<String>> = results
        .other_nodes
        .iter()
        .map(|other| {
            let unit = Unit::of(other.point.packed);
            vec![
                other.title.clone(),
                format!("{} {}", unit.show(other.point.packed), unit.name),
                format!("{:.3}", other.point.same_bits_ratio),
                format!("{:.2}", other.point.int8_ratio),
                format!("{:.2}", other.float32_ratio),
            ]
        })
        .collect();
    table(
        page,
        &[
            "process",
            "packed",
            "same bits / packed",
            "int8 / packed",
            "float32 / packed",
        ],
        &rows,
    )
}

fn constants(page: &mut String, results: &Results) -> fmt::Result {
    let node = &results.node;
    write!(
        page,
        "<h2>Every constant and its source</h2><p>{}. Replace them with <code>gtc simulate --print-node {} &gt; my.toml</code> \
         and <code>--node my.toml</code>.</p><div class=\"scroll\"><table><tr><th class=\"text\">what</th><th>pJ</th>\
         <th class=\"text\">source</th></tr>",
        escape(&node.title),
        escape(
            NODES
                .iter()
                .find(|(name, _)| *name == node.name)
                .map_or("45nm", |(name, _)| name)
        )
    )?;
    let mut row = |what: &str, pj: String, source: &str, checked: bool| {
        let mark = match checked {
            true => "",
            false => " <span class=\"unchecked\">(not checked against the source)</span>",
        };
        write!(
            page,
            "<tr><td>{what}</td><td>{pj}</td><td class=\"wide\">{}{mark}</td></tr>",
            escape(source)
        )
    };
    for (key, constant) in node.constants() {
        let pj = format!("{}", constant.pj);
        row(key, pj, &constant.source, constant.checked)?;
    }
    for sram in &node.sram {
        let what = format!("sram, {} KiB, 64 bits", sram.kib);
        row(&what, format!("{}", sram.pj), &sram.source, sram.checked)?;
    }
    let dram = &node.dram;
    let range = format!("{} ({} to {})", dram.pj, dram.low, dram.high);
    row("dram, 64 bits", range, &dram.source, dram.checked)?;
    let clock = format!("{} MHz", node.clock.mhz);
    row("clock", clock, &node.clock.source, true)?;
    let bandwidth = &node.dram_bandwidth;
    let rate = format!("{} GB/s", bandwidth.gb_per_s);
    row("dram_bandwidth", rate, &bandwidth.source, true)?;
    page.push_str("</table></div>");
    Ok(())
}

fn assumptions(page: &mut String, results: &Results) -> fmt::Result {
    page.push_str("<h2>Assumed, and left out</h2><ul>");
    for line in [
        "Layers run one after the other. Multiply-accumulates outside the image take a cycle and a weight, but no arithmetic \
         and no activation.",
        "All formats have the same dataflow, the same cycles but for waiting, and accumulators by the same rule: wide enough \
         for any weights of the format. Integers have activations as the packed network has them.",
        "Linear integers get scales that are powers of two, as packed networks have, and no multiplication behind a sum. That \
         favours them.",
        "A memory is as large as what it has to hold, up to the limit. Weights that do not fit are fetched once for a batch. \
         Activations that do not fit are written off-chip and read back.",
        "A max pool over windows side by side happens as results are stored. Shifts that are the same for a whole layer are \
         wires.",
        "Not modelled: leakage, wires and clock trees, control, the way of images onto the chip, accuracy in the other \
         formats, sparsity of weights, compression.",
    ] {
        write!(page, "<li>{line}</li>")?;
    }
    write!(
        page,
        "</ul><p>gtc {}. Formulas: docs/HARDWARE.md.</p>",
        results.version
    )
}
