//! Losses of classifiers and the totals that reports are made of.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Dispatch, Grid, PlanBuilder, Write};
use crate::kernels;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SoftmaxParams {
    rows: u32,
    classes: u32,
    texels: u32,
    scale: f32,
    logits_base: u32,
    targets_base: u32,
    labels_base: u32,
    d_logits_base: u32,
    probabilities_base: u32,
    outcome_base: u32,
}

/// What a loss writes.
pub struct LossOutputs<'a> {
    /// Gradient of the logits, (rows, classes).
    pub d_logits: &'a Tensor,
    /// softmax(logits), (rows, classes).
    pub probabilities: &'a Tensor,
    /// (rows, 4): cross entropy with the targets, 1 if the label won, cross entropy with the
    /// label, 1 if the row counts.
    pub outcome: &'a Tensor,
}

/// Cross entropy of softmax(`logits`) against `targets`, both (rows, classes), with
/// d_logits = `scale` (probabilities - targets). `labels` are one-hot; a row of zeros is padding.
pub fn softmax_cross_entropy(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    classes: usize,
    [logits, targets, labels]: [&Tensor; 3],
    scale: f32,
    outputs: &LossOutputs<'_>,
) {
    let width = logits.shape[logits.shape.len() - 1];
    let rows = logits.len() / width;
    let params = SoftmaxParams {
        rows: rows as u32,
        classes: classes as u32,
        texels: (width / 4) as u32,
        scale,
        logits_base: logits.base(),
        targets_base: targets.base(),
        labels_base: labels.base(),
        d_logits_base: outputs.d_logits.base(),
        probabilities_base: outputs.probabilities.base(),
        outcome_base: outputs.outcome.base(),
    };
    plan.dispatch(Dispatch {
        kernel: &kernels::SOFTMAX_CROSS_ENTROPY,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[logits, targets, labels],
        writes: &[
            Write::New(outputs.d_logits),
            Write::New(outputs.probabilities),
            Write::New(outputs.outcome),
        ],
        schedule: false,
        grid: Grid::Threads(params.rows),
        flops: 8 * logits.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MetricsParams {
    rows: u32,
    outcome_base: u32,
    totals_base: u32,
}

/// Adds the outcomes (rows, 4) of a batch to the running `totals` (2, 4), or counts it as broken.
pub fn metrics(plan: &mut PlanBuilder<'_>, label: &str, outcome: &Tensor, totals: &Tensor) {
    let params = MetricsParams {
        rows: (outcome.len() / 4) as u32,
        outcome_base: outcome.base(),
        totals_base: totals.base(),
    };
    plan.dispatch(Dispatch {
        kernel: &kernels::METRICS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[outcome],
        writes: &[Write::Update(totals)],
        schedule: false,
        grid: Grid::Groups([1, 1, 1]),
        flops: outcome.len() as u64,
    });
}
