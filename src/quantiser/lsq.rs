//! Learned step size quantisation: Esser, McKinstry, Bablani, Appuswamy, Modha (2020), arXiv 1902.08153.

use std::f64::consts::LN_2;

use super::method::{Learned, Method, MethodKernels, Scales, Through, kernels_of, mean_size};

/// Q = s round(clip(w / s, -2^(k-1), 2^(k-1) - 1)) with k bits and a learned step s. Scales: s, the factor
/// 1 / √(n (2^(k-1) - 1)) of its gradient.
pub(super) struct Lsq {
    pub bits: u32,
}

impl Lsq {
    fn bounds(&self) -> [f64; 2] {
        let half = f64::from(1u32 << (self.bits - 1));
        [-half, half - 1.0]
    }
}

impl Method for Lsq {
    fn bits(&self) -> u32 {
        self.bits
    }

    fn digits(&self) -> Option<u32> {
        // -2, -1, 0, 1: no number of two bits has more than one digit.
        (self.bits == 2).then_some(1)
    }

    /// 2 mean |w| / √(2^(k-1) - 1), as a logarithm.
    fn start(&self, weights: &[f64]) -> Learned {
        let step = 2.0 * mean_size(weights) / self.bounds()[1].sqrt();
        [step.max(1e-12).log2(), 0.0]
    }

    fn rescaled(&self, [step, unused]: Learned, factor: f64) -> Option<Learned> {
        Some([step + factor.log2(), unused])
    }

    fn scales(&self, weights: &[f64], learned: Learned) -> Scales {
        let factor = 1.0 / (weights.len() as f64 * self.bounds()[1]).sqrt();
        [learned[0].exp2(), factor, 0.0, 0.0]
    }

    fn quantise(&self, w: f64, scales: &Scales) -> f64 {
        let [low, high] = self.bounds();
        scales[0] * (w / scales[0]).clamp(low, high).round_ties_even()
    }

    fn through(&self, w: f64, d_q: f64, scales: &Scales) -> Through {
        let [low, high] = self.bounds();
        let v = w / scales[0];
        let inside = v > low && v < high;
        let d_step = match inside {
            true => v.round_ties_even() - v,
            false => v.clamp(low, high),
        };
        Through {
            weight: if inside { d_q } else { 0.0 },
            learned: [scales[1] * scales[0] * LN_2 * d_step * d_q, 0.0],
        }
    }

    fn settings(&self) -> [f32; 2] {
        let [low, high] = self.bounds();
        [low as f32, high as f32]
    }

    fn kernels(&self) -> MethodKernels {
        kernels_of!("method_lsq.wgsl")
    }
}
