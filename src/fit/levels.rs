//! Levels for weights that were trained without any: the quantiser of a layer fitted to them, so that
//! the sum of squared errors Σ (w − Q(w))² is smallest for a given number of bits.

use crate::levels::{LevelRule, is_zero, log2_size, nearest_exponent};
use crate::model::Parameters;
use crate::quantiser::EPSILON;

/// Bins an octave, for the search.
const BINS: f64 = 64.0;
/// Points of the search on either side of the best so far, for intercept and slope.
const POINTS: i32 = 24;
/// How often the search looks closer.
const ROUNDS: usize = 4;

/// A fitted layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// c
    pub intercept: f32,
    /// s
    pub slope: f32,
    /// Weights below this exponent become zero; `None`: none do.
    pub smallest: Option<i32>,
    /// Σ (w − Q(w))² / Σ w²
    pub error: f64,
}

/// Weights of about one size.
#[derive(Clone, Copy, Default)]
struct Bin {
    count: f64,
    sum: f64,
    squares: f64,
    /// Σ log2(|w| + ε)
    logs: f64,
}

struct Sizes {
    bins: Vec<Bin>,
    largest: f64,
    least: f64,
    squares: f64,
    /// Weights that are zero already.
    zeros: usize,
}

impl Sizes {
    fn new(weights: &[f32]) -> Self {
        let wide = || weights.iter().map(|w| f64::from(w.abs()));
        let seen = || wide().filter(|w| !is_zero(*w));
        let largest = seen().fold(EPSILON, f64::max);
        let least = seen().fold(largest, f64::min);
        let first = log2_size(least);
        let count = ((log2_size(largest) - first) * BINS) as usize + 1;
        let mut bins = vec![Bin::default(); count];
        for w in seen() {
            let bin = &mut bins[((log2_size(w) - first) * BINS) as usize];
            bin.count += 1.0;
            bin.sum += w;
            bin.squares += w * w;
            bin.logs += log2_size(w);
        }
        bins.retain(|bin| bin.count > 0.0);
        Self {
            bins,
            largest,
            least,
            squares: wide().map(|w| w * w).sum(),
            zeros: weights.len() - seen().count(),
        }
    }

    /// The error of a quantiser whose codes have `bits` bits.
    fn try_fit(&self, intercept: f64, slope: f64, bits: u32) -> Option<Fit> {
        let (intercept, slope) = (intercept as f32, slope as f32);
        let rule = LevelRule::new([intercept, slope]);
        let [top, low] = [self.largest, self.least].map(|w| rule.exponent(w).unwrap_or(0));
        let codes = 1 << (bits - 1);
        // With one bit there is no code for zeros: they get the one level, too.
        let a_code_for_zeros = i32::from(self.zeros > 0 && bits > 1);
        let fits_whole = top - low < codes - a_code_for_zeros;
        let smallest = match fits_whole {
            true => None,
            // The zero takes a code; one bit has none to give.
            false if bits > 1 => Some(top - codes + 2),
            false => return None,
        };
        let squared = self.bins.iter().map(|bin| {
            let e = nearest_exponent(rule.intercept + rule.slope * bin.logs / bin.count);
            let q = match smallest {
                Some(smallest) if e < f64::from(smallest) => 0.0,
                _ => e.exp2(),
            };
            bin.squares - 2.0 * q * bin.sum + q * q * bin.count
        });
        let from_zero = match bits {
            1 => self.zeros as f64 * f64::from(top).exp2().powi(2),
            _ => 0.0,
        };
        Some(Fit {
            intercept,
            slope,
            smallest,
            error: (squared.sum::<f64>() + from_zero) / self.squares.max(f64::MIN_POSITIVE),
        })
    }
}

/// The quantiser that describes the weights best in codes of `bits` bits, 1 to 7.
pub fn fit(weights: &[f32], bits: u32) -> Fit {
    let sizes = Sizes::new(weights);
    let count: f64 = sizes.bins.iter().map(|b| b.count).sum();
    let mean: f64 = sizes.bins.iter().map(|b| b.logs).sum::<f64>() / count.max(1.0);
    // Around a slope of one half, and, at any slope, around exponents as the mean weight has them.
    let (mut offset, mut slope, mut reach) = (0.0, 0.5, [2.0, 0.5]);
    let at = |offset: f64, slope: f64| (mean * (1.0 - slope) + offset, slope);
    let mut best: Option<Fit> = None;
    for _ in 0..ROUNDS {
        let centre = [offset, slope];
        for i in -POINTS..=POINTS {
            for j in -POINTS..=POINTS {
                let share =
                    |i: i32, k: usize| centre[k] + reach[k] * f64::from(i) / f64::from(POINTS);
                let (offset_here, slope_here) = (share(i, 0), share(j, 1).clamp(0.0, 1.0));
                let (c, s) = at(offset_here, slope_here);
                if let Some(fit) = sizes.try_fit(c, s, bits)
                    && best.is_none_or(|best| fit.error < best.error)
                {
                    best = Some(fit);
                    (offset, slope) = (offset_here, slope_here);
                }
            }
        }
        reach = reach.map(|r| r * 3.0 / f64::from(POINTS));
    }
    // Every weight in one exponent is always possible.
    best.unwrap_or(Fit {
        intercept: mean as f32,
        slope: 0.0,
        smallest: None,
        error: 1.0,
    })
}

