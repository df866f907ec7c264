//! The definition of average pooling.

use crate::op::WindowShape;

/// Calls `visit(offset in x, offset in y)` for every number of x that a window holds.
fn each_pair(shape: &WindowShape, mut visit: impl FnMut(usize, usize)) {
    let [_, input_height, input_width, _] = shape.x();
    let [batch, height, width, channels] = shape.y();
    for image in 0..batch {
        for row in 0..height {
            for column in 0..width {
                for place_row in 0..shape.window[0] {
                    for place_column in 0..shape.window[1] {
                        // Counted in the padded image.
                        let y = row * shape.stride[0] + place_row;
                        let x = column * shape.stride[1] + place_column;
                        let inside = y >= shape.padding[0]
                            && x >= shape.padding[1]
                            && y < shape.padding[0] + input_height
                            && x < shape.padding[1] + input_width;
                        if inside {
                            let (y, x) = (y - shape.padding[0], x - shape.padding[1]);
                            let pixel = (image * input_height + y) * input_width + x;
                            let output = (image * height + row) * width + column;
                            for channel in 0..channels {
                                visit(pixel * channels + channel, output * channels + channel);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// y = `factor` times the sum of each window of x.
pub fn average_pool_forward(shape: &WindowShape, factor: f64, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; shape.y().iter().product()];
    each_pair(shape, |from, to| y[to] += factor * x[from]);
    y
}

/// d_x: every d_y goes, times `factor`, to all inputs of its window.
pub fn average_pool_backward(shape: &WindowShape, factor: f64, d_y: &[f64]) -> Vec<f64> {
    let mut d_x = vec![0.0; shape.x().iter().product()];
    each_pair(shape, |to, from| d_x[to] += factor * d_y[from]);
    d_x
}
