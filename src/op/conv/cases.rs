//! Cases of the matrix kernels and their helpers.

use super::entries;
use super::kernels::{conv_backward_input_in, conv_forward_in};
use crate::op::{self, ConvShape, Epilogue, OutputGradient, PoolShape, Windows};
use crate::optimiser::Schedule;
use crate::reference;
use crate::tensor::{Tensor, pad4};
use crate::verify::{Case, Expected, Tolerance, noise, padded_noise};

/// (batch, height, width, inputs, outputs, kernel height, kernel width, stride, padding): sizes of
/// one, sizes around and off every tile, and the layers of the models.
const SHAPES: [[usize; 9]; 25] = [
    [1, 1, 1, 1, 1, 1, 1, 1, 0],
    [1, 1, 1, 5, 3, 1, 1, 1, 0],
    [3, 1, 1, 17, 70, 1, 1, 1, 0],
    [65, 1, 1, 67, 10, 1, 1, 1, 0],
    [128, 1, 1, 64, 64, 1, 1, 1, 0],
    [2, 1, 1, 832, 500, 1, 1, 1, 0],
    [577, 1, 1, 25, 20, 1, 1, 1, 0],
    [2, 12, 12, 20, 50, 5, 5, 1, 0],
    [2, 5, 7, 3, 6, 3, 3, 1, 1],
    [3, 9, 6, 4, 9, 3, 3, 2, 1],
    [1, 7, 7, 6, 5, 5, 3, 3, 2],
    [1, 8, 8, 64, 64, 3, 3, 1, 1],
    [2, 2, 2, 130, 33, 3, 3, 1, 1],
    [1, 3, 3, 2, 4, 3, 3, 1, 0],
    [5, 4, 4, 7, 8, 2, 2, 2, 0],
    [9, 8, 6, 20, 36, 4, 4, 2, 1],
    [2, 7, 5, 4, 4, 2, 2, 3, 0],
    [1, 11, 10, 9, 7, 5, 3, 4, 2],
    [16, 4, 4, 8, 12, 3, 3, 1, 1],
    [17, 2, 3, 20, 5, 3, 3, 1, 1],
    [19, 7, 6, 4, 9, 4, 4, 2, 1],
    [8, 8, 8, 64, 8, 3, 3, 2, 1],
    [21, 6, 5, 8, 6, 5, 3, 1, 0],
    [4, 6, 5, 8, 6, 5, 3, 1, 0],
    [12, 7, 6, 4, 9, 4, 4, 2, 1],
];

/// Windows over one to three channels whose outputs come in squares.
const SHIFTS: [[usize; 9]; 5] = [
    [1, 5, 8, 1, 1, 2, 5, 1, 0],
    [3, 28, 28, 1, 6, 5, 5, 1, 0],
    [2, 4, 8, 3, 20, 3, 3, 1, 1],
    [2, 6, 13, 2, 5, 1, 2, 1, 0],
    [5, 6, 4, 3, 9, 5, 5, 1, 2],
];

/// Layers whose outputs go through a max pool: with rows and columns that it cuts off, a stride, an edge.
const POOLED: [[usize; 9]; 5] = [
    [1, 3, 2, 5, 6, 2, 1, 1, 0],
    [2, 12, 12, 20, 50, 5, 5, 1, 0],
    [3, 7, 9, 4, 9, 3, 3, 1, 0],
    [2, 9, 7, 8, 5, 3, 3, 2, 1],
    [17, 6, 6, 12, 8, 1, 1, 1, 0],
];

/// Layers whose padding differs between rows and columns: shape with the padding of rows, then that of columns.
const RECTANGULAR: [([usize; 9], usize); 5] = [
    ([2, 5, 7, 3, 6, 3, 1, 1, 1], 0),
    ([3, 6, 5, 6, 9, 1, 7, 1, 0], 3),
    ([16, 4, 4, 8, 12, 3, 3, 1, 0], 1),
    ([9, 9, 6, 20, 5, 5, 3, 2, 2], 1),
    ([17, 5, 6, 4, 8, 3, 5, 3, 1], 2),
];

pub(super) fn rectangular((sizes, columns): ([usize; 9], usize)) -> ConvShape {
    let shape = shape(sizes);
    ConvShape {
        padding: [shape.padding[0], columns],
        ..shape
    }
}

pub(crate) fn shape(
    [
        batch,
        height,
        width,
        inputs,
        outputs,
        kernel_height,
        kernel_width,
        stride,
        padding,
    ]: [usize; 9],
) -> ConvShape {
    ConvShape {
        batch,
        input_height: height,
        input_width: width,
        input_channels: inputs,
        output_channels: outputs,
        kernel_height,
        kernel_width,
        stride,
        padding: [padding, padding],
    }
}

