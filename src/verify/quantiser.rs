//! Cases of the quantiser.

use super::{Case, Expected, Tolerance, noise};
use crate::kernels;
use crate::optimiser::Schedule;
use crate::quantiser::{self, Quantised};
use crate::reference;

/// (weights, intercept, slope): one weight, less than a texel of them, several threads, layers
/// before, during and after the collapse.
const LAYERS: [(usize, f32, f32); 6] = [
    (1, 1e-4, 1.0),
    (7, 1e-4, 1.0),
    (300, 1e-4, 1.0),
    (2_500, -1.3, 0.4),
    (5_000, -4.2, 0.05),
    (1_000, -3.0, 0.0),
];

/// Weights as a layer has them: small, some of them zero or nearly, none so near to a rounding
/// boundary that f32 and f64 could disagree. The stored tail is zero.
fn weights(count: usize, intercept: f32, slope: f32) -> Vec<f32> {
    let mut values = noise("weights", count);
    for (i, value) in values.iter_mut().enumerate() {
        *value *= 0.1;
        if i % 11 == 10 {
            *value = [0.0, 4e-7, -4e-7][i % 3];
        }
        if i % 97 == 5 {
            *value *= 1e-3;
        }
        let exact = |w: f32| {
            let size = reference::log2_size(f64::from(w));
            f64::from(intercept) + f64::from(slope) * size
        };
        while ((exact(*value).fract().abs()) - 0.5).abs() < 1e-3 {
            *value *= 1.01;
        }
    }
    values.resize(count.div_ceil(4) * 4, 0.0);
    values
}

fn case_name(count: usize, intercept: f32, slope: f32) -> String {
    format!("{count} weights, intercept {intercept}, slope {slope}")
}

fn wide(v: f32) -> f64 {
    f64::from(v)
}

fn levels_values(l: &reference::Levels, slope: f64) -> Vec<f64> {
    vec![
        f64::from(l.top.exponent),
        f64::from(l.low.exponent),
        l.range,
        l.bits,
        l.top.count as f64,
        l.top.mean_log,
        l.low.count as f64,
        l.low.mean_log,
        l.bit_loss,
        l.bit_loss / l.range,
        l.d_slope,
        slope,
    ]
}

const NEAR: Tolerance = Tolerance {
    absolute: 1e-5,
    relative: 1e-5,
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (count, intercept, slope) in LAYERS {
        cases.push(forward(count, intercept, slope));
        cases.push(levels(count, intercept, slope));
        cases.push(backward(count, intercept, slope));
        for normalised in [false, true] {
            cases.push(levels_backward(count, intercept, slope, normalised));
        }
    }
    cases
}

/// Q(w). The partial extremes depend on how threads share the weights; `levels` checks them.
fn forward(count: usize, intercept: f32, slope: f32) -> Case {
    let w = weights(count, intercept, slope);
    let shape = vec![w.len()];
    let partial = quantiser::partial_len(w.len());
    Case {
        kernel: &kernels::QUANTISER_FORWARD,
        name: case_name(count, intercept, slope),
        input_shapes: vec![shape.clone(), vec![4], vec![partial], vec![3, 4]],
        inputs: vec![
            w,
            vec![intercept, slope, 0.0, 0.0],
            vec![0.0; partial],
            vec![0.0; 12],
        ],
        output_shapes: vec![shape],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(|plan, i, o| {
            let layer = Quantised {
                weights: &i[0],
                quantiser: &i[1],
                values: &o[0],
                levels: &i[3],
                partial: &i[2],
                normalised: false,
            };
            quantiser::quantiser_forward(plan, "case", &layer);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::quantiser_forward(&i[0], wide(intercept), wide(slope)),
                tolerance: Tolerance::EXACT,
            }]
        }),
    }
}

fn levels(count: usize, intercept: f32, slope: f32) -> Case {
    let w = weights(count, intercept, slope);
    let shape = vec![w.len()];
    let partial = quantiser::partial_len(w.len());
    Case {
        kernel: &kernels::LEVELS,
        name: case_name(count, intercept, slope),
        input_shapes: vec![shape.clone(), vec![4], shape, vec![partial]],
        inputs: vec![
            w.clone(),
            vec![intercept, slope, 0.0, 0.0],
            vec![0.0; w.len()],
            vec![0.0; partial],
        ],
        output_shapes: vec![vec![3, 4]],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(|plan, i, o| {
            let layer = Quantised {
                weights: &i[0],
                quantiser: &i[1],
                values: &i[2],
                levels: &o[0],
                partial: &i[3],
                normalised: false,
            };
            quantiser::quantiser_forward(plan, "case", &layer);
        }),
        expected: Box::new(move |i, _| {
            let levels = reference::levels(&i[0], wide(intercept), wide(slope));
            vec![Expected {
                values: levels_values(&levels, wide(slope)),
                tolerance: NEAR,
            }]
        }),
    }
}

