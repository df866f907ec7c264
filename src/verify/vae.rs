//! Cases of what variational auto-encoders add.

use super::{Case, Expected, Tolerance, noise, padded_noise};
use crate::kernels;
use crate::loss::{self, GAUSSIAN_DEVIATION, Likelihood, LossOutputs};
use crate::op::{self, Counter, TRAINING_NOISE, UpsampleShape};
use crate::optimiser::Schedule;
use crate::reference::{self, ImageLossInputs};
use crate::tensor::pad4;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for [batch, input_height, input_width, channels, size] in [
        [1, 1, 1, 1, 1],
        [2, 3, 5, 6, 2],
        [3, 7, 2, 4, 3],
        [2, 14, 14, 32, 2],
    ] {
        let shape = UpsampleShape {
            batch,
            input_height,
            input_width,
            channels,
            size,
        };
        cases.extend(of_upsample(shape));
    }
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
    for likelihood in [Likelihood::Bernoulli, Likelihood::Gaussian] {
        for [rows, width, channels] in [[1, 4, 4], [3, 256, 1], [9, 300, 3], [5, 784, 4]] {
            for soft in [false, true] {
                cases.push(image_loss(likelihood, [rows, width, channels], soft));
            }
        }
    }
    cases
}

/// Both directions of one shape.
pub(super) fn of_upsample(shape: UpsampleShape) -> [Case; 2] {
    let s = shape;
    let name = format!(
        "{}x{}x{}x{}, {} times",
        s.batch, s.input_height, s.input_width, s.channels, s.size
    );
    let forward = Case {
        kernel: &kernels::UPSAMPLE_FORWARD,
        name: name.clone(),
        inputs: vec![padded_noise(&name, &s.x(), s.channels)],
        input_shapes: vec![s.x().to_vec()],
        output_shapes: vec![s.y().to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |plan, i, o| {
            op::upsample_forward(plan, "case", &s, &i[0], &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::upsample_forward(&s, &i[0]),
                tolerance: Tolerance::EXACT,
            }]
        }),
    };
    let backward = Case {
        kernel: &kernels::UPSAMPLE_BACKWARD,
        inputs: vec![padded_noise(&name, &s.y(), s.channels)],
        name,
        input_shapes: vec![s.y().to_vec()],
        output_shapes: vec![s.x().to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |plan, i, o| {
            op::upsample_backward(plan, "case", &s, &i[0], &o[0]);
        }),
        // Few numbers on a grid of 2^-10: their sum is exact.
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::upsample_backward(&s, &i[0]),
                tolerance: Tolerance::EXACT,
            }]
        }),
    };
    [forward, backward]
}

