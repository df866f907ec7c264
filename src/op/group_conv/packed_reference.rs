//! What `packed_group_conv` must give, bit for bit.

use crate::op::GroupShape;
use crate::reference::requantise;

/// y (stored) from x (stored), w (outputs, kernel height, kernel width, inputs of the group) without padding, in units
/// of the layer's smallest weight, and the bias and shift of every output.
pub fn packed_group_conv(
    shape: &GroupShape,
    x: &[i64],
    w: &[i64],
    [bias, shift]: [&[i64]; 2],
    limits: [i64; 2],
) -> Vec<i64> {
    let conv = &shape.conv;
    let [batch, output_height, output_width, stored_outputs] = conv.y();
    let [_, height, width, stored_inputs] = conv.x();
    let (inputs, outputs) = (shape.inputs_per_group(), shape.outputs_per_group());
    let mut y = vec![0; conv.y().iter().product()];
    for image in 0..batch {
        for row in 0..output_height {
            for column in 0..output_width {
                for output in 0..conv.output_channels {
                    let mut sum = 0;
                    for tap_row in 0..conv.kernel_height {
                        for tap_column in 0..conv.kernel_width {
                            // Above or left of the image these wrap to large numbers.
                            let y = (row * conv.stride + tap_row).wrapping_sub(conv.padding[0]);
                            let from =
                                (column * conv.stride + tap_column).wrapping_sub(conv.padding[1]);
                            if y >= height || from >= width {
                                continue;
                            }
                            let tap = (output * conv.kernel_height + tap_row) * conv.kernel_width
                                + tap_column;
                            let pixel = (image * height + y) * width + from;
                            for i in 0..inputs {
                                let input = output / outputs * inputs + i;
                                sum += x[pixel * stored_inputs + input] * w[tap * inputs + i];
                            }
                        }
                    }
                    let pixel = (image * output_height + row) * output_width + column;
                    y[pixel * stored_outputs + output] =
                        requantise(sum, bias[output], shift[output], limits);
                }
            }
        }
    }
    y
}
