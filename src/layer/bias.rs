//! The gradient of a bias, and sums of partial results.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Dispatch, Grid, PlanBuilder, Write};
use crate::kernels;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct BiasParams {
    rows: u32,
    channels: u32,
    splits: u32,
    rows_per_split: u32,
    d_y_base: u32,
    partial_base: u32,
}

/// Ranges that `rows` are summed in: about 64 rows each, so that long sums spread over threads, or one where
/// that is less work than adding up two.
pub fn bias_splits(rows: usize) -> usize {
    match rows {
        0..=128 => 1,
        _ => rows.div_ceil(64),
    }
}

/// Partial sums of d_y (rows, channels) over ranges of rows: `partial` is (splits, channels).
pub fn bias_backward(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    d_y: &Tensor,
    splits: usize,
    partial: &Tensor,
) {
    let channels = d_y.shape[d_y.shape.len() - 1];
    let rows = d_y.len() / channels;
    let params = BiasParams {
        rows: rows as u32,
        channels: (channels / 4) as u32,
        splits: splits as u32,
        rows_per_split: rows.div_ceil(splits) as u32,
        d_y_base: d_y.base(),
        partial_base: partial.base(),
    };
    plan.dispatch(Dispatch {
        kernel: &kernels::BIAS_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[d_y],
        writes: &[Write::New(partial)],
        schedule: false,
        grid: Grid::Threads(params.splits * params.channels),
        flops: d_y.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SumParams {
    count: u32,
    splits: u32,
    partial_base: u32,
    total_base: u32,
}

/// total = the sum of `partial` (splits, total...) over its splits, in their order; with
/// `accumulate` added to what total held.
pub fn sum_partials(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    partial: &Tensor,
    accumulate: bool,
    total: &Tensor,
) {
    let splits = partial.len() / total.len();
    let params = SumParams {
        count: total.texels(),
        splits: splits as u32,
        partial_base: partial.base(),
        total_base: total.base(),
    };
    plan.dispatch(Dispatch {
        kernel: &kernels::SUM_PARTIALS,
        label,
        constants: &[("ACCUMULATE", f64::from(u8::from(accumulate)))],
        params: bytemuck::bytes_of(&params),
        reads: &[partial],
        // Bound for updating either way: the pipeline's layout names every binding in the text.
        writes: &[Write::Update(total)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: (splits * total.len()) as u64,
    });
}
