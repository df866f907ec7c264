//! What `packed_add` must give, bit for bit.

use super::integers::PackedSum;
use crate::op::integers::Exact;

use crate::reference::requantise;

/// y from a and b of one shape: each goes left by its number of places, the sum is requantised.
pub fn packed_add([a, b]: [&[i64]; 2], ups: [u32; 2], shift: i32, limits: [i32; 2]) -> Vec<i64> {
    let mut y = Vec::new();
    for (a, b) in a.iter().zip(b) {
        let sum = (a << ups[0]) + (b << ups[1]);
        y.push(requantise(sum, 0, shift.into(), limits.map(i64::from)));
    }
    y
}

impl Exact for PackedSum {
    fn exact(&self, x: &[&[i64]]) -> Vec<i64> {
        let mut sum = x[0].to_vec();
        for (number, addition) in self.additions().iter().enumerate() {
            sum = packed_add(
                [&sum, x[number + 1]],
                addition.ups,
                addition.shift,
                addition.limits,
            );
        }
        sum
    }
}
