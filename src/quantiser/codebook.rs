//! The nearest of a table of sizes below a learned clip: Li, Dong, Wang (2020), Additive Powers-of-Two Quantization, arXiv
//! 1909.13144, without the normalisation of weights.

use std::f64::consts::LN_2;

use super::method::{Learned, Method, MethodKernels, Scales, Through, kernels_of, mean_size};

/// Q = a sgn(w) c(|w| / a) with c the nearest size of the codebook, the largest of which is 1. Scales: a.
pub(super) struct Codebook {
    bits: u32,
    /// Ascending from 0 to 1.
    sizes: Vec<f64>,
    /// Non-zero digits of a size, at most.
    digits: u32,
}

impl Codebook {
    /// 0, 1, 1/2, 1/4 and so on.
    pub fn powers_of_two(bits: u32) -> Self {
        let powers = (1 << (bits - 1)) - 1;
        let halvings = (0..powers).map(|n| f64::from(-n).exp2());
        Self::new(bits, 1, halvings.chain([0.0]).collect())
    }

    /// Sums of one number of each of two sets of four, over the largest sum: for 5 bits {0, 1/2, 1/8, 1/32} and {0, 1/4, 1/16,
    /// 1/64}; for 4 bits {0, 1/2, 1/4, 1/16} and {0, 1/8}.
    pub fn additive(bits: u32) -> Self {
        let sets: [&[i32]; 2] = match bits {
            5 => [&[-1, -3, -5], &[-2, -4, -6]],
            _ => [&[-1, -2, -4], &[-3]],
        };
        let [first, second] = sets.map(|exponents| {
            let powers = exponents.iter().map(|e| f64::from(*e).exp2());
            powers.chain([0.0]).collect::<Vec<f64>>()
        });
        let sums = first.iter().flat_map(|a| second.iter().map(move |b| a + b));
        Self::new(bits, 2, sums.collect())
    }

    fn new(bits: u32, digits: u32, mut sizes: Vec<f64>) -> Self {
        sizes.sort_by(f64::total_cmp);
        let largest = sizes[sizes.len() - 1];
        sizes.iter_mut().for_each(|size| *size /= largest);
        Self {
            bits,
            sizes,
            digits,
        }
    }

    /// The nearest size; halfway between two the larger one.
    fn nearest(&self, v: f64) -> f64 {
        let pairs = self.sizes.windows(2);
        let passed = pairs.filter(|pair| v >= 0.5 * (pair[0] + pair[1])).count();
        self.sizes[passed]
    }
}

impl Method for Codebook {
    fn bits(&self) -> u32 {
        self.bits
    }

    fn values(&self) -> u32 {
        2 * self.sizes.len() as u32 - 1
    }

    fn digits(&self) -> Option<u32> {
        Some(self.digits)
    }

    /// Three standard deviations of normally distributed weights, by their mean size; as a logarithm.
    fn start(&self, weights: &[f64]) -> Learned {
        let deviation = mean_size(weights) * (std::f64::consts::PI / 2.0).sqrt();
        [(3.0 * deviation).max(1e-12).log2(), 0.0]
    }

    fn rescaled(&self, [clip, unused]: Learned, factor: f64) -> Option<Learned> {
        Some([clip + factor.log2(), unused])
    }

    fn scales(&self, _: &[f64], learned: Learned) -> Scales {
        [learned[0].exp2(), 0.0, 0.0, 0.0]
    }

    fn quantise(&self, w: f64, scales: &Scales) -> f64 {
        let sign = if w == 0.0 { 0.0 } else { w.signum() };
        scales[0] * sign * self.nearest(w.abs() / scales[0])
    }

    fn through(&self, w: f64, d_q: f64, scales: &Scales) -> Through {
        let v = w / scales[0];
        let d_clip = match v.abs() < 1.0 {
            true => v.signum() * self.nearest(v.abs()) - v,
            false => v.signum(),
        };
        Through {
            weight: d_q,
            learned: [scales[0] * LN_2 * d_clip * d_q, 0.0],
        }
    }

    fn settings(&self) -> [f32; 2] {
        match self.digits {
            1 => [self.sizes.len() as f32 - 1.0, 0.0],
            _ => [self.bits as f32, 0.0],
        }
    }

    fn kernels(&self) -> MethodKernels {
        match self.digits {
            1 => kernels_of!("method_codebook.wgsl", "sizes_pot.wgsl"),
            _ => kernels_of!("method_codebook.wgsl", "sizes_apot.wgsl"),
        }
    }
}
