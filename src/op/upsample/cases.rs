//! Cases of upsampling.

use super::entries;
use super::reference;
use crate::op::{self, UpsampleShape};
use crate::optimiser::Schedule;
use crate::verify::packed::integers;
use crate::verify::{Case, Expected, Tolerance, bits, padded_noise};

pub(crate) fn cases() -> Vec<Case> {
    let shape = |[batch, input_height, input_width, channels, size]: [usize; 5]| UpsampleShape {
        batch,
        input_height,
        input_width,
        channels,
        size,
    };
    let floats = [
        [1, 1, 1, 1, 1],
        [2, 3, 5, 6, 2],
        [3, 7, 2, 4, 3],
        [2, 14, 14, 32, 2],
    ];
    let integers = [
        [1, 1, 1, 1, 1],
        [2, 5, 3, 7, 2],
        [1, 3, 4, 5, 3],
        [2, 7, 7, 64, 2],
    ];
    let floats = floats.into_iter().map(shape).flat_map(of_upsample);
    floats
        .chain(integers.into_iter().map(shape).map(packed))
        .collect()
}

/// Both directions of one shape.
pub(crate) fn of_upsample(shape: UpsampleShape) -> [Case; 2] {
    let s = shape;
    let name = format!(
        "{}x{}x{}x{}, {} times",
        s.batch, s.input_height, s.input_width, s.channels, s.size
    );
    let forward = Case {
        kernel: &entries::UPSAMPLE_FORWARD,
        name: name.clone(),
        inputs: vec![padded_noise(&name, &s.x(), s.channels)],
        input_shapes: vec![s.x().to_vec()],
        output_shapes: vec![s.y().to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            op::upsample_forward(recording, "case", &s, &i[0], &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::upsample_forward(&s, &i[0]),
                tolerance: Tolerance::EXACT,
            }]
        }),
    };
    let backward = Case {
        kernel: &entries::UPSAMPLE_BACKWARD,
        inputs: vec![padded_noise(&name, &s.y(), s.channels)],
        name,
        input_shapes: vec![s.y().to_vec()],
        output_shapes: vec![s.x().to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            op::upsample_backward(recording, "case", &s, &i[0], &o[0]);
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

fn packed(s: UpsampleShape) -> Case {
    Case {
        kernel: &entries::PACKED_UPSAMPLE,
        name: format!(
            "{}x{}x{}x{} integers, {} times",
            s.batch, s.input_height, s.input_width, s.channels, s.size
        ),
        inputs: vec![bits(integers("x", s.x().iter().product(), 32_767))],
        input_shapes: vec![s.x().to_vec()],
        output_shapes: vec![s.y().to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            op::packed_upsample(recording, "case", &s, &i[0], &o[0])
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::upsample_forward(&s, &i[0]),
                tolerance: Tolerance::EXACT,
            }]
        }),
    }
}
