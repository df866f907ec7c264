//! What `packed_concat` must give, bit for bit.

use super::integers::PackedJoin;
use crate::op::integers::Exact;

use crate::reference::requantise;
use crate::tensor::pad4;

/// y (pixels, padded sum of channels) from a and b (pixels, padded channels). An input comes with its channels without
/// padding and its shift.
pub fn packed_concat(
    [(a, a_channels, a_shift), (b, b_channels, b_shift)]: [(&[i64], usize, i32); 2],
    limits: [i32; 2],
) -> Vec<i64> {
    let limits = limits.map(i64::from);
    let mut y = Vec::new();
    for pixel in 0..a.len() / pad4(a_channels) {
        for channel in 0..pad4(a_channels + b_channels) {
            y.push(if channel < a_channels {
                let x = a[pixel * pad4(a_channels) + channel];
                requantise(x, 0, a_shift.into(), limits)
            } else if channel < a_channels + b_channels {
                let x = b[pixel * pad4(b_channels) + channel - a_channels];
                requantise(x, 0, b_shift.into(), limits)
            } else {
                0
            });
        }
    }
    y
}

impl Exact for PackedJoin {
    fn exact(&self, x: &[&[i64]]) -> Vec<i64> {
        let mut joined = x[0].to_vec();
        for (number, [left, right]) in self.joins().iter().enumerate() {
            let sides = [
                (&joined[..], left.0, left.1),
                (x[number + 1], right.0, right.1),
            ];
            joined = packed_concat(sides, self.limits);
        }
        joined
    }
}
