//! Max pooling.

use crate::op::PoolShape;

/// Offset of one number of a (batch, height, width, channels) array.
fn offset([_, height, width, channels]: [usize; 4], [n, y, x, c]: [usize; 4]) -> usize {
    ((n * height + y) * width + x) * channels + c
}

/// Calls `visit(offset in y, offsets in x of its window)` for every output.
fn each_window(shape: &PoolShape, mut visit: impl FnMut(usize, &[usize])) {
    let [batch, height, width, channels] = shape.y();
    for n in 0..batch {
        for y in 0..height {
            for x in 0..width {
                for c in 0..channels {
                    let mut window = Vec::new();
                    for row in y * shape.size..(y + 1) * shape.size {
                        for column in x * shape.size..(x + 1) * shape.size {
                            window.push(offset(shape.x(), [n, row, column, c]));
                        }
                    }
                    visit(offset(shape.y(), [n, y, x, c]), &window);
                }
            }
        }
    }
}

/// y = the largest x of each window.
pub fn max_pool_forward(shape: &PoolShape, x: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; shape.y().iter().product()];
    each_window(shape, |at, window| {
        y[at] = window
            .iter()
            .map(|&i| x[i])
            .fold(f64::NEG_INFINITY, f64::max);
    });
    y
}

/// Which number of each window, row by row, is its first largest x; with `relu`, past the last number where that is
/// not positive.
pub fn max_pool_argmax(shape: &PoolShape, x: &[f64], relu: bool) -> Vec<f64> {
    let mut argmax = vec![0.0; shape.y().iter().product()];
    each_window(shape, |at, window| {
        let mut best = 0;
        for (i, &place) in window.iter().enumerate() {
            if x[place] > x[window[best]] {
                best = i;
            }
        }
        let passes = !relu || x[window[best]] > 0.0;
        argmax[at] = if passes { best } else { window.len() } as f64;
    });
    argmax
}

/// d_x: d_y of each window goes to number `argmax` of it, if there is one.
pub fn max_unpool(shape: &PoolShape, d_y: &[f64], argmax: &[f64]) -> Vec<f64> {
    let mut d_x = vec![0.0; shape.x().iter().product()];
    each_window(shape, |at, window| {
        if let Some(&place) = window.get(argmax[at] as usize) {
            d_x[place] = d_y[at];
        }
    });
    d_x
}

/// d_x: d_y of each window goes to its first largest x; with `relu` only if that is positive.
pub fn max_pool_backward(shape: &PoolShape, x: &[f64], d_y: &[f64], relu: bool) -> Vec<f64> {
    let mut d_x = vec![0.0; x.len()];
    each_window(shape, |at, window| {
        let mut best = window[0];
        for &i in window {
            if x[i] > x[best] {
                best = i;
            }
        }
        if !relu || x[best] > 0.0 {
            d_x[best] += d_y[at];
        }
    });
    d_x
}
