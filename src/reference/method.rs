//! The kernels of quantisation methods other than GTC, layer by layer.

use crate::quantiser::{Learned, Method, Scales};

/// What the methods need to know of weights: the sum of |w| over those beyond a threshold, how many they are, the largest
/// |w|, the sum of squares of all.
pub fn method_statistics(weights: &[f64], threshold: f64) -> [f64; 4] {
    let sizes: Vec<f64> = weights.iter().map(|w| w.abs()).collect();
    let above = || sizes.iter().filter(|size| **size > threshold);
    [
        above().sum(),
        above().count() as f64,
        sizes.iter().fold(0.0, |most, size| most.max(*size)),
        sizes.iter().map(|size| size * size).sum(),
    ]
}

/// A layer's row of levels, (3, 4): how many values there are and bits of a code; scales; the bit loss, which nobody pays.
pub fn method_scales(method: &dyn Method, weights: &[f64], learned: Learned) -> Vec<f64> {
    let bits = f64::from(method.bits());
    let first = [0.0, 0.0, f64::from(method.values()), bits];
    let last = [bits.exp2(), 0.0, 0.0, 0.0];
    [first, method.scales(weights, learned), last].concat()
}

/// Q(w)
pub fn method_forward(method: &dyn Method, weights: &[f64], scales: &Scales) -> Vec<f64> {
    let quantise = |w: &f64| method.quantise(*w, scales);
    weights.iter().map(quantise).collect()
}

/// `d_w` plus the gradient through Q and the L2 term; then the sums for the two learned numbers.
pub fn method_backward(
    method: &dyn Method,
    weights: &[f64],
    scales: &Scales,
    [d_q, d_w]: [&[f64]; 2],
    lambda_l2: f64,
) -> (Vec<f64>, [f64; 2]) {
    let mut gradients = d_w.to_vec();
    let mut sums = [0.0; 2];
    for (i, w) in weights.iter().enumerate() {
        let through = method.through(*w, d_q[i], scales);
        gradients[i] += through.weight + lambda_l2 * w;
        for (sum, share) in sums.iter_mut().zip(through.learned) {
            *sum += share;
        }
    }
    (gradients, sums)
}
