//! The definition of the activation functions.

use super::Activate;

/// y = slope · x where x < 0, the ceiling where x is above it, x elsewhere.
pub fn activation_forward(activate: &Activate, x: &[f64]) -> Vec<f64> {
    let (slope, ceiling) = (f64::from(activate.slope), f64::from(activate.ceiling));
    let mut y = Vec::new();
    for &x in x {
        y.push(if x < 0.0 { slope * x } else { x.min(ceiling) });
    }
    y
}

/// d_x = d_y times the slope at x: at 0 that of the negative half, from the ceiling on 0.
pub fn activation_backward(activate: &Activate, x: &[f64], d_y: &[f64]) -> Vec<f64> {
    let (slope, ceiling) = (f64::from(activate.slope), f64::from(activate.ceiling));
    let mut d_x = Vec::new();
    for (&x, &d_y) in x.iter().zip(d_y) {
        d_x.push(if x <= 0.0 {
            slope * d_y
        } else if x >= ceiling {
            0.0
        } else {
            d_y
        });
    }
    d_x
}

/// d_x of a ReLU: d_y where its output y is positive.
pub fn relu_backward(y: &[f64], d_y: &[f64]) -> Vec<f64> {
    y.iter()
        .zip(d_y)
        .map(|(y, d)| if *y > 0.0 { *d } else { 0.0 })
        .collect()
}
