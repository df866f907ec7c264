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
