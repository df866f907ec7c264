//! What `packed_activation` must give, bit for bit.

use super::integers::PackedActivation;
use crate::op::integers::Exact;

use crate::reference::requantise;

/// y from x: what is not negative goes left by `leak` places, and all is requantised.
pub fn packed_activation(x: &[i64], leak: u32, shift: i32, limits: [i32; 2]) -> Vec<i64> {
    let mut y = Vec::new();
    for x in x {
        let value = if *x < 0 { *x } else { x << leak };
        y.push(requantise(value, 0, shift.into(), limits.map(i64::from)));
    }
    y
}

impl Exact for PackedActivation {
    fn exact(&self, x: &[&[i64]]) -> Vec<i64> {
        packed_activation(x[0], self.leak, self.shift, self.limits)
    }
}
