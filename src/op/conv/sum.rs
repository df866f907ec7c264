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
    channels: u32,
    partial_base: u32,
    bias_base: u32,
    x_base: u32,
    total_base: u32,
}

/// What becomes of a sum: what the epilogue of a product does that is not cut along its depth.
#[derive(Clone, Copy, Default)]
pub struct SumEpilogue<'a> {
    /// Is added to each position: (channels), the last axis of the total.
    pub bias: Option<&'a Tensor>,
    /// Whether a ReLU follows.
    pub relu: bool,
    /// Of the total's shape: where it is not positive, the result is zero.
    pub mask: Option<&'a Tensor>,
}

/// total = the sum of `partial` (splits, total...) over its splits, in their order.
pub fn sum_partials(recording: &mut Recording, label: &str, partial: &Tensor, total: &Tensor) {
    sum_partials_then(recording, label, partial, SumEpilogue::default(), total);
}

/// [`sum_partials`], then the epilogue.
pub fn sum_partials_then(
    recording: &mut Recording,
    label: &str,
    partial: &Tensor,
    epilogue: SumEpilogue<'_>,
    total: &Tensor,
) {
    let SumEpilogue { bias, relu, mask } = epilogue;
    let splits = partial.len() / total.len();
    let base = |tensor: Option<&Tensor>| tensor.map_or(0, Tensor::base);
    let params = SumParams {
        count: total.texels(),
        splits: splits as u32,
        channels: bias.map_or(1, Tensor::texels),
        partial_base: partial.base(),
        bias_base: base(bias),
        x_base: base(mask),
        total_base: total.base(),
    };
    let constants = [
        ("BIAS", f64::from(bias.is_some())),
        ("RELU", f64::from(relu)),
        ("MASK", f64::from(mask.is_some())),
    ];
    recording.dispatch(Dispatch {
        kernel: &entries::SUM_PARTIALS,
        label,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        // The pipeline's layout names every binding in the text.
        reads: &[partial, bias.unwrap_or(partial), mask.unwrap_or(partial)],
        writes: &[Write::New(total)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: (splits * total.len()) as u64,
    });
}
