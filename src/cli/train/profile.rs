//! `--profile`: where the time of a step goes.

use std::collections::HashMap;

use crate::cli::output::say;
use crate::gpu::Timing;

/// The time of one step: each kernel with all its dispatches, then those of each layer that take longest.
pub(in crate::cli) fn print_profile(timings: &[Timing]) {
    let total: f64 = timings.iter().map(|t| t.microseconds).sum();
    say!("one step: {:.1} ms", total / 1e3);
    let kernels = sums(timings, |t| (t.kernel, String::new()));
    print_timings("calls", &kernels, total, 0.001);
    let calls = sums(timings, |t| (t.kernel, t.label.clone()));
    print_timings("what", &calls, total, 0.005);
}

/// Timings of the same `key` (kernel, label) as one, the longest first; with the number of those that have no label
/// in its place.
fn sums(timings: &[Timing], key: impl Fn(&Timing) -> (&'static str, String)) -> Vec<Timing> {
    let mut rows: HashMap<(&'static str, String), (usize, Timing)> = HashMap::new();
    for timing in timings {
        let (count, sum) = rows
            .entry(key(timing))
            .or_insert_with_key(|(kernel, label)| {
                let label = label.clone();
                (
                    0,
                    Timing {
                        kernel,
                        label,
                        microseconds: 0.0,
                        flops: 0,
                        bytes: 0,
                    },
                )
            });
        *count += 1;
        sum.microseconds += timing.microseconds;
        sum.flops += timing.flops;
        sum.bytes += timing.bytes;
    }
    let mut rows: Vec<Timing> = rows
        .into_values()
        .map(|(count, sum)| match sum.label.is_empty() {
            true => Timing {
                label: count.to_string(),
                ..sum
            },
            false => sum,
        })
        .collect();
    rows.sort_by(|a, b| b.microseconds.total_cmp(&a.microseconds));
    rows
}

/// A table of those `rows` that take more than `part` of the `total` time; `label` heads the second column.
fn print_timings(label: &str, rows: &[Timing], total: f64, part: f64) {
    say!(
        "  {:22} {label:24} {:>9} {:>6} {:>8} {:>7}",
        "kernel",
        "ms",
        "%",
        "GFLOP/s",
        "GB/s"
    );
    for r in rows.iter().filter(|r| r.microseconds > part * total) {
        say!(
            "  {:22} {:24} {:9.3} {:6.1} {:8.2} {:7.2}",
            r.kernel,
            r.label,
            r.microseconds / 1e3,
            100.0 * r.microseconds / total,
            r.flops as f64 / r.microseconds / 1e3,
            r.bytes as f64 / r.microseconds / 1e3
        );
    }
    say!();
}
