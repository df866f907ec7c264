//! Dropout (Srivastava et al. 2014): while training, numbers are set to zero at random and the others are scaled up,
//! so that the mean stays. In tests a network leaves it out.

pub(crate) mod cases;
pub mod reference;

mod operation;
mod plain;

use super::Folder;

pub use operation::Dropout;

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Kernel, ReadsTextures};
use crate::kernels;
use crate::op::Counter;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

pub(super) const FOLDER: Folder = Folder {
    kernels: &[&DROPOUT],
    cases: &[cases::cases],
};

/// y = x with numbers left out.
pub static DROPOUT: Kernel = Kernel {
    textures: ReadsTextures::Never,
    ..kernels::elementwise(
        "dropout",
        "DropoutParams",
        include_str!("../../../shaders/dropout/dropout.wgsl"),
        &[kernels::PHILOX_BITS, kernels::SCHEDULE],
    )
};

/// The twin of `Params` in `shaders/dropout/dropout.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct DropoutParams {
    count: u32,
    threshold: u32,
    scale: f32,
    x_base: u32,
    y_base: u32,
    counter_0: u32,
    counter_1: u32,
    counter_3: u32,
}

/// What random numbers of 24 bits must reach to let a number pass, and what it is multiplied by then.
fn threshold_and_scale(probability: f32) -> (u32, f32) {
    let threshold = (f64::from(probability.clamp(0.0, 1.0)) * f64::from(1 << 24)).round() as u32;
    let scale = match threshold {
        0x100_0000 => 0.0,
        _ => 1.0 / (1.0 - probability.clamp(0.0, 1.0)),
    };
    (threshold, scale)
}

/// y = x / (1 - `probability`), or 0 with that probability, from 0 to 1. Both tensors have one shape.
///
/// Which numbers are zero depends on the schedule's seed and step, on the counter and on the position. The gradient
/// is this function of d_y with the same probability and counter. Every node needs a counter of its own; blocks
/// count up from `counter.first`, one for each texel.
pub fn dropout(
    recording: &mut Recording,
    label: &str,
    (probability, counter): (f32, Counter),
    x: &Tensor,
    y: &Tensor,
) {
    debug_assert_eq!(x.len(), y.len());
    let (threshold, scale) = threshold_and_scale(probability);
    let params = DropoutParams {
        count: y.texels(),
        threshold,
        scale,
        x_base: x.base(),
        y_base: y.base(),
        counter_0: counter.first,
        counter_1: counter.second,
        counter_3: counter.fourth,
    };
    recording.dispatch(Dispatch {
        kernel: &DROPOUT,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[Write::New(y)],
        schedule: true,
        grid: Grid::Threads(params.count),
        flops: y.len() as u64,
    });
}
