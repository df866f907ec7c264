//! Shifted copies: how a layer over one or three channels reads its windows without a row for each.

use super::entries;
use bytemuck::{Pod, Zeroable};

use super::ConvShape;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ShiftsParams {
    batch: u32,
    height: u32,
    width: u32,
    channels: u32,
    rows: u32,
    texels: u32,
    padding_rows: u32,
    padding_columns: u32,
    count: u32,
    x_texels: u32,
    x_base: u32,
    y_base: u32,
    inverse_rows: f32,
    inverse_texels: f32,
    inverse_channels: f32,
}

impl ConvShape {
    /// Whether [`shifts`] can lay out its input: neighbouring outputs read neighbouring pixels, and
    /// outputs come in squares of 2 x 2.
    pub fn has_shifts(&self) -> bool {
        let sides = [self.output_height(), self.output_width()];
        self.stride == 1 && sides.iter().all(|side| side.is_multiple_of(2))
    }

    /// Stored shape of what [`shifts`] makes: (batch, copies, rows, row), a row of texels of 2 x 2 pixels.
    pub fn shifts(&self) -> [usize; 4] {
        let texels = self.output_width() / 2 + (self.kernel_width - 1) / 2;
        let rows = self.output_height() / 2 + (self.kernel_height - 1) / 2;
        [self.batch, 4 * self.input_channels, rows, 4 * texels]
    }
}

/// Four copies of every channel of x (batch, height, width, channels), channels not padded.
pub fn shifts(recording: &mut Recording, label: &str, shape: &ConvShape, x: &Tensor, y: &Tensor) {
    let [batch, _, rows, row] = shape.shifts();
    let (channels, texels) = (shape.input_channels, row / 4);
    let params = ShiftsParams {
        batch: batch as u32,
        height: shape.input_height as u32,
        width: shape.input_width as u32,
        channels: channels as u32,
        rows: rows as u32,
        texels: texels as u32,
        padding_rows: shape.padding[0] as u32,
        padding_columns: shape.padding[1] as u32,
        count: y.texels() / 4,
        x_texels: x.texels(),
        x_base: x.base(),
        y_base: y.base(),
        inverse_rows: 1.0 / rows as f32,
        inverse_texels: 1.0 / texels as f32,
        inverse_channels: 1.0 / channels as f32,
    };
    recording.dispatch(Dispatch {
        kernel: &entries::SHIFTS,
        label,
        constants: &[("CHANNELS", channels as f64)],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: 0,
    });
}
