//! Which power of two each weight of a layer takes, so that the layer's outputs change least.
//!
//! A layer computes X Wᵀ from rows X of inputs. Rounding every weight to the nearest level makes each error as small as it can
//! be, but what counts is their sum in each output. Here weights are rounded one after the other, and those that are still free
//! make up for the errors before (Frantar et al. 2022, GPTQ). With H = XᵀX = L Lᵀ and inputs taken from the last to the first,
//! the best value of a free weight j is
//!
//! ```text
//! w_j + Σ_{k > j} L_kj / L_jj (w_k - q_k)
//! ```
//!
//! which is Babai's nearest plane algorithm (1986). Inputs that vary most are rounded first, while most others are free.
//!
//! The inputs that the layer will see are not those that its weights were trained on, because layers before it are rounded too.
//! So the weights first move to where they do with the new inputs what they did with the old.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::levels::is_zero;
use crate::quantiser::EPSILON;

/// The smallest exponent that a level may have: what becomes a smaller one is so small that it counts as zero.
const LOWEST: i32 = -19;

/// What is added to the diagonal of H, as a part of its mean: directions that few inputs show count little.
const DAMPING: f64 = 0.01;

/// Powers of two that a weight may be, of either sign.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// The largest exponent.
    pub top: i32,
    /// The smallest.
    pub low: i32,
    /// Whether zero is one too.
    pub zero: bool,
}

impl Levels {
    /// The levels of codes of `bits` bits that are nearest to the weights by squares.
    pub fn nearest_to(weights: &[f64], bits: u32) -> Self {
        let codes = 1i32 << (bits - 1);
        let largest = weights.iter().fold(0.0f64, |most, w| most.max(w.abs()));
        if is_zero(largest) {
            return Self {
                top: 0,
                low: 0,
                zero: true,
            };
        }
        let first = (largest.log2().ceil() as i32).max(LOWEST);
        let mut best: Option<(f64, Self)> = None;
        // One code has no place for a zero; with several the smallest level or the zero may be worth more.
        for zero in [false, true] {
            let count = codes - i32::from(zero);
            if count == 0 {
                continue;
            }
            for top in (first - 6).max(LOWEST)..=first {
                let levels = Self {
                    top,
                    low: (top - count + 1).max(LOWEST),
                    zero,
                };
                let error: f64 = weights
                    .iter()
                    .map(|w| (w - levels.nearest(*w)).powi(2))
                    .sum();
                if best.is_none_or(|(least, _)| error < least) {
                    best = Some((error, levels));
                }
            }
        }
        best.map_or(
            Self {
                top: first,
                low: first,
                zero: false,
            },
            |(_, levels)| levels,
        )
    }

    /// The level nearest to a number.
    pub fn nearest(&self, w: f64) -> f64 {
        let size = w.abs();
        let smallest = f64::from(self.low).exp2();
        if self.zero && size < smallest / 2.0 {
            return 0.0;
        }
        // Between 2^e and 2^(e + 1) the middle is 1.5 times 2^e.
        let e = (size.max(f64::MIN_POSITIVE) / 1.5).log2().ceil();
        let e = e.clamp(f64::from(self.low), f64::from(self.top));
        e.exp2().copysign(w)
    }

    /// Intercept and slope of a quantiser that has these levels. With three or more the limits between them lie an octave apart,
    /// so the slope is one. With fewer there is at most one limit, halfway between the levels; a gentle slope then keeps weights
    /// far from it at their level, also while they are trained further.
    pub fn quantiser(&self) -> [f32; 2] {
        /// An exponent's share of weights is then three octaves wide.
        const GENTLE: f64 = 1.0 / 3.0;
        if self.top - self.low > 1 {
            return [0.0, 1.0];
        }
        let middle = f64::from(self.top + self.low) / 2.0;
        [(middle * (1.0 - GENTLE)) as f32, GENTLE as f32]
    }

    /// The number nearest to `w` that [`Levels::quantiser`] makes `level` of.
    pub fn within(&self, level: f64, w: f64) -> f64 {
        /// Inside of half an exponent by more than the rounding of f32.
        const HALF: f64 = 0.499;
        if level == 0.0 {
            return 0.0;
        }
        let size = match w.signum() == level.signum() {
            true => w.abs(),
            false => 0.0,
        };
        let [intercept, slope] = self.quantiser().map(f64::from);
        // The quantiser adds ε to the size before it takes the logarithm, and smaller sizes are zero.
        let of = |exponent: f64| ((exponent - intercept) / slope).exp2() - EPSILON;
        let exponent = level.abs().log2();
        let least = of(exponent - HALF).max(1.001 * EPSILON);
        size.clamp(least, of(exponent + HALF).max(least))
            .copysign(level)
    }
}

