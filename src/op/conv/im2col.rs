//! Windows as rows: how a layer over one or three channels reaches the dense kernels.

use super::entries;
use bytemuck::{Pod, Zeroable};

use super::ConvShape;
use crate::gpu::Kernel;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::{Tensor, pad4};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Im2colParams {
    batch: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    stride: u32,
    padding_rows: u32,
    padding_columns: u32,
    row_texels: u32,
    x_texels: u32,
    x_base: u32,
    y_base: u32,
    inverse_output_width: f32,
    inverse_output_height: f32,
}

impl ConvShape {
    /// The dense layer that remains once the windows are laid out as rows.
    pub fn as_rows(&self) -> ConvShape {
        let positions = self.batch * self.output_height() * self.output_width();
        let window = self.kernel_height * self.kernel_width * self.input_channels;
        ConvShape::dense(positions, window, self.output_channels)
    }

    /// Whether these rows are what the images are already: one window, all of the image, whole texels.
    pub fn rows_are_images(&self) -> bool {
        let image = self.input_height * self.input_width * self.input_channels;
        let window = [self.kernel_height, self.kernel_width];
        window == [self.input_height, self.input_width]
            && self.padding == [0, 0]
            && image.is_multiple_of(4)
    }
}

/// rows (positions, window) from x (batch, height, width, channels), channels not padded.
pub fn im2col(
    recording: &mut Recording,
    label: &str,
    shape: &ConvShape,
    x: &Tensor,
    rows: &Tensor,
) {
    record(recording, &entries::IM2COL, label, shape, [x, rows]);
}

pub(super) fn record(
    recording: &mut Recording,
    kernel: &'static Kernel,
    label: &str,
    shape: &ConvShape,
    [x, rows]: [&Tensor; 2],
) {
    let run = shape.kernel_width * shape.input_channels;
    let row = pad4(shape.kernel_height * run);
    let pixels = shape.batch * shape.input_height * shape.input_width;
    let positions = shape.batch * shape.output_height() * shape.output_width();
    let params = Im2colParams {
        batch: shape.batch as u32,
        input_height: shape.input_height as u32,
        input_width: shape.input_width as u32,
        output_height: shape.output_height() as u32,
        output_width: shape.output_width() as u32,
        stride: shape.stride as u32,
        padding_rows: shape.padding[0] as u32,
        padding_columns: shape.padding[1] as u32,
        row_texels: (row / 4) as u32,
        x_texels: (pixels * shape.input_channels).div_ceil(4) as u32,
        x_base: x.base(),
        y_base: rows.base(),
        inverse_output_width: 1.0 / shape.output_width() as f32,
        inverse_output_height: 1.0 / shape.output_height() as f32,
    };
    recording.dispatch(Dispatch {
        kernel,
        label,
        constants: &[
            ("KERNEL_HEIGHT", shape.kernel_height as f64),
            ("CHANNELS", shape.input_channels as f64),
            ("RUN", run as f64),
        ],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[Write::New(rows)],
        schedule: false,
        grid: Grid::Threads(positions as u32),
        flops: 0,
    });
}
