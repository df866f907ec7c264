//! Ternary weights: Li, Zhang, Liu (2016), TWN, arXiv 1605.04711; Zhu, Han, Mao, Dally (2017), TTQ, arXiv 1612.01064.

use std::f64::consts::LN_2;

use super::method::{Learned, Method, MethodKernels, Scales, Through, kernels_of, mean_size};

/// Q = ±a for |w| beyond Δ = 0.7 mean |w|, else 0, with a the mean of |w| beyond Δ. Scales: a, -, -, Δ.
pub(super) struct Twn;

impl Method for Twn {
    fn bits(&self) -> u32 {
        2
    }

    fn values(&self) -> u32 {
        3
    }

    fn digits(&self) -> Option<u32> {
        Some(1)
    }

    fn scales(&self, weights: &[f64], _: Learned) -> Scales {
        let threshold = 0.7 * mean_size(weights);
        let sizes = weights.iter().map(|w| w.abs());
        let above: Vec<f64> = sizes.filter(|size| *size > threshold).collect();
        [mean_size(&above), 0.0, 0.0, threshold]
    }

    fn quantise(&self, w: f64, scales: &Scales) -> f64 {
        match w.abs() > scales[3] {
            true => scales[0] * w.signum(),
            false => 0.0,
        }
    }

    fn looks_twice(&self) -> bool {
        true
    }

    fn kernels(&self) -> MethodKernels {
        kernels_of!("method_twn.wgsl")
    }
}

/// Part of the largest |w| up to which weights become zero.
const BORDER: f64 = 0.05;

/// Q = p for w beyond Δ = 0.05 max |w|, -n for w below -Δ, else 0, with p and n learned. Scales: p, n, -, Δ.
///
/// The paper divides the weights of a layer by the largest, m, first, so that its magnitudes are p / m and n / m; they are also
/// the factors of the gradients of weights beyond Δ, beside 1 of the weights in between.
pub(super) struct Ttq;

impl Method for Ttq {
    fn bits(&self) -> u32 {
        2
    }

    fn values(&self) -> u32 {
        3
    }

    /// Sums of positive and of negative weights are multiplied apart.
    fn factors(&self) -> u32 {
        2
    }

    fn digits(&self) -> Option<u32> {
        Some(1)
    }

    /// The mean of |w| for both, as logarithms.
    fn start(&self, weights: &[f64]) -> Learned {
        [mean_size(weights).max(1e-12).log2(); 2]
    }

    fn rescaled(&self, learned: Learned, factor: f64) -> Option<Learned> {
        Some(learned.map(|magnitude| magnitude + factor.log2()))
    }

    fn scales(&self, weights: &[f64], learned: Learned) -> Scales {
        let largest = weights.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
        [learned[0].exp2(), learned[1].exp2(), 0.0, BORDER * largest]
    }

    fn quantise(&self, w: f64, scales: &Scales) -> f64 {
        match w {
            w if w > scales[3] => scales[0],
            w if w < -scales[3] => -scales[1],
            _ => 0.0,
        }
    }

    fn through(&self, w: f64, d_q: f64, scales: &Scales) -> Through {
        let largest = scales[3] / BORDER;
        let (factor, learned) = match w {
            w if w > scales[3] => (scales[0] / largest, [scales[0] * LN_2 * d_q, 0.0]),
            w if w < -scales[3] => (scales[1] / largest, [0.0, -scales[1] * LN_2 * d_q]),
            _ => (1.0, [0.0; 2]),
        };
        Through {
            weight: factor * d_q,
            learned,
        }
    }

    fn kernels(&self) -> MethodKernels {
        kernels_of!("method_ttq.wgsl")
    }
}
