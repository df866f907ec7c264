//! Upsampling by whole factors, nearest neighbour: with a convolution after it, what a decoder uses
//! in the place of a transposed convolution (Odena et al. 2016).

use super::entries;
use bytemuck::{Pod, Zeroable};

use crate::gpu::Kernel;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::{Tensor, pad4};

/// The geometry of an upsampling layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpsampleShape {
    /// Images.
    pub batch: usize,
    /// Pixels.
    pub input_height: usize,
    /// Pixels.
    pub input_width: usize,
    /// Logical channels.
    pub channels: usize,
    /// Outputs for one input, in both directions.
    pub size: usize,
}

impl UpsampleShape {
    /// The same layer for the images of a part of its input, of stored shape [`UpsampleShape::x`].
    pub(crate) fn of_images(&self, x: &Tensor) -> Self {
        Self {
            batch: x.shape[0],
            ..*self
        }
    }

    /// Stored shape of x.
    pub fn x(&self) -> [usize; 4] {
        let channels = pad4(self.channels);
        [self.batch, self.input_height, self.input_width, channels]
    }

    /// Stored shape of y.
    pub fn y(&self) -> [usize; 4] {
        let [batch, height, width, channels] = self.x();
        [batch, height * self.size, width * self.size, channels]
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct UpsampleParams {
    batch: u32,
    input_height: u32,
    input_width: u32,
    channels: u32,
    size: u32,
    x_base: u32,
    y_base: u32,
    inverse_channels: f32,
    inverse_width: f32,
    inverse_height: f32,
    inverse_size: f32,
}

/// y = every x as a square of equal numbers.
pub fn upsample_forward(
    recording: &mut Recording,
    label: &str,
    shape: &UpsampleShape,
    x: &Tensor,
    y: &Tensor,
) {
    let kernel = &entries::UPSAMPLE_FORWARD;
    record(recording, kernel, label, shape, [x, y], [x, y]);
}

/// d_x = the sum of d_y over each square.
pub fn upsample_backward(
    recording: &mut Recording,
    label: &str,
    shape: &UpsampleShape,
    d_y: &Tensor,
    d_x: &Tensor,
) {
    let kernel = &entries::UPSAMPLE_BACKWARD;
    record(recording, kernel, label, shape, [d_x, d_y], [d_y, d_x]);
}

/// `sides` are what lies at the input's and at the output's side.
pub(super) fn record(
    recording: &mut Recording,
    kernel: &'static Kernel,
    label: &str,
    shape: &UpsampleShape,
    sides: [&Tensor; 2],
    [read, written]: [&Tensor; 2],
) {
    let counted = match std::ptr::eq(written, sides[0]) {
        true => shape.x(),
        false => shape.y(),
    };
    let inverse = |n: usize| 1.0 / n as f32;
    let params = UpsampleParams {
        batch: shape.batch as u32,
        input_height: shape.input_height as u32,
        input_width: shape.input_width as u32,
        channels: (counted[3] / 4) as u32,
        size: shape.size as u32,
        x_base: sides[0].base(),
        y_base: sides[1].base(),
        inverse_channels: inverse(counted[3] / 4),
        inverse_width: inverse(counted[2]),
        inverse_height: inverse(counted[1]),
        inverse_size: inverse(shape.size),
    };
    recording.dispatch(Dispatch {
        kernel,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[read],
        writes: &[Write::New(written)],
        schedule: false,
        grid: Grid::Threads(written.texels()),
        flops: read.len() as u64,
    });
}

/// [`upsample_forward`] of integers.
pub fn packed_upsample(
    recording: &mut Recording,
    label: &str,
    shape: &UpsampleShape,
    x: &Tensor,
    y: &Tensor,
) {
    let kernel = &entries::PACKED_UPSAMPLE;
    record(recording, kernel, label, shape, [x, y], [x, y]);
}