fn philox(schedule: Schedule, counter: Counter, count: usize) -> Case {
    Case {
        kernel: &kernels::PHILOX,
        name: format!("{count} words from {:#010x}", counter.first),
        inputs: Vec::new(),
        input_shapes: Vec::new(),
        output_shapes: vec![vec![count]],
        initial: vec![None],
        schedule,
        record: Box::new(move |plan, _, o| op::philox(plan, "case", counter, &o[0])),
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
        kernel: &kernels::STANDARD_NORMAL,
        name: format!("{count} numbers"),
        inputs: Vec::new(),
        input_shapes: Vec::new(),
        output_shapes: vec![vec![count]],
        initial: vec![None],
        schedule,
        record: Box::new(move |plan, _, o| {
            op::standard_normal(plan, "case", TRAINING_NOISE, &o[0]);
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

/// exp of a driver may be off by a few ulp of its argument, and sums run over `terms`.
fn near(terms: usize, size: f64) -> Tolerance {
    Tolerance {
        absolute: 1e-6 * size * terms as f64,
        relative: 1e-5,
    }
}

fn reparameterise_forward(rows: usize, latent: usize) -> Case {
    let [wide, width] = widths(latent);
    let name = format!("{rows} rows of {latent}");
    Case {
        kernel: &kernels::REPARAMETERISE_FORWARD,
        inputs: vec![posterior(&name, rows, latent), noise("noise", rows * width)],
        name,
        input_shapes: vec![vec![rows, wide], vec![rows, width]],
        output_shapes: vec![vec![rows, width]],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |plan, i, o| {
            op::reparameterise_forward(plan, "case", latent, [&i[0], &i[1]], &o[0]);
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
        kernel: &kernels::REPARAMETERISE_BACKWARD,
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
        record: Box::new(move |plan, i, o| {
            let inputs = [&i[0], &i[1], &i[2]];
            op::reparameterise_backward(plan, "case", latent, inputs, &o[0]);
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
        kernel: &kernels::GAUSSIAN_KL,
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
        record: Box::new(move |plan, i, o| {
            let p = (!prior).then_some(&i[1]);
            let inputs = (&i[0], p, &i[2]);
            op::gaussian_kl(plan, "case", latent, inputs, scale, [&o[0], &o[1]]);
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

/// Hard targets are the images. One logit is so large that exp of it overflows.
fn image_loss(likelihood: Likelihood, [rows, width, channels]: [usize; 3], soft: bool) -> Case {
    let name = format!(
        "{rows} rows of {width}, {channels} channels{}",
        if soft { ", soft" } else { "" }
    );
    let padded = |what: &str, factor: f32, shift: f32| -> Vec<f32> {
        let values = padded_noise(what, &[rows * width / 4, 4], channels);
        let each = values.iter().enumerate();
        each.map(|(i, v)| {
            if i % 4 < channels {
                v * factor + shift
            } else {
                0.0
            }
        })
        .collect()
    };
    let mut logits = padded(&name, 4.0, 0.0);
    if likelihood == Likelihood::Bernoulli {
        (logits[0], logits[width - 4]) = (120.0, -120.0);
    }
    let images: Vec<f32> = padded("images", 1.0, 0.0)
        .iter()
        .map(|v| if *v > 0.0 { 1.0 } else { 0.0 })
        .collect();
    let targets = if soft {
        padded("targets", 0.5, 0.5)
    } else {
        images.clone()
    };
    let mut divergence = noise("divergence", rows * 4);
    for (row, values) in divergence.chunks_mut(4).enumerate() {
        values[3] = if row % 4 == 3 { 0.0 } else { 1.0 };
    }
    let scale = 0.5 / rows as f32;
    // What one number may add.
    let size = match likelihood {
        Likelihood::Bernoulli => 4.0,
        Likelihood::Gaussian => 25.0 / (2.0 * GAUSSIAN_DEVIATION * GAUSSIAN_DEVIATION),
    };
    let mut input_shapes = vec![vec![rows, width]; 3];
    input_shapes.push(vec![rows, 4]);
    Case {
        kernel: match likelihood {
            Likelihood::Bernoulli => &kernels::BERNOULLI_LOSS,
            Likelihood::Gaussian => &kernels::GAUSSIAN_LOSS,
        },
        name,
        inputs: vec![logits, targets, images, divergence],
        input_shapes,
        output_shapes: vec![vec![rows, width], vec![rows, width], vec![rows, 4]],
        initial: vec![None; 3],
        schedule: Schedule::default(),
        record: Box::new(move |plan, i, o| {
            let outputs = LossOutputs {
                d_logits: &o[0],
                probabilities: &o[1],
                outcome: &o[2],
            };
            let inputs = [&i[0], &i[1], &i[2], &i[3]];
            loss::image_loss(
                plan,
                "case",
                (likelihood, channels),
                inputs,
                scale,
                &outputs,
            );
        }),
        expected: Box::new(move |i, _| {
            let inputs = ImageLossInputs {
                logits: &i[0],
                targets: &i[1],
                images: &i[2],
                divergence: &i[3],
                channels,
                scale: f64::from(scale),
            };
            let answer = match likelihood {
                Likelihood::Bernoulli => reference::bernoulli_loss(inputs),
                Likelihood::Gaussian => reference::gaussian_loss(inputs, GAUSSIAN_DEVIATION),
            };
            let [d_logits, means, outcome] = answer;
            let expected = |values, tolerance| Expected { values, tolerance };
            vec![
                expected(d_logits, near(1, f64::from(scale))),
                expected(means, near(1, 1.0)),
                expected(outcome, near(width, size / 20.0)),
            ]
        }),
    }
}
