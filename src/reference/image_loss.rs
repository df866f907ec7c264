//! The losses of images.

use std::f64::consts::TAU;

/// What the losses of images read.
#[derive(Clone, Copy)]
pub struct ImageLossInputs<'a> {
    /// (rows, width)
    pub logits: &'a [f64],
    /// (rows, width)
    pub targets: &'a [f64],
    /// (rows, width)
    pub images: &'a [f64],
    /// (rows, 4), see [`super::gaussian_kl`]
    pub divergence: &'a [f64],
    /// Numbers of a pixel, which takes a multiple of four.
    pub channels: usize,
    /// Of the gradient.
    pub scale: f64,
}

/// d_logits, means of pixels, and outcome (rows, 4), from the loss of a logit with a target, its
/// slope, and the mean of a pixel.
fn image_loss(
    inputs: ImageLossInputs<'_>,
    loss: impl Fn(f64, f64) -> f64,
    slope: impl Fn(f64, f64) -> f64,
    mean: impl Fn(f64) -> f64,
) -> [Vec<f64>; 3] {
    let ImageLossInputs {
        logits,
        targets,
        images,
        divergence,
        channels,
        scale,
    } = inputs;
    let rows = divergence.len() / 4;
    let width = logits.len() / rows;
    let (mut d_logits, mut means) = (vec![0.0; logits.len()], vec![0.0; logits.len()]);
    let mut outcome = Vec::new();
    for row in 0..rows {
        let counted = divergence[4 * row + 3];
        let (mut with_targets, mut with_images) = (0.0, 0.0);
        let real = |i: &usize| i % channels.next_multiple_of(4) < channels;
        for i in (row * width..(row + 1) * width).filter(real) {
            with_targets += loss(logits[i], targets[i]);
            with_images += loss(logits[i], images[i]);
            d_logits[i] = scale * counted * slope(logits[i], targets[i]);
            means[i] = mean(logits[i]);
        }
        outcome.extend([
            with_targets * counted + divergence[4 * row],
            divergence[4 * row + 1],
            with_images * counted,
            counted,
        ]);
    }
    [d_logits, means, outcome]
}

/// Cross entropy of sigmoid(logits) with pixels of 0 to 1: d_logits, means, outcome.
pub fn bernoulli_loss(inputs: ImageLossInputs<'_>) -> [Vec<f64>; 3] {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    image_loss(
        inputs,
        |x, t| softplus(x) - t * x,
        |x, t| sigmoid(x) - t,
        sigmoid,
    )
}

/// -log N(target; logit, deviation²): d_logits, means, outcome.
pub fn gaussian_loss(inputs: ImageLossInputs<'_>, deviation: f64) -> [Vec<f64>; 3] {
    let variance = deviation * deviation;
    image_loss(
        inputs,
        |x, t| 0.5 * ((x - t).powi(2) / variance + (TAU * variance).ln()),
        |x, t| (x - t) / variance,
        |x| x,
    )
}
