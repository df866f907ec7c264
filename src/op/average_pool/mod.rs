//! Average pooling over windows, which may overlap, reach across the edge of the image, or be the whole image.

pub(crate) mod cases;
pub mod reference;

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

pub use packed::{PACKED_AVERAGE_POOL, packed_average_pool};

mod integers;
pub(crate) mod operation;
mod plain;

use super::Folder;

pub use operation::{AveragePool, GlobalAveragePool};

use super::WindowShape;
use super::window_shape::{Side, WindowParams};
use crate::gpu::Kernel;
use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

pub(super) const FOLDER: Folder = Folder {
    kernels: &[
        &AVERAGE_POOL_FORWARD,
        &AVERAGE_POOL_BACKWARD,
        &PACKED_AVERAGE_POOL,
    ],
    cases: &[cases::cases, packed_cases::cases],
};

const WINDOW_SHAPE: &str = include_str!("../../../shaders/shared/window_shape.wgsl");

/// Average of each window.
pub static AVERAGE_POOL_FORWARD: Kernel = kernels::elementwise(
    "average_pool_forward",
    "WindowParams",
    include_str!("../../../shaders/average_pool/average_pool_forward.wgsl"),
    &[WINDOW_SHAPE, kernels::DIVIDE],
);
/// Gradient of an average pool.
pub static AVERAGE_POOL_BACKWARD: Kernel = kernels::elementwise(
    "average_pool_backward",
    "WindowParams",
    include_str!("../../../shaders/average_pool/average_pool_backward.wgsl"),
    &[WINDOW_SHAPE, kernels::DIVIDE],
);

/// y = `factor` times the sum of each window of x; pixels outside the image count as zero. For an average the
/// factor is one over the pixels of a window, or the nearest power of two for integers that shift.
///
/// x and y are stored as [`WindowShape::x`] and [`WindowShape::y`] say.
pub fn average_pool_forward(
    recording: &mut Recording,
    label: &str,
    shape: &WindowShape,
    factor: f32,
    x: &Tensor,
    y: &Tensor,
) {
    let params = WindowParams {
        factor,
        x_base: x.base(),
        y_base: y.base(),
        ..WindowParams::new(shape, Side::Output)
    };
    recording.dispatch(Dispatch {
        kernel: &AVERAGE_POOL_FORWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(y.texels()),
        flops: shape.reads(),
    });
}

/// d_x = `factor` times the sum of d_y over the windows that hold an input. The factor is that of
/// [`average_pool_forward`].
pub fn average_pool_backward(
    recording: &mut Recording,
    label: &str,
    shape: &WindowShape,
    factor: f32,
    d_y: &Tensor,
    d_x: &Tensor,
) {
    let params = WindowParams {
        factor,
        x_base: d_x.base(),
        y_base: d_y.base(),
        ..WindowParams::new(shape, Side::Input)
    };
    recording.dispatch(Dispatch {
        kernel: &AVERAGE_POOL_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[d_y],
        writes: &[Write::New(d_x)],
        schedule: false,
        grid: Grid::Threads(d_x.texels()),
        flops: shape.reads(),
    });
}
