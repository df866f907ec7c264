//! Powers of two in a fixed range: Elhoushi, Chen, Shafiq, Tian, Li (2021), DeepShift, arXiv 1905.13298; Zhou, Yao, Guo, Xu,
//! Chen (2017), INQ, arXiv 1702.03044.

use super::gtc::EPSILON;
use super::method::{Learned, Method, MethodKernels, Scales, kernels_of, sign_or_zero};

/// Q = sgn(w) 2^clip(round(log2 |w|), -(2^(b-1) - 1), 0) with b bits.
pub(super) struct DeepShift {
    pub bits: u32,
}

impl DeepShift {
    fn low(&self) -> f64 {
        -f64::from((1u32 << (self.bits - 1)) - 1)
    }
}

impl Method for DeepShift {
    fn bits(&self) -> u32 {
        self.bits
    }

    fn factors(&self) -> u32 {
        0
    }

    fn digits(&self) -> Option<u32> {
        Some(1)
    }

    fn rescaled(&self, _: Learned, _: f64) -> Option<Learned> {
        None
    }

    fn scales(&self, _: &[f64], _: Learned) -> Scales {
        [0.0; 4]
    }

    fn quantise(&self, w: f64, _: &Scales) -> f64 {
        let e = (w.abs() + EPSILON).log2().round_ties_even();
        sign_or_zero(w) * e.clamp(self.low(), 0.0).exp2()
    }

    fn settings(&self) -> [f32; 2] {
        [self.low() as f32, 0.0]
    }

    fn kernels(&self) -> MethodKernels {
        kernels_of!("method_deepshift.wgsl")
    }
}

/// Zero and ±2^n for the 2^(b-2) whole n up to floor(log2(4/3 max |w|)), the levels of INQ in b bits. INQ fixes weights in
/// steps, the largest first, and trains the rest; here all weights are quantised throughout, straight through. Scales: smallest
/// n, largest n, the border to zero.
pub(super) struct Inq {
    pub bits: u32,
}

impl Method for Inq {
    fn bits(&self) -> u32 {
        self.bits
    }

    fn values(&self) -> u32 {
        1 + 2 * (1 << (self.bits - 2))
    }

    fn factors(&self) -> u32 {
        0
    }

    fn digits(&self) -> Option<u32> {
        Some(1)
    }

    fn rescaled(&self, _: Learned, _: f64) -> Option<Learned> {
        None
    }

    fn scales(&self, weights: &[f64], _: Learned) -> Scales {
        let largest = weights.iter().fold(0.0, |most: f64, w| most.max(w.abs()));
        let top = (largest.max(EPSILON) * 4.0 / 3.0).log2().floor();
        let low = top + 1.0 - f64::from(1u32 << (self.bits - 2));
        [low, top, 0.5 * low.exp2(), 0.0]
    }

    fn quantise(&self, w: f64, scales: &Scales) -> f64 {
        if w.abs() < scales[2] {
            return 0.0;
        }
        let n = ((w.abs() + EPSILON) * 4.0 / 3.0).log2().floor();
        w.signum() * n.clamp(scales[0], scales[1]).exp2()
    }

    fn settings(&self) -> [f32; 2] {
        [(1u32 << (self.bits - 2)) as f32, 0.0]
    }

    fn kernels(&self) -> MethodKernels {
        kernels_of!("method_inq.wgsl")
    }
}