pub(crate) fn name(s: &ConvShape) -> String {
    format!(
        "{}x{}x{}x{} -> {}, kernel {}x{}, stride {}, {}",
        s.batch,
        s.input_height,
        s.input_width,
        s.input_channels,
        s.output_channels,
        s.kernel_height,
        s.kernel_width,
        s.stride,
        s.padding_name()
    )
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for s in SHAPES.map(shape) {
        cases.extend(of_shape(s));
    }
    for s in RECTANGULAR.map(rectangular) {
        cases.extend(of_shape(s));
    }
    cases.extend(of_shifts(rectangular(([2, 6, 4, 3, 9, 3, 5, 1, 1], 2))));
    cases.extend(of_pooled(rectangular(([2, 9, 7, 8, 5, 3, 3, 2, 1], 0))));
    for s in SHIFTS.map(shape) {
        cases.extend(of_shifts(s));
    }
    for s in POOLED.map(shape) {
        cases.extend(of_pooled(s));
    }
    for s in SHIFTS.map(shape) {
        cases.extend(of_pooled_shifts(s));
    }
    cases
}

/// All three products of one shape.
pub(crate) fn of_shape(s: ConvShape) -> [Case; 9] {
    [
        forward(s, false, 1),
        forward(s, true, 1),
        forward(s, true, 2),
        backward_input(s, false, 1),
        backward_input(s, true, 1),
        backward_input(s, true, 3),
        backward_weight(s, 1, false),
        backward_weight(s, 1, true),
        backward_weight(s, 3, true),
    ]
}

fn forward(s: ConvShape, relu: bool, splits: usize) -> Case {
    let name = format!(
        "{}{}, {splits} splits",
        name(&s),
        if relu { ", ReLU" } else { "" }
    );
    let (x, w, y) = (s.x(), s.w(), s.y());
    let bias = padded_noise("bias", &[w[0]], s.output_channels);
    Case {
        kernel: &entries::CONV_FORWARD,
        inputs: vec![
            padded_noise(&name, &x, s.input_channels),
            noise("w", w.iter().product()),
            bias,
        ],
        name,
        input_shapes: vec![x.to_vec(), w.to_vec(), vec![w[0]]],
        output_shapes: vec![y.to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let epilogue = if relu {
                Epilogue::Relu
            } else {
                Epilogue::Linear
            };
            let (windows, inputs) = (Windows::Plain(&s), [&i[0], &i[1], &i[2]]);
            conv_forward_in(splits, recording, "case", windows, inputs, epilogue, &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::conv_forward(&s, &i[0], &i[1], &i[2], relu),
                tolerance: Tolerance::sum_of(w[1] * w[2] * w[3]),
            }]
        }),
    }
}

fn backward_input(s: ConvShape, relu: bool, splits: usize) -> Case {
    let (x, w, y) = (s.x(), s.w(), s.y());
    let name = format!(
        "{}{}, {splits} splits",
        name(&s),
        if relu { ", ReLU" } else { "" }
    );
    let after_relu = padded_noise("x", &x, s.input_channels);
    let after_relu = after_relu.iter().map(|v| v.max(0.0)).collect();
    Case {
        kernel: &entries::CONV_BACKWARD_INPUT,
        inputs: vec![
            padded_noise(&name, &y, s.output_channels),
            noise("w", w.iter().product()),
            after_relu,
        ],
        name,
        input_shapes: vec![y.to_vec(), w.to_vec(), x.to_vec()],
        output_shapes: vec![x.to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let inputs = [&i[0], &i[1], &i[2]];
            conv_backward_input_in(splits, recording, "case", &s, inputs, relu, &o[0]);
        }),
        expected: Box::new(move |i, _| {
            let values = reference::conv_backward_input(&s, &i[0], &i[1]);
            vec![Expected {
                values: match relu {
                    true => reference::relu_backward(&i[2], &values),
                    false => values,
                },
                tolerance: Tolerance::sum_of(w[0] * w[1] * w[2]),
            }]
        }),
    }
}

/// Which positions a split sums is the kernel's own affair, so the splits are added up before they are
/// compared.
fn backward_weight(s: ConvShape, splits: usize, bias: bool) -> Case {
    let also = if bias { ", and bias" } else { "" };
    let name = format!("{}{also}, {splits} splits", name(&s));
    let x = padded_noise("x", &s.x(), s.input_channels);
    let wide = widened(&x);
    weight_case((s, None, None), splits, bias, (name, x, wide))
}

