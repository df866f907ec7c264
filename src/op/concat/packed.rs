//! Joining two activations of integers along their channels.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Kernel, Numbers};
use crate::kernels;
use crate::op::requantise;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::{Tensor, pad4};

/// The channels of two activations of integers.
pub static PACKED_CONCAT: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..kernels::elementwise(
        "packed_concat",
        "PackedConcatParams",
        include_str!("../../../shaders/concat/packed_concat.wgsl"),
        &[kernels::DIVIDE, kernels::REQUANTISE],
    )
};

/// The twin of `Params` in `shaders/concat/packed_concat.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackedConcatParams {
    count: u32,
    channels: u32,
    a_channels: u32,
    b_channels: u32,
    a_texels: u32,
    b_texels: u32,
    a_shift: i32,
    b_shift: i32,
    low: i32,
    high: i32,
    a_base: u32,
    b_base: u32,
    y_base: u32,
    inverse_channels: f32,
}

/// y = the channels of a, then those of b, of every pixel. Each number is limits(x >> shift), rounded half up, with
/// the shift of its input. A negative shift goes left.
///
/// An input is a tensor (pixels..., padded channels), its number of channels without padding, and its shift. The numbers
/// of channels need not be multiples of four. y is (pixels..., padded sum of channels), and its padding becomes
/// zero. The caller guarantees that nothing leaves 32 bits and that shifts are below 32.
pub fn packed_concat(
    recording: &mut Recording,
    label: &str,
    [a, b]: [(&Tensor, usize, i32); 2],
    limits: [i32; 2],
    y: &Tensor,
) {
    let ((a, a_channels, a_shift), (b, b_channels, b_shift)) = (a, b);
    requantise::check(&[a_shift, b_shift], limits);
    let texels = pad4(a_channels + b_channels) / 4;
    let params = PackedConcatParams {
        count: y.texels(),
        channels: texels as u32,
        a_channels: a_channels as u32,
        b_channels: b_channels as u32,
        a_texels: (pad4(a_channels) / 4) as u32,
        b_texels: (pad4(b_channels) / 4) as u32,
        a_shift,
        b_shift,
        low: limits[0],
        high: limits[1],
        a_base: a.base(),
        b_base: b.base(),
        y_base: y.base(),
        inverse_channels: 1.0 / texels as f32,
    };
    recording.dispatch(Dispatch {
        kernel: &PACKED_CONCAT,
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
