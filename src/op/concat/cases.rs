//! Cases of concatenations.

use super::{CHANNELS, CONCAT, channels, concat, reference};
use crate::tensor::pad4;
use crate::verify::{Case, Expected, padded_noise};

/// Pixels, and the channels of both inputs: every remainder of four for both.
const SIZES: [[usize; 3]; 12] = [
    [1, 1, 1],
    [1, 4, 4],
    [3, 1, 2],
    [5, 2, 9],
    [7, 3, 7],
    [2, 3, 1],
    [65, 5, 3],
    [4, 6, 6],
    [9, 7, 4],
    [6, 8, 5],
    [70, 10, 17],
    [128, 64, 32],
];

pub(crate) fn cases() -> Vec<Case> {
    let all = |[pixels, a, b]: [usize; 3]| {
        [
            of_concat(pixels, [a, b]),
            of_channels(pixels, a + b, (0, a)),
            of_channels(pixels, a + b, (a, b)),
        ]
    };
    SIZES.into_iter().flat_map(all).collect()
}

/// Both kernels for two inputs of so many channels.
pub(crate) fn of_sizes(pixels: usize, [a, b]: [usize; 2]) -> Vec<Case> {
    vec![
        of_concat(pixels, [a, b]),
        of_channels(pixels, a + b, (a, b)),
    ]
}

fn of_concat(pixels: usize, [a, b]: [usize; 2]) -> Case {
    let input = |name, channels| {
        let shape = [pixels, pad4(channels)];
        (padded_noise(name, &shape, channels), shape.to_vec())
    };
    Case::new(
        &CONCAT,
        format!("{pixels} pixels, {a} and {b} channels"),
        vec![input("a", a), input("b", b)],
        vec![vec![pixels, pad4(a + b)]],
        Box::new(move |recording, i, o| concat(recording, "case", [(&i[0], a), (&i[1], b)], &o[0])),
        Box::new(move |i, _| vec![Expected::exact(reference::concat([(&i[0], a), (&i[1], b)]))]),
    )
}

fn of_channels(pixels: usize, of: usize, (first, count): (usize, usize)) -> Case {
    let shape = [pixels, pad4(of)];
    Case::new(
        &CHANNELS,
        format!("{pixels} pixels, {count} of {of} channels from {first} on"),
        vec![(padded_noise("x", &shape, of), shape.to_vec())],
        vec![vec![pixels, pad4(count)]],
        Box::new(move |recording, i, o| channels(recording, "case", &i[0], (first, count), &o[0])),
        Box::new(move |i, _| {
            vec![Expected::exact(reference::channels(
                &i[0],
                shape[1],
                (first, count),
            ))]
        }),
    )
}
