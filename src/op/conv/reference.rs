//! Convolution, dense layers, bias and ReLU.

use crate::op::ConvShape;

/// Calls `visit(image, output row, output column, tap row, tap column, input row, input column)`
/// for every pair of an output position and a tap that lies inside the image.
pub(crate) fn each_tap(shape: &ConvShape, mut visit: impl FnMut([usize; 7])) {
    let padding = shape.padding.map(|pixels| pixels as isize);
    for image in 0..shape.batch {
        for row in 0..shape.output_height() {
            for column in 0..shape.output_width() {
                for tap_row in 0..shape.kernel_height {
                    for tap_column in 0..shape.kernel_width {
                        let y = (row * shape.stride + tap_row) as isize - padding[0];
                        let x = (column * shape.stride + tap_column) as isize - padding[1];
                        let inside = (0..shape.input_height as isize).contains(&y)
                            && (0..shape.input_width as isize).contains(&x);
                        if inside {
                            let at = [y as usize, x as usize];
                            visit([image, row, column, tap_row, tap_column, at[0], at[1]]);
                        }
                    }
                }
            }
        }
    }
}

/// Offsets of (x, w, y) with channel 0 for one visit of [`each_tap`].
pub(crate) fn offsets(shape: &ConvShape, at: [usize; 7]) -> [usize; 3] {
    let [image, row, column, tap_row, tap_column, y, x] = at;
    let [_, height, width, inputs] = shape.x();
    let [_, output_height, output_width, outputs] = shape.y();
    [
        ((image * height + y) * width + x) * inputs,
        (tap_row * shape.kernel_width + tap_column) * inputs,
        ((image * output_height + row) * output_width + column) * outputs,
    ]
}

/// How many pairs of an output position and a tap lie inside the images.
pub fn taps(shape: &ConvShape) -> usize {
    let mut count = 0;
    each_tap(shape, |_| count += 1);
    count
}

/// y = x * w + bias, then ReLU when asked. x, w and y have the shapes of [`ConvShape`].
pub fn conv_forward(shape: &ConvShape, x: &[f64], w: &[f64], bias: &[f64], relu: bool) -> Vec<f64> {
    let [outputs, height, width, inputs] = shape.w();
    let mut y: Vec<f64> = (0..shape.y().iter().product())
        .map(|i| bias[i % outputs])
        .collect();
    each_tap(shape, |at| {
        let [x_at, w_at, y_at] = offsets(shape, at);
        for o in 0..outputs {
            for i in 0..inputs {
                y[y_at + o] += x[x_at + i] * w[o * height * width * inputs + w_at + i];
            }
        }
    });
    if relu {
        y.iter_mut().for_each(|v| *v = v.max(0.0));
    }
    y
}

/// d_x from d_y and w.
pub fn conv_backward_input(shape: &ConvShape, d_y: &[f64], w: &[f64]) -> Vec<f64> {
    let [outputs, height, width, inputs] = shape.w();
    let mut d_x = vec![0.0; shape.x().iter().product()];
    each_tap(shape, |at| {
        let [x_at, w_at, y_at] = offsets(shape, at);
        for o in 0..outputs {
            for i in 0..inputs {
                d_x[x_at + i] += d_y[y_at + o] * w[o * height * width * inputs + w_at + i];
            }
        }
    });
    d_x
}

/// d_w from d_y and x.
pub fn conv_backward_weight(shape: &ConvShape, d_y: &[f64], x: &[f64]) -> Vec<f64> {
    let [outputs, height, width, inputs] = shape.w();
    let mut d_w = vec![0.0; shape.w().iter().product()];
    each_tap(shape, |at| {
        let [x_at, w_at, y_at] = offsets(shape, at);
        for o in 0..outputs {
            for i in 0..inputs {
                d_w[o * height * width * inputs + w_at + i] += d_y[y_at + o] * x[x_at + i];
            }
        }
    });
    d_w
}

/// The window of every output position as a row of `row` numbers, zero where it leaves the image
/// and past its end. Here the channels of x are not padded.
pub fn im2col(shape: &ConvShape, x: &[f64], row: usize) -> Vec<f64> {
    let channels = shape.input_channels;
    let positions = shape.batch * shape.output_height() * shape.output_width();
    let mut rows = vec![0.0; positions * row];
    each_tap(
        shape,
        |[image, y, x_out, tap_row, tap_column, y_in, x_in]| {
            let position = (image * shape.output_height() + y) * shape.output_width() + x_out;
            let tap = tap_row * shape.kernel_width + tap_column;
            let pixel = (image * shape.input_height + y_in) * shape.input_width + x_in;
            for c in 0..channels {
                rows[position * row + tap * channels + c] = x[pixel * channels + c];
            }
        },
    );
    rows
}

/// Four copies of every channel of x, (batch, channels, 4, rows, row), in texels of 2 x 2 pixels: shifted by no
/// or one pixel up and left, zero outside the image. Here the channels of x are not padded.
pub fn shifts(shape: &ConvShape, x: &[f64]) -> Vec<f64> {
    let [batch, _, rows, row] = shape.shifts();
    let (height, width, channels) = (shape.input_height, shape.input_width, shape.input_channels);
    let mut copies = Vec::new();
    for image in 0..batch {
        for channel in 0..channels {
            for shift in 0..4 {
                for texel_row in 0..rows {
                    for number in 0..row {
                        let (texel, within) = (number / 4, number % 4);
                        let row = 2 * texel_row + within / 2 + shift / 2;
                        let row = row.checked_sub(shape.padding[0]).filter(|r| *r < height);
                        let column = 2 * texel + within % 2 + shift % 2;
                        let column = column.checked_sub(shape.padding[1]);
                        copies.push(match (row, column.filter(|c| *c < width)) {
                            (Some(row), Some(column)) => {
                                x[((image * height + row) * width + column) * channels + channel]
                            }
                            _ => 0.0,
                        });
                    }
                }
            }
        }
    }
    copies
}

/// d_bias: the sum of d_y (rows, channels) over its rows.
pub fn bias_backward(d_y: &[f64], channels: usize) -> Vec<f64> {
    let mut sum = vec![0.0; channels];
    for (i, value) in d_y.iter().enumerate() {
        sum[i % channels] += value;
    }
    sum
}

/// The sum of `partial` (splits, count) over its splits.
pub fn sum_partials(partial: &[f64], count: usize) -> Vec<f64> {
    let mut total = vec![0.0; count];
    for part in partial.chunks(count) {
        for (sum, value) in total.iter_mut().zip(part) {
            *sum += value;
        }
    }
    total
}
