//! Cases of activation functions.

use super::{
    ACTIVATION_BACKWARD, ACTIVATION_FORWARD, Activate, activation_backward, activation_forward,
    reference,
};
use crate::verify::{Case, Expected, noise};

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
    COUNTS
        .into_iter()
        .flat_map(|count| functions.map(|function| (count, function)))
        .flat_map(both)
        .collect()
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
        Box::new(move |plan, i, o| activation_forward(plan, "case", &function, &i[0], &o[0])),
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
        Box::new(move |plan, i, o| {
            activation_backward(plan, "case", &function, [&i[0], &i[1]], &o[0]);
        }),
        Box::new(move |i, _| {
            vec![Expected::exact(reference::activation_backward(
                &function, &i[0], &i[1],
            ))]
        }),
    )
}
