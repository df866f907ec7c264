//! Cases of the latent of an auto-encoder.

use super::entries;
use super::reference;
use crate::op::{self, Counter, TRAINING_NOISE};
use crate::optimiser::Schedule;
use crate::tensor::pad4;
use crate::verify::{Case, Expected, Tolerance, near, noise, padded_noise};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // The counters and keys of Random123's known answers (kat_vectors, philox4x32 with 10 rounds).
    for [counter_0, counter_1, step, counter_3, seed_low, seed_high] in [
        [0; 6],
        [u32::MAX; 6],
        [
            0x243f_6a88,
            0x85a3_08d3,
            0x1319_8a2e,
            0x0370_7344,
            0xa409_3822,
            0x299f_31d0,
        ],
    ] {
        let schedule = Schedule {
            seed_low,
            seed_high,
            step,
            ..Schedule::default()
        };
        let counter = Counter {
            first: counter_0,
            second: counter_1,
            fourth: counter_3,
        };
        cases.push(philox(schedule, counter, 4));
    }
    let schedule = Schedule::default().with_noise(1.0, 0x0123_4567_89ab_cdef, 99);
    cases.push(philox(schedule, TRAINING_NOISE, 1000));
    cases.push(standard_normal(schedule, 4));
    cases.push(standard_normal(schedule, 20_000));
    for [rows, latent] in [[1, 1], [3, 2], [5, 3], [70, 20], [64, 7]] {
        cases.push(reparameterise_forward(rows, latent));
        cases.push(reparameterise_backward(rows, latent));
        cases.push(gaussian_kl(rows, latent, true));
        cases.push(gaussian_kl(rows, latent, false));
    }
    cases
}

fn philox(schedule: Schedule, counter: Counter, count: usize) -> Case {
    Case {
        kernel: &entries::PHILOX,
        name: format!("{count} words from {:#010x}", counter.first),
        inputs: Vec::new(),
        input_shapes: Vec::new(),
        output_shapes: vec![vec![count]],
        initial: vec![None],
        schedule,
        record: Box::new(move |recording, _, o| op::philox(recording, "case", counter, &o[0])),
        expected: Box::new(move |_, _| {
            let words = reference::philox(&schedule, counter, count);
            vec![Expected {
                values: words.iter().map(|w| f64::from(w.cast_signed())).collect(),
                tolerance: Tolerance::EXACT,
            }]
        }),
    }
}

fn standard_normal(schedule: Schedule, count: usize) -> Case {
    Case {
        kernel: &entries::STANDARD_NORMAL,
        name: format!("{count} numbers"),
        inputs: Vec::new(),
        input_shapes: Vec::new(),
        output_shapes: vec![vec![count]],
        initial: vec![None],
        schedule,
        record: Box::new(move |recording, _, o| {
            op::standard_normal(recording, "case", TRAINING_NOISE, &o[0]);
        }),
        // Numbers reach 5.8 and are made by a dozen roundings of 6e-8.
        expected: Box::new(move |_, _| {
            vec![Expected {
                values: reference::standard_normal(&schedule, TRAINING_NOISE, count),
                tolerance: Tolerance {
                    absolute: 2e-6,
                    relative: 1e-6,
                },
            }]
        }),
    }
}

/// Rows, numbers of a latent, and the widths of rows of posteriors and of samples.
fn widths(latent: usize) -> [usize; 2] {
    [pad4(2 * latent), pad4(latent)]
}

fn posterior(name: &str, rows: usize, latent: usize) -> Vec<f32> {
    padded_noise(name, &[rows, widths(latent)[0]], 2 * latent)
        .iter()
        .map(|v| 2.0 * v)
        .collect()
}

fn reparameterise_forward(rows: usize, latent: usize) -> Case {
    let [wide, width] = widths(latent);
    let name = format!("{rows} rows of {latent}");
    Case {
        kernel: &entries::REPARAMETERISE_FORWARD,
        inputs: vec![posterior(&name, rows, latent), noise("noise", rows * width)],
        name,
        input_shapes: vec![vec![rows, wide], vec![rows, width]],
        output_shapes: vec![vec![rows, width]],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            op::reparameterise_forward(recording, "case", latent, [&i[0], &i[1]], &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::reparameterise_forward(&i[0], &i[1], latent, [wide, width]),
                tolerance: near(1, 1.0),
            }]
        }),
    }
}

fn reparameterise_backward(rows: usize, latent: usize) -> Case {
    let [wide, width] = widths(latent);
    let name = format!("{rows} rows of {latent}");
    Case {
        kernel: &entries::REPARAMETERISE_BACKWARD,
        inputs: vec![
            posterior(&name, rows, latent),
            noise("noise", rows * width),
            noise("d_z", rows * width),
        ],
        name,
        input_shapes: vec![vec![rows, wide], vec![rows, width], vec![rows, width]],
        output_shapes: vec![vec![rows, wide]],
        initial: vec![Some(padded_noise("d", &[rows, wide], 2 * latent))],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let inputs = [&i[0], &i[1], &i[2]];
            op::reparameterise_backward(recording, "case", latent, inputs, &o[0]);
        }),
        expected: Box::new(move |i, before| {
            let inputs = [&i[0][..], &i[1], &i[2], &before[0]];
            vec![Expected {
                values: reference::reparameterise_backward(inputs, latent, [wide, width]),
                tolerance: near(1, 1.0),
            }]
        }),
    }
}

/// With the prior or another posterior; every seventh row is padding.
fn gaussian_kl(rows: usize, latent: usize, prior: bool) -> Case {
    let wide = widths(latent)[0];
    let name = format!(
        "{rows} rows of {latent} from {}",
        if prior { "the prior" } else { "another" }
    );
    let mut labels = vec![0.0; rows * 12];
    for row in (0..rows).filter(|row| row % 7 != 6) {
        labels[row * 12 + row % 10] = 1.0;
    }
    let scale = 0.5 / rows as f32;
    let schedule = Schedule::default().with_noise(0.25, 0, 0);
    let weight = if prior { 0.25 } else { 1.0 };
    Case {
        kernel: &entries::GAUSSIAN_KL,
        inputs: vec![
            posterior(&name, rows, latent),
            posterior("p", rows, latent),
            labels,
        ],
        name,
        input_shapes: vec![vec![rows, wide], vec![rows, wide], vec![rows, 12]],
        output_shapes: vec![vec![rows, wide], vec![rows, 4]],
        initial: vec![None; 2],
        schedule,
        record: Box::new(move |recording, i, o| {
            let p = (!prior).then_some(&i[1]);
            let inputs = (&i[0], p, &i[2]);
            op::gaussian_kl(recording, "case", latent, inputs, scale, [&o[0], &o[1]]);
        }),
        expected: Box::new(move |i, _| {
            let counted: Vec<f64> = i[2].chunks(12).map(|row| row.iter().sum()).collect();
            let p = (!prior).then_some(&i[1][..]);
            let scales = [f64::from(scale), weight];
            let [d_q, outcome] = reference::gaussian_kl(&i[0], p, &counted, latent, wide, scales);
            vec![
                Expected {
                    values: d_q,
                    tolerance: near(4, f64::from(scale)),
                },
                Expected {
                    values: outcome,
                    tolerance: near(4 * latent, 1.0),
                },
            ]
        }),
    }
}
