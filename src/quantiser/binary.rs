//! Binary weights: Rastegari, Ordonez, Redmon, Farhadi (2016), XNOR-Net, arXiv 1603.05279, the part without binary
//! activations.

use super::gtc::EPSILON;
use super::method::{Learned, Method, MethodKernels, Scales, kernels_of, mean_size, sign_or_zero};
use crate::levels::nearest_exponent;

/// Q = a sgn(w), a the mean of |w| over the layer. Scales: a.
pub(super) struct Binary {
    /// Whether a is rounded to a power of two.
    pub power_of_two: bool,
}

impl Method for Binary {
    fn bits(&self) -> u32 {
        1
    }

    fn factors(&self) -> u32 {
        u32::from(!self.power_of_two)
    }

    fn digits(&self) -> Option<u32> {
        Some(1)
    }

    fn rescaled(&self, learned: Learned, _: f64) -> Option<Learned> {
        (!self.power_of_two).then_some(learned)
    }

    fn scales(&self, weights: &[f64], _: Learned) -> Scales {
        let mean = mean_size(weights).max(EPSILON);
        let rounded = nearest_exponent(mean.log2()).exp2();
        [
            if self.power_of_two { rounded } else { mean },
            0.0,
            0.0,
            0.0,
        ]
    }

    fn quantise(&self, w: f64, scales: &Scales) -> f64 {
        scales[0] * sign_or_zero(w)
    }

    fn settings(&self) -> [f32; 2] {
        [f32::from(u8::from(self.power_of_two)), 0.0]
    }

    fn kernels(&self) -> MethodKernels {
        kernels_of!("method_binary.wgsl")
    }
}
