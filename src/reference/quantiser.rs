//! The GTC quantiser, its bits, and their gradients (Parajuli et al. 2018; the formulas are in `src/quantiser/gtc.rs`).

use std::f64::consts::LN_2;

use crate::optimiser::Schedule;

/// ε in log2(|w| + ε).
const EPSILON: f64 = 1e-6;

/// log2(|w| + ε)
pub fn log2_size(w: f64) -> f64 {
    (w.abs() + EPSILON).log2()
}

/// round(c + s log2(|w| + ε)), ties to even as in WGSL; `None` for a weight that
/// quantises to zero.
pub fn exponent(w: f64, intercept: f64, slope: f64) -> Option<i32> {
    // The weights are f32, and so is the ε they are compared with on every device.
    if w.abs() < f64::from(EPSILON as f32) {
        return None;
    }
    Some(
        (intercept + slope * log2_size(w))
            .round_ties_even()
            .clamp(-126.0, 127.0) as i32,
    )
}

/// Q(w) = sgn(w) 2^e(w)
pub fn quantiser_forward(weights: &[f64], intercept: f64, slope: f64) -> Vec<f64> {
    weights
        .iter()
        .map(|&w| exponent(w, intercept, slope).map_or(0.0, |e| w.signum() * f64::from(e).exp2()))
        .collect()
}

/// One end of the range of exponents.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extreme {
    /// The exponent.
    pub exponent: i32,
    /// Weights that have it.
    pub count: usize,
    /// The mean of their log2(|w| + ε).
    pub mean_log: f64,
}

/// The exponents a layer uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// The largest.
    pub top: Extreme,
    /// The smallest.
    pub low: Extreme,
    /// r = max e - min e + 1; 1 for a layer of zeros.
    pub range: f64,
    /// 1 + ⌈log2 r⌉
    pub bits: f64,
    /// 2^bits
    pub bit_loss: f64,
    /// ∂ 2^bits / ∂ slope
    pub d_slope: f64,
}

impl Levels {
    /// The schedule's λ_bits, or zero for a layer whose exponents are free: as many as it says itself, or else the
    /// schedule.
    pub fn lambda_bits(&self, schedule: &Schedule, own: Option<f32>) -> f64 {
        match self.range > f64::from(own.unwrap_or(schedule.free_exponents)) {
            true => schedule.lambda_bits.into(),
            false => 0.0,
        }
    }
}

/// Levels, bits and bit loss of a layer (the paper's Eq. 10).
pub fn levels(weights: &[f64], intercept: f64, slope: f64) -> Levels {
    let exponents: Vec<(i32, f64)> = weights
        .iter()
        .filter_map(|&w| exponent(w, intercept, slope).map(|e| (e, log2_size(w))))
        .collect();
    let extreme = |e: Option<i32>| {
        e.map_or(Extreme::default(), |e| {
            let logs: Vec<f64> = exponents.iter().filter(|x| x.0 == e).map(|x| x.1).collect();
            Extreme {
                exponent: e,
                count: logs.len(),
                mean_log: logs.iter().sum::<f64>() / logs.len() as f64,
            }
        })
    };
    let top = extreme(exponents.iter().map(|x| x.0).max());
    let low = extreme(exponents.iter().map(|x| x.0).min());
    let range = f64::from(top.exponent - low.exponent + 1);
    let bits = 1.0 + range.log2().ceil();
    let bit_loss = bits.exp2();
    Levels {
        top,
        low,
        range,
        bits,
        bit_loss,
        d_slope: bit_loss / range * (top.mean_log - low.mean_log),
    }
}

/// What [`Schedule::free_exponents`] is to each layer: with a budget in bits none pays while all fit in. Layers are (bits,
/// weights), and the result is `own` of [`Levels::lambda_bits`] where the budget decides it.
pub fn budget(layers: &[(f64, f64)], budget: f64) -> Option<f32> {
    let used: f64 = layers.iter().map(|(bits, weights)| bits * weights).sum();
    (used <= budget).then_some(f32::INFINITY)
}

/// `d_w` plus the gradient through Q, the bit loss and the L2 term; then the sums for
/// (intercept, slope) without the bit loss. With `identity` the first passes Q as it is.
pub fn quantiser_backward(
    weights: &[f64],
    [intercept, slope]: [f64; 2],
    d_q: &[f64],
    d_w: &[f64],
    [lambda_bits, lambda_l2]: [f64; 2],
    identity: bool,
) -> (Vec<f64>, [f64; 2]) {
    let q = quantiser_forward(weights, intercept, slope);
    let levels = levels(weights, intercept, slope);
    let k = levels.bit_loss / levels.range;
    let mut result = d_w.to_vec();
    let mut sums = [0.0; 2];
    for (i, &w) in weights.iter().enumerate() {
        let size = w.abs() + EPSILON;
        let straight = match identity {
            true => 1.0,
            false => slope * q[i].abs() / size,
        };
        result[i] += d_q[i] * straight + lambda_l2 * w;
        sums[0] += d_q[i] * q[i] * LN_2;
        sums[1] += d_q[i] * q[i] * LN_2 * log2_size(w);
        if let Some(e) = exponent(w, intercept, slope) {
            let share = |end: &Extreme| {
                if e == end.exponent {
                    1.0 / end.count as f64
                } else {
                    0.0
                }
            };
            let pull = lambda_bits * k * slope * w.signum() / (size * LN_2);
            result[i] += pull * (share(&levels.top) - share(&levels.low));
        }
    }
    (result, sums)
}

/// Gradient of (intercept, slope): the sums, and the bit loss on the slope. The first is zero
/// where a batch normalisation follows.
pub fn levels_backward(
    sums: [f64; 2],
    levels: &Levels,
    lambda_bits: f64,
    normalised: bool,
) -> [f64; 2] {
    let d_intercept = if normalised { 0.0 } else { sums[0] };
    [d_intercept, sums[1] + lambda_bits * levels.d_slope]
}
