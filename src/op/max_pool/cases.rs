//! Cases of max pools over squares side by side.

use super::entries;
use crate::op::{self, PoolShape};
use crate::optimiser::Schedule;
use crate::reference;
use crate::verify::packed::integers;
use crate::verify::{Case, Expected, Tolerance, bits, noise, padded_noise};

pub(crate) fn cases() -> Vec<Case> {
    let shapes = [
        [1, 1, 1, 1, 1],
        [2, 4, 6, 5, 2],
        [3, 7, 5, 4, 2],
        [1, 8, 8, 3, 3],
        [2, 24, 24, 20, 2],
    ];
    let shape = |[batch, input_height, input_width, channels, size]: [usize; 5]| PoolShape {
        batch,
        input_height,
        input_width,
        channels,
        size,
    };
    let mut cases: Vec<Case> = shapes.into_iter().map(shape).flat_map(of_pool).collect();
    cases.push(packed(shape([2, 5, 6, 7, 2])));
    cases
}

/// Both directions of one shape.
pub(crate) fn of_pool(shape: PoolShape) -> [Case; 3] {
    [
        max_pool_forward(shape, false),
        max_pool_forward(shape, true),
        max_unpool(shape),
    ]
}

fn pool_name(s: &PoolShape, relu: bool) -> String {
    format!(
        "{}x{}x{}x{}, window {}{}",
        s.batch,
        s.input_height,
        s.input_width,
        s.channels,
        s.size,
        if relu { ", ReLU before" } else { "" }
    )
}

/// Coarse values, so that windows hold equal maxima, and zeros where a ReLU would leave them.
fn pool_input(s: &PoolShape, relu: bool) -> Vec<f32> {
    padded_noise("pool", &s.x(), s.channels)
        .iter()
        .map(|v| (v * 3.0).round() / 4.0)
        .map(|v| if relu { v.max(0.0) } else { v })
        .collect()
}

fn max_pool_forward(s: PoolShape, relu: bool) -> Case {
    let length: usize = s.y().iter().product();
    Case {
        kernel: &entries::MAX_POOL_FORWARD,
        name: pool_name(&s, relu),
        inputs: vec![pool_input(&s, relu)],
        input_shapes: vec![s.x().to_vec()],
        // The largest, and which they are.
        output_shapes: vec![vec![2 * length]],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let [y, argmax] = [0..length, length..2 * length].map(|range| o[0].range(range));
            op::max_pool_forward(recording, "case", &s, &i[0], (&y, Some(&argmax)), relu);
        }),
        expected: Box::new(move |i, _| {
            let mut values = reference::max_pool_forward(&s, &i[0]);
            values.extend(reference::max_pool_argmax(&s, &i[0], relu));
            vec![Expected {
                values,
                tolerance: Tolerance::EXACT,
            }]
        }),
    }
}

fn max_unpool(s: PoolShape) -> Case {
    let name = pool_name(&s, false);
    // Every number of a window, and none.
    let places = (s.size * s.size + 1) as f32;
    let argmax = noise("argmax", s.y().iter().product());
    let argmax = argmax.iter().map(|v| (v.abs() * 1000.0).floor() % places);
    Case {
        kernel: &entries::MAX_UNPOOL,
        inputs: vec![padded_noise(&name, &s.y(), s.channels), argmax.collect()],
        name,
        input_shapes: vec![s.y().to_vec(), s.y().to_vec()],
        output_shapes: vec![s.x().to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            op::max_unpool(recording, "case", &s, [&i[0], &i[1]], &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::max_unpool(&s, &i[0], &i[1]),
                tolerance: Tolerance::EXACT,
            }]
        }),
    }
}

fn packed(s: PoolShape) -> Case {
    Case {
        kernel: &entries::PACKED_MAX_POOL,
        name: "integers".to_owned(),
        inputs: vec![bits(integers("x", s.x().iter().product(), 127))],
        input_shapes: vec![s.x().to_vec()],
        output_shapes: vec![s.y().to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            op::packed_max_pool(recording, "case", &s, &i[0], &o[0])
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::max_pool_forward(&s, &i[0]),
                tolerance: Tolerance::EXACT,
            }]
        }),
    }
}
