//! Losses of classifiers and of generated images, and the totals that reports are made of.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct SoftmaxParams {
    rows: u32,
    classes: u32,
    texels: u32,
    scale: f32,
    temperature: f32,
    label_share: f32,
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
    /// (rows, 4): the loss, 1 if the label won, cross entropy with the
    /// label, 1 if the row counts.
    pub outcome: &'a Tensor,
}

/// How a network learns from targets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lesson {
    /// Multiplies the gradient of the logits.
    pub scale: f32,
    /// Softens targets and probabilities, see `shaders/loss/softmax_cross_entropy.wgsl`; 1: they stay as they are.
    pub temperature: f32,
    /// Part of the loss that is the cross entropy with the labels instead.
    pub label_share: f32,
}

impl Lesson {
    /// From targets as they are.
    pub fn plain(scale: f32) -> Self {
        Self {
            scale,
            temperature: 1.0,
            label_share: 0.0,
        }
    }
}

/// Cross entropy of softmax(`logits`) against `targets`, both (rows, classes), and its gradient. `labels` are one-hot;
/// a row of zeros is padding.
pub fn softmax_cross_entropy(
    recording: &mut Recording,
    label: &str,
    classes: usize,
    [logits, targets, labels]: [&Tensor; 3],
    lesson: Lesson,
    outputs: &LossOutputs<'_>,
) {
    let width = logits.shape[logits.shape.len() - 1];
    let rows = logits.len() / width;
    let params = SoftmaxParams {
        rows: rows as u32,
        classes: classes as u32,
        texels: (width / 4) as u32,
        scale: lesson.scale,
        temperature: lesson.temperature,
        label_share: lesson.label_share,
        logits_base: logits.base(),
        targets_base: targets.base(),
        labels_base: labels.base(),
        d_logits_base: outputs.d_logits.base(),
        probabilities_base: outputs.probabilities.base(),
        outcome_base: outputs.outcome.base(),
    };
    recording.dispatch(Dispatch {
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
        flops: 16 * logits.len() as u64,
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct MetricsParams {
    rows: u32,
    outcomes_base: u32,
    totals_base: u32,
}

/// Adds the outcomes (networks, rows, 4) of a batch to the running `totals` (networks, 2, 4), or counts it
/// as broken.
pub fn metrics(recording: &mut Recording, label: &str, outcomes: &Tensor, totals: &Tensor) {
    let params = MetricsParams {
        rows: outcomes.shape[1] as u32,
        outcomes_base: outcomes.base(),
        totals_base: totals.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::METRICS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[outcomes],
        writes: &[Write::Update(totals)],
        schedule: false,
        grid: Grid::Groups([outcomes.shape[0] as u32, 1, 1]),
        flops: outcomes.len() as u64,
    });
}

/// How the numbers that a decoder gives become a distribution of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Likelihood {
    /// Logits: each pixel is one with probability sigmoid(logit); pixels between 0 and 1 count as
    /// that part of each.
    Bernoulli,
    /// Means of normal distributions with deviation [`GAUSSIAN_DEVIATION`].
    Gaussian,
}

/// Deviation of a pixel of 0 to 1 around its mean, with [`Likelihood::Gaussian`].
pub const GAUSSIAN_DEVIATION: f64 = 0.1;

impl Likelihood {
    /// One over the variance, and what every number adds to the loss, of the normal distribution.
    fn normal(self) -> [f64; 2] {
        let variance = GAUSSIAN_DEVIATION * GAUSSIAN_DEVIATION;
        match self {
            Self::Bernoulli => [0.0; 2],
            Self::Gaussian => [
                1.0 / variance,
                0.5 * (std::f64::consts::TAU * variance).ln(),
            ],
        }
    }

    /// The mean of a pixel, 0 to 1, from what the decoder gives.
    pub fn mean(self, value: f32) -> f32 {
        match self {
            Self::Bernoulli => 1.0 / (1.0 + (-value).exp()),
            Self::Gaussian => value.clamp(0.0, 1.0),
        }
    }

    /// The mean of a pixel as a byte.
    pub fn byte(self, value: f32) -> u8 {
        (255.0 * self.mean(value)).round() as u8
    }
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ImageLossParams {
    texels: u32,
    scale: f32,
    inverse_variance: f32,
    constant: f32,
    logits_base: u32,
    targets_base: u32,
    images_base: u32,
    divergence_base: u32,
    d_logits_base: u32,
    means_base: u32,
    outcome_base: u32,
}

/// Loss of generated images in nats, summed over pixels: against `targets` for the gradient,
/// d_logits = `scale` times it, and against the images for reports. Logits, targets and images are
/// (rows, ...) of one stored shape, of whose last axis `channels` numbers in four are real: 1, 3 or
/// 4. `divergence` is what [`crate::op::gaussian_kl`] makes. In [`LossOutputs`] probabilities
/// are the means of pixels and outcome is (rows, 4): loss against the targets plus the
/// weighted divergence, KL(q || N(0, 1)), loss against the images, 1 if the row counts.
pub fn image_loss(
    recording: &mut Recording,
    label: &str,
    (likelihood, channels): (Likelihood, usize),
    [logits, targets, images, divergence]: [&Tensor; 4],
    scale: f32,
    outputs: &LossOutputs<'_>,
) {
    let rows = outputs.outcome.texels();
    let [inverse_variance, constant] = likelihood.normal();
    let params = ImageLossParams {
        texels: logits.texels() / rows,
        scale,
        inverse_variance: inverse_variance as f32,
        constant: constant as f32,
        logits_base: logits.base(),
        targets_base: targets.base(),
        images_base: images.base(),
        divergence_base: divergence.base(),
        d_logits_base: outputs.d_logits.base(),
        means_base: outputs.probabilities.base(),
        outcome_base: outputs.outcome.base(),
    };
    recording.dispatch(Dispatch {
        kernel: match likelihood {
            Likelihood::Bernoulli => &kernels::BERNOULLI_LOSS,
            Likelihood::Gaussian => &kernels::GAUSSIAN_LOSS,
        },
        label,
        constants: &[("CHANNELS", channels as f64)],
        params: bytemuck::bytes_of(&params),
        reads: &[logits, targets, images, divergence],
        writes: &[
            Write::New(outputs.d_logits),
            Write::New(outputs.probabilities),
            Write::New(outputs.outcome),
        ],
        schedule: false,
        grid: Grid::Groups([rows, 1, 1]),
        flops: 16 * logits.len() as u64,
    });
}
