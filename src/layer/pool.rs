//! Max pooling over windows that do not overlap.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Dispatch, Grid, Kernel, PlanBuilder, Write};
use crate::kernels;
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
    d_x_base: u32,
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
            d_x_base: 0,
            inverse_channels: 1.0 / (channels / 4) as f32,
            inverse_windows_wide: 1.0 / output_width as f32,
            inverse_windows_high: 1.0 / output_height as f32,
        }
    }
}

/// y = the largest x of each window.
pub fn max_pool_forward(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    shape: &PoolShape,
    x: &Tensor,
    y: &Tensor,
) {
    record_forward(plan, &kernels::MAX_POOL_FORWARD, label, shape, [x, y]);
}

pub(super) fn record_forward(
    plan: &mut PlanBuilder<'_>,
    kernel: &'static Kernel,
    label: &str,
    shape: &PoolShape,
    [x, y]: [&Tensor; 2],
) {
    plan.dispatch(Dispatch {
        kernel,
        label,
        constants: &[("SIZE", shape.size as f64)],
        params: bytemuck::bytes_of(&PoolParams::new(shape, x, y)),
        reads: &[x],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(y.texels()),
        flops: x.len() as u64,
    });
}

/// d_x from x and d_y; with `relu`, x came out of a ReLU and d_x is the gradient before it.
pub fn max_pool_backward(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    shape: &PoolShape,
    [x, d_y]: [&Tensor; 2],
    relu: bool,
    d_x: &Tensor,
) {
    let rows = shape.input_height.div_ceil(shape.size);
    let columns = shape.input_width.div_ceil(shape.size);
    let params = PoolParams {
        relu: u32::from(relu),
        d_x_base: d_x.base(),
        inverse_windows_wide: 1.0 / columns as f32,
        inverse_windows_high: 1.0 / rows as f32,
        ..PoolParams::new(shape, x, d_y)
    };
    plan.dispatch(Dispatch {
        kernel: &kernels::MAX_POOL_BACKWARD,
        label,
        constants: &[("SIZE", shape.size as f64)],
        params: bytemuck::bytes_of(&params),
        reads: &[x, d_y],
        writes: &[Write::New(d_x)],
        schedule: false,
        grid: Grid::Threads(params.batch * (rows * columns) as u32 * params.channels),
        flops: x.len() as u64,
    });
}
