//! Which power of two each weight becomes, decided on the CPU in `f64`: for reports, for packing and for
//! post-training quantisation.
//!
//! Kernels decide the same in `f32` while they train. What is right is said a second time, independently,
//! in [`reference`](mod@crate::reference), which tests compare with this.

use crate::quantiser::EPSILON;

/// Exponents of a normal `f32`: no level lies outside.
const SMALLEST: f64 = -126.0;
const LARGEST: f64 = 127.0;
/// Factors of a batch normalisation nearer to zero than this become zero.
const SMALLEST_FACTOR: f64 = 1e-6;

/// The intercept c and the slope s of a layer, which say which exponent each of its weights has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LevelRule {
    /// c
    pub intercept: f64,
    /// s
    pub slope: f64,
}

/// The exponents that a layer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExponentRange {
    /// The smallest; 0 for a layer of zeros.
    pub low: i32,
    /// The largest; 0 for a layer of zeros.
    pub top: i32,
}

/// The whole exponent nearest to one, of two as near the even one, and at most what a normal `f32` has.
pub(crate) fn nearest_exponent(exponent: f64) -> f64 {
    exponent.round_ties_even().clamp(SMALLEST, LARGEST)
}

impl LevelRule {
    /// The rule of a layer whose quantiser is (intercept, slope).
    pub fn new([intercept, slope]: [f32; 2]) -> Self {
        Self {
            intercept: intercept.into(),
            slope: slope.into(),
        }
    }

    /// The exponent of a weight, or `None` if the weight quantises to zero. An exponent halfway between
    /// two whole numbers becomes the even one, as in WGSL.
    pub fn exponent(&self, weight: f64) -> Option<i32> {
        if is_zero(weight) {
            return None;
        }
        Some(nearest_exponent(self.intercept + self.slope * log2_size(weight)) as i32)
    }

    /// Q(w), zero or ±2^e.
    pub fn value(&self, weight: f64) -> f64 {
        let size = |e: i32| f64::from(e).exp2().copysign(weight);
        self.exponent(weight).map_or(0.0, size)
    }

    /// The exponents in use over a layer's weights.
    pub fn range(&self, weights: impl Iterator<Item = f64>) -> ExponentRange {
        let mut range: Option<ExponentRange> = None;
        for e in weights.filter_map(|w| self.exponent(w)) {
            let known = range.get_or_insert(ExponentRange { low: e, top: e });
            known.low = known.low.min(e);
            known.top = known.top.max(e);
        }
        range.unwrap_or(ExponentRange { low: 0, top: 0 })
    }
}

impl ExponentRange {
    /// Exponents from the smallest to the largest, both included.
    pub fn count(&self) -> u32 {
        self.top.abs_diff(self.low) + 1
    }

    /// 1 + ⌈log2(top − low + 1)⌉, a sign and an exponent (the paper's Eq. 10).
    pub fn bits(&self) -> u32 {
        sign_and_index_bits(self.count())
    }
}

/// Whether a weight quantises to zero. Weights are `f32`, and so is the ε they are compared with on devices.
pub fn is_zero(weight: f64) -> bool {
    weight.abs() < f64::from(EPSILON as f32)
}

/// log2(|w| + ε)
pub fn log2_size(weight: f64) -> f64 {
    (EPSILON + weight.abs()).log2()
}

/// Bits of a code that holds a sign and one of `count` indices.
pub fn sign_and_index_bits(count: u32) -> u32 {
    1 + count.next_power_of_two().ilog2()
}

/// The power of two nearest to a factor γ/σ of a batch normalisation, in octaves, with the factor's sign;
/// zero if the factor is nearer to zero than 10^-6.
pub fn rounded_factor(exact: f64) -> f64 {
    match exact.abs() {
        size if size < SMALLEST_FACTOR => 0.0,
        size => size.log2().round().exp2().copysign(exact),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_the_even_exponent() {
        // With a slope of zero the intercept alone decides.
        let exponent = |intercept| {
            let rule = LevelRule {
                intercept,
                slope: 0.0,
            };
            rule.exponent(1.0)
        };
        let found = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5].map(exponent);
        assert_eq!(found, [-2, -2, 0, 0, 2, 2].map(Some));
        assert_eq!([-500.0, 500.0].map(exponent), [-126, 127].map(Some));
    }

    #[test]
    fn a_layer_of_zeros_has_one_bit() {
        let rule = LevelRule::new([0.0, 1.0]);
        let range = rule.range([0.0, 1e-7, -1e-7].into_iter());
        assert_eq!((range.low, range.top, range.bits()), (0, 0, 1));
    }
}
