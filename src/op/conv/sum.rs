//! Sums of partial results.

use super::entries;
use bytemuck::{Pod, Zeroable};

use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SumParams {
    count: u32,
    splits: u32,
    partial_base: u32,
    total_base: u32,
}

/// total = the sum of `partial` (splits, total...) over its splits, in their order.
pub fn sum_partials(plan: &mut Recording, label: &str, partial: &Tensor, total: &Tensor) {
    let splits = partial.len() / total.len();
    let params = SumParams {
        count: total.texels(),
        splits: splits as u32,
        partial_base: partial.base(),
        total_base: total.base(),
    };
    plan.dispatch(Dispatch {
        kernel: &entries::SUM_PARTIALS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[partial],
        writes: &[Write::New(total)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: (splits * total.len()) as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SumSplitsParams {
    count: u32,
    splits: u32,
    channels: u32,
    partial_base: u32,
    bias_base: u32,
    x_base: u32,
    total_base: u32,
}

/// What becomes of the sum of the products of a split depth.
#[derive(Clone, Copy, Default)]
pub struct SplitSums<'a> {
    /// Is added to each position: (channels).
    pub bias: Option<&'a Tensor>,
    /// Whether a ReLU follows.
    pub relu: bool,
    /// Of the same shape: where it is not positive, the result is zero.
    pub mask: Option<&'a Tensor>,
}

/// total = the sum of `partial` (splits, total...) over its splits, in their order, then what `how` says.
pub fn sum_splits(
    plan: &mut Recording,
    label: &str,
    partial: &Tensor,
    how: SplitSums<'_>,
    total: &Tensor,
) {
    let splits = partial.len() / total.len();
    let base = |tensor: Option<&Tensor>| tensor.map_or(0, Tensor::base);
    let params = SumSplitsParams {
        count: total.texels(),
        splits: splits as u32,
        channels: how
            .bias
            .map_or(1, |_| (total.shape[total.shape.len() - 1] / 4) as u32),
        partial_base: partial.base(),
        bias_base: base(how.bias),
        x_base: base(how.mask),
        total_base: total.base(),
    };
    let constants = [
        ("BIAS", f64::from(how.bias.is_some())),
        ("RELU", f64::from(how.relu)),
        ("MASK", f64::from(how.mask.is_some())),
    ];
    plan.dispatch(Dispatch {
        kernel: &entries::SUM_SPLITS,
        label,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        // The pipeline's layout names every binding in the text.
        reads: &[
            partial,
            how.bias.unwrap_or(partial),
            how.mask.unwrap_or(partial),
        ],
        writes: &[Write::New(total)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: (splits * total.len()) as u64,
    });
}
