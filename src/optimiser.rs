//! Adam over whole arenas, and the numbers that change from step to step.

use bytemuck::{Pod, Zeroable};

use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// Decay of the first moment.
pub const BETA_1: f64 = 0.9;
/// Decay of the second moment.
pub const BETA_2: f64 = 0.999;
/// Keeps the division finite.
pub const ADAM_EPSILON: f32 = 1e-8;

/// The twin of `Schedule` in `shaders/shared/schedule.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable)]
pub struct Schedule {
    /// Step size.
    pub learning_rate: f32,
    /// 1 / (1 - β1^t).
    pub first_correction: f32,
    /// 1 / (1 - β2^t).
    pub second_correction: f32,
    /// Weight of the bit loss.
    pub lambda_bits: f32,
    /// Weight of KL(q || N(0, 1)) in the evidence lower bound of a variational auto-encoder.
    pub kl_weight: f32,
    /// Lower half of the seed of noise.
    pub seed_low: u32,
    /// Its upper half.
    pub seed_high: u32,
    /// Step that noise belongs to: every step has numbers of its own.
    pub step: u32,
    /// Multiple of the learning rate for the layers' intercepts and slopes.
    pub quantiser_rate: f32,
    /// Weight of half the squared distance of each γ from the one that its rounded factor stands for.
    pub lambda_norm: f32,
    /// A layer that uses so many exponents or fewer pays nothing for its bits.
    pub free_exponents: f32,
}

impl Schedule {
    /// The numbers of step `t`, counted from 1.
    pub fn new(t: u64, learning_rate: f64, lambda_bits: f64) -> Self {
        let correction = |beta: f64| (1.0 / (1.0 - beta.powf(t as f64))) as f32;
        Self {
            learning_rate: learning_rate as f32,
            first_correction: correction(BETA_1),
            second_correction: correction(BETA_2),
            lambda_bits: lambda_bits as f32,
            quantiser_rate: 1.0,
            ..Self::default()
        }
    }

    /// The same with another multiple of the learning rate for intercepts and slopes.
    pub fn with_quantiser_rate(self, quantiser_rate: f64) -> Self {
        Self {
            quantiser_rate: quantiser_rate as f32,
            ..self
        }
    }

    /// The same with a pull of γ to where LP rounds its factor.
    pub fn with_lambda_norm(self, lambda_norm: f64) -> Self {
        Self {
            lambda_norm: lambda_norm as f32,
            ..self
        }
    }

    /// The same where a layer pays for its bits only while one exponent more would need more than `bits` of them:
    /// then it does not hover at an edge. Two bits have no such place, for one exponent fewer is one bit.
    pub fn with_target_bits(self, bits: u32) -> Self {
        Self {
            free_exponents: match bits {
                ..=2 => (2 * bits.saturating_sub(1)) as f32,
                _ => (f64::from(bits - 1).exp2() - 1.0) as f32,
            },
            ..self
        }
    }

    /// The same with what a variational auto-encoder needs: the weight of its KL term, and the noise
    /// of step `step` of a seed.
    pub fn with_noise(self, kl_weight: f64, seed: u64, step: u64) -> Self {
        Self {
            kl_weight: kl_weight as f32,
            seed_low: seed as u32,
            seed_high: (seed >> 32) as u32,
            step: step as u32,
            ..self
        }
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
}

/// One step of Adam with decoupled weight decay (Loshchilov, Hutter 2019, Algorithm 2) over everything in the arenas.
pub fn adam(plan: &mut Recording, label: &str, gradients: &Tensor, state: &AdamState<'_>) {
    let params = AdamParams {
        count: gradients.texels(),
        beta_1: BETA_1 as f32,
        beta_2: BETA_2 as f32,
        one_minus_beta_1: (1.0 - BETA_1) as f32,
        one_minus_beta_2: (1.0 - BETA_2) as f32,
        epsilon: ADAM_EPSILON,
        quantisers: (state.quantisers / 4) as u32,
        decayed: (state.decayed / 4) as u32,
        weight_decay: state.weight_decay as f32,
        gradient_base: gradients.base(),
        weight_base: state.weights.base(),
        first_base: state.first_moment.base(),
        second_base: state.second_moment.base(),
    };
    plan.dispatch(Dispatch {
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
        flops: 12 * gradients.len() as u64,
    });
}
