//! Max pooling over windows that do not overlap.

use super::entries;
use bytemuck::{Pod, Zeroable};

use crate::gpu::Kernel;
use crate::op::NOWHERE;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::{Tensor, pad4};

/// The geometry of a pooling layer. Rows and columns past the last whole window reach no output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Images.
    pub batch: usize,
    /// Pixels.
    pub input_height: usize,
    /// Pixels.
    pub input_width: usize,
    /// Logical channels.
    pub channels: usize,
    /// Pixels of a window's side, and between windows.
    pub size: usize,
}

impl PoolShape {
    /// The same layer for the images of a part of its input, of stored shape [`PoolShape::x`].
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
        let (height, width) = (self.input_height / self.size, self.input_width / self.size);
        [self.batch, height, width, pad4(self.channels)]
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PoolParams {
    batch: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    channels: u32,
    relu: u32,
    x_base: u32,
    y_base: u32,
    argmax_base: u32,
    inverse_channels: f32,
    inverse_windows_wide: f32,
    inverse_windows_high: f32,
}

impl PoolParams {
    fn new(shape: &PoolShape, x: &Tensor, y: &Tensor) -> Self {
        let [batch, output_height, output_width, channels] = shape.y();
        Self {
            batch: batch as u32,
            input_height: shape.input_height as u32,
            input_width: shape.input_width as u32,
            output_height: output_height as u32,
            output_width: output_width as u32,
            channels: (channels / 4) as u32,
            relu: 0,
            x_base: x.base(),
            y_base: y.base(),
            argmax_base: NOWHERE,
            inverse_channels: 1.0 / (channels / 4) as f32,
            inverse_windows_wide: 1.0 / output_width as f32,
            inverse_windows_high: 1.0 / output_height as f32,
        }
    }
}

/// y = the largest x of each window, and, in the same buffer, which of them that is: what the backward pass
/// needs. With `relu`, x came out of a ReLU, whose gradient the backward pass takes along.
pub fn max_pool_forward(
    recording: &mut Recording,
    label: &str,
    shape: &PoolShape,
    x: &Tensor,
    (y, argmax): (&Tensor, Option<&Tensor>),
    relu: bool,
) {
    let kernel = &entries::MAX_POOL_FORWARD;
    record_forward(recording, kernel, label, shape, x, (y, argmax, relu));
}

pub(super) fn record_forward(
    recording: &mut Recording,
    kernel: &'static Kernel,
    label: &str,
    shape: &PoolShape,
    x: &Tensor,
    (y, argmax, relu): (&Tensor, Option<&Tensor>, bool),
) {
    debug_assert!(argmax.is_none_or(|argmax| argmax.buffer.same(&y.buffer)));
    let params = PoolParams {
        relu: u32::from(relu),
        argmax_base: argmax.map_or(NOWHERE, Tensor::base),
        ..PoolParams::new(shape, x, y)
    };
    recording.dispatch(Dispatch {
        kernel,
        label,
        constants: &[("SIZE", shape.size as f64)],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[argmax.map_or(Write::New(y), |argmax| Write::Both(y, argmax))],
        schedule: false,
        grid: Grid::Threads(y.texels()),
        flops: x.len() as u64,
    });
}

/// d_x from d_y and what [`max_pool_forward`] or [`crate::op::conv_forward`] kept as argmax.
pub fn max_unpool(
    recording: &mut Recording,
    label: &str,
    shape: &PoolShape,
    [d_y, argmax]: [&Tensor; 2],
    d_x: &Tensor,
) {
    let rows = shape.input_height.div_ceil(shape.size);
    let columns = shape.input_width.div_ceil(shape.size);
    let params = PoolParams {
        argmax_base: argmax.base(),
        inverse_windows_wide: 1.0 / columns as f32,
        inverse_windows_high: 1.0 / rows as f32,
        ..PoolParams::new(shape, d_x, d_y)
    };
    recording.dispatch(Dispatch {
        kernel: &entries::MAX_UNPOOL,
        label,
        constants: &[("SIZE", shape.size as f64)],
        params: bytemuck::bytes_of(&params),
        reads: &[d_y, argmax],
        writes: &[Write::New(d_x)],
        schedule: false,
        grid: Grid::Threads(params.batch * (rows * columns) as u32 * params.channels),
        flops: d_x.len() as u64,
    });
}

/// [`max_pool_forward`] of integers.
pub fn packed_max_pool(
    recording: &mut Recording,
    label: &str,
    shape: &PoolShape,
    x: &Tensor,
    y: &Tensor,
) {
    record_forward(
        recording,
        &entries::PACKED_MAX_POOL,
        label,
        shape,
        x,
        (y, None, false),
    );
}