/// With the input of the kernel and that of the reference.
fn weight_case(
    (s, shifts, pool): (ConvShape, Option<ConvShape>, Option<PoolShape>),
    splits: usize,
    bias: bool,
    (name, x, wide): (String, Vec<f32>, Vec<f64>),
) -> Case {
    let (w, y) = (s.w(), pool.map_or_else(|| s.y(), |pool| pool.y()));
    let positions = y[0] * y[1] * y[2];
    let weights: usize = w.iter().product();
    let outputs = weights + if bias { w[0] } else { 0 };
    Case {
        kernel: &entries::CONV_BACKWARD_WEIGHT,
        input_shapes: vec![
            y.to_vec(),
            shifts.map_or_else(|| s.x().to_vec(), |s| s.shifts().to_vec()),
            y.to_vec(),
        ],
        inputs: vec![
            padded_noise(&name, &y, s.output_channels),
            x,
            any_argmax(&y),
        ],
        name,
        output_shapes: vec![vec![outputs]],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let partial = match splits {
                1 => o[0].view(&[1, outputs]),
                _ => Tensor::transient("partial", &[splits, outputs]),
            };
            let windows = shifts.as_ref().map_or(Windows::Plain(&s), Windows::Shifts);
            let d_y = OutputGradient {
                d_y: &i[0],
                argmax: pool.and(Some(&i[2])),
            };
            op::conv_backward_weight(recording, "case", windows, d_y, &i[1], bias, &partial);
            if splits > 1 {
                op::sum_partials(recording, "case", &partial, &o[0]);
            }
        }),
        expected: Box::new(move |i, _| {
            let unpooled = pool.map(|pool| reference::max_unpool(&pool, &i[0], &i[2]));
            let d_y = unpooled.as_ref().unwrap_or(&i[0]);
            let mut values = reference::conv_backward_weight(&s, d_y, &wide);
            if bias {
                values.extend(reference::bias_backward(d_y, w[0]));
            }
            vec![Expected {
                values,
                tolerance: Tolerance::sum_of(positions),
            }]
        }),
    }
}

/// What a layer over few channels does: its input laid out, and both products with it.
pub(crate) fn of_shifts(s: ConvShape) -> [Case; 5] {
    [
        shifts(s),
        forward_of_shifts(s),
        weight_of_shifts(s, 1, false),
        weight_of_shifts(s, 1, true),
        weight_of_shifts(s, 3, true),
    ]
}

fn unpadded_noise(name: &str, s: &ConvShape) -> Vec<f32> {
    noise(
        name,
        s.batch * s.input_height * s.input_width * s.input_channels,
    )
}

fn widened(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

fn shifts(s: ConvShape) -> Case {
    let name = name(&s);
    let mut x = unpadded_noise(&name, &s);
    let image = x.clone();
    x.resize(pad4(x.len()), 0.0);
    Case {
        kernel: &entries::SHIFTS,
        name,
        input_shapes: vec![vec![x.len()]],
        inputs: vec![x],
        output_shapes: vec![s.shifts().to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| op::shifts(recording, "case", &s, &i[0], &o[0])),
        expected: Box::new(move |_, _| {
            vec![Expected {
                values: reference::shifts(&s, &widened(&image)),
                tolerance: Tolerance::EXACT,
            }]
        }),
    }
}

/// The shifted copies of some images, and the same images' windows as rows.
fn two_layouts(s: &ConvShape) -> (Vec<f32>, Vec<f64>) {
    let x = widened(&unpadded_noise("x", s));
    let copies = reference::shifts(s, &x);
    let rows = reference::im2col(s, &x, s.as_rows().x()[3]);
    (copies.iter().map(|v| *v as f32).collect(), rows)
}

fn forward_of_shifts(s: ConvShape) -> Case {
    let rows = s.as_rows();
    let (w, y) = (rows.w(), rows.y());
    let name = format!("{}, shifts", name(&s));
    let (copies, windows) = two_layouts(&s);
    let taps = s.kernel_height * s.kernel_width * s.input_channels;
    Case {
        kernel: &entries::CONV_FORWARD,
        inputs: vec![
            copies,
            padded_noise(&name, &w, taps),
            padded_noise("bias", &[w[0]], s.output_channels),
        ],
        name,
        input_shapes: vec![s.shifts().to_vec(), w.to_vec(), vec![w[0]]],
        output_shapes: vec![y.to_vec()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let (windows, inputs) = (Windows::Shifts(&s), [&i[0], &i[1], &i[2]]);
            op::conv_forward(recording, "case", windows, inputs, Epilogue::Relu, &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::conv_forward(&rows, &windows, &i[1], &i[2], true),
                tolerance: Tolerance::sum_of(taps),
            }]
        }),
    }
}

