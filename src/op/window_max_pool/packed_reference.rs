//! What `packed_window_max_pool` must give, bit for bit.

use crate::op::WindowShape;
use crate::op::packed_windows::each_window;

/// y (stored) from x (stored): the largest number of the part of each window that lies inside the image.
pub fn packed_window_max_pool(shape: &WindowShape, x: &[i64]) -> Vec<i64> {
    let mut y = vec![0; shape.y().iter().product()];
    each_window(shape, |at, window| {
        let mut best = x[window[0]];
        for i in window {
            best = best.max(x[*i]);
        }
        y[at] = best;
    });
    y
}