/// Fits every quantised layer of an arena, in place, each to its own of `bits`, and returns the fits. Weights too small for the
/// smallest level become zero. With one bit, which has no code for them, weights of zero become as small as the smallest other
/// one, in turns above and below zero.
pub fn fit_all(parameters: &Parameters, arena: &mut [f32], bits: &[u32]) -> Vec<Fit> {
    let mut fits = Vec::new();
    for (layer, bits) in parameters.quantised().zip(bits) {
        let mut values = layer.values(arena);
        let fit = fit(&values.weights, *bits);
        let rule = LevelRule::new([fit.intercept, fit.slope]);
        if let Some(smallest) = fit.smallest {
            for w in &mut values.weights {
                if rule.exponent(f64::from(*w)).is_some_and(|e| e < smallest) {
                    *w = 0.0;
                }
            }
        }
        let sizes = values.weights.iter().map(|w| w.abs());
        let least = sizes
            .filter(|w| !is_zero(f64::from(*w)))
            .min_by(f32::total_cmp);
        if let (1, Some(least)) = (*bits, least) {
            let zeros = values
                .weights
                .iter_mut()
                .filter(|w| is_zero(f64::from(**w)));
            for (number, zero) in zeros.enumerate() {
                *zero = if number % 2 == 0 { least } else { -least };
            }
        }
        values.quantiser = vec![fit.intercept, fit.slope];
        layer.place(arena, &values);
        fits.push(fit);
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{exponent, levels, quantiser_forward};
    use crate::rng::Philox;

    fn error(weights: &[f32], fit: &Fit) -> f64 {
        let wide: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
        let (c, s) = (f64::from(fit.intercept), f64::from(fit.slope));
        let q = quantiser_forward(&wide, c, s);
        let squares: f64 = wide.iter().map(|w| w * w).sum();
        let off = wide.iter().zip(q).map(|(w, q)| {
            let small = exponent(*w, c, s) < fit.smallest;
            (w - if small { 0.0 } else { q }).powi(2)
        });
        off.sum::<f64>() / squares
    }

    #[test]
    fn more_bits_are_nearer_and_stay_within_their_codes() {
        let mut rng = Philox::new(3, 0);
        let weights: Vec<f32> = (0..5000).map(|_| 0.05 * rng.normal() as f32).collect();
        let mut before = 1.0;
        for bits in 1..=5 {
            let fit = fit(&weights, bits);
            let exact = error(&weights, &fit);
            assert!(
                (exact - fit.error).abs() < 0.02,
                "{bits} bits: {exact}, {fit:?}"
            );
            assert!(exact < before, "{bits} bits: {exact} is not below {before}");
            before = exact;
            let (c, s) = (f64::from(fit.intercept), f64::from(fit.slope));
            let kept = weights.iter().map(|w| f64::from(*w));
            let kept: Vec<f64> = kept
                .filter(|w| fit.smallest.is_none() || exponent(*w, c, s) >= fit.smallest)
                .collect();
            let levels = levels(&kept, c, s);
            let range = levels.top.exponent - levels.low.exponent + 1;
            assert!(range + i32::from(fit.smallest.is_some()) <= 1 << (bits - 1));
        }
        // One magnitude for a normal distribution: 1 - 2/π is left of its variance at best, and a power
        // of two misses that by little.
        let one = fit(&weights, 1).error;
        assert!(one > 0.36 && one < 0.45, "{one}");
    }

    #[test]
    fn powers_of_two_are_met_exactly() {
        let weights: Vec<f32> = (0..64)
            .map(|i| (-1f32).powi(i) * (-(i % 4) as f32).exp2())
            .collect();
        let fit = fit(&weights, 3);
        assert!(error(&weights, &fit) < 1e-12, "{fit:?}");
    }

    /// One bit has no code for a zero.
    #[test]
    fn zeros_take_the_one_level_of_one_bit() {
        let mut rng = Philox::new(3, 0);
        let mut weights: Vec<f32> = (0..1000).map(|_| 0.05 * rng.normal() as f32).collect();
        weights.iter_mut().step_by(20).for_each(|w| *w = 0.0);
        let dense: Vec<f32> = weights.iter().copied().filter(|w| *w != 0.0).collect();
        let [with, without] = [&weights, &dense].map(|weights| fit(weights, 1));
        assert!(
            without.error < with.error && with.error < without.error + 0.1,
            "{with:?}"
        );
        assert!(
            (with.error - error(&weights, &with)).abs() < 0.1,
            "{with:?}"
        );
        let model = crate::model::Model::by_name("lenet-small").unwrap();
        let parameters = Parameters::new(&model);
        let mut arena = parameters.initial(1);
        let layer = &parameters.layers[0];
        let mut values = layer.values(&arena);
        values.weights.iter_mut().step_by(9).for_each(|w| *w = 0.0);
        layer.place(&mut arena, &values);
        fit_all(&parameters, &mut arena, &vec![1; parameters.layers.len()]);
        let rule = LevelRule::new(layer.quantiser_values(&arena));
        let fitted = layer.weight_values(&arena);
        let exponents: Vec<_> = fitted
            .iter()
            .map(|w| rule.exponent(f64::from(*w)))
            .collect();
        assert!(exponents[0].is_some(), "{:?}", fitted[0]);
        assert!(
            exponents.iter().all(|e| *e == exponents[0]),
            "{exponents:?}"
        );
    }

    #[test]
    fn a_layer_of_zeros_stays_one() {
        assert_eq!(fit(&[0.0; 8], 2).smallest, None);
    }
}
