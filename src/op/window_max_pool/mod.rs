//! Max pooling over windows that may overlap and reach across the edge of the image.
//!
//! Windows that do neither are the matter of [`crate::op::max_pool_forward`], which is faster.

pub(crate) mod cases;
pub mod reference;

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

use super::Folder;

pub use packed::{PACKED_WINDOW_MAX_POOL, packed_window_max_pool};

use super::WindowShape;
use super::window_shape::{Side, WindowParams};
use crate::gpu::Kernel;
use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

pub(super) const FOLDER: Folder = Folder {
    kernels: &[
        &WINDOW_MAX_POOL_FORWARD,
        &WINDOW_MAX_POOL_ARGMAX,
        &WINDOW_MAX_POOL_BACKWARD,
        &PACKED_WINDOW_MAX_POOL,
    ],
    cases: &[cases::cases, packed_cases::cases],
};

const WINDOW_SHAPE: &str = include_str!("../../../shaders/shared/window_shape.wgsl");
const ARGMAX_KEPT: &str = include_str!("../../../shaders/shared/argmax_kept.wgsl");
const ARGMAX_DROPPED: &str = include_str!("../../../shaders/shared/argmax_dropped.wgsl");

const fn forward(shared: &'static [&'static str]) -> Kernel {
    kernels::elementwise(
        "window_max_pool_forward",
        "WindowParams",
        include_str!("../../../shaders/window_max_pool/window_max_pool_forward.wgsl"),
        shared,
    )
}

/// Largest of each window.
pub static WINDOW_MAX_POOL_FORWARD: Kernel =
    forward(&[ARGMAX_DROPPED, WINDOW_SHAPE, kernels::DIVIDE]);
/// Largest of each window, and which of them that is.
pub static WINDOW_MAX_POOL_ARGMAX: Kernel = forward(&[ARGMAX_KEPT, WINDOW_SHAPE, kernels::DIVIDE]);
/// Gradient of a max pool.
pub static WINDOW_MAX_POOL_BACKWARD: Kernel = kernels::elementwise(
    "window_max_pool_backward",
    "WindowParams",
    include_str!("../../../shaders/window_max_pool/window_max_pool_backward.wgsl"),
    &[WINDOW_SHAPE, kernels::DIVIDE],
);

/// y = the largest x of each window; pixels outside the image never win. The padding must be smaller than the
/// window, so that every window holds a pixel of the image.
///
/// `argmax` is what the backward pass needs, a tensor of the shape of y in another buffer: the number
/// row · window width + column of the first largest x within its window.
pub fn window_max_pool_forward(
    recording: &mut Recording,
    label: &str,
    shape: &WindowShape,
    x: &Tensor,
    y: &Tensor,
    argmax: Option<&Tensor>,
) {
    debug_assert!((0..2).all(|axis| shape.padding[axis] < shape.window[axis]));
    let params = WindowParams {
        x_base: x.base(),
        y_base: y.base(),
        argmax_base: argmax.map_or(0, Tensor::base),
        ..WindowParams::new(shape, Side::Output)
    };
    let (kernel, writes) = match argmax {
        None => (&WINDOW_MAX_POOL_FORWARD, vec![Write::New(y)]),
        Some(argmax) => (
            &WINDOW_MAX_POOL_ARGMAX,
            vec![Write::New(y), Write::New(argmax)],
        ),
    };
    recording.dispatch(Dispatch {
        kernel,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &writes,
        schedule: false,
        grid: Grid::Threads(y.texels()),
        flops: shape.reads(),
    });
}

/// d_x = the sum of d_y over the windows in which an input won, from what [`window_max_pool_forward`] wrote as
/// `argmax`.
pub fn window_max_pool_backward(
    recording: &mut Recording,
    label: &str,
    shape: &WindowShape,
    [d_y, argmax]: [&Tensor; 2],
    d_x: &Tensor,
) {
    let params = WindowParams {
        x_base: d_x.base(),
        y_base: d_y.base(),
        argmax_base: argmax.base(),
        ..WindowParams::new(shape, Side::Input)
    };
    recording.dispatch(Dispatch {
        kernel: &WINDOW_MAX_POOL_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[d_y, argmax],
        writes: &[Write::New(d_x)],
        schedule: false,
        grid: Grid::Threads(d_x.texels()),
        flops: shape.reads(),
    });
}
