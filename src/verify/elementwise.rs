//! Cases of the loss of classifiers, totals and the optimiser.

use super::{Case, Expected, Tolerance, noise, padded_noise};
use crate::kernels;
use crate::loss::{self, Lesson, LossOutputs};
use crate::optimiser::{self, AdamState, Schedule};
use crate::probe::{self, Chains};
use crate::reference;
use crate::tensor::pad4;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for [rows, classes] in [[1, 1], [3, 4], [70, 10], [64, 13]] {
        cases.push(softmax(rows, classes, false, [1.0, 0.0]));
        cases.push(softmax(rows, classes, true, [1.0, 0.0]));
        cases.push(softmax(rows, classes, true, [3.0, 0.3]));
    }
    for rows in [1, 64, 200] {
        cases.push(metrics(rows, None));
    }
    cases.push(metrics(70, Some(f32::NAN)));
    cases.push(metrics(70, Some(f32::INFINITY)));
    for (count, t) in [(4, 1), (1000, 1), (5000, 1000)] {
        cases.push(adam(count, t));
    }
    for count in [4, 5000] {
        cases.push(sgd(count));
        cases.push(add_shards(count));
    }
    // After one round all numbers are exact; after five, rounding errors have shrunk with the numbers' differences.
    for (threads, rounds, factor) in [(1, 1, -0.5), (200, 1, -0.5), (200, 5, -0.75), (64, 0, 1.0)] {
        cases.push(multiply_add(threads, rounds, factor));
    }
    cases
}

/// Hard: the targets are the labels. Soft: they are probabilities. Every seventh row is padding.
fn softmax(rows: usize, classes: usize, soft: bool, [temperature, label_share]: [f32; 2]) -> Case {
    let width = pad4(classes);
    let name = match (soft, temperature == 1.0) {
        (false, _) => format!("{rows} rows of {classes}"),
        (true, true) => format!("{rows} rows of {classes}, soft"),
        (true, false) => format!("{rows} rows of {classes}, temperature {temperature}"),
    };
    let logits: Vec<f32> = padded_noise(&name, &[rows, width], classes)
        .iter()
        .map(|v| v * 8.0)
        .collect();
    let mut labels = vec![0.0; rows * width];
    for row in (0..rows).filter(|row| row % 7 != 6) {
        labels[row * width + (row * 5) % classes] = 1.0;
    }
    let targets = if soft {
        let mut targets = padded_noise("targets", &[rows, width], classes);
        for row in targets.chunks_mut(width) {
            row[..classes].iter_mut().for_each(|v| *v = v.abs() + 0.01);
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|v| *v /= sum);
        }
        targets
    } else {
        labels.clone()
    };
    let scale = 0.5 / rows as f32;
    let lesson = Lesson {
        scale,
        temperature,
        label_share,
    };
    Case {
        kernel: &kernels::SOFTMAX_CROSS_ENTROPY,
        name,
        inputs: vec![logits, targets, labels],
        input_shapes: vec![vec![rows, width]; 3],
        output_shapes: vec![vec![rows, width], vec![rows, width], vec![rows, 4]],
        initial: vec![None; 3],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let outputs = LossOutputs {
                d_logits: &o[0],
                probabilities: &o[1],
                outcome: &o[2],
            };
            let inputs = [&i[0], &i[1], &i[2]];
            loss::softmax_cross_entropy(recording, "case", classes, inputs, lesson, &outputs);
        }),
        expected: Box::new(move |i, _| {
            let answer =
                reference::softmax_cross_entropy(&i[0], &i[1], &i[2], width, classes, lesson);
            // exp and log of a driver may be off by a few ulp of their argument.
            let near = |size: f64| Tolerance {
                absolute: 4e-6 * size,
                relative: 1e-5,
            };
            vec![
                Expected {
                    values: answer.d_logits,
                    tolerance: near(f64::from(scale)),
                },
                Expected {
                    values: answer.probabilities,
                    tolerance: near(1.0),
                },
                Expected {
                    values: answer.outcome,
                    tolerance: near(1.0),
                },
            ]
        }),
    }
}

fn metrics(rows: usize, broken: Option<f32>) -> Case {
    let name = format!("{rows} rows, broken by {broken:?}");
    let mut outcome = noise(&name, rows * 4);
    if let Some(value) = broken {
        outcome[4 * (rows - 2)] = value;
    }
    // A second network, whose batch is whole.
    outcome.extend(noise("second", rows * 4));
    Case {
        kernel: &kernels::METRICS,
        inputs: vec![outcome],
        name,
        input_shapes: vec![vec![2, rows, 4]],
        output_shapes: vec![vec![2, 2, 4]],
        initial: vec![Some(noise("totals", 16))],
        schedule: Schedule::default(),
        record: Box::new(|recording, i, o| loss::metrics(recording, "case", &i[0], &o[0])),
        expected: Box::new(move |i, before| {
            vec![Expected {
                values: [0, 1]
                    .map(|network| {
                        let outcome = &i[0][network * rows * 4..][..rows * 4];
                        reference::metrics(outcome, &before[0][network * 8..][..8])
                    })
                    .concat(),
                tolerance: Tolerance::sum_of(rows),
            }]
        }),
    }
}

