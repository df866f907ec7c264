//! Cases of max pooling over windows.

use super::{
    WINDOW_MAX_POOL_ARGMAX, WINDOW_MAX_POOL_BACKWARD, WINDOW_MAX_POOL_FORWARD, reference,
    window_max_pool_backward, window_max_pool_forward,
};
use crate::op::WindowShape;
use crate::op::window_shape::CASES;
use crate::verify::{Case, Expected, padded_noise};

pub(crate) fn cases() -> Vec<Case> {
    let all = |shape| [forward(shape), argmax(shape), backward(shape)];
    CASES.into_iter().flat_map(all).collect()
}

/// Coarse values, so that windows hold equal maxima; all channels of the first image are negative.
/// All kernels for one geometry.
pub(crate) fn of_shape(shape: WindowShape) -> Vec<Case> {
    vec![forward(shape), argmax(shape), backward(shape)]
}

fn input(s: &WindowShape) -> Vec<f32> {
    let image = s.x()[1..].iter().product();
    let mut values = padded_noise("pool", &s.x(), s.channels);
    values
        .iter_mut()
        .for_each(|v| *v = (*v * 3.0).round() / 4.0);
    values[..image].iter_mut().for_each(|v| *v = -v.abs());
    values
}

fn forward(s: WindowShape) -> Case {
    Case::new(
        &WINDOW_MAX_POOL_FORWARD,
        s.to_string(),
        vec![(input(&s), s.x().to_vec())],
        vec![s.y().to_vec()],
        Box::new(move |recording, i, o| {
            window_max_pool_forward(recording, "case", &s, &i[0], &o[0], None);
        }),
        Box::new(move |i, _| {
            let [y, _] = reference::window_max_pool_forward(&s, &i[0]);
            vec![Expected::exact(y)]
        }),
    )
}

fn argmax(s: WindowShape) -> Case {
    Case::new(
        &WINDOW_MAX_POOL_ARGMAX,
        format!("{s}, argmax"),
        vec![(input(&s), s.x().to_vec())],
        vec![s.y().to_vec(), s.y().to_vec()],
        Box::new(move |recording, i, o| {
            window_max_pool_forward(recording, "case", &s, &i[0], &o[0], Some(&o[1]));
        }),
        Box::new(move |i, _| {
            reference::window_max_pool_forward(&s, &i[0])
                .map(Expected::exact)
                .into()
        }),
    )
}

fn backward(s: WindowShape) -> Case {
    let wide: Vec<f64> = input(&s).iter().map(|v| f64::from(*v)).collect();
    let [_, argmax] = reference::window_max_pool_forward(&s, &wide);
    let argmax = argmax.iter().map(|v| *v as f32).collect();
    Case::new(
        &WINDOW_MAX_POOL_BACKWARD,
        s.to_string(),
        vec![
            (padded_noise("d_y", &s.y(), s.channels), s.y().to_vec()),
            (argmax, s.y().to_vec()),
        ],
        vec![s.x().to_vec()],
        Box::new(move |recording, i, o| {
            window_max_pool_backward(recording, "case", &s, [&i[0], &i[1]], &o[0]);
        }),
        // Few numbers on a grid of 2^-10: their sum is exact.
        Box::new(move |i, _| {
            vec![Expected::exact(reference::window_max_pool_backward(
                &s, &i[0], &i[1],
            ))]
        }),
    )
}
