//! Concatenation of channels, and its gradient. Channel counts need not be multiples of four.

pub(crate) mod cases;
pub mod reference;

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

pub use packed::{PACKED_CONCAT, packed_concat};

mod integers;
mod operation;
mod plain;

use super::Folder;

pub use operation::Concat;

use bytemuck::{Pod, Zeroable};

use crate::gpu::Kernel;
use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

pub(super) const FOLDER: Folder = Folder {
    kernels: &[&CONCAT, &CHANNELS, &PACKED_CONCAT],
    cases: &[cases::cases, packed_cases::cases],
};

const FOLLOWING: &str = include_str!("../../../shaders/shared/following.wgsl");

/// The channels of two tensors, one after the other.
pub static CONCAT: Kernel = kernels::elementwise(
    "concat",
    "ConcatParams",
    include_str!("../../../shaders/concat/concat.wgsl"),
    &[FOLLOWING, kernels::DIVIDE],
);
/// Some neighbouring channels of a tensor.
pub static CHANNELS: Kernel = kernels::elementwise(
    "channels",
    "ChannelsParams",
    include_str!("../../../shaders/concat/channels.wgsl"),
    &[FOLLOWING, kernels::DIVIDE],
);

/// Texels of the last axis.
fn row_texels(tensor: &Tensor) -> usize {
    tensor.shape[tensor.shape.len() - 1] / 4
}

/// The twin of `Params` in `shaders/concat/concat.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ConcatParams {
    count: u32,
    a_channels: u32,
    b_channels: u32,
    a_texels: u32,
    b_texels: u32,
    y_texels: u32,
    a_base: u32,
    b_base: u32,
    y_base: u32,
    inverse_y_texels: f32,
}

/// y = the channels of `a`, then those of `b`. Each input comes with its number of channels without padding; all
/// tensors are stored as (..., padded channels) with the same pixels. The padding of y is zero.
///
/// More than two inputs are joined two at a time.
pub fn concat(
    recording: &mut Recording,
    label: &str,
    [(a, a_channels), (b, b_channels)]: [(&Tensor, usize); 2],
    y: &Tensor,
) {
    let params = ConcatParams {
        count: y.texels(),
        a_channels: a_channels as u32,
        b_channels: b_channels as u32,
        a_texels: row_texels(a) as u32,
        b_texels: row_texels(b) as u32,
        y_texels: row_texels(y) as u32,
        a_base: a.base(),
        b_base: b.base(),
        y_base: y.base(),
        inverse_y_texels: 1.0 / row_texels(y) as f32,
    };
    recording.dispatch(Dispatch {
        kernel: &CONCAT,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[a, b],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: 0,
    });
}

/// The twin of `Params` in `shaders/concat/channels.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ChannelsParams {
    count: u32,
    first: u32,
    channels: u32,
    x_texels: u32,
    y_texels: u32,
    x_base: u32,
    y_base: u32,
    inverse_y_texels: f32,
}

/// y = the channels `first` to `first` + `count` - 1 of x. Both tensors are stored as (..., padded channels) with
/// the same pixels. The padding of y is zero.
///
/// The gradient of an input of [`concat`](fn@concat) is its channels of the gradient of y.
pub fn channels(
    recording: &mut Recording,
    label: &str,
    x: &Tensor,
    (first, count): (usize, usize),
    y: &Tensor,
) {
    let params = ChannelsParams {
        count: y.texels(),
        first: first as u32,
        channels: count as u32,
        x_texels: row_texels(x) as u32,
        y_texels: row_texels(y) as u32,
        x_base: x.base(),
        y_base: y.base(),
        inverse_y_texels: 1.0 / row_texels(y) as f32,
    };
    recording.dispatch(Dispatch {
        kernel: &CHANNELS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: 0,
    });
}
