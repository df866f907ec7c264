//! ReLU, clips and leaky ReLU of integers.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Kernel, Numbers};
use crate::kernels;
use crate::op::requantise;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// A function of single integers.
pub static PACKED_ACTIVATION: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..kernels::elementwise(
        "packed_activation",
        "PackedActivationParams",
        include_str!("../../../shaders/activation/packed_activation.wgsl"),
        &[kernels::REQUANTISE],
    )
};

/// The twin of `Params` in `shaders/activation/packed_activation.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackedActivationParams {
    count: u32,
    leak: u32,
    shift: i32,
    low: i32,
    high: i32,
    x_base: u32,
    y_base: u32,
}

/// y = limits((if x < 0 { x } else { x << leak }) >> shift), rounded half up. A negative shift goes left.
///
/// With `leak` 0 and a lower limit of 0 it is a ReLU, and the upper limit may clip, as that of ReLU6 does. With
/// `leak` k it is a leaky ReLU of slope 2^-k, whose values before the shift are in units 2^k times finer than those of
/// x: `shift` then contains k.
///
/// x and y have one shape. The caller guarantees that nothing leaves 32 bits, that shifts are below 32, and that the
/// limits contain zero: the padding of channels then stays zero.
pub fn packed_activation(
    recording: &mut Recording,
    label: &str,
    x: &Tensor,
    leak: u32,
    shift: i32,
    limits: [i32; 2],
    y: &Tensor,
) {
    requantise::check(&[shift], limits);
    let params = PackedActivationParams {
        count: y.texels(),
        leak,
        shift,
        low: limits[0],
        high: limits[1],
        x_base: x.base(),
        y_base: y.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &PACKED_ACTIVATION,
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