/// What some rows of inputs say about a layer.
pub struct Inputs {
    /// L of H = XᵀX = L Lᵀ, with a little on the diagonal.
    factor: Cholesky<f64, Dyn>,
    /// Xᵀ (X_old - X), for weights that are to do with X what they did with X_old.
    moved: DMatrix<f64>,
    /// The order in which inputs are rounded, the last first.
    order: Vec<usize>,
}

impl Inputs {
    /// Of rows (rows, inputs), as they are now and as they were for the weights as trained. `None` if they say nothing.
    pub fn new(rows: usize, now: &[f32], then: &[f32]) -> Option<Self> {
        let inputs = now.len() / rows.max(1);
        let x = DMatrix::from_row_slice(rows, inputs, now);
        let old = DMatrix::from_row_slice(rows, inputs, then);
        let turned = x.transpose();
        let gram = (&turned * &x).cast::<f64>();
        let moved = (&turned * (old - &x)).cast::<f64>();
        let mean = gram.diagonal().mean();
        if mean <= 0.0 || !mean.is_finite() {
            return None;
        }
        let mut order: Vec<usize> = (0..inputs).collect();
        order.sort_by(|a, b| gram[(*a, *a)].total_cmp(&gram[(*b, *b)]));
        let mut damped = DMatrix::from_fn(inputs, inputs, |i, j| gram[(order[i], order[j])]);
        for i in 0..inputs {
            damped[(i, i)] += DAMPING * mean;
        }
        let moved = DMatrix::from_fn(inputs, inputs, |i, j| moved[(order[i], order[j])]);
        Some(Self {
            factor: Cholesky::new(damped)?,
            moved,
            order,
        })
    }

    /// Weights (outputs, inputs) that do with the inputs of now what the given ones did with those of then.
    pub fn adapted(&self, weights: &[f64]) -> Vec<f64> {
        let inputs = self.order.len();
        let outputs = weights.len() / inputs;
        let turned = DMatrix::from_fn(inputs, outputs, |i, o| weights[o * inputs + self.order[i]]);
        let mut change = &self.moved * turned;
        self.factor.solve_mut(&mut change);
        let mut adapted = weights.to_vec();
        for o in 0..outputs {
            for (i, place) in self.order.iter().enumerate() {
                adapted[o * inputs + place] += change[(i, o)];
            }
        }
        adapted
    }

    /// Each weight (outputs, inputs) at a level.
    pub fn rounded(&self, weights: &[f64], levels: &Levels) -> Vec<f64> {
        let inputs = self.order.len();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let outputs = weights.len() / inputs;
        let share = outputs.div_ceil(threads).max(1) * inputs;
        let mut rounded = vec![0.0; weights.len()];
        std::thread::scope(|scope| {
            for (from, to) in weights.chunks(share).zip(rounded.chunks_mut(share)) {
                scope.spawn(move || {
                    for (from, to) in from.chunks(inputs).zip(to.chunks_mut(inputs)) {
                        self.round_output(from, levels, to);
                    }
                });
            }
        });
        rounded
    }

