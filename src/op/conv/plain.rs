//! Convolutions as plain loops.

use crate::op::ConvShape;
use crate::op::GroupShape;
use crate::op::group_conv::reference as groups;
use crate::op::plain::{Plain, PlainBackward, PlainForward, PlainGradients, PlainOutput, padded};
use crate::reference;
use crate::tensor::pad4;

/// A convolution, or a dense layer as one whose kernel covers the image.
pub struct PlainMatrix(pub ConvShape);

/// Stored weights of a layer out of logical ones: channels padded with zeros.
fn store(shape: &ConvShape, logical: &[f64]) -> Vec<f64> {
    let [_, height, width, stored_inputs] = shape.w();
    let taps = height * width;
    let mut stored = vec![0.0; shape.w().iter().product()];
    for (i, value) in logical.iter().enumerate() {
        let (row, input) = (i / shape.input_channels, i % shape.input_channels);
        let (output, tap) = (row / taps, row % taps);
        stored[(output * taps + tap) * stored_inputs + input] = *value;
    }
    stored
}

/// The inverse of [`store`].
fn unstore(shape: &ConvShape, stored: &[f64]) -> Vec<f64> {
    let [_, height, width, stored_inputs] = shape.w();
    let rows = shape.output_channels * height * width;
    (0..rows * shape.input_channels)
        .map(|i| stored[i / shape.input_channels * stored_inputs + i % shape.input_channels])
        .collect()
}

fn bias_of(at: &PlainForward<'_>, outputs: usize) -> Vec<f64> {
    match at.bias.is_empty() {
        true => vec![0.0; pad4(outputs)],
        false => padded(at.bias),
    }
}

fn bias_gradient(at: &PlainBackward<'_>) -> Vec<f64> {
    let mut d_bias = reference::bias_backward(at.d_y, pad4(at.outputs));
    d_bias.truncate(at.outputs);
    d_bias
}

impl Plain for PlainMatrix {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        let bias = bias_of(&at, self.0.output_channels);
        let w = store(&self.0, at.weights);
        reference::conv_forward(&self.0, at.x[0], &w, &bias, false).into()
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        let shape = &self.0;
        let w = store(shape, at.weights);
        PlainGradients {
            d_x: vec![reference::conv_backward_input(shape, at.d_y, &w)],
            d_weights: unstore(
                shape,
                &reference::conv_backward_weight(shape, at.d_y, at.x[0]),
            ),
            d_bias: bias_gradient(at),
            ..PlainGradients::default()
        }
    }
}

/// A grouped convolution.
pub struct PlainGroups(pub GroupShape);

/// Rows of one width with zeros between them up to another.
fn spread(values: &[f64], width: usize, stored: usize, rows: usize) -> Vec<f64> {
    let mut spread = vec![0.0; rows * stored];
    for (row, values) in values.chunks(width).enumerate() {
        spread[row * stored..row * stored + width].copy_from_slice(values);
    }
    spread
}

impl PlainGroups {
    fn window(&self) -> usize {
        self.0.conv.kernel_height * self.0.conv.kernel_width * self.0.inputs_per_group()
    }

    fn store(&self, logical: &[f64]) -> Vec<f64> {
        let [rows, stored] = self.0.w();
        spread(logical, self.window(), stored, rows)
    }
}

impl Plain for PlainGroups {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        let bias = bias_of(&at, self.0.conv.output_channels);
        let w = self.store(at.weights);
        groups::group_conv_forward(&self.0, [at.x[0], &w, &bias], false).into()
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        let shape = &self.0;
        let w = self.store(at.weights);
        let [_, stored] = shape.w();
        let d_w = groups::group_conv_backward_weight(shape, at.d_y, at.x[0]);
        let rows = d_w.chunks(stored).take(shape.conv.output_channels);
        PlainGradients {
            d_x: vec![groups::group_conv_backward_input(shape, at.d_y, &w)],
            d_weights: rows.flat_map(|row| row[..self.window()].to_vec()).collect(),
            d_bias: bias_gradient(at),
            ..PlainGradients::default()
        }
    }
}