/// Levels in f32, as the kernel finds them in memory.
fn stored_levels(w: &[f32], intercept: f32, slope: f32) -> Vec<f32> {
    let w: Vec<f64> = w.iter().map(|v| wide(*v)).collect();
    let levels = reference::levels(&w, wide(intercept), wide(slope));
    levels_values(&levels, wide(slope))
        .iter()
        .map(|v| *v as f32)
        .collect()
}

fn backward(count: usize, intercept: f32, slope: f32) -> Case {
    let w = weights(count, intercept, slope);
    let shape = vec![w.len()];
    let exact: Vec<f64> = w.iter().map(|v| wide(*v)).collect();
    let q = reference::quantiser_forward(&exact, wide(intercept), wide(slope));
    let partial = quantiser::partial_len(w.len());
    let (lambda_bits, lambda_l2) = (1e-3, 1e-4);
    let mut d_q = noise("d_q", count);
    let mut d_w = noise("d_w", count);
    d_q.resize(w.len(), 0.0);
    d_w.resize(w.len(), 0.0);
    Case {
        kernel: &kernels::QUANTISER_BACKWARD,
        name: case_name(count, intercept, slope),
        input_shapes: vec![
            shape.clone(),
            shape.clone(),
            shape.clone(),
            vec![3, 4],
            vec![partial],
            vec![4],
            vec![4],
        ],
        inputs: vec![
            w.clone(),
            d_q,
            q.iter().map(|v| *v as f32).collect(),
            stored_levels(&w, intercept, slope),
            vec![0.0; partial],
            vec![0.0; 4],
            vec![intercept, slope, 0.0, 0.0],
        ],
        output_shapes: vec![shape],
        initial: vec![Some(d_w)],
        schedule: Schedule::new(1, 0.0, lambda_bits),
        record: Box::new(move |plan, i, o| {
            let layer = Quantised {
                weights: &i[0],
                quantiser: &i[6],
                values: &i[2],
                levels: &i[3],
                partial: &i[4],
                normalised: false,
            };
            let gradients = [&o[0], &i[5]];
            quantiser::quantiser_backward(plan, "case", &layer, &i[1], lambda_l2 as f32, gradients);
        }),
        expected: Box::new(move |i, before| {
            let (values, _) = reference::quantiser_backward(
                &i[0],
                [wide(intercept), wide(slope)],
                &i[1],
                &before[0],
                [lambda_bits, lambda_l2],
            );
            vec![Expected {
                values,
                tolerance: NEAR,
            }]
        }),
    }
}

fn levels_backward(count: usize, intercept: f32, slope: f32, normalised: bool) -> Case {
    let w = weights(count, intercept, slope);
    let exact: Vec<f64> = w.iter().map(|v| wide(*v)).collect();
    let levels = reference::levels(&exact, wide(intercept), wide(slope));
    let threads = count.div_ceil(30);
    let lambda_bits = 1e-2;
    let partial = noise("partial", 4 * threads)
        .chunks(4)
        .flat_map(|r| [r[0], r[1], 0.0, 0.0])
        .collect();
    Case {
        kernel: &kernels::LEVELS_BACKWARD,
        name: format!(
            "{threads} threads of {}{}",
            case_name(count, intercept, slope),
            if normalised { ", normalised" } else { "" }
        ),
        input_shapes: vec![vec![threads, 4], vec![3, 4]],
        inputs: vec![partial, stored_levels(&w, intercept, slope)],
        output_shapes: vec![vec![4]],
        initial: vec![None],
        schedule: Schedule::new(1, 0.0, lambda_bits),
        record: Box::new(move |plan, i, o| {
            let inputs = [&i[0], &i[1]];
            quantiser::levels_backward(plan, "case", inputs, threads, normalised, &o[0]);
        }),
        expected: Box::new(move |i, _| {
            let sum = |c: usize| i[0].iter().skip(c).step_by(4).sum::<f64>();
            let sums = [sum(0), sum(1)];
            let [d_c, d_s] = reference::levels_backward(sums, &levels, lambda_bits, normalised);
            vec![Expected {
                values: vec![d_c, d_s, 0.0, 0.0],
                tolerance: NEAR,
            }]
        }),
    }
}