fn weight_of_shifts(s: ConvShape, splits: usize, bias: bool) -> Case {
    let (copies, windows) = two_layouts(&s);
    let case = backward_weight(s.as_rows(), splits, bias);
    let name = format!("{}, {}, shifts", name(&s), case.name);
    let shapes = (s.as_rows(), Some(s), None);
    weight_case(shapes, splits, bias, (name, copies, windows))
}

/// The max pool behind a layer.
fn pool_of(s: &ConvShape) -> PoolShape {
    PoolShape {
        batch: s.batch,
        input_height: s.output_height(),
        input_width: s.output_width(),
        channels: s.output_channels,
        size: 2,
    }
}

/// Any positions in squares, and none of them.
fn any_argmax(shape: &[usize]) -> Vec<f32> {
    let values = noise("argmax", shape.iter().product());
    let any = values.iter().map(|v| (v.abs() * 1000.0) as u32 % 5);
    any.map(|position| position as f32).collect()
}

/// What a layer does that takes a max pool along.
pub(crate) fn of_pooled(s: ConvShape) -> [Case; 3] {
    let mut x = padded_noise("x", &s.x(), s.input_channels);
    // An empty image, whose outputs are all equal.
    let image = x.len() / s.batch;
    x[..if s.batch > 1 { image } else { 0 }].fill(0.0);
    let wide = widened(&x);
    let weight = |splits| {
        let name = format!("{}, max pool, and bias, {splits} splits", name(&s));
        let inputs = (name, x.clone(), wide.clone());
        weight_case((s, None, Some(pool_of(&s))), splits, true, inputs)
    };
    [
        forward_pooled((s, None), (x.clone(), wide.clone())),
        weight(1),
        weight(3),
    ]
}

/// The same over few channels, whose input needs no gradient.
pub(crate) fn of_pooled_shifts(s: ConvShape) -> [Case; 3] {
    let inputs = two_layouts(&s);
    let weight = |splits| {
        let name = format!("{}, shifts, max pool, and bias, {splits} splits", name(&s));
        let shapes = (s.as_rows(), Some(s), Some(pool_of(&s)));
        let (copies, windows) = inputs.clone();
        weight_case(shapes, splits, true, (name, copies, windows))
    };
    [
        forward_pooled((s.as_rows(), Some(s)), inputs.clone()),
        weight(1),
        weight(3),
    ]
}

fn forward_pooled(
    (s, shifts): (ConvShape, Option<ConvShape>),
    (x, wide): (Vec<f32>, Vec<f64>),
) -> Case {
    let geometry = shifts.unwrap_or(s);
    let pool = pool_of(&geometry);
    let (w, y) = (s.w(), pool.y());
    let length: usize = y.iter().product();
    let also = if shifts.is_some() { ", shifts" } else { "" };
    let name = format!("{}{also}, max pool", name(&geometry));
    let taps = s.kernel_height * s.kernel_width * s.input_channels;
    let x_shape = shifts.map_or_else(|| s.x(), |s| s.shifts());
    Case {
        kernel: &entries::CONV_FORWARD,
        inputs: vec![
            x,
            padded_noise(&name, &w, s.input_channels),
            padded_noise("bias", &[w[0]], s.output_channels),
        ],
        name,
        input_shapes: vec![x_shape.to_vec(), w.to_vec(), vec![w[0]]],
        // What passes, and which positions those are.
        output_shapes: vec![vec![2 * length]],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let windows = shifts.as_ref().map_or(Windows::Plain(&s), Windows::Shifts);
            let [y, argmax] = [0..length, length..2 * length].map(|range| o[0].range(range));
            let epilogue = Epilogue::MaxPool {
                argmax: Some(&argmax),
            };
            let inputs = [&i[0], &i[1], &i[2]];
            op::conv_forward(recording, "case", windows, inputs, epilogue, &y);
        }),
        expected: Box::new(move |i, _| {
            let before = reference::conv_forward(&s, &wide, &i[1], &i[2], true);
            let mut values = reference::max_pool_forward(&pool, &before);
            values.extend(reference::max_pool_argmax(&pool, &before, true));
            vec![Expected {
                values,
                tolerance: Tolerance::sum_of(taps),
            }]
        }),
    }
}
