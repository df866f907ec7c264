//! Weights as the words of a memory, and how large sums of them become.

use super::Arithmetic;
use crate::pack::{PackedLayer, unpacked};
use crate::rng::Philox;

/// Weights of one layer as the engine reads them.
#[derive(Clone, Debug)]
pub struct Weights {
    /// Bits of a weight in memory.
    pub bits: u32,
    /// Whether index 0 of a code is no weight at all.
    pub zero: bool,
    /// The weights as whole numbers, in the order of the layer's shape.
    pub values: Vec<i64>,
    /// Weights of one output.
    pub row: usize,
    multiplied: bool,
}

/// Bits that hold the numbers from 0 to `most`.
pub fn bits_for(most: u64) -> u32 {
    u64::BITS - most.leading_zeros()
}

/// Bits of two's complement that hold all numbers from `low` to `high`.
pub fn signed_bits([low, high]: [i128; 2]) -> u32 {
    let of = |v: i128| {
        1 + i128::BITS
            - if v < 0 {
                (!v).leading_zeros()
            } else {
                v.leading_zeros()
            }
    };
    of(low).max(of(high))
}

impl Weights {
    /// Those of a layer; `needs_zero` where some of the array's weights must be none.
    pub fn of(
        layer: &PackedLayer,
        arithmetic: Arithmetic,
        needs_zero: bool,
        number: usize,
    ) -> Self {
        let mut values = unpacked(&layer.codes, layer.bits, layer.zero);
        let row = values.len() / layer.shape[0].max(1);
        if let Arithmetic::Multiply { bits, random } = arithmetic {
            if random {
                let mut rng = Philox::new(22, number as u64);
                let half = 1i64 << (bits - 1);
                let draw = |_| i64::from(rng.below(1 << bits)) - half;
                values = (0..values.len()).map(draw).collect();
            }
            return Self {
                bits,
                zero: true,
                values,
                row,
                multiplied: true,
            };
        }
        let zero = layer.zero || needs_zero;
        let bits = match zero && !layer.zero {
            true => 1 + bits_for(1 << (layer.bits - 1)),
            false => layer.bits,
        };
        Self {
            bits,
            zero,
            values,
            row,
            multiplied: false,
        }
    }

    /// The bits that stand for a weight in memory; `None` is a place of the array that no weight belongs to.
    pub fn code(&self, weight: Option<i64>) -> u64 {
        let weight = weight.unwrap_or(0);
        if self.multiplied {
            return weight.cast_unsigned() & ((1 << self.bits) - 1);
        }
        if weight == 0 {
            // Without zeros only where the activation is zero.
            return 0;
        }
        let index = u64::from(weight.unsigned_abs().ilog2()) + u64::from(self.zero);
        index | u64::from(weight < 0) << (self.bits - 1)
    }

    /// The largest k of a weight 2^k.
    pub fn span(&self) -> u32 {
        let largest = self.values.iter().map(|w| w.unsigned_abs()).max();
        largest.unwrap_or(1).max(1).ilog2()
    }

    /// By how much what the array adds for a place exceeds weight times activation of `act` bits.
    pub fn excess(&self, weight: Option<i64>, act: u32) -> i64 {
        let half = 1i64 << (act - 1);
        match weight.unwrap_or(0) {
            _ if self.multiplied => 0,
            0 if self.zero => 0,
            0 => half,
            w if w > 0 => half * w,
            w => (half - 1) * -w,
        }
    }

    /// The smallest and the largest sum of one output for inputs from `low` to `high`.
    pub fn range(&self, output: usize, [low, high]: [i64; 2]) -> [i128; 2] {
        let row = &self.values[output * self.row..(output + 1) * self.row];
        let (mut least, mut most) = (0i128, 0i128);
        for weight in row {
            let ends = [i128::from(weight * low), i128::from(weight * high)];
            least += ends[0].min(ends[1]);
            most += ends[0].max(ends[1]);
        }
        [least, most]
    }

    /// The same for any weights of this many bits.
    pub fn format_range(&self, [low, high]: [i64; 2]) -> [i128; 2] {
        let taps = self.row as i128;
        let most = i128::from(low.unsigned_abs().max(high.unsigned_abs()));
        let largest = (taps * most) << (self.bits - 1);
        [-largest, largest]
    }
}
