//! Cases of grouped convolutions.

use super::{
    GROUP_CONV_BACKWARD_INPUT, GROUP_CONV_BACKWARD_WEIGHT, GROUP_CONV_FORWARD,
    group_conv_backward_input, group_conv_backward_weight, group_conv_forward, reference,
};
use crate::op::GroupShape;
use crate::op::{self, ConvShape};
use crate::reference as plain;
use crate::tensor::Tensor;
use crate::verify::{Case, Expected, Tolerance, padded_noise};

/// (batch, height, width, inputs, outputs, groups, kernel height, kernel width, stride, padding): one channel;
/// depthwise layers with edges, strides, sizes off every texel and of MobileNet; several outputs for an input;
/// groups of sizes that are a multiple of four and that are not; one group.
const SHAPES: [[usize; 10]; 15] = [
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 0],
    [2, 5, 7, 6, 6, 6, 3, 3, 1, 1],
    [3, 9, 6, 9, 9, 9, 3, 3, 2, 1],
    [1, 11, 10, 4, 4, 4, 5, 3, 3, 2],
    [1, 7, 7, 5, 5, 5, 2, 2, 1, 0],
    [2, 16, 16, 32, 32, 32, 3, 3, 1, 1],
    [2, 16, 16, 32, 32, 32, 3, 3, 2, 1],
    [3, 4, 4, 64, 64, 64, 3, 3, 1, 1],
    [2, 5, 4, 3, 6, 3, 3, 3, 1, 1],
    [1, 6, 6, 4, 12, 4, 3, 3, 2, 1],
    [2, 4, 5, 6, 4, 2, 3, 3, 1, 1],
    [1, 5, 5, 10, 15, 5, 3, 2, 2, 1],
    [2, 4, 4, 16, 8, 2, 3, 3, 1, 1],
    [1, 6, 5, 24, 24, 3, 1, 1, 1, 0],
    [2, 3, 3, 5, 7, 1, 3, 3, 1, 1],
];

fn shape(numbers: [usize; 10]) -> GroupShape {
    let [
        batch,
        input_height,
        input_width,
        input_channels,
        output_channels,
        ..,
    ] = numbers;
    let [.., groups, kernel_height, kernel_width, stride, padding] = numbers;
    let conv = ConvShape {
        batch,
        input_height,
        input_width,
        input_channels,
        output_channels,
        kernel_height,
        kernel_width,
        stride,
        padding: [padding, padding],
    };
    GroupShape { conv, groups }
}

pub(crate) fn cases() -> Vec<Case> {
    let square = SHAPES.map(shape).into_iter();
    let rectangular = [
        ([2, 6, 5, 8, 8, 8, 3, 5, 1, 1], [1, 2]),
        ([2, 6, 5, 6, 9, 3, 3, 1, 2, 1], [1, 0]),
    ];
    let rectangular = rectangular.map(|(numbers, padding)| {
        let GroupShape { conv, groups } = shape(numbers);
        let conv = ConvShape { padding, ..conv };
        GroupShape { conv, groups }
    });
    square.chain(rectangular).flat_map(of_shape).collect()
}

/// All three kernels of one shape.
pub(crate) fn of_shape(s: GroupShape) -> [Case; 6] {
    [
        forward(s, false),
        forward(s, true),
        backward_input(s),
        backward_weight(s, 1, false),
        backward_weight(s, 1, true),
        backward_weight(s, 3, true),
    ]
}

fn name(s: &GroupShape) -> String {
    let (c, groups) = (&s.conv, s.groups);
    let [batch, height, width, _] = c.x();
    format!(
        "{batch}x{height}x{width}x{} -> {}, {groups} groups, kernel {}x{}, stride {}, padding {:?}",
        c.input_channels, c.output_channels, c.kernel_height, c.kernel_width, c.stride, c.padding
    )
}

fn x(s: &GroupShape) -> (Vec<f32>, Vec<usize>) {
    let shape = s.conv.x();
    let values = padded_noise("x", &shape, s.conv.input_channels);
    (values, shape.to_vec())
}

fn d_y(s: &GroupShape) -> (Vec<f32>, Vec<usize>) {
    let shape = s.conv.y();
    let values = padded_noise("d_y", &shape, s.conv.output_channels);
    (values, shape.to_vec())
}

/// Zero behind each window and in the rows of outputs that do not exist.
fn w(s: &GroupShape) -> (Vec<f32>, Vec<usize>) {
    let [outputs, row] = s.w();
    let window = s.conv.kernel_height * s.conv.kernel_width * s.inputs_per_group();
    let mut values = padded_noise("w", &[outputs, row], window);
    values[s.conv.output_channels * row..].fill(0.0);
    (values, vec![outputs, row])
}

fn forward(s: GroupShape, relu: bool) -> Case {
    let outputs = s.w()[0];
    let bias = padded_noise("bias", &[outputs], s.conv.output_channels);
    Case::new(
        &GROUP_CONV_FORWARD,
        format!("{}{}", name(&s), if relu { ", ReLU" } else { "" }),
        vec![x(&s), w(&s), (bias, vec![outputs])],
        vec![s.conv.y().to_vec()],
        Box::new(move |recording, i, o| {
            group_conv_forward(recording, "case", &s, [&i[0], &i[1], &i[2]], relu, &o[0]);
        }),
        Box::new(move |i, _| {
            vec![Expected {
                values: reference::group_conv_forward(&s, [&i[0], &i[1], &i[2]], relu),
                tolerance: Tolerance::sum_of(s.w()[1]),
            }]
        }),
    )
}

fn backward_input(s: GroupShape) -> Case {
    let taps = s.conv.kernel_height * s.conv.kernel_width;
    Case::new(
        &GROUP_CONV_BACKWARD_INPUT,
        name(&s),
        vec![d_y(&s), w(&s)],
        vec![s.conv.x().to_vec()],
        Box::new(move |recording, i, o| {
            group_conv_backward_input(recording, "case", &s, [&i[0], &i[1]], &o[0]);
        }),
        Box::new(move |i, _| {
            vec![Expected {
                values: reference::group_conv_backward_input(&s, &i[0], &i[1]),
                tolerance: Tolerance::sum_of(taps * s.outputs_per_group()),
            }]
        }),
    )
}

/// The splits are added up before they are compared: which positions each holds is the kernel's own choice.
fn backward_weight(s: GroupShape, splits: usize, bias: bool) -> Case {
    let [rows, row] = s.w();
    let length = rows * row + if bias { rows } else { 0 };
    let [batch, height, width, _] = s.conv.y();
    let also = if bias { ", and bias" } else { "" };
    Case::new(
        &GROUP_CONV_BACKWARD_WEIGHT,
        format!("{}{also}, {splits} splits", name(&s)),
        vec![d_y(&s), x(&s)],
        vec![vec![length]],
        Box::new(move |recording, i, o| {
            let partial = match splits {
                1 => o[0].view(&[1, length]),
                _ => Tensor::transient("partial", &[splits, length]),
            };
            group_conv_backward_weight(recording, "case", &s, &i[0], &i[1], bias, &partial);
            if splits > 1 {
                op::sum_partials(recording, "case", &partial, &o[0]);
            }
        }),
        Box::new(move |i, _| {
            let mut values = reference::group_conv_backward_weight(&s, &i[0], &i[1]);
            if bias {
                values.extend(plain::bias_backward(&i[0], rows));
            }
            vec![Expected {
                values,
                tolerance: Tolerance::sum_of(batch * height * width),
            }]
        }),
    )
}
