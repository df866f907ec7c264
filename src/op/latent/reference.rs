//! What the kernels compute.

use std::f64::consts::TAU;

use crate::op::Counter;
use crate::optimiser::Schedule;
use crate::rng::Philox;

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
