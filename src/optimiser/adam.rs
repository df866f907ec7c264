//! Adam.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::kernels;
use crate::quantiser::Quantiser;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// Decay of the first moment.
pub const BETA_1: f64 = 0.9;
/// Decay of the second moment.
pub const BETA_2: f64 = 0.999;
/// Keeps the division finite.
pub const ADAM_EPSILON: f32 = 1e-8;
/// The least slope of a quantiser. Below zero larger weights would get smaller levels.
const LEAST_SLOPE: f32 = 0.01;

/// The least second number that a layer learns besides its weights: of GTC the slope; other methods learn logarithms.
pub fn least_slope(quantiser: Quantiser) -> f32 {
    match quantiser {
        Quantiser::Gtc => LEAST_SLOPE,
        _ => f32::MIN,
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct AdamParams {
    count: u32,
    beta_1: f32,
    beta_2: f32,
    one_minus_beta_1: f32,
    one_minus_beta_2: f32,
    epsilon: f32,
    least_slope: f32,
    quantisers: u32,
    decayed: u32,
    weight_decay: f32,
    gradient_base: u32,
    weight_base: u32,
    first_base: u32,
    second_base: u32,
}

/// Parallel arenas that one optimiser step walks.
pub struct AdamState<'a> {
    /// What is learned.
    pub weights: &'a Tensor,
    /// Running mean of the gradients.
    pub first_moment: &'a Tensor,
    /// Running mean of their squares.
    pub second_moment: &'a Tensor,
    /// First float of the layers' intercepts and slopes, which end the arenas.
    pub quantisers: usize,
    /// Floats at the start of the arenas that decay: weights and biases.
    pub decayed: usize,
    /// A step draws each of them to zero by its learning rate times this.
    pub weight_decay: f64,
    /// See [`least_slope`].
    pub least_slope: f32,
}

/// One step of Adam with decoupled weight decay (Loshchilov, Hutter 2019, Algorithm 2) over a range of the arenas, in
/// floats.
pub fn adam(
    recording: &mut Recording,
    label: &str,
    gradients: &Tensor,
    state: &AdamState<'_>,
    range: Range<usize>,
) {
    let first = (range.start / 4) as u32;
    let behind = |float: usize| (float.saturating_sub(range.start) / 4) as u32;
    let params = AdamParams {
        count: (range.len() / 4) as u32,
        beta_1: BETA_1 as f32,
        beta_2: BETA_2 as f32,
        one_minus_beta_1: (1.0 - BETA_1) as f32,
        one_minus_beta_2: (1.0 - BETA_2) as f32,
        epsilon: ADAM_EPSILON,
        least_slope: state.least_slope,
        quantisers: behind(state.quantisers),
        decayed: behind(state.decayed),
        weight_decay: state.weight_decay as f32,
        gradient_base: first + gradients.base(),
        weight_base: first + state.weights.base(),
        first_base: first + state.first_moment.base(),
        second_base: first + state.second_moment.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::ADAM,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[gradients],
        writes: &[
            Write::Update(state.weights),
            Write::Update(state.first_moment),
            Write::Update(state.second_moment),
        ],
        schedule: true,
        grid: Grid::Threads(params.count),
        flops: 12 * range.len() as u64,
    });
}
