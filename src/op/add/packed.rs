//! The sum of two activations of different units, in integers.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Kernel, Numbers};
use crate::kernels;
use crate::op::requantise;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// The sum of two activations of integers.
pub static PACKED_ADD: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..kernels::elementwise(
        "packed_add",
        "PackedAddParams",
        include_str!("../../../shaders/add/packed_add.wgsl"),
        &[kernels::REQUANTISE],
    )
};

/// The twin of `Params` in `shaders/add/packed_add.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackedAddParams {
    count: u32,
    up_a: u32,
    up_b: u32,
    shift: i32,
    low: i32,
    high: i32,
    a_base: u32,
    b_base: u32,
    y_base: u32,
}

/// y = limits(((a << ups\[0\]) + (b << ups\[1\])) >> shift), rounded half up. A negative shift goes left.
///
/// All tensors have one shape. The caller guarantees that nothing leaves 32 bits, that shifts are below 32, and that
/// the limits contain zero: the padding of channels then stays zero.
pub fn packed_add(
    recording: &mut Recording,
    label: &str,
    [a, b]: [&Tensor; 2],
    ups: [u32; 2],
    shift: i32,
    limits: [i32; 2],
    y: &Tensor,
) {
    requantise::check(&[shift], limits);
    let params = PackedAddParams {
        count: y.texels(),
        up_a: ups[0],
        up_b: ups[1],
        shift,
        low: limits[0],
        high: limits[1],
        a_base: a.base(),
        b_base: b.base(),
        y_base: y.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &PACKED_ADD,
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
