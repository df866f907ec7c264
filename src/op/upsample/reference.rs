//! What the kernels compute.

use crate::op::UpsampleShape;

/// Calls `visit(offset in x, offset in y)` for every output of an upsampling.
fn each_pair(shape: &UpsampleShape, mut visit: impl FnMut(usize, usize)) {
    let [batch, height, width, channels] = shape.y();
    for n in 0..batch {
        for y in 0..height {
            for x in 0..width {
                for c in 0..channels {
                    let row = n * shape.input_height + y / shape.size;
                    let from = (row * shape.input_width + x / shape.size) * channels + c;
                    visit(from, ((n * height + y) * width + x) * channels + c);
                }
            }
        }
    }
}

/// y = every x as a square of equal numbers.
pub fn upsample_forward(shape: &UpsampleShape, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; shape.y().iter().product()];
    each_pair(shape, |from, to| y[to] = x[from]);
    y
}

/// d_x: the sum of d_y over each square.
pub fn upsample_backward(shape: &UpsampleShape, d_y: &[f64]) -> Vec<f64> {
    let mut d_x = vec![0.0; shape.x().iter().product()];
    each_pair(shape, |from, to| d_x[from] += d_y[to]);
    d_x
}
