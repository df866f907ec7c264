//! Cases of activation functions.

use super::{
    ACTIVATION_BACKWARD, ACTIVATION_FORWARD, Activate, RELU_BACKWARD, activation_backward,
    activation_forward, reference, relu_backward,
};
use crate::optimiser::Schedule;
use crate::verify::{Case, Expected, Tolerance, noise};

const COUNTS: [usize; 3] = [4, 1000, 4 * 65 * 64];

pub(crate) fn cases() -> Vec<Case> {
    let functions = [
        Activate::RELU,
        Activate::RELU6,
        Activate::leaky(3),
        Activate {
            slope: 0.25,
            ceiling: 1.0,
        },
    ];
    let both = |(count, function)| [forward(count, function), backward(count, function)];
    let mut cases: Vec<Case> = COUNTS
        .into_iter()
        .flat_map(|count| functions.map(|function| (count, function)))
        .flat_map(both)
        .collect();
    cases.extend([4, 1000].map(backward_in_place));
    cases
}

fn name(count: usize, function: &Activate) -> String {
    let Activate { slope, ceiling } = function;
    format!("{count} numbers, slope {slope}, ceiling {ceiling:e}")
}

/// Numbers in -8 to 8. Many are 0, 1 or 6, where an activation has a kink.
fn input(count: usize) -> Vec<f32> {
    let of_place = |(i, v): (usize, &f32)| match i % 8 {
        2 => 0.0,
        4 => 6.0,
        7 => 1.0,
        _ => 8.0 * v,
    };
    noise("x", count).iter().enumerate().map(of_place).collect()
}

/// Both kernels for so many numbers.
pub(crate) fn of_size(count: usize, function: Activate) -> Vec<Case> {
    vec![forward(count, function), backward(count, function)]
}

fn forward(count: usize, function: Activate) -> Case {
    Case::new(
        &ACTIVATION_FORWARD,
        name(count, &function),
        vec![(input(count), vec![count])],
        vec![vec![count]],
        Box::new(move |recording, i, o| {
            activation_forward(recording, "case", &function, &i[0], &o[0])
        }),
        Box::new(move |i, _| {
            vec![Expected::exact(reference::activation_forward(
                &function, &i[0],
            ))]
        }),
    )
}

fn backward(count: usize, function: Activate) -> Case {
    Case::new(
        &ACTIVATION_BACKWARD,
        name(count, &function),
        vec![
            (input(count), vec![count]),
            (noise("d_y", count), vec![count]),
        ],
        vec![vec![count]],
        Box::new(move |recording, i, o| {
            activation_backward(recording, "case", &function, [&i[0], &i[1]], &o[0]);
        }),
        Box::new(move |i, _| {
            vec![Expected::exact(reference::activation_backward(
                &function, &i[0], &i[1],
            ))]
        }),
    )
}

/// A ReLU's gradient over that of its output: where y is 0, it becomes 0.
fn backward_in_place(count: usize) -> Case {
    let name = format!("{count} numbers");
    let y: Vec<f32> = noise("y", count).iter().map(|v| v.max(0.0)).collect();
    Case {
        kernel: &RELU_BACKWARD,
        inputs: vec![y],
        input_shapes: vec![vec![count]],
        output_shapes: vec![vec![count]],
        initial: vec![Some(noise(&name, count))],
        name,
        schedule: Schedule::default(),
        record: Box::new(|recording, i, o| relu_backward(recording, "case", &i[0], &o[0])),
        expected: Box::new(|i, before| {
            vec![Expected {
                values: reference::relu_backward(&i[0], &before[0]),
                tolerance: Tolerance::EXACT,
            }]
        }),
    }
}
