//! Batch normalisation with its ReLU and a max pool over squares of 2 x 2 behind it. What lies between is never written:
//! each kernel finds anew which input of a square passes.

use bytemuck::{Pod, Zeroable};

use super::entries;
use super::kernels::{Share, matrix};
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormPoolForwardParams {
    count: u32,
    threads: u32,
    channels: u32,
    width: u32,
    inverse_channels: f32,
    inverse_half_width: f32,
    x_base: u32,
    statistics_base: u32,
    y_base: u32,
}

/// y (images, height / 2, width / 2, channels) is the largest of each square of what [`super::norm_forward`] makes of x (images,
/// height, width, channels) with a ReLU. Height and width are even.
pub fn norm_pool_forward(
    recording: &mut Recording,
    label: &str,
    [x, statistics]: [&Tensor; 2],
    width: usize,
    y: &Tensor,
) {
    let share = Share::of(y);
    let params = NormPoolForwardParams {
        count: y.texels(),
        threads: share.threads,
        channels: share.channels,
        width: width as u32,
        inverse_channels: 1.0 / share.channels as f32,
        inverse_half_width: 2.0 / width as f32,
        x_base: x.base(),
        statistics_base: statistics.base(),
        y_base: y.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_POOL_FORWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x, statistics],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(params.threads),
        flops: 4 * x.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormPoolBackwardSumsParams {
    rows: u32,
    channels: u32,
    splits: u32,
    rows_per_split: u32,
    width: u32,
    inverse_half_width: f32,
    x_base: u32,
    d_y_base: u32,
    statistics_base: u32,
    partial_base: u32,
}

/// [`super::norm_backward_sums`] over ranges of `rows_per_split` squares, d_y being the gradient of what the max pool gave.
pub fn norm_pool_backward_sums(
    recording: &mut Recording,
    label: &str,
    [x, d_y, statistics]: [&Tensor; 3],
    width: usize,
    rows_per_split: usize,
    partial: &Tensor,
) {
    let (rows, channels) = matrix(d_y);
    let params = NormPoolBackwardSumsParams {
        rows: rows as u32,
        channels: (channels / 4) as u32,
        splits: rows.div_ceil(rows_per_split) as u32,
        rows_per_split: rows_per_split as u32,
        width: width as u32,
        inverse_half_width: 2.0 / width as f32,
        x_base: x.base(),
        d_y_base: d_y.base(),
        statistics_base: statistics.base(),
        partial_base: partial.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_POOL_BACKWARD_SUMS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x, d_y, statistics],
        writes: &[Write::New(partial)],
        schedule: false,
        grid: Grid::Threads(params.splits * params.channels),
        flops: 5 * x.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormPoolBackwardParams {
    count: u32,
    threads: u32,
    channels: u32,
    width: u32,
    inverse_channels: f32,
    inverse_half_width: f32,
    x_base: u32,
    d_y_base: u32,
    statistics_base: u32,
    sums_base: u32,
    d_x_base: u32,
    inverse_rows: f32,
}

/// [`super::norm_backward`] from the gradient of what the max pool gave; `batch_rows` are pixels of the input.
pub fn norm_pool_backward(
    recording: &mut Recording,
    label: &str,
    [x, d_y, statistics, sums]: [&Tensor; 4],
    width: usize,
    batch_rows: usize,
    d_x: &Tensor,
) {
    let share = Share::of(d_y);
    let params = NormPoolBackwardParams {
        count: d_y.texels(),
        threads: share.threads,
        channels: share.channels,
        width: width as u32,
        inverse_channels: 1.0 / share.channels as f32,
        inverse_half_width: 2.0 / width as f32,
        x_base: x.base(),
        d_y_base: d_y.base(),
        statistics_base: statistics.base(),
        sums_base: sums.base(),
        d_x_base: d_x.base(),
        inverse_rows: 1.0 / batch_rows as f32,
    };
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_POOL_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x, d_y, statistics, sums],
        writes: &[Write::New(d_x)],
        schedule: false,
        grid: Grid::Threads(params.threads),
        flops: 8 * x.len() as u64,
    });
}
