//! What `packed_average_pool` must give, bit for bit.

use super::integers::PackedAverage;
use crate::op::integers::Exact;

use crate::op::WindowShape;
use crate::op::packed_windows::each_window;
use crate::reference::requantise;

/// y (stored) from x (stored): the sum of each window, requantised.
pub fn packed_average_pool(
    shape: &WindowShape,
    shift: i32,
    limits: [i32; 2],
    x: &[i64],
) -> Vec<i64> {
    let mut y = vec![0; shape.y().iter().product()];
    each_window(shape, |at, window| {
        let sum = window.iter().map(|i| x[*i]).sum();
        y[at] = requantise(sum, 0, shift.into(), limits.map(i64::from));
    });
    y
}

impl Exact for PackedAverage {
    fn exact(&self, x: &[&[i64]]) -> Vec<i64> {
        let shape = WindowShape {
            batch: 1,
            ..self.shape
        };
        packed_average_pool(&shape, self.shift, self.limits, x[0])
    }
}
