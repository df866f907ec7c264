//! What average and max pooling over integers share: their uniform block and their dispatch.

use bytemuck::{Pod, Zeroable};

use super::WindowShape;
use crate::gpu::Kernel;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// The part that both shaders share.
pub(super) const TEXT: &str = include_str!("../../shaders/shared/packed_windows.wgsl");

/// The twin of `Params` in `shaders/shared/packed_windows.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackedWindowParams {
    batch: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    channels: u32,
    window_height: u32,
    window_width: u32,
    stride_rows: u32,
    stride_columns: u32,
    padding_rows: u32,
    padding_columns: u32,
    shift: i32,
    low: i32,
    high: i32,
    x_base: u32,
    y_base: u32,
    inverse_channels: f32,
    inverse_output_width: f32,
    inverse_output_height: f32,
}

/// Records `kernel` over the windows of x. A max pool ignores `shift` and `limits`.
pub(super) fn record(
    recording: &mut Recording,
    (kernel, label): (&'static Kernel, &str),
    shape: &WindowShape,
    (shift, limits): (i32, [i32; 2]),
    [x, y]: [&Tensor; 2],
) {
    let [batch, output_height, output_width, channels] = shape.y();
    let inverse = |n: usize| 1.0 / n as f32;
    let params = PackedWindowParams {
        batch: batch as u32,
        input_height: shape.input[0] as u32,
        input_width: shape.input[1] as u32,
        output_height: output_height as u32,
        output_width: output_width as u32,
        channels: (channels / 4) as u32,
        window_height: shape.window[0] as u32,
        window_width: shape.window[1] as u32,
        stride_rows: shape.stride[0] as u32,
        stride_columns: shape.stride[1] as u32,
        padding_rows: shape.padding[0] as u32,
        padding_columns: shape.padding[1] as u32,
        shift,
        low: limits[0],
        high: limits[1],
        x_base: x.base(),
        y_base: y.base(),
        inverse_channels: inverse(channels / 4),
        inverse_output_width: inverse(output_width),
        inverse_output_height: inverse(output_height),
    };
    recording.dispatch(Dispatch {
        kernel,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(y.texels()),
        flops: (shape.window.iter().product::<usize>() * y.len()) as u64,
    });
}

/// For references: calls `visit(offset in y, offsets in x)` for every stored output. The offsets in x are those of the
/// part of the output's window that lies inside the image.
pub(super) fn each_window(shape: &WindowShape, mut visit: impl FnMut(usize, &[usize])) {
    let [batch, height, width, channels] = shape.y();
    let [input_height, input_width] = shape.input;
    for image in 0..batch {
        for row in 0..height {
            for column in 0..width {
                for channel in 0..channels {
                    let mut inside = Vec::new();
                    for tap_row in 0..shape.window[0] {
                        for tap_column in 0..shape.window[1] {
                            let y = row * shape.stride[0] + tap_row;
                            let x = column * shape.stride[1] + tap_column;
                            let (y, x) = (
                                y.wrapping_sub(shape.padding[0]),
                                x.wrapping_sub(shape.padding[1]),
                            );
                            if y < input_height && x < input_width {
                                let pixel = (image * input_height + y) * input_width + x;
                                inside.push(pixel * channels + channel);
                            }
                        }
                    }
                    let pixel = (image * height + row) * width + column;
                    visit(pixel * channels + channel, &inside);
                }
            }
        }
    }
}

const fn shape(
    [batch, height, width, channels]: [usize; 4],
    window: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> WindowShape {
    WindowShape {
        batch,
        input: [height, width],
        channels,
        window,
        stride,
        padding,
    }
}

/// Shapes for the cases of both kernels: single pixels, overlap, gaps, padding, and those of models.
pub(super) const CASES: [WindowShape; 8] = [
    shape([1, 1, 1, 1], [1, 1], [1, 1], [0, 0]),
    shape([2, 5, 7, 5], [3, 3], [2, 2], [1, 1]),
    shape([3, 6, 4, 7], [2, 3], [1, 2], [1, 2]),
    shape([1, 9, 8, 130], [4, 1], [3, 1], [0, 0]),
    shape([2, 7, 9, 6], [2, 2], [3, 4], [1, 0]),
    // ResNet's first pool, an inner one of Inception, the last average of MobileNet.
    shape([1, 112, 112, 64], [3, 3], [2, 2], [1, 1]),
    shape([1, 35, 35, 192], [3, 3], [1, 1], [1, 1]),
    shape([2, 7, 7, 1280], [7, 7], [1, 1], [0, 0]),
];

/// The sizes of a case.
pub(super) fn case_name(s: &WindowShape) -> String {
    let [height, width] = s.input;
    format!(
        "{}x{height}x{width}x{}, window {:?}, stride {:?}, padding {:?}",
        s.batch, s.channels, s.window, s.stride, s.padding
    )
}
