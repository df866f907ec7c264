//! What steps give, in plain loops over the forms of a program: the answers of the vectors that hardware is tested with.

use crate::export::Step;
use crate::op::integers::Form;
use crate::op::{ConvShape, WindowShape};

/// (sum << up) + bias, shifted to the right with halves rounded up, limited.
fn rescaled(sum: i64, bias: i64, shift: i32, [low, high]: [i32; 2]) -> i64 {
    let (up, down) = ((-shift).max(0), shift.max(0));
    let half = (1i64 << down) >> 1;
    (((sum << up) + bias + half) >> down).clamp(low.into(), high.into())
}

/// The value of a step from those that it reads, numbers in the order row, column, channel. `weights` are those of its
/// layer as whole numbers, in the order of the layer's shape.
pub fn step(step: &Step<'_>, inputs: &[&[i64]], weights: &[i64]) -> Vec<i64> {
    let limits = step.limits;
    let channels = |i: usize| step.reads[i].shape.channels;
    match &step.form {
        Form::Product { shape, groups } => {
            let layer = step.layer.expect("a product has a layer");
            let sums = sums(shape, *groups, inputs[0], weights);
            let outputs = shape.output_channels;
            let end = |(i, sum): (usize, &i64)| {
                let o = i % outputs;
                rescaled(*sum, layer.bias[o].into(), layer.shift[o], limits)
            };
            sums.iter().enumerate().map(end).collect()
        }
        Form::Activation { leak, shift } => {
            let raise = |x: &i64| if *x < 0 { *x } else { *x << leak };
            inputs[0]
                .iter()
                .map(|x| rescaled(raise(x), 0, *shift, limits))
                .collect()
        }
        Form::Sum { ups, shift } => {
            let sum = |i: usize| inputs.iter().zip(ups).map(|(x, up)| x[i] << up).sum();
            (0..inputs[0].len())
                .map(|i| rescaled(sum(i), 0, *shift, limits))
                .collect()
        }
        Form::Average { shape, shift } => {
            let windows = windows(shape, inputs[0]);
            let sums = windows.map(|w| w.iter().sum());
            sums.map(|sum| rescaled(sum, 0, *shift, limits)).collect()
        }
        Form::Maximum { shape } => {
            let windows = windows(shape, inputs[0]);
            windows.map(|w| w.into_iter().max().unwrap_or(0)).collect()
        }
        Form::Join { shifts } => {
            let pixels = step.shape.height * step.shape.width;
            let mut joined = Vec::new();
            for pixel in 0..pixels {
                for (i, x) in inputs.iter().enumerate() {
                    let row = &x[pixel * channels(i)..(pixel + 1) * channels(i)];
                    joined.extend(row.iter().map(|v| rescaled(*v, 0, shifts[i], limits)));
                }
            }
            joined
        }
        Form::Repeat { size } => {
            let [height, width, channels] = step.shape.sides();
            let mut repeated = Vec::new();
            for row in 0..height {
                for column in 0..width {
                    let at = ((row / size) * (width / size) + column / size) * channels;
                    repeated.extend(&inputs[0][at..at + channels]);
                }
            }
            repeated
        }
    }
}

fn sums(shape: &ConvShape, groups: usize, x: &[i64], weights: &[i64]) -> Vec<i64> {
    let mut sums = Vec::new();
    let read = shape.input_channels / groups;
    let group_outputs = shape.output_channels / groups;
    let [top, left] = shape.padding;
    for row in 0..shape.output_height() {
        for column in 0..shape.output_width() {
            for o in 0..shape.output_channels {
                let mut sum = 0;
                let mut w = o * shape.kernel_height * shape.kernel_width * read;
                for a in 0..shape.kernel_height {
                    for b in 0..shape.kernel_width {
                        let y = (row * shape.stride + a).wrapping_sub(top);
                        let z = (column * shape.stride + b).wrapping_sub(left);
                        if y < shape.input_height && z < shape.input_width {
                            let at = (y * shape.input_width + z) * shape.input_channels
                                + o / group_outputs * read;
                            let taps = x[at..at + read].iter().zip(&weights[w..w + read]);
                            sum += taps.map(|(x, w)| x * w).sum::<i64>();
                        }
                        w += read;
                    }
                }
                sums.push(sum);
            }
        }
    }
    sums
}

/// The numbers of every window that lie inside the image, windows in the order row, column, channel.
fn windows<'a>(shape: &'a WindowShape, x: &'a [i64]) -> impl Iterator<Item = Vec<i64>> + 'a {
    let [rows, columns] = shape.output();
    let places = (0..rows * columns * shape.channels).map(move |i| {
        let (pixel, channel) = (i / shape.channels, i % shape.channels);
        (pixel / columns, pixel % columns, channel)
    });
    places.map(move |(row, column, channel)| {
        let mut window = Vec::new();
        for a in 0..shape.window[0] {
            for b in 0..shape.window[1] {
                let y = (row * shape.stride[0] + a).wrapping_sub(shape.padding[0]);
                let z = (column * shape.stride[1] + b).wrapping_sub(shape.padding[1]);
                if y < shape.input[0] && z < shape.input[1] {
                    window.push(x[(y * shape.input[1] + z) * shape.channels + channel]);
                }
            }
        }
        window
    })
}

/// The largest number of each window of a pool side by side: what a product keeps that a max pool follows.
pub fn pooled(x: &[i64], [height, width, channels]: [usize; 3], window: [usize; 2]) -> Vec<i64> {
    let shape = WindowShape {
        batch: 1,
        input: [height, width],
        channels,
        window,
        stride: window,
        padding: [0, 0],
    };
    windows(&shape, x)
        .map(|w| w.into_iter().max().unwrap_or(0))
        .collect()
}
