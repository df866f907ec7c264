//! The middle of a variational auto-encoder (Kingma, Welling 2013): noise, samples of the posterior
//! and its divergence.
//!
//! A posterior is one row an image: `latent` means, then as many log variances, padded together to
//! a multiple of four.

use super::entries;
use bytemuck::{Pod, Zeroable};

use crate::gpu::Kernel;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// The constant words of the counters of random blocks; see [`crate::rng::Philox::block`]. The word
/// between them is the schedule's step, the key its seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Of the first block; later ones count up from it.
    pub first: u32,
    /// The second word.
    pub second: u32,
    /// The fourth word.
    pub fourth: u32,
}

/// Noise that a model learns with. Other users of a seed have fourth words that leave other
/// remainders of 4.
pub const TRAINING_NOISE: Counter = Counter {
    first: 0,
    second: 0,
    fourth: 3,
};
/// Noise that a model is tested with.
pub const TEST_NOISE: Counter = Counter {
    first: 0,
    second: 0,
    fourth: 7,
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct NoiseParams {
    count: u32,
    y_base: u32,
    counter_0: u32,
    counter_1: u32,
    counter_3: u32,
}

/// Random words of 32 bits, four for each texel of y, as integers.
pub fn philox(recording: &mut Recording, label: &str, counter: Counter, y: &Tensor) {
    record_noise(recording, &entries::PHILOX, label, counter, y);
}

/// y = numbers drawn from N(0, 1), from the same words.
pub fn standard_normal(recording: &mut Recording, label: &str, counter: Counter, y: &Tensor) {
    record_noise(recording, &entries::STANDARD_NORMAL, label, counter, y);
}

fn record_noise(
    recording: &mut Recording,
    kernel: &'static Kernel,
    label: &str,
    counter: Counter,
    y: &Tensor,
) {
    let params = NoiseParams {
        count: y.texels(),
        y_base: y.base(),
        counter_0: counter.first,
        counter_1: counter.second,
        counter_3: counter.fourth,
    };
    recording.dispatch(Dispatch {
        kernel,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[],
        writes: &[Write::New(y)],
        schedule: true,
        grid: Grid::Threads(params.count),
        flops: 30 * y.len() as u64,
    });
}

fn row_texels(tensor: &Tensor) -> usize {
    tensor.shape[tensor.shape.len() - 1] / 4
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ReparameteriseForwardParams {
    rows: u32,
    latent: u32,
    latent_texels: u32,
    posterior_texels: u32,
    posterior_base: u32,
    noise_base: u32,
    z_base: u32,
}

/// z (rows, padded latent) = mean + exp(log variance / 2) noise.
pub fn reparameterise_forward(
    recording: &mut Recording,
    label: &str,
    latent: usize,
    [posterior, noise]: [&Tensor; 2],
    z: &Tensor,
) {
    let params = ReparameteriseForwardParams {
        rows: (z.texels() as usize / row_texels(z)) as u32,
        latent: latent as u32,
        latent_texels: row_texels(z) as u32,
        posterior_texels: row_texels(posterior) as u32,
        posterior_base: posterior.base(),
        noise_base: noise.base(),
        z_base: z.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &entries::REPARAMETERISE_FORWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[posterior, noise],
        writes: &[Write::New(z)],
        schedule: false,
        grid: Grid::Threads(z.texels()),
        flops: 4 * z.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ReparameteriseBackwardParams {
    rows: u32,
    latent: u32,
    latent_texels: u32,
    posterior_texels: u32,
    posterior_base: u32,
    noise_base: u32,
    d_z_base: u32,
    d_posterior_base: u32,
}

/// Adds to d_posterior what d_z says of means and log variances.
pub fn reparameterise_backward(
    recording: &mut Recording,
    label: &str,
    latent: usize,
    [posterior, noise, d_z]: [&Tensor; 3],
    d_posterior: &Tensor,
) {
    let params = ReparameteriseBackwardParams {
        rows: (d_z.texels() as usize / row_texels(d_z)) as u32,
        latent: latent as u32,
        latent_texels: row_texels(d_z) as u32,
        posterior_texels: row_texels(posterior) as u32,
        posterior_base: posterior.base(),
        noise_base: noise.base(),
        d_z_base: d_z.base(),
        d_posterior_base: d_posterior.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &entries::REPARAMETERISE_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[posterior, noise, d_z],
        writes: &[Write::Update(d_posterior)],
        schedule: false,
        grid: Grid::Threads(d_posterior.texels()),
        flops: 5 * d_posterior.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct GaussianKlParams {
    rows: u32,
    latent: u32,
    posterior_texels: u32,
    label_texels: u32,
    scale: f32,
    q_base: u32,
    p_base: u32,
    labels_base: u32,
    d_q_base: u32,
    outcome_base: u32,
}

/// KL(q || p) of posteriors in nats, `p` constant; without one p is N(0, 1) and the schedule's
/// `kl_weight` weighs the divergence. `outcome` is (rows, 4): weighted KL(q || p), KL(q || N(0, 1)),
/// zero, 1 if the row of `labels` counts. d_q = `scale` times the weighted gradient.
pub fn gaussian_kl(
    recording: &mut Recording,
    label: &str,
    latent: usize,
    (q, p, labels): (&Tensor, Option<&Tensor>, &Tensor),
    scale: f32,
    [d_q, outcome]: [&Tensor; 2],
) {
    let prior = p.is_none();
    let p = p.unwrap_or(q);
    let params = GaussianKlParams {
        rows: outcome.texels(),
        latent: latent as u32,
        posterior_texels: row_texels(q) as u32,
        label_texels: row_texels(labels) as u32,
        scale,
        q_base: q.base(),
        p_base: p.base(),
        labels_base: labels.base(),
        d_q_base: d_q.base(),
        outcome_base: outcome.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &entries::GAUSSIAN_KL,
        label,
        constants: &[("PRIOR", f64::from(u8::from(prior)))],
        params: bytemuck::bytes_of(&params),
        reads: &[q, p, labels],
        writes: &[Write::New(d_q), Write::New(outcome)],
        schedule: true,
        grid: Grid::Threads(params.rows),
        flops: 12 * q.len() as u64,
    });
}