/// Numbers of all sizes, with those below the smallest normal one, and pairs whose sum is one of them.
fn add_shards(count: usize) -> Case {
    let sized = |name: &str| -> Vec<f32> {
        let numbers = noise(name, count).into_iter().enumerate();
        numbers
            .map(|(i, v)| v * [1.0, 1e-20, 1e-38, 1e-40][i % 4])
            .collect()
    };
    let a = sized("a");
    let mut b = sized("b");
    for (a, b) in a.iter().zip(&mut b).skip(2).step_by(8) {
        // Their difference is one unit in the last place of the smallest normal numbers.
        *b = -f32::from_bits(a.to_bits() ^ 1);
    }
    Case {
        kernel: &kernels::ADD_SHARDS,
        inputs: vec![a, b],
        name: format!("{count} numbers"),
        input_shapes: vec![vec![count]; 2],
        output_shapes: vec![vec![count]],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(|recording, i, o| {
            optimiser::add_shards(recording, "case", [&i[0], &i[1]], &o[0])
        }),
        expected: Box::new(|i, _| {
            vec![Expected {
                values: reference::add_shards(&i[0], &i[1]),
                tolerance: Tolerance {
                    absolute: 0.0,
                    relative: 0.0,
                },
            }]
        }),
    }
}

fn multiply_add(threads: usize, rounds: u32, factor: f32) -> Case {
    let chains = Chains {
        rounds,
        factor,
        term: 0.75,
    };
    let answer = move || {
        let numbers = [chains.factor, chains.term].map(f64::from);
        reference::multiply_add(threads, rounds as usize, numbers)
    };
    let tolerance = match rounds {
        0 | 1 => Tolerance::EXACT,
        _ => Tolerance {
            absolute: 0.0,
            relative: 2e-6,
        },
    };
    Case::new(
        &kernels::MULTIPLY_ADD,
        format!("{threads} threads, {rounds} rounds"),
        Vec::new(),
        vec![vec![threads, 4]],
        Box::new(move |recording, _, o| probe::multiply_add(recording, "case", chains, &o[0])),
        Box::new(move |_, _| {
            vec![Expected {
                values: answer(),
                tolerance,
            }]
        }),
    )
}

fn sgd(count: usize) -> Case {
    let schedule = Schedule::default().with_sgd_rate(0.1);
    let decayed = count / 16 * 4;
    Case {
        kernel: &kernels::SGD,
        inputs: vec![noise("g", count)],
        name: format!("{count} numbers"),
        input_shapes: vec![vec![count]],
        output_shapes: vec![vec![count]; 2],
        initial: vec![Some(noise("w", count)), Some(noise("m", count))],
        schedule,
        record: Box::new(move |recording, i, o| {
            let state = AdamState {
                weights: &o[0],
                first_moment: &o[1],
                second_moment: &o[1],
                quantisers: count,
                decayed,
                weight_decay: 0.5,
                least_slope: 0.01,
            };
            optimiser::sgd(recording, "case", &i[0], &state, 0..count);
        }),
        expected: Box::new(move |i, before| {
            let state = [&before[0][..], &before[1]];
            let decay = |i| if i < decayed { 0.5 } else { 0.0 };
            reference::sgd(&i[0], state, &schedule, decay)
                .map(|values| Expected {
                    values,
                    tolerance: Tolerance {
                        absolute: 1e-6,
                        relative: 1e-6,
                    },
                })
                .into()
        }),
    }
}

fn adam(count: usize, t: u64) -> Case {
    let name = format!("{count} numbers, step {t}");
    let schedule = Schedule::new(t, 1e-3, 0.0).with_quantiser_rate(10.0);
    let quantisers = count / 8 * 4;
    let decayed = count / 16 * 4;
    let second = noise("v", count).iter().map(|v| v.abs() * 0.01).collect();
    Case {
        kernel: &kernels::ADAM,
        inputs: vec![noise(&name, count)],
        name,
        input_shapes: vec![vec![count]],
        output_shapes: vec![vec![count]; 3],
        initial: vec![
            Some(noise("w", count)),
            Some(noise("m", count)),
            Some(second),
        ],
        schedule,
        record: Box::new(move |recording, i, o| {
            let state = AdamState {
                weights: &o[0],
                first_moment: &o[1],
                second_moment: &o[2],
                quantisers,
                decayed,
                weight_decay: 0.5,
                least_slope: 0.01,
            };
            optimiser::adam(recording, "case", &i[0], &state, 0..count);
        }),
        expected: Box::new(move |i, before| {
            let state = [&before[0][..], &before[1], &before[2]];
            // The step is at most 1e-2 times a quotient whose square root and division cost some ulp.
            let rule = |i| reference::AdamRule {
                rate: if i < quantisers { 1.0 } else { 10.0 },
                weight_decay: if i < decayed { 0.5 } else { 0.0 },
                least: match i >= quantisers && i % 4 == 1 {
                    true => 0.01f32.into(),
                    false => f64::NEG_INFINITY,
                },
            };
            let mut found = reference::adam(&i[0], state, &schedule, rule);
            reference::follow_slopes(&before[0][quantisers..], &mut found[0][quantisers..]);
            found
                .map(|values| Expected {
                    values,
                    tolerance: Tolerance {
                        absolute: 1e-6,
                        relative: 1e-6,
                    },
                })
                .into()
        }),
    }
}
