//! What variational auto-encoders add: upsampling, noise, samples, divergences, losses of images.

use std::f64::consts::TAU;

use crate::op::{Counter, UpsampleShape};
use crate::optimiser::Schedule;
use crate::rng::Philox;

/// Calls `visit(offset in x, offset in y)` for every output of an upsampling.
fn each_pair(shape: &UpsampleShape, mut visit: impl FnMut(usize, usize)) {
    let [batch, height, width, channels] = shape.y();
    for n in 0..batch {
        for y in 0..height {
            for x in 0..width {
                for c in 0..channels {
                    let row = n * shape.input_height + y / shape.size;
                    let from = (row * shape.input_width + x / shape.size) * channels + c;
                    visit(from, ((n * height + y) * width + x) * channels + c);
                }
            }
        }
    }
}

/// y = every x as a square of equal numbers.
pub fn upsample_forward(shape: &UpsampleShape, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; shape.y().iter().product()];
    each_pair(shape, |from, to| y[to] = x[from]);
    y
}

/// d_x: the sum of d_y over each square.
pub fn upsample_backward(shape: &UpsampleShape, d_y: &[f64]) -> Vec<f64> {
    let mut d_x = vec![0.0; shape.x().iter().product()];
    each_pair(shape, |from, to| d_x[from] += d_y[to]);
    d_x
}

/// `count` random words; see [`Counter`].
pub fn philox(schedule: &Schedule, counter: Counter, count: usize) -> Vec<u32> {
    let block = |i: usize| {
        let first = counter.first.wrapping_add(i as u32);
        let words = [first, counter.second, schedule.step, counter.fourth];
        Philox::block(words, [schedule.seed_low, schedule.seed_high])
    };
    (0..count.div_ceil(4)).flat_map(block).take(count).collect()
}

/// `count` numbers of N(0, 1), two from the upper 24 bits of each pair of words (Box, Muller 1958):
/// words 0 and 2 of a block make its numbers 0 and 2, words 1 and 3 its numbers 1 and 3.
pub fn standard_normal(schedule: &Schedule, counter: Counter, count: usize) -> Vec<f64> {
    let unit = |word: u32| f64::from(word >> 8);
    let step = f64::from(1 << 24);
    let words = philox(schedule, counter, count.next_multiple_of(4));
    let mut numbers = Vec::new();
    for block in words.chunks(4) {
        let radius = |i: usize| (-2.0 * ((unit(block[i]) + 1.0) / step).ln()).sqrt();
        let angle = |i: usize| TAU * unit(block[i + 2]) / step;
        numbers.extend([0, 1].map(|i| radius(i) * angle(i).cos()));
        numbers.extend([0, 1].map(|i| radius(i) * angle(i).sin()));
    }
    numbers.truncate(count);
    numbers
}

/// z (rows, width) of posteriors (rows, posterior width) and noise (rows, width).
pub fn reparameterise_forward(
    posterior: &[f64],
    noise: &[f64],
    latent: usize,
    [posterior_width, width]: [usize; 2],
) -> Vec<f64> {
    let mut z = vec![0.0; noise.len()];
    for row in 0..noise.len() / width {
        let q = &posterior[row * posterior_width..];
        for k in 0..latent {
            z[row * width + k] = q[k] + (0.5 * q[latent + k]).exp() * noise[row * width + k];
        }
    }
    z
}

/// `before` plus the gradient of the posteriors through z.
pub fn reparameterise_backward(
    [posterior, noise, d_z, before]: [&[f64]; 4],
    latent: usize,
    [posterior_width, width]: [usize; 2],
) -> Vec<f64> {
    let mut d = before.to_vec();
    for row in 0..noise.len() / width {
        for k in 0..latent {
            let at = row * posterior_width + k;
            let (noise, d_z) = (noise[row * width + k], d_z[row * width + k]);
            d[at] += d_z;
            d[at + latent] += d_z * noise * 0.5 * (0.5 * posterior[at + latent]).exp();
        }
    }
    d
}

/// Gradient of q and outcome (rows, 4), see [`crate::op::gaussian_kl`]; `weight` is 1 unless
/// p is the prior, `None`.
pub fn gaussian_kl(
    q: &[f64],
    p: Option<&[f64]>,
    counted: &[f64],
    latent: usize,
    width: usize,
    [scale, weight]: [f64; 2],
) -> [Vec<f64>; 2] {
    let mut d_q = vec![0.0; q.len()];
    let mut outcome = Vec::new();
    // KL(N(m, exp v) || N(n, exp w)) in one dimension.
    let kl = |m: f64, v: f64, n: f64, w: f64| {
        0.5 * (w - v + (v.exp() + (m - n).powi(2)) / w.exp() - 1.0)
    };
    for (row, counted) in counted.iter().enumerate() {
        let (mut divergence, mut from_prior) = (0.0, 0.0);
        for k in 0..latent {
            let (mean, variance) = (row * width + k, row * width + latent + k);
            let [n, w] = p.map_or([0.0; 2], |p| [p[mean], p[variance]]);
            divergence += kl(q[mean], q[variance], n, w);
            from_prior += kl(q[mean], q[variance], 0.0, 0.0);
            let scale = scale * weight * counted;
            d_q[mean] = scale * (q[mean] - n) / w.exp();
            d_q[variance] = scale * 0.5 * ((q[variance] - w).exp() - 1.0);
        }
        outcome.extend([
            weight * divergence * counted,
            from_prior * counted,
            0.0,
            *counted,
        ]);
    }
    [d_q, outcome]
}

/// What the losses of images read.
#[derive(Clone, Copy)]
pub struct ImageLossInputs<'a> {
    /// (rows, width)
    pub logits: &'a [f64],
    /// (rows, width)
    pub targets: &'a [f64],
    /// (rows, width)
    pub images: &'a [f64],
    /// (rows, 4), see [`gaussian_kl`]
    pub divergence: &'a [f64],
    /// Real numbers in every four: 1, 3 or 4.
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
        for i in (row * width..(row + 1) * width).filter(|i| i % 4 < channels) {
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
