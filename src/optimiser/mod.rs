//! Adam, Muon and stochastic gradient descent over whole arenas, and the numbers that change from step to step.

mod adam;
mod muon;
mod sgd;
mod shards;

use bytemuck::{Pod, Zeroable};

pub use adam::{ADAM_EPSILON, AdamState, BETA_1, BETA_2, adam, least_slope};
pub(crate) use muon::HALF_PRODUCTS;
pub use muon::{
    ITERATIONS, MOMENTUM, Muon, MuonLayer, MuonMemory, NEWTON_SCHULZ, NORM_EPSILON, momentum, muon,
    newton_schulz, orthogonalise, unit_norm,
};

pub use sgd::{SGD_MOMENTUM, sgd};
pub use shards::add_shards;

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
    /// Muon's step size.
    pub muon_rate: f32,
    /// That of stochastic gradient descent.
    pub sgd_rate: f32,
}

/// Exponents that a layer of so many target bits need not pay for, see [`Schedule::with_target_bits`].
pub fn free_exponents(bits: u32) -> f32 {
    match bits {
        ..=2 => (2 * bits.saturating_sub(1)) as f32,
        _ => (f64::from(bits - 1).exp2() - 1.0) as f32,
    }
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

    /// The same with a step size for Muon.
    pub fn with_muon_rate(self, muon_rate: f64) -> Self {
        Self {
            muon_rate: muon_rate as f32,
            ..self
        }
    }

    /// The same with a step size for stochastic gradient descent.
    pub fn with_sgd_rate(self, sgd_rate: f64) -> Self {
        Self {
            sgd_rate: sgd_rate as f32,
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

    /// The same where a layer pays for its bits only while it uses more exponents than [`free_exponents`] gives: 2^(bits - 1) - 1,
    /// one fewer than so many bits hold, so that noise does not take it over the edge. With two bits it is both that they hold.
    pub fn with_target_bits(self, bits: u32) -> Self {
        Self {
            free_exponents: free_exponents(bits),
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
