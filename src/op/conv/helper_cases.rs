//! Cases of the kernels that lay out what products read and add up what they give.

use super::cases::{name, rectangular, shape};
use super::entries;
use crate::op::{self, ConvShape};
use crate::optimiser::Schedule;
use crate::reference;
use crate::tensor::pad4;
use crate::verify::{Case, Expected, Tolerance, noise};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for s in [
        [2, 6, 5, 1, 1, 5, 5, 1, 0],
        [3, 9, 9, 3, 1, 3, 3, 2, 1],
        [64, 28, 28, 1, 1, 5, 5, 1, 0],
    ] {
        cases.push(im2col(shape(s)));
    }
    cases.push(im2col(rectangular(([3, 9, 9, 3, 1, 3, 5, 2, 1], 2))));
    for sizes in [[1, 1, 4], [5, 75, 4], [130, 3, 4], [5, 75, 12], [3, 300, 8]] {
        cases.extend(sum_partials(sizes));
    }
    cases
}

fn im2col(s: ConvShape) -> Case {
    let name = name(&s);
    let x = pad4(s.batch * s.input_height * s.input_width * s.input_channels);
    let rows = s.as_rows();
    let shape = [rows.batch, pad4(rows.input_channels)];
    Case {
        kernel: &entries::IM2COL,
        inputs: vec![noise(&name, x)],
        name,
        input_shapes: vec![vec![x]],
        output_shapes: vec![shape.to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| op::im2col(recording, "case", &s, &i[0], &o[0])),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::im2col(&s, &i[0], shape[1]),
                tolerance: Tolerance::EXACT,
            }]
        }),
    }
}

/// Sums of (rows, channels) over `splits`, with every epilogue.
fn sum_partials([splits, rows, channels]: [usize; 3]) -> Vec<Case> {
    let mut cases = Vec::new();
    for bias in [false, true] {
        for relu in [false, true] {
            for mask in [false, true] {
                cases.push(sum_case([splits, rows, channels], [bias, relu, mask]));
            }
        }
    }
    cases
}

fn sum_case([splits, rows, channels]: [usize; 3], [bias, relu, mask]: [bool; 3]) -> Case {
    let count = rows * channels;
    let also = [(bias, ", bias"), (relu, ", ReLU"), (mask, ", mask")];
    let also: String = also.iter().filter(|a| a.0).map(|a| a.1).collect();
    let name = format!("{rows} x {channels} sums of {splits}{also}");
    Case {
        kernel: &entries::SUM_PARTIALS,
        inputs: vec![
            noise(&name, count * splits),
            noise("bias", channels),
            noise("mask", count),
        ],
        name,
        input_shapes: vec![
            vec![splits, rows, channels],
            vec![channels],
            vec![rows, channels],
        ],
        output_shapes: vec![vec![rows, channels]],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let epilogue = op::SumEpilogue {
                bias: bias.then_some(&i[1]),
                relu,
                mask: mask.then_some(&i[2]),
            };
            op::sum_partials_then(recording, "case", &i[0], epilogue, &o[0]);
        }),
        expected: Box::new(move |i, _| {
            let mut values = reference::sum_partials(&i[0], count);
            for (at, value) in values.iter_mut().enumerate() {
                if bias {
                    *value += i[1][at % channels];
                }
                if relu {
                    *value = value.max(0.0);
                }
                if mask && i[2][at] <= 0.0 {
                    *value = 0.0;
                }
            }
            vec![Expected {
                values,
                tolerance: Tolerance::sum_of(splits + 1),
            }]
        }),
    }
}
