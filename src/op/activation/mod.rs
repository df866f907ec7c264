//! Activation functions made of straight lines: ReLU, ReLU6, leaky ReLU.

pub(crate) mod cases;
pub mod reference;

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

pub use packed::{PACKED_ACTIVATION, packed_activation};

mod integers;
mod operation;
mod plain;
mod relu;

use super::Folder;

pub use operation::{Activation, Kind};
pub(in crate::op) use operation::{WORDS, contract, expand, relu_backward_apart};
pub use relu::{RELU_BACKWARD, relu_backward};

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Kernel, ReadsTextures};
use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

pub(super) const FOLDER: Folder = Folder {
    kernels: &[
        &ACTIVATION_FORWARD,
        &ACTIVATION_BACKWARD,
        &RELU_BACKWARD,
        &PACKED_ACTIVATION,
    ],
    cases: &[cases::cases, packed_cases::cases],
};

/// y from x.
pub static ACTIVATION_FORWARD: Kernel = Kernel {
    textures: ReadsTextures::Never,
    ..kernels::elementwise(
        "activation_forward",
        "ActivationForwardParams",
        include_str!("../../../shaders/activation/activation_forward.wgsl"),
        &[],
    )
};
/// Gradient of x.
pub static ACTIVATION_BACKWARD: Kernel = Kernel {
    textures: ReadsTextures::Never,
    ..kernels::elementwise(
        "activation_backward",
        "ActivationBackwardParams",
        include_str!("../../../shaders/activation/activation_backward.wgsl"),
        &[],
    )
};

/// An activation function: y = slope · x where x is negative, the ceiling where x is above it, x elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activate {
    /// Slope of the negative half.
    pub slope: f32,
    /// The largest y; positive.
    pub ceiling: f32,
}

impl Activate {
    /// y = max(x, 0).
    pub const RELU: Self = Self {
        slope: 0.0,
        ceiling: f32::MAX,
    };
    /// y = min(max(x, 0), 6), as MobileNet uses it.
    pub const RELU6: Self = Self {
        slope: 0.0,
        ceiling: 6.0,
    };

    /// Leaky ReLU with the slope 2^-k in the negative half, so that an integer shifts right by k there.
    pub fn leaky(k: u32) -> Self {
        Self {
            slope: (-f64::from(k)).exp2() as f32,
            ceiling: f32::MAX,
        }
    }
}

/// The twin of `Params` in `shaders/activation/activation_forward.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ActivationForwardParams {
    count: u32,
    slope: f32,
    ceiling: f32,
    x_base: u32,
    y_base: u32,
}

/// y = the activation of x. Both have one shape.
pub fn activation_forward(
    recording: &mut Recording,
    label: &str,
    activate: &Activate,
    x: &Tensor,
    y: &Tensor,
) {
    debug_assert_eq!(x.len(), y.len());
    let params = ActivationForwardParams {
        count: y.texels(),
        slope: activate.slope,
        ceiling: activate.ceiling,
        x_base: x.base(),
        y_base: y.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &ACTIVATION_FORWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: y.len() as u64,
    });
}

/// The twin of `Params` in `shaders/activation/activation_backward.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ActivationBackwardParams {
    count: u32,
    slope: f32,
    ceiling: f32,
    x_base: u32,
    d_y_base: u32,
    d_x_base: u32,
}

/// d_x = d_y times the slope of the activation at its input x: at x = 0 the slope of the negative half, at the
/// ceiling 0. All three have one shape.
pub fn activation_backward(
    recording: &mut Recording,
    label: &str,
    activate: &Activate,
    [x, d_y]: [&Tensor; 2],
    d_x: &Tensor,
) {
    debug_assert!(x.len() == d_y.len() && x.len() == d_x.len());
    let params = ActivationBackwardParams {
        count: x.texels(),
        slope: activate.slope,
        ceiling: activate.ceiling,
        x_base: x.base(),
        d_y_base: d_y.base(),
        d_x_base: d_x.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &ACTIVATION_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x, d_y],
        writes: &[Write::New(d_x)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: x.len() as u64,
    });
}
