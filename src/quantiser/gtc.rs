//! Generalized Ternary Connect: every weight becomes a power of two, every layer learns which.
//!
//! Parajuli, Raghavan, Chai (2018), arXiv 1811.04985. With ε = 1e-6, the intercept c and the slope
//! s of a layer:
//!
//! ```text
//! Q(w) = sgn(w) 2^round(c + s log2(|w| + ε)),   sgn(w) = 0 for |w| < ε
//! bits = 1 + ⌈log2(max e − min e + 1)⌉          (Eq. 10), priced at 2^bits
//! ```
//!
//! Rounding passes its gradient through; the bit loss pulls only the weights in the extreme
//! exponents and the slope. As s → 0 all weights of a layer share one magnitude.

use bytemuck::{Pod, Zeroable};

use super::{Pull, Quantised};
use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// Weights nearer to zero than this quantise to zero.
pub const EPSILON: f64 = 1e-6;
/// Where every layer's intercept starts.
pub const INTERCEPT: f32 = 1e-4;
/// Where every layer's slope starts: exponents as they are.
pub const SLOPE: f32 = 1.0;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct QuantiserForwardParams {
    w_base: u32,
    quantisers_base: u32,
    spans_base: u32,
    q_base: u32,
    partial_base: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LevelsParams {
    partial_base: u32,
    layers_base: u32,
    levels_base: u32,
}

/// Q(w), then the layers' levels, bits and bit losses.
pub(super) fn quantiser_forward(recording: &mut Recording, label: &str, model: &Quantised<'_>) {
    let spans = model.spans();
    let count = model.spans.of_weights();
    let partial = Tensor::transient("partial", &[count, 2, 4]);
    let params = QuantiserForwardParams {
        w_base: model.parameters.base(),
        quantisers_base: model.quantisers.base(),
        spans_base: spans.base(),
        q_base: model.values.base(),
        partial_base: partial.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::QUANTISER_FORWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[model.parameters, &spans],
        writes: &[Write::New(model.values), Write::New(&partial)],
        schedule: false,
        grid: Grid::Groups([count as u32, 1, 1]),
        flops: 30 * model.spans.weights() as u64,
    });
    levels(recording, label, model, &partial);
}

/// The second half of [`super::quantiser_forward`]: levels from partial extremes (spans, 2, 4).
pub fn levels(recording: &mut Recording, label: &str, model: &Quantised<'_>, partial: &Tensor) {
    let layers = model.layers();
    let params = LevelsParams {
        partial_base: partial.base(),
        layers_base: layers.base(),
        levels_base: model.levels.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::LEVELS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[partial, &layers],
        writes: &[Write::New(model.levels)],
        schedule: false,
        grid: model.for_layers(),
        flops: partial.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct BudgetParams {
    layers: u32,
    budget: f32,
    layers_base: u32,
    levels_base: u32,
}

/// Lets no layer pay for bits while all `levels` (layers, 3, 4) together take at most `budget` bits for their
/// weights, whose numbers are in `counts` (layers, 4).
pub fn budget(
    recording: &mut Recording,
    label: &str,
    counts: &Tensor,
    budget: f32,
    levels: &Tensor,
) {
    let params = BudgetParams {
        layers: levels.shape[0] as u32,
        budget,
        layers_base: counts.base(),
        levels_base: levels.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::BUDGET,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[counts],
        writes: &[Write::Update(levels)],
        schedule: false,
        grid: Grid::Groups([1, 1, 1]),
        flops: 2 * u64::from(params.layers),
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct QuantiserBackwardParams {
    w_base: u32,
    quantisers_base: u32,
    lp_gradients_base: u32,
    levels_base: u32,
    spans_base: u32,
    gradients_base: u32,
    partial_base: u32,
    lambda_l2: f32,
    identity: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LevelsBackwardParams {
    partial_base: u32,
    levels_base: u32,
    layers_base: u32,
    gradients_base: u32,
}

/// Adds the gradients of the low-precision network, `lp_gradients`, to those of the high-precision one,
/// `gradients`: those of weights through Q, with the bit loss and the L2 term. Writes the gradients
/// of intercepts and slopes to `d_quantisers` (layers, 4). The first two are arenas.
pub(super) fn quantiser_backward(
    recording: &mut Recording,
    label: &str,
    model: &Quantised<'_>,
    lp_gradients: &Tensor,
    pull: Pull,
    [gradients, d_quantisers]: [&Tensor; 2],
) {
    let spans = model.spans();
    let count = model.spans.count();
    let partial = Tensor::transient("partial", &[count, 4]);
    let params = QuantiserBackwardParams {
        w_base: model.parameters.base(),
        quantisers_base: model.quantisers.base(),
        lp_gradients_base: lp_gradients.base(),
        levels_base: model.levels.base(),
        spans_base: spans.base(),
        gradients_base: gradients.base(),
        partial_base: partial.base(),
        lambda_l2: pull.lambda_l2,
        identity: pull.identity.into(),
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::QUANTISER_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[model.parameters, lp_gradients, model.levels, &spans],
        writes: &[Write::Update(gradients), Write::New(&partial)],
        schedule: true,
        grid: Grid::Groups([count as u32, 1, 1]),
        flops: 45 * model.spans.weights() as u64,
    });
    levels_backward(recording, label, model, &partial, d_quantisers);
}

/// The second half of [`super::quantiser_backward`]: partial sums (spans, 4) to (d_intercept, d_slope);
/// the first is zero where a batch normalisation follows.
pub fn levels_backward(
    recording: &mut Recording,
    label: &str,
    model: &Quantised<'_>,
    partial: &Tensor,
    d_quantisers: &Tensor,
) {
    let layers = model.layers();
    let params = LevelsBackwardParams {
        partial_base: partial.base(),
        levels_base: model.levels.base(),
        layers_base: layers.base(),
        gradients_base: d_quantisers.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::LEVELS_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[partial, model.levels, &layers],
        writes: &[Write::New(d_quantisers)],
        schedule: true,
        grid: model.for_layers(),
        flops: partial.len() as u64,
    });
}
