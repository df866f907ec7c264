//! The definition of a grouped convolution.

use crate::op::GroupShape;

/// Calls `visit(offset in x, offset in w, offset in y)` for every product of the forward pass.
fn each_product(shape: &GroupShape, mut visit: impl FnMut(usize, usize, usize)) {
    let conv = &shape.conv;
    let [batch, height, width, inputs] = conv.x();
    let [_, rows, columns, outputs] = conv.y();
    let [_, row_length] = shape.w();
    let [group_inputs, group_outputs] = [shape.inputs_per_group(), shape.outputs_per_group()];
    for image in 0..batch {
        for row in 0..rows {
            for column in 0..columns {
                for tap in 0..conv.kernel_height * conv.kernel_width {
                    // Counted in the padded image.
                    let y = row * conv.stride + tap / conv.kernel_width;
                    let x = column * conv.stride + tap % conv.kernel_width;
                    let y = y.checked_sub(conv.padding[0]).filter(|y| *y < height);
                    let x = x.checked_sub(conv.padding[1]).filter(|x| *x < width);
                    let (Some(y), Some(x)) = (y, x) else {
                        continue;
                    };
                    let read = ((image * height + y) * width + x) * inputs;
                    let written = ((image * rows + row) * columns + column) * outputs;
                    for output in 0..conv.output_channels {
                        let first = output / group_outputs * group_inputs;
                        for input in 0..group_inputs {
                            visit(
                                read + first + input,
                                output * row_length + tap * group_inputs + input,
                                written + output,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// y = x * w + bias, then ReLU when asked.
pub fn group_conv_forward(shape: &GroupShape, [x, w, bias]: [&[f64]; 3], relu: bool) -> Vec<f64> {
    let mut y = vec![0.0; shape.conv.y().iter().product()];
    for (i, y) in y.iter_mut().enumerate() {
        *y = bias[i % bias.len()];
    }
    each_product(shape, |from, weight, to| y[to] += x[from] * w[weight]);
    if relu {
        y.iter_mut().for_each(|y| *y = y.max(0.0));
    }
    y
}

/// d_x from d_y and w.
pub fn group_conv_backward_input(shape: &GroupShape, d_y: &[f64], w: &[f64]) -> Vec<f64> {
    let mut d_x = vec![0.0; shape.conv.x().iter().product()];
    each_product(shape, |to, weight, from| d_x[to] += d_y[from] * w[weight]);
    d_x
}

/// d_w from d_y and x; [`crate::reference::bias_backward`] is the gradient of the bias.
pub fn group_conv_backward_weight(shape: &GroupShape, d_y: &[f64], x: &[f64]) -> Vec<f64> {
    let mut d_w = vec![0.0; shape.w().iter().product()];
    each_product(shape, |input, to, output| d_w[to] += d_y[output] * x[input]);
    d_w
}
