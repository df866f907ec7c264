//! The definition of max pooling over windows.

use crate::op::WindowShape;

/// Calls `visit(offset in y, [(place in the window, offset in x)])` for every output, with the places of its
/// window that lie inside the image, row by row.
fn each_window(shape: &WindowShape, mut visit: impl FnMut(usize, &[(usize, usize)])) {
    let [_, input_height, input_width, _] = shape.x();
    let [batch, height, width, channels] = shape.y();
    for image in 0..batch {
        for row in 0..height {
            for column in 0..width {
                for channel in 0..channels {
                    let mut window = Vec::new();
                    for place in 0..shape.window[0] * shape.window[1] {
                        // Counted in the padded image.
                        let y = row * shape.stride[0] + place / shape.window[1];
                        let x = column * shape.stride[1] + place % shape.window[1];
                        let y = y
                            .checked_sub(shape.padding[0])
                            .filter(|y| *y < input_height);
                        let x = x.checked_sub(shape.padding[1]).filter(|x| *x < input_width);
                        if let (Some(y), Some(x)) = (y, x) {
                            let pixel = (image * input_height + y) * input_width + x;
                            window.push((place, pixel * channels + channel));
                        }
                    }
                    let output = (image * height + row) * width + column;
                    visit(output * channels + channel, &window);
                }
            }
        }
    }
}

/// y, the largest x of each window, and argmax, the place of the first largest in its window.
pub fn window_max_pool_forward(shape: &WindowShape, x: &[f64]) -> [Vec<f64>; 2] {
    let mut y = vec![0.0; shape.y().iter().product()];
    let mut argmax = y.clone();
    each_window(shape, |at, window| {
        y[at] = f64::NEG_INFINITY;
        for &(place, from) in window {
            if x[from] > y[at] {
                y[at] = x[from];
                argmax[at] = place as f64;
            }
        }
    });
    [y, argmax]
}

/// d_x: every d_y goes to the input at place `argmax` of its window.
pub fn window_max_pool_backward(shape: &WindowShape, d_y: &[f64], argmax: &[f64]) -> Vec<f64> {
    let mut d_x = vec![0.0; shape.x().iter().product()];
    each_window(shape, |at, window| {
        for &(place, to) in window {
            if argmax[at] == place as f64 {
                d_x[to] += d_y[at];
            }
        }
    });
    d_x
}
