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

use crate::gpu::{Dispatch, Grid, PlanBuilder, Write};
use crate::kernels;
use crate::tensor::Tensor;

/// Weights nearer to zero than this quantise to zero.
pub const EPSILON: f64 = 1e-6;
/// Where every layer's intercept starts.
pub const INTERCEPT: f32 = 1e-4;
/// Where every layer's slope starts: exponents as they are.
pub const SLOPE: f32 = 1.0;
/// Texels that one thread of the quantiser's kernels walks.
const CHUNK: usize = 64;

/// Where one layer's numbers live.
pub struct Quantised<'a> {
    /// Weights, any shape.
    pub weights: &'a Tensor,
    /// (4): intercept, slope and two unused numbers.
    pub quantiser: &'a Tensor,
    /// Q(w), like the weights.
    pub values: &'a Tensor,
    /// (3, 4), see `shaders/levels.wgsl`.
    pub levels: &'a Tensor,
    /// Scratch for partial results, at least [`partial_len`] floats.
    pub partial: &'a Tensor,
    /// Whether a batch normalisation follows: the gradient of the intercept is then zero.
    pub normalised: bool,
}

/// Floats of scratch that a layer of `weights` stored floats needs.
pub fn partial_len(weights: usize) -> usize {
    8 * threads(weights)
}

fn threads(weights: usize) -> usize {
    weights.div_ceil(4 * CHUNK)
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct QuantiserForwardParams {
    count: u32,
    chunk: u32,
    w_base: u32,
    quantiser_base: u32,
    q_base: u32,
    partial_base: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LevelsParams {
    threads: u32,
    partial_base: u32,
    quantiser_base: u32,
    levels_base: u32,
}

/// Q(w), then the layer's levels, bits and bit loss.
pub fn quantiser_forward(plan: &mut PlanBuilder<'_>, label: &str, layer: &Quantised<'_>) {
    let threads = threads(layer.weights.len()) as u32;
    let params = QuantiserForwardParams {
        count: layer.weights.texels(),
        chunk: CHUNK as u32,
        w_base: layer.weights.base(),
        quantiser_base: layer.quantiser.base(),
        q_base: layer.values.base(),
        partial_base: layer.partial.base(),
    };
    plan.dispatch(Dispatch {
        kernel: &kernels::QUANTISER_FORWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[layer.weights, layer.quantiser],
        writes: &[Write::New(layer.values), Write::New(layer.partial)],
        schedule: false,
        grid: Grid::Threads(threads),
        flops: 30 * layer.weights.len() as u64,
    });
    levels(
        plan,
        label,
        [layer.partial, layer.quantiser],
        threads as usize,
        layer.levels,
    );
}

/// The second half of [`quantiser_forward`]: levels (3, 4) from partial extremes (threads, 2, 4).
pub fn levels(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    [partial, quantiser]: [&Tensor; 2],
    threads: usize,
    levels: &Tensor,
) {
    let params = LevelsParams {
        threads: threads as u32,
        partial_base: partial.base(),
        quantiser_base: quantiser.base(),
        levels_base: levels.base(),
    };
    plan.dispatch(Dispatch {
        kernel: &kernels::LEVELS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[partial, quantiser],
        writes: &[Write::New(levels)],
        schedule: false,
        grid: Grid::Groups([1, 1, 1]),
        flops: 8 * threads as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct QuantiserBackwardParams {
    count: u32,
    chunk: u32,
    w_base: u32,
    d_q_base: u32,
    q_base: u32,
    levels_base: u32,
    d_w_base: u32,
    partial_base: u32,
    lambda_l2: f32,
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct LevelsBackwardParams {
    threads: u32,
    partial_base: u32,
    levels_base: u32,
    gradient_base: u32,
    normalised: u32,
}

/// Adds the gradient through Q, the bit loss and the L2 term to `d_weights`, and writes the
/// gradient of intercept and slope to `d_quantiser` (4). `d_values` is the gradient of Q(w).
pub fn quantiser_backward(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    layer: &Quantised<'_>,
    d_values: &Tensor,
    lambda_l2: f32,
    [d_weights, d_quantiser]: [&Tensor; 2],
) {
    let threads = threads(layer.weights.len()) as u32;
    let params = QuantiserBackwardParams {
        count: layer.weights.texels(),
        chunk: CHUNK as u32,
        w_base: layer.weights.base(),
        d_q_base: d_values.base(),
        q_base: layer.values.base(),
        levels_base: layer.levels.base(),
        d_w_base: d_weights.base(),
        partial_base: layer.partial.base(),
        lambda_l2,
    };
    plan.dispatch(Dispatch {
        kernel: &kernels::QUANTISER_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[layer.weights, d_values, layer.values, layer.levels],
        writes: &[Write::Update(d_weights), Write::New(layer.partial)],
        schedule: true,
        grid: Grid::Threads(threads),
        flops: 40 * layer.weights.len() as u64,
    });
    levels_backward(
        plan,
        label,
        [layer.partial, layer.levels],
        threads as usize,
        layer.normalised,
        d_quantiser,
    );
}

/// The second half of [`quantiser_backward`]: partial sums (threads, 4) to (d_intercept, d_slope);
/// the first is zero where a batch normalisation follows.
pub fn levels_backward(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    [partial, levels]: [&Tensor; 2],
    threads: usize,
    normalised: bool,
    d_quantiser: &Tensor,
) {
    let params = LevelsBackwardParams {
        threads: threads as u32,
        partial_base: partial.base(),
        levels_base: levels.base(),
        gradient_base: d_quantiser.base(),
        normalised: u32::from(normalised),
    };
    plan.dispatch(Dispatch {
        kernel: &kernels::LEVELS_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[partial, levels],
        writes: &[Write::New(d_quantiser)],
        schedule: true,
        grid: Grid::Groups([1, 1, 1]),
        flops: 4 * threads as u64,
    });
}
