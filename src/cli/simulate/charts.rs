//! Charts of the report: SVG whose colours follow the page's style sheet, light or dark.

use std::fmt::{self, Write};

use super::tables::significant;
use crate::cli::output::escape;

/// Width of all charts; the page scales them.
const WIDTH: f64 = 420.0;
const ROW: f64 = 20.0;
/// Width of a character of a label.
const CHARACTER: f64 = 6.2;

/// The end of a long name, in which layers differ.
fn short(name: &str) -> String {
    const MOST: usize = 20;
    let length = name.chars().count();
    match length <= MOST {
        true => name.to_owned(),
        false => format!(
            "…{}",
            name.chars().skip(length + 1 - MOST).collect::<String>()
        ),
    }
}

fn left_of<'a>(names: impl Iterator<Item = &'a str>) -> f64 {
    let longest = names.map(|name| short(name).chars().count()).max();
    12.0 + CHARACTER * longest.unwrap_or(0) as f64
}

fn open(page: &mut String, title: &str, height: f64) -> fmt::Result {
    write!(
        page,
        "<figure><figcaption>{0}</figcaption><svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{0}\">",
        escape(title)
    )
}

fn close(page: &mut String, legend: &[(&str, usize)]) -> fmt::Result {
    page.push_str("</svg>");
    if !legend.is_empty() {
        page.push_str("<div class=\"legend\">");
        for (name, colour) in legend {
            write!(page, "<span class=\"c{colour}\">{}</span>", escape(name))?;
        }
        page.push_str("</div>");
    }
    page.push_str("</figure>");
    Ok(())
}

fn label(page: &mut String, left: f64, y: f64, name: &str) -> fmt::Result {
    write!(
        page,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
        left - 6.0,
        y + 13.0,
        escape(&short(name))
    )
}

/// A row a name, each a bar of parts side by side, with its sum behind it. Part i has the colour of that number.
pub(super) fn bars(
    page: &mut String,
    title: &str,
    parts: &[(&str, usize)],
    rows: &[(String, Vec<f64>)],
) -> fmt::Result {
    let sum = |values: &[f64]| values.iter().sum::<f64>();
    let most = rows.iter().map(|(_, v)| sum(v)).fold(0.0, f64::max);
    let left = left_of(rows.iter().map(|(name, _)| name.as_str()));
    let room = WIDTH - left - 48.0;
    open(page, title, ROW * rows.len() as f64 + 4.0)?;
    for (i, (name, values)) in rows.iter().enumerate() {
        let y = ROW * i as f64;
        label(page, left, y, name)?;
        let mut x = left;
        for (value, (part, colour)) in values.iter().zip(parts) {
            let wide = match most > 0.0 {
                true => room * value / most,
                false => 0.0,
            };
            write!(
                page,
                "<rect class=\"c{colour}\" x=\"{x:.2}\" y=\"{:.1}\" width=\"{wide:.2}\" height=\"{}\"><title>{}: {part} {}</title></rect>",
                y + 2.0,
                ROW - 5.0,
                escape(name),
                significant(*value)
            )?;
            x += wide;
        }
        write!(
            page,
            "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 4.0,
            y + 13.0,
            significant(sum(values))
        )?;
    }
    close(page, if parts.len() > 1 { parts } else { &[] })
}

/// Powers of ten around positive values.
fn decades(values: impl Iterator<Item = f64>) -> (i32, i32) {
    let (low, high) = values
        .filter(|v| *v > 0.0 && v.is_finite())
        .fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (0, 1);
    }
    let (low, high) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    (low, high.max(low + 1))
}

/// A power of ten as a label of an axis.
fn power(exponent: i32) -> String {
    match exponent {
        0..=4 => format!("{}", 10u64.pow(exponent as u32)),
        -3..=-1 => format!("{}", 10f64.powi(exponent)),
        _ => format!("1e{exponent}"),
    }
}

/// A row a name, on each a dot for every kind, on a logarithmic scale.
pub(super) fn dots(
    page: &mut String,
    title: &str,
    kinds: &[(&str, usize)],
    rows: &[(String, Vec<f64>)],
) -> fmt::Result {
    let (low, high) = decades(rows.iter().flat_map(|(_, v)| v.iter().copied()));
    let left = left_of(rows.iter().map(|(name, _)| name.as_str()));
    let x = |v: f64| {
        left + 6.0 + (WIDTH - left - 20.0) * (v.log10() - f64::from(low)) / f64::from(high - low)
    };
    let bottom = ROW * rows.len() as f64;
    open(page, title, bottom + 22.0)?;
    for exponent in low..=high {
        let at = x(10f64.powi(exponent));
        write!(
            page,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{bottom}\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 14.0,
            power(exponent)
        )?;
    }
    for (i, (name, values)) in rows.iter().enumerate() {
        let y = ROW * i as f64;
        label(page, left, y, name)?;
        for (value, (kind, colour)) in values.iter().zip(kinds) {
            if *value > 0.0 {
                write!(
                    page,
                    "<circle class=\"c{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"><title>{}: {kind} {}</title></circle>",
                    x(*value),
                    y + 9.0,
                    escape(name),
                    significant(*value)
                )?;
            }
        }
    }
    close(page, kinds)
}

