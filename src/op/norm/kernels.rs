//! Batch normalisation (Ioffe, Szegedy 2015), with its ReLU.
//!
//! In the low-precision network the factor γ/σ is rounded to a power of two. Its
//! gradient passes straight through in the logarithm, as the quantiser's does: with
//! ratio = 2^round(log2 |γ/σ|) / |γ/σ| held constant, LP is a normalisation whose γ is γ · ratio.

use super::entries;
use bytemuck::{Pod, Zeroable};

use crate::gpu::{Path, WORKGROUP};
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// Added to the variance.
pub const NORM_EPSILON: f64 = 1e-5;
/// Share of a new batch in the running statistics.
pub const NORM_MOMENTUM: f64 = 0.1;
/// Rows of the block that `shaders/shared/norm.wgsl` describes.
pub const NORM_STATISTICS: usize = 5;

/// Rows of `pixels` pixels each that are summed in one range on devices of `path`. Where the rows of a batch lie in parts of `part`
/// rows, no range reaches into a second part.
pub fn norm_range(path: Path, rows: usize, part: usize, pixels: usize) -> usize {
    let ranges = path.backend().row_ranges;
    let least = ranges.least.div_ceil(pixels);
    let wanted = rows.div_ceil(rows.div_ceil(least).min(ranges.most));
    match part < rows {
        true => (wanted.min(part)..part)
            .find(|range| part.is_multiple_of(*range))
            .unwrap_or(part),
        false => wanted,
    }
}

/// (rows, stored channels) of a tensor whose last axis is channels.
pub(super) fn matrix(tensor: &Tensor) -> (usize, usize) {
    let channels = tensor.shape[tensor.shape.len() - 1];
    (tensor.len() / channels, channels)
}

