//! Charts of the report as SVG: lines over epochs, and a heat map where there are more lines than colours.

use std::fmt::Write;

use crate::cli::CliError;
use crate::cli::output::escape;

/// Colours of lines that are layers: neighbours differ most.
pub(super) const LAYER_COLOURS: [usize; 8] = [0, 1, 4, 5, 6, 7, 2, 3];

/// One line of a chart.
pub(super) struct Series {
    name: String,
    /// Number of the colour, 0 to 7.
    colour: usize,
    values: Vec<f64>,
}

/// A line through values, with a gap where there is none.
pub(super) fn series<V: Into<Option<f64>>>(
    name: &str,
    colour: usize,
    values: impl Iterator<Item = V>,
) -> Series {
    Series {
        name: name.to_owned(),
        colour,
        values: values.map(|v| v.into().unwrap_or(f64::NAN)).collect(),
    }
}

/// A step for axis marks: 1, 2 or 5 times a power of ten, giving about four marks.
fn nice_step(range: f64) -> f64 {
    let raw = (range / 4.0).max(1e-9);
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|m| m * power)
        .into_iter()
        .find(|step| *step >= raw)
        .unwrap_or(raw)
}

/// Lines over epochs.
pub(super) fn chart(page: &mut String, title: &str, lines: &[Series]) -> Result<(), CliError> {
    let (width, height, left, bottom, top) = (420.0, 220.0, 42.0, 24.0, 8.0);
    let values = || {
        lines
            .iter()
            .flat_map(|l| l.values.iter().copied())
            .filter(|v| v.is_finite())
    };
    let (mut low, mut high) = values().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return Ok(());
    }
    let mut step = nice_step((high - low).max(high.abs() * 0.02).max(1e-3));
    // Between numbers of bits there are none.
    if values().all(|v| v.fract() == 0.0) {
        step = step.max(1.0);
    }
    low = (low / step).floor() * step;
    high = ((high / step).ceil() * step).max(low + step);
    let count = lines.iter().map(|l| l.values.len()).max().unwrap_or(1);
    let x = |i: usize| left + (width - left - 10.0) * i as f64 / (count.max(2) - 1) as f64;
    let y = |v: f64| top + (height - top - bottom) * (high - v) / (high - low);
    write!(
        page,
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">"
    )?;
    let marks = ((high - low) / step).round() as usize;
    for mark in 0..=marks {
        let v = low + step * mark as f64;
        let decimals = if step >= 1.0 {
            0
        } else {
            (-step.log10().floor()) as usize
        };
        write!(
            page,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>\
             <text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{v:.decimals$}</text>",
            width - 10.0,
            y(v),
            left - 6.0,
            y(v) + 4.0
        )?;
    }
    for i in [0, count / 2, count - 1] {
        write!(
            page,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            x(i),
            height - 6.0,
            i + 1
        )?;
    }
    for line in lines {
        let points: Vec<String> = line
            .values
            .iter()
            .enumerate()
            .filter(|(_, v)| v.is_finite())
            .map(|(i, v)| format!("{:.1},{:.1}", x(i), y(*v)))
            .collect();
        write!(
            page,
            "<polyline class=\"c{}\" points=\"{}\"/>",
            line.colour,
            points.join(" ")
        )?;
        if let (Some(last), Some(v)) = (points.last(), line.values.last()) {
            let (cx, cy) = last.split_once(',').unwrap_or(("0", "0"));
            write!(
                page,
                "<circle class=\"c{}\" cx=\"{cx}\" cy=\"{cy}\" r=\"3\"><title>{} {v:.3}</title></circle>",
                line.colour,
                escape(&line.name)
            )?;
        }
    }
    page.push_str("</svg><div class=\"legend\">");
    // Low precision has no line before it joins.
    let drawn = |line: &&Series| line.values.iter().any(|v| v.is_finite());
    for line in lines.iter().filter(drawn) {
        write!(
            page,
            "<span class=\"c{}\">{}</span>",
            line.colour,
            escape(&line.name)
        )?;
    }
    page.push_str("</div></figure>");
    Ok(())
}

/// A name, of a long one the end, in which layers differ.
fn tail_of(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length + 1 - most).collect();
    format!("…{end}")
}

/// More lines than there are colours: a row each, an epoch a column, the darker the more.
pub(super) fn heat_map(page: &mut String, title: &str, rows: &[Series]) -> Result<(), CliError> {
    let count = rows.iter().map(|r| r.values.len()).max().unwrap_or(0);
    /// Characters of a name that are shown, and the width of one.
    const MOST: usize = 26;
    const CHARACTER: f64 = 6.4;
    let names: Vec<String> = rows.iter().map(|row| tail_of(&row.name, MOST)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max();
    let left = (12.0 + CHARACTER * longest.unwrap_or(0) as f64).max(62.0);
    let (width, row_height) = (420.0, 18.0);
    let slot = (width - left - 10.0) / count.max(1) as f64;
    let height = row_height * rows.len() as f64 + 24.0;
    let all = || rows.iter().flat_map(|r| &r.values);
    let most = all().fold(1.0_f64, |m, v| m.max(*v));
    write!(
        page,
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">"
    )?;
    for (i, (row, name)) in rows.iter().zip(&names).enumerate() {
        let y = row_height * i as f64;
        write!(
            page,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            y + 13.0,
            escape(name)
        )?;
        for (epoch, v) in row.values.iter().enumerate() {
            let x = left + slot * epoch as f64;
            write!(
                page,
                "<rect class=\"heat\" x=\"{x:.1}\" y=\"{y}\" width=\"{slot:.2}\" height=\"{}\" fill-opacity=\"{:.2}\">\
                 <title>{} after epoch {}: {v}</title></rect>",
                row_height - 2.0,
                // Pale enough for numbers in the colour of text.
                0.6 * v / most,
                escape(&row.name),
                epoch + 1
            )?;
            // Numbers where they have room, and at the end in any case.
            if slot >= 16.0 || epoch + 1 == count {
                write!(
                    page,
                    "<text class=\"number\" x=\"{:.1}\" y=\"{}\" text-anchor=\"end\">{v}</text>",
                    x + slot - 2.0,
                    y + 13.0
                )?;
            }
        }
    }
    for epoch in [0, count / 2, count.saturating_sub(1)] {
        write!(
            page,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            left + slot * (epoch as f64 + 0.5),
            height - 6.0,
            epoch + 1
        )?;
    }
    page.push_str("</svg></figure>");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::tail_of;

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(tail_of("block1_1_conv1", 14), "block1_1_conv1");
        assert_eq!(tail_of("block1_1_conv1", 8), "…1_conv1");
        assert_eq!(tail_of("größe", 3), "…ße");
    }
}