/// One row of a tornado chart: what is changed, and for its two ends the setting and the value.
pub(super) type Swing = (String, [(String, f64); 2]);

/// A row a number that is changed: a bar from the value at one end to that at the other, around the value without a
/// change.
pub(super) fn tornado(page: &mut String, title: &str, base: f64, rows: &[Swing]) -> fmt::Result {
    let values = || {
        rows.iter()
            .flat_map(|(_, ends)| ends.iter().map(|end| end.1))
    };
    let low = values().fold(base, f64::min);
    let high = values().fold(base, f64::max).max(low + 1e-12);
    let row = 2.0 * ROW - 4.0;
    let (left, right) = (64.0, WIDTH - 64.0);
    let x = |v: f64| left + (right - left) * (v - low) / (high - low);
    let bottom = row * rows.len() as f64;
    open(page, title, bottom + 20.0)?;
    let at = x(base);
    write!(
        page,
        "<line class=\"base\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"15\" y2=\"{bottom}\"/>\
         <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        bottom + 14.0,
        significant(base)
    )?;
    for (i, (name, ends)) in rows.iter().enumerate() {
        let y = row * i as f64;
        write!(
            page,
            "<text class=\"over\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            WIDTH / 2.0,
            y + 12.0,
            escape(name)
        )?;
        let lower = usize::from(ends[1].1 < ends[0].1);
        let ends = [&ends[lower], &ends[1 - lower]];
        // Green saves and red costs. If both ends lie on one side, the nearer one is drawn over the other, paler.
        let one_side = ends[1].1 < base || ends[0].1 > base;
        let mut drawn = ends.map(|end| (end, if end.1 < base { 4 } else { 1 }));
        drawn.sort_by(|a, b| (b.0.1 - base).abs().total_cmp(&(a.0.1 - base).abs()));
        if one_side {
            drawn[1].1 = 2;
        }
        for (end, colour) in drawn {
            let (from, to) = (x(base.min(end.1)), x(base.max(end.1)));
            write!(
                page,
                "<rect class=\"c{colour}\" x=\"{from:.2}\" y=\"{:.1}\" width=\"{:.2}\" height=\"13\"><title>{}, {}: {}</title></rect>",
                y + 17.0,
                to - from,
                escape(name),
                escape(&end.0),
                significant(end.1)
            )?;
        }
        for (end, anchor, at) in [
            (ends[0], "end", x(ends[0].1.min(base)) - 4.0),
            (ends[1], "start", x(ends[1].1.max(base)) + 4.0),
        ] {
            write!(
                page,
                "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                y + 28.0,
                escape(&end.0)
            )?;
        }
    }
    close(page, &[])
}

/// Lines over a logarithmic axis, with another one upwards.
pub(super) fn lines(
    page: &mut String,
    title: &str,
    at: &[f64],
    series: &[(String, usize, Vec<f64>)],
) -> fmt::Result {
    let (height, left, bottom) = (230.0, 46.0, 24.0);
    let (low, high) = decades(series.iter().flat_map(|(_, _, v)| v.iter().copied()));
    let [first, last] = [at.first(), at.last()].map(|v| v.copied().unwrap_or(1.0).log2());
    let x = |v: f64| left + (WIDTH - left - 24.0) * (v.log2() - first) / (last - first).max(1.0);
    let y = |v: f64| {
        8.0 + (height - bottom - 8.0) * (f64::from(high) - v.log10()) / f64::from(high - low)
    };
    open(page, title, height)?;
    for exponent in low..=high {
        let v = y(10f64.powi(exponent));
        write!(
            page,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{}\" y1=\"{v:.1}\" y2=\"{v:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - 24.0,
            left - 6.0,
            v + 4.0,
            power(exponent)
        )?;
    }
    for v in at.iter().step_by(2) {
        write!(
            page,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{v}</text>",
            x(*v),
            height - 6.0
        )?;
    }
    for (name, colour, values) in series {
        let points: Vec<String> = at
            .iter()
            .zip(values)
            .map(|(a, v)| format!("{:.1},{:.1}", x(*a), y(*v)))
            .collect();
        write!(
            page,
            "<polyline class=\"c{colour}\" points=\"{}\"><title>{}</title></polyline>",
            points.join(" "),
            escape(name)
        )?;
    }
    let legend: Vec<(&str, usize)> = series.iter().map(|(n, c, _)| (n.as_str(), *c)).collect();
    close(page, &legend)
}
