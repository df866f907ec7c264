//! The sum of two tensors of one shape: where the branches of a residual network meet, and where two gradients
//! of one value do.

pub(crate) mod cases;
pub mod reference;

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

pub use packed::{PACKED_ADD, packed_add};

mod integers;
mod operation;
mod plain;

use super::Folder;

pub use operation::Add;

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Kernel, ReadsTextures};
use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

pub(super) const FOLDER: Folder = Folder {
    kernels: &[&ADD, &PACKED_ADD],
    cases: &[cases::cases, packed_cases::cases],
};

/// y = a + b, then optionally ReLU.
pub static ADD: Kernel = Kernel {
    textures: ReadsTextures::Never,
    ..kernels::elementwise(
        "add",
        "AddParams",
        include_str!("../../../shaders/add/add.wgsl"),
        &[],
    )
};

/// The twin of `Params` in `shaders/add/add.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct AddParams {
    count: u32,
    relu: u32,
    a_base: u32,
    b_base: u32,
    y_base: u32,
}

/// y = a + b; with `relu`, y = max(a + b, 0). All three tensors have one shape; y lies in another buffer than
/// a and b.
///
/// The gradient of a and of b is that of y. With `relu`, [`crate::op::relu_backward`] turns d_y into it.
pub fn add(recording: &mut Recording, label: &str, [a, b]: [&Tensor; 2], relu: bool, y: &Tensor) {
    debug_assert!(a.len() == y.len() && b.len() == y.len());
    let params = AddParams {
        count: y.texels(),
        relu: u32::from(relu),
        a_base: a.base(),
        b_base: b.base(),
        y_base: y.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &ADD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[a, b],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: y.len() as u64,
    });
}
