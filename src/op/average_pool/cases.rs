//! Cases of average pooling.

use super::{
    AVERAGE_POOL_BACKWARD, AVERAGE_POOL_FORWARD, average_pool_backward, average_pool_forward,
    reference,
};
use crate::op::WindowShape;
use crate::op::window_shape::CASES;
use crate::verify::{Case, Expected, Tolerance, padded_noise};

/// The whole image, as models end.
const GLOBAL: [WindowShape; 2] = [
    WindowShape {
        batch: 3,
        input: [7, 7],
        channels: 50,
        window: [7, 7],
        stride: [1, 1],
        padding: [0, 0],
    },
    WindowShape {
        batch: 16,
        input: [8, 8],
        channels: 64,
        window: [8, 8],
        stride: [8, 8],
        padding: [0, 0],
    },
];

pub(crate) fn cases() -> Vec<Case> {
    let both = |shape| [forward(shape), backward(shape)];
    CASES.into_iter().chain(GLOBAL).flat_map(both).collect()
}

/// Both kernels for one geometry.
pub(crate) fn of_shape(shape: WindowShape) -> Vec<Case> {
    vec![forward(shape), backward(shape)]
}

fn factor(s: &WindowShape) -> f32 {
    1.0 / (s.window[0] * s.window[1]) as f32
}

fn forward(s: WindowShape) -> Case {
    Case::new(
        &AVERAGE_POOL_FORWARD,
        s.to_string(),
        vec![(padded_noise("x", &s.x(), s.channels), s.x().to_vec())],
        vec![s.y().to_vec()],
        Box::new(move |recording, i, o| {
            average_pool_forward(recording, "case", &s, factor(&s), &i[0], &o[0]);
        }),
        Box::new(move |i, _| {
            vec![Expected {
                values: reference::average_pool_forward(&s, f64::from(factor(&s)), &i[0]),
                tolerance: Tolerance::sum_of(s.window[0] * s.window[1]),
            }]
        }),
    )
}

fn backward(s: WindowShape) -> Case {
    Case::new(
        &AVERAGE_POOL_BACKWARD,
        s.to_string(),
        vec![(padded_noise("d_y", &s.y(), s.channels), s.y().to_vec())],
        vec![s.x().to_vec()],
        Box::new(move |recording, i, o| {
            average_pool_backward(recording, "case", &s, factor(&s), &i[0], &o[0]);
        }),
        Box::new(move |i, _| {
            vec![Expected {
                values: reference::average_pool_backward(&s, f64::from(factor(&s)), &i[0]),
                tolerance: Tolerance::sum_of(s.window[0] * s.window[1]),
            }]
        }),
    )
}
