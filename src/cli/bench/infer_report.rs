//! What `gtc bench infer` found, in words and cells.

use serde::Serialize;

use super::Times;
use super::plot::Bar;
use crate::cli::human_bytes;

/// Begins the name of rows about whole models.
pub(super) const WHOLE: &str = "all of ";

#[derive(Serialize)]
pub(super) struct InferRow {
    pub layer: String,
    pub batch_size: usize,
    pub kernel: String,
    pub weight_bytes: usize,
    pub times: Times,
    /// Billions of multiply-adds, or what stands for them, a second.
    pub gmacs: f64,
    /// Bytes of inputs, weights and outputs a second.
    pub gigabytes_per_second: f64,
    /// How many times faster than f32.
    pub of_f32: f64,
    /// Arithmetic or memory: whichever alone would take longer at the device's peak in f32, or at the rate of a copy.
    pub bound: &'static str,
    /// The time that this alone would take, as a share of the time taken. `dot4` may come to more than one: it does four
    /// multiply-adds where f32 does one.
    pub of_bound: f64,
}

/// From this ratio of times on, either way, one of two counts as faster: less is within what times spread.
const FASTER: f64 = 1.1;

/// Whether packing a model to `bits` bits a weight pays on a device, in a few sentences: its size, its time at each batch,
/// and the verdict.
pub(super) fn headline(rows: &[InferRow], device: &str, bits: u32) -> String {
    let whole = |kernel: &str| -> Vec<&InferRow> {
        let of_model = |r: &&InferRow| r.layer.starts_with(WHOLE) && r.kernel == kernel;
        rows.iter().filter(of_model).collect()
    };
    let (floats, packed) = (whole("f32"), whole("chosen"));
    let Some((first, small)) = floats.first().zip(packed.first()) else {
        return String::new();
    };
    let model = &first.layer[WHOLE.len()..];
    let smaller = first.weight_bytes as f64 / small.weight_bytes as f64;
    let mut text = format!(
        "{model} on {device}: weights of {} packed to {bits} bits, of {} in f32, {smaller:.1} times less.",
        human_bytes(small.weight_bytes as u64),
        human_bytes(first.weight_bytes as u64)
    );
    let mut ratios = Vec::new();
    for (float, packed) in floats.iter().zip(&packed) {
        let batch = float.batch_size;
        let each = |row: &InferRow| row.times.milliseconds / batch as f64;
        let ratio = each(float) / each(packed);
        text += &format!(
            " At batch {batch} an image takes {:.3} ms packed, {:.3} ms in f32: {ratio:.2} times as fast.",
            each(packed),
            each(float)
        );
        ratios.push((batch, ratio));
    }
    text + &verdict(&ratios)
}

/// Where packing pays, by batches and how many times as fast as floats it is at each.
fn verdict(ratios: &[(usize, f64)]) -> String {
    let batches = |is: &dyn Fn(f64) -> bool| -> Option<String> {
        let batches = ratios.iter().filter(|(_, ratio)| is(*ratio));
        let batches: Vec<String> = batches.map(|(batch, _)| batch.to_string()).collect();
        match batches.len() {
            0 => None,
            n if n == ratios.len() => Some(String::new()),
            _ => Some(format!(" at batch {}", batches.join(" and "))),
        }
    };
    let faster = batches(&|ratio| ratio >= FASTER);
    let slower = batches(&|ratio| ratio <= 1.0 / FASTER);
    match (faster, slower) {
        (None, None) => " So packing pays here in size, not in speed.".to_owned(),
        (None, Some(slow)) => format!(" So packing pays here in size, and costs time{slow}."),
        (Some(fast), None) if fast.is_empty() => {
            " So packing pays here in size and in speed.".to_owned()
        }
        (Some(fast), None) => format!(" So packing pays here in size, and in speed{fast}."),
        (Some(fast), Some(slow)) => {
            format!(" So packing pays here in size, and in speed{fast}; it costs time{slow}.")
        }
    }
}

pub(super) const INFER_HEADS: [&str; 10] = [
    "layer",
    "batch",
    "kernel",
    "weights",
    "ms",
    "spread ms",
    "GMAC/s",
    "GB/s",
    "of f32",
    "bound by",
];

pub(super) fn infer_cells(r: &InferRow) -> [String; 10] {
    [
        r.layer.clone(),
        r.batch_size.to_string(),
        r.kernel.clone(),
        human_bytes(r.weight_bytes as u64),
        format!("{:.2}", r.times.milliseconds),
        format!("{:.2}-{:.2}", r.times.fastest, r.times.slowest),
        format!("{:.2}", r.gmacs),
        format!("{:.2}", r.gigabytes_per_second),
        format!("{:.2}", r.of_f32),
        format!("{} ({:.0} %)", r.bound, 100.0 * r.of_bound),
    ]
}

pub(super) fn infer_bar(r: &InferRow) -> Bar {
    Bar {
        group: format!("{}, batch {}", r.layer, r.batch_size),
        name: r.kernel.clone(),
        value: r.gmacs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(layer: &str, batch_size: usize, kernel: &str, milliseconds: f64) -> InferRow {
        InferRow {
            layer: layer.to_owned(),
            batch_size,
            kernel: kernel.to_owned(),
            weight_bytes: if kernel == "f32" { 64 << 10 } else { 4 << 10 },
            times: Times {
                runs: 1,
                milliseconds,
                fastest: milliseconds,
                slowest: milliseconds,
                cpu_milliseconds: milliseconds,
            },
            gmacs: 0.0,
            gigabytes_per_second: 0.0,
            of_f32: 0.0,
            bound: "",
            of_bound: 0.0,
        }
    }

    #[test]
    fn the_headline_says_where_packing_pays() {
        let rows = |one: f64, many: f64| {
            [
                row("conv", 1, "f32", 1.0),
                row("all of net", 1, "f32", 2.0),
                row("all of net", 1, "chosen", one),
                row("all of net", 8, "f32", 16.0),
                row("all of net", 8, "chosen", many),
            ]
        };
        let text = headline(&rows(1.0, 16.0), "a GPU", 2);
        assert_eq!(
            text,
            "net on a GPU: weights of 4.00 KiB packed to 2 bits, of 64.00 KiB in f32, 16.0 times less. At batch 1 an image \
             takes 1.000 ms packed, 2.000 ms in f32: 2.00 times as fast. At batch 8 an image takes 2.000 ms packed, 2.000 ms \
             in f32: 1.00 times as fast. So packing pays here in size, and in speed at batch 1."
        );
        let end = |one, many| {
            let text = headline(&rows(one, many), "", 2);
            text.rsplit_once("here ").unwrap().1.to_owned()
        };
        assert_eq!(end(1.0, 8.0), "in size and in speed.");
        assert_eq!(end(2.0, 15.0), "in size, not in speed.");
        assert_eq!(end(2.0, 20.0), "in size, and costs time at batch 8.");
        assert_eq!(end(4.0, 20.0), "in size, and costs time.");
        assert_eq!(
            end(4.0, 8.0),
            "in size, and in speed at batch 8; it costs time at batch 1."
        );
        assert_eq!(headline(&[], "a GPU", 2), "");
    }
}
