//! Windows as rows: how a layer over one or three channels reaches the dense kernels.

use bytemuck::{Pod, Zeroable};

use super::ConvShape;
use crate::gpu::{Dispatch, Grid, Kernel, PlanBuilder, Write};
use crate::kernels;
use crate::tensor::{Tensor, pad4};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Im2colParams {
    batch: u32,
    input_height: u32,
    input_width: u32,
    input_channels: u32,
    output_height: u32,
    output_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride: u32,
    padding: u32,
    row_texels: u32,
    x_base: u32,
    y_base: u32,
    inverse_row_texels: f32,
    inverse_output_width: f32,
    inverse_output_height: f32,
    inverse_input_channels: f32,
    inverse_kernel_width: f32,
}

impl ConvShape {
    /// The dense layer that remains once the windows are laid out as rows.
    pub fn as_rows(&self) -> ConvShape {
        let positions = self.batch * self.output_height() * self.output_width();
        let window = self.kernel_height * self.kernel_width * self.input_channels;
        ConvShape::dense(positions, window, self.output_channels)
    }
}

/// rows (positions, window) from x (batch, height, width, channels), channels not padded.
pub fn im2col(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    shape: &ConvShape,
    x: &Tensor,
    rows: &Tensor,
) {
    record(plan, &kernels::IM2COL, label, shape, [x, rows]);
}

pub(super) fn record(
    plan: &mut PlanBuilder<'_>,
    kernel: &'static Kernel,
    label: &str,
    shape: &ConvShape,
    [x, rows]: [&Tensor; 2],
) {
    let row = pad4(shape.kernel_height * shape.kernel_width * shape.input_channels);
    let params = Im2colParams {
        batch: shape.batch as u32,
        input_height: shape.input_height as u32,
        input_width: shape.input_width as u32,
        input_channels: shape.input_channels as u32,
        output_height: shape.output_height() as u32,
        output_width: shape.output_width() as u32,
        kernel_height: shape.kernel_height as u32,
        kernel_width: shape.kernel_width as u32,
        stride: shape.stride as u32,
        padding: shape.padding as u32,
        row_texels: (row / 4) as u32,
        x_base: x.base(),
        y_base: rows.base(),
        inverse_row_texels: 1.0 / (row / 4) as f32,
        inverse_output_width: 1.0 / shape.output_width() as f32,
        inverse_output_height: 1.0 / shape.output_height() as f32,
        inverse_input_channels: 1.0 / shape.input_channels as f32,
        inverse_kernel_width: 1.0 / shape.kernel_width as f32,
    };
    plan.dispatch(Dispatch {
        kernel,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[Write::New(rows)],
        schedule: false,
        grid: Grid::Threads(rows.texels()),
        flops: 0,
    });
}