/// The value of the shaders' constant `TOGETHER` for so many ranges, and the threads that add them for so many texels of
/// channels, see `shaders/shared/ranges.wgsl`. As few as the threads of a workgroup are added in order everywhere.
fn adders(recording: &Recording, splits: u32, channels: u32) -> (f64, Grid) {
    match recording.path().backend().row_ranges.together && splits > WORKGROUP {
        true => (1.0, Grid::Threads(channels * WORKGROUP)),
        false => (0.0, Grid::Threads(channels)),
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormStatisticsParams {
    rows: u32,
    channels: u32,
    splits: u32,
    rows_per_split: u32,
    x_base: u32,
    partial_base: u32,
}

/// Mean and sum of squared differences of x (rows, channels) over ranges of `rows_per_split` rows:
/// `partial` is (splits, 2, channels).
pub fn norm_statistics(
    recording: &mut Recording,
    label: &str,
    x: &Tensor,
    rows_per_split: usize,
    partial: &Tensor,
) {
    let (rows, channels) = matrix(x);
    let params = NormStatisticsParams {
        rows: rows as u32,
        channels: (channels / 4) as u32,
        splits: rows.div_ceil(rows_per_split) as u32,
        rows_per_split: rows_per_split as u32,
        x_base: x.base(),
        partial_base: partial.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_STATISTICS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[Write::New(partial)],
        schedule: false,
        grid: Grid::Threads(params.splits * params.channels),
        flops: 6 * x.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormCombineParams {
    rows: u32,
    channels: u32,
    splits: u32,
    rows_per_split: u32,
    partial_base: u32,
    parameters_base: u32,
    statistics_base: u32,
    running_base: u32,
    epsilon: f32,
    momentum: f32,
    round: u32,
}

/// `statistics` (5, channels) of `rows` rows from `partial` (splits, 2, channels), with γ and β
/// in `parameters` (2, channels); moves `running` (2, channels) towards them. With `round` the
/// factor is a power of two.
pub fn norm_combine(
    recording: &mut Recording,
    label: &str,
    [partial, parameters]: [&Tensor; 2],
    (rows, rows_per_split): (usize, usize),
    round: bool,
    [statistics, running]: [&Tensor; 2],
) {
    let (_, channels) = matrix(parameters);
    let params = NormCombineParams {
        rows: rows as u32,
        channels: (channels / 4) as u32,
        splits: rows.div_ceil(rows_per_split) as u32,
        rows_per_split: rows_per_split as u32,
        partial_base: partial.base(),
        parameters_base: parameters.base(),
        statistics_base: statistics.base(),
        running_base: running.base(),
        epsilon: NORM_EPSILON as f32,
        momentum: NORM_MOMENTUM as f32,
        round: u32::from(round),
    };
    let (together, grid) = adders(recording, params.splits, params.channels);
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_COMBINE,
        label,
        constants: &[("TOGETHER", together)],
        params: bytemuck::bytes_of(&params),
        reads: &[partial, parameters],
        writes: &[Write::New(statistics), Write::Update(running)],
        schedule: false,
        grid,
        flops: 8 * partial.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormShardParams {
    rows: u32,
    channels: u32,
    splits: u32,
    rows_per_split: u32,
    partial_base: u32,
    parameters_base: u32,
    running_base: u32,
    statistics_base: u32,
    moments_base: u32,
    epsilon: f32,
    momentum: f32,
    round: u32,
}

/// `statistics` (5, channels) of the `rows` rows of a shard of a batch from `partial` (splits, 2, channels), with γ and β in
/// `parameters` (2, channels), and its `moments` (2, channels), of which [`norm_combine`] makes those of the batch.
/// `running` (2, channels) decides, together with them, which power of two a factor is with `round`.
pub fn norm_shard(
    recording: &mut Recording,
    label: &str,
    [partial, parameters, running]: [&Tensor; 3],
    (rows, rows_per_split): (usize, usize),
    round: bool,
    [statistics, moments]: [&Tensor; 2],
) {
    let (_, channels) = matrix(parameters);
    let params = NormShardParams {
        rows: rows as u32,
        channels: (channels / 4) as u32,
        splits: rows.div_ceil(rows_per_split) as u32,
        rows_per_split: rows_per_split as u32,
        partial_base: partial.base(),
        parameters_base: parameters.base(),
        running_base: running.base(),
        statistics_base: statistics.base(),
        moments_base: moments.base(),
        epsilon: NORM_EPSILON as f32,
        momentum: NORM_MOMENTUM as f32,
        round: u32::from(round),
    };
    let (together, grid) = adders(recording, params.splits, params.channels);
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_SHARD,
        label,
        constants: &[("TOGETHER", together)],
        params: bytemuck::bytes_of(&params),
        reads: &[partial, parameters, running],
        writes: &[Write::New(statistics), Write::New(moments)],
        schedule: false,
        grid,
        flops: 8 * partial.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormRunningParams {
    channels: u32,
    running_base: u32,
    parameters_base: u32,
    statistics_base: u32,
    epsilon: f32,
    round: u32,
}

/// `statistics` (5, channels) for a test, from the running ones and γ and β (2, channels).
pub fn norm_running(
    recording: &mut Recording,
    label: &str,
    [running, parameters]: [&Tensor; 2],
    round: bool,
    statistics: &Tensor,
) {
    let (_, channels) = matrix(parameters);
    let params = NormRunningParams {
        channels: (channels / 4) as u32,
        running_base: running.base(),
        parameters_base: parameters.base(),
        statistics_base: statistics.base(),
        epsilon: NORM_EPSILON as f32,
        round: u32::from(round),
    };
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_RUNNING,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[running, parameters],
        writes: &[Write::New(statistics)],
        schedule: false,
        grid: Grid::Threads(params.channels),
        flops: 8 * statistics.len() as u64,
    });
}

/// How threads share the texels of (rows, channels): each makes several of the same channels.
pub(super) struct Share {
    pub threads: u32,
    /// Texels of a row.
    pub channels: u32,
}

impl Share {
    pub fn of(x: &Tensor) -> Self {
        /// Texels for one thread: then what it reads of its channels is a small part of all.
        const MOST: usize = 8;
        /// Threads that keep a GPU busy.
        const WANTED: usize = 1 << 14;
        let (rows, channels) = matrix(x);
        let channels = channels / 4;
        let each = (rows * channels / WANTED).clamp(1, MOST);
        Self {
            threads: (rows.div_ceil(each) * channels) as u32,
            channels: channels as u32,
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormForwardParams {
    count: u32,
    threads: u32,
    channels: u32,
    inverse_channels: f32,
    relu: u32,
    x_base: u32,
    statistics_base: u32,
    y_base: u32,
}

/// y = (x - mean) factor + β, then ReLU when asked. x and y are (rows, channels).
pub fn norm_forward(
    recording: &mut Recording,
    label: &str,
    [x, statistics]: [&Tensor; 2],
    relu: bool,
    y: &Tensor,
) {
    let share = Share::of(x);
    let params = NormForwardParams {
        count: x.texels(),
        threads: share.threads,
        channels: share.channels,
        inverse_channels: 1.0 / share.channels as f32,
        relu: u32::from(relu),
        x_base: x.base(),
        statistics_base: statistics.base(),
        y_base: y.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_FORWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x, statistics],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(params.threads),
        flops: 3 * x.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormBackwardSumsParams {
    rows: u32,
    channels: u32,
    splits: u32,
    rows_per_split: u32,
    relu: u32,
    x_base: u32,
    d_y_base: u32,
    statistics_base: u32,
    partial_base: u32,
}

/// Sums of g and g (x - mean) / σ over ranges of `rows_per_split` rows, g being d_y before the ReLU:
/// `partial` is (splits, 2, channels).
pub fn norm_backward_sums(
    recording: &mut Recording,
    label: &str,
    [x, d_y, statistics]: [&Tensor; 3],
    relu: bool,
    rows_per_split: usize,
    partial: &Tensor,
) {
    let (rows, channels) = matrix(x);
    let params = NormBackwardSumsParams {
        rows: rows as u32,
        channels: (channels / 4) as u32,
        splits: rows.div_ceil(rows_per_split) as u32,
        rows_per_split: rows_per_split as u32,
        relu: u32::from(relu),
        x_base: x.base(),
        d_y_base: d_y.base(),
        statistics_base: statistics.base(),
        partial_base: partial.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_BACKWARD_SUMS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x, d_y, statistics],
        writes: &[Write::New(partial)],
        schedule: false,
        grid: Grid::Threads(params.splits * params.channels),
        flops: 6 * x.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormGradientsParams {
    channels: u32,
    splits: u32,
    partial_base: u32,
    statistics_base: u32,
    sums_base: u32,
    gradient_base: u32,
}

/// `sums` (2, channels) of `partial` (splits, 2, channels), and the gradients of γ and β
/// (2, channels). The schedule's `lambda_norm` draws γ to the one that a rounded factor stands for.
pub fn norm_gradients(
    recording: &mut Recording,
    label: &str,
    [partial, statistics]: [&Tensor; 2],
    splits: usize,
    [sums, gradients]: [&Tensor; 2],
) {
    let (_, channels) = matrix(gradients);
    let params = NormGradientsParams {
        channels: (channels / 4) as u32,
        splits: splits as u32,
        partial_base: partial.base(),
        statistics_base: statistics.base(),
        sums_base: sums.base(),
        gradient_base: gradients.base(),
    };
    let (together, grid) = adders(recording, params.splits, params.channels);
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_GRADIENTS,
        label,
        constants: &[("TOGETHER", together)],
        params: bytemuck::bytes_of(&params),
        reads: &[partial, statistics],
        writes: &[Write::New(sums), Write::New(gradients)],
        schedule: true,
        grid,
        flops: partial.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NormBackwardParams {
    count: u32,
    threads: u32,
    channels: u32,
    inverse_channels: f32,
    relu: u32,
    x_base: u32,
    d_y_base: u32,
    statistics_base: u32,
    sums_base: u32,
    d_x_base: u32,
    inverse_rows: f32,
}

/// d_x from x, d_y (rows, channels), the statistics and the sums of [`norm_gradients`], which are those of
/// `batch_rows` rows.
pub fn norm_backward(
    recording: &mut Recording,
    label: &str,
    [x, d_y, statistics, sums]: [&Tensor; 4],
    relu: bool,
    batch_rows: usize,
    d_x: &Tensor,
) {
    let share = Share::of(x);
    let params = NormBackwardParams {
        count: x.texels(),
        threads: share.threads,
        channels: share.channels,
        inverse_channels: 1.0 / share.channels as f32,
        relu: u32::from(relu),
        x_base: x.base(),
        d_y_base: d_y.base(),
        statistics_base: statistics.base(),
        sums_base: sums.base(),
        d_x_base: d_x.base(),
        inverse_rows: 1.0 / batch_rows as f32,
    };
    recording.dispatch(Dispatch {
        kernel: &entries::NORM_BACKWARD,
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