    fn round_output(&self, from: &[f64], levels: &Levels, to: &mut [f64]) {
        let inputs = self.order.len();
        let l = self.factor.l_dirty();
        // How far inputs that are rounded lie from where they were.
        let mut off = DVector::zeros(inputs);
        for j in (0..inputs).rev() {
            let place = self.order[j];
            let behind = inputs - j - 1;
            let below = l.view((j + 1, j), (behind, 1));
            let pull = below.dot(&off.rows(j + 1, behind)) / l[(j, j)];
            let free = from[place] + pull;
            to[place] = levels.nearest(free);
            off[j] = from[place] - to[place];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::levels::LevelRule;
    use crate::rng::Philox;

    #[test]
    fn numbers_become_the_nearest_level() {
        let levels = Levels {
            top: 1,
            low: -1,
            zero: true,
        };
        let pairs = [
            (5.0, 2.0),
            (1.51, 2.0),
            (1.49, 1.0),
            (-0.76, -1.0),
            (-0.74, -0.5),
            (0.26, 0.5),
            (0.24, 0.0),
        ];
        for (w, level) in pairs {
            assert_eq!(levels.nearest(w), level, "{w}");
        }
        let halves = Levels {
            zero: false,
            ..levels
        };
        assert_eq!(halves.nearest(0.01), 0.5);
    }

    #[test]
    fn the_quantiser_makes_the_level_of_what_is_stored() {
        for [low, top] in [
            [-3, 1],
            [-2, 0],
            [-5, -4],
            [-7, -7],
            [-12, -9],
            [-19, -17],
            [-19, -19],
        ] {
            let levels = Levels {
                top,
                low,
                zero: true,
            };
            let rule = LevelRule::new(levels.quantiser());
            for exponent in low..=top {
                let level = f64::from(exponent).exp2();
                for w in [
                    0.3 * level,
                    1.4 * level,
                    -0.8 * level,
                    9.0,
                    1e-5,
                    -1e-5,
                    0.0,
                ] {
                    for level in [level, -level] {
                        let stored = f64::from(levels.within(level, w) as f32);
                        assert_eq!(rule.exponent(stored), Some(exponent), "{levels:?} {w}");
                        assert_eq!(stored.signum(), level.signum());
                    }
                }
                // What is nearest already stays, unless ε is of its size.
                let kept = levels.within(level, 1.2 * level);
                let stays = (kept / level - 1.2).abs() < 1e-9;
                assert!(stays || exponent < -16, "{levels:?} {kept}");
            }
            assert_eq!(levels.within(0.0, 0.2), 0.0);
        }
    }

    #[test]
    fn outputs_change_less_than_with_the_nearest_levels() {
        let (rows, inputs, outputs) = (400, 24, 8);
        let mut rng = Philox::new(5, 0);
        // Inputs that have much in common, as neighbouring pixels do.
        let x: Vec<f32> = (0..rows)
            .flat_map(|_| {
                let common = rng.normal();
                (0..inputs)
                    .map(|_| (common + 0.5 * rng.normal()) as f32)
                    .collect::<Vec<_>>()
            })
            .collect();
        let weights: Vec<f64> = (0..inputs * outputs).map(|_| rng.normal()).collect();
        let levels = Levels::nearest_to(&weights, 3);
        let found = Inputs::new(rows, &x, &x).unwrap();
        let error = |rounded: &[f64]| -> f64 {
            let dot = |row: &[f32], w: &[f64], q: &[f64]| -> f64 {
                let each = row.iter().zip(w.iter().zip(q));
                each.map(|(x, (w, q))| f64::from(*x) * (w - q)).sum()
            };
            let rows = x.chunks(inputs).flat_map(|row| {
                let pairs = weights.chunks(inputs).zip(rounded.chunks(inputs));
                pairs
                    .map(move |(w, q)| dot(row, w, q).powi(2))
                    .collect::<Vec<_>>()
            });
            rows.sum()
        };
        let nearest: Vec<f64> = weights.iter().map(|w| levels.nearest(*w)).collect();
        let rounded = found.rounded(&weights, &levels);
        assert!(rounded.iter().all(|q| levels.nearest(*q) == *q));
        assert!(
            error(&rounded) < 0.4 * error(&nearest),
            "{} {}",
            error(&rounded),
            error(&nearest)
        );
        // The same inputs: nothing to make up for.
        let same = found.adapted(&weights);
        assert!(same.iter().zip(&weights).all(|(a, b)| (a - b).abs() < 1e-9));
        // Inputs of twice the size want weights of half of it.
        let twice: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
        let halved = Inputs::new(rows, &twice, &x).unwrap().adapted(&weights);
        let off: f64 = halved
            .iter()
            .zip(&weights)
            .map(|(a, b)| (a - b / 2.0).powi(2))
            .sum();
        assert!(
            off < 0.01 * weights.iter().map(|w| w * w).sum::<f64>(),
            "{off}"
        );
    }

    #[test]
    fn levels_fit_in_their_codes() {
        let mut rng = Philox::new(6, 0);
        let weights: Vec<f64> = (0..1000).map(|_| 0.1 * rng.normal()).collect();
        let mut before = f64::INFINITY;
        for bits in 1..=5 {
            let levels = Levels::nearest_to(&weights, bits);
            let count = levels.top - levels.low + 1 + i32::from(levels.zero);
            assert!(count <= 1 << (bits - 1), "{bits}: {levels:?}");
            let error: f64 = weights
                .iter()
                .map(|w| (w - levels.nearest(*w)).powi(2))
                .sum();
            assert!(error < before, "{bits}: {error}");
            before = error;
        }
    }
}
