//! Stochastic gradient descent.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use super::AdamState;
use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// Decay of the momentum.
pub const SGD_MOMENTUM: f64 = 0.9;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SgdParams {
    count: u32,
    mu: f32,
    decayed: u32,
    weight_decay: f32,
    gradient_base: u32,
    weight_base: u32,
    momentum_base: u32,
}

/// One step with Nesterov's momentum and decoupled weight decay over a range of the arenas, in floats. The momentum lies
/// where Adam has its first moment.
pub fn sgd(
    recording: &mut Recording,
    label: &str,
    gradients: &Tensor,
    state: &AdamState<'_>,
    range: Range<usize>,
) {
    let first = (range.start / 4) as u32;
    let params = SgdParams {
        count: (range.len() / 4) as u32,
        mu: SGD_MOMENTUM as f32,
        decayed: (state.decayed.saturating_sub(range.start) / 4) as u32,
        weight_decay: state.weight_decay as f32,
        gradient_base: first + gradients.base(),
        weight_base: first + state.weights.base(),
        momentum_base: first + state.first_moment.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::SGD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[gradients],
        writes: &[
            Write::Update(state.weights),
            Write::Update(state.first_moment),
        ],
        schedule: true,
        grid: Grid::Threads(params.count),
        flops: 7 * range.len() as u64,
    });
}
