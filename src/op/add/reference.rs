//! The definition of a sum.

/// y = a + b; with `relu`, y = max(a + b, 0).
pub fn add(a: &[f64], b: &[f64], relu: bool) -> Vec<f64> {
    let mut y = Vec::new();
    for i in 0..a.len() {
        let sum = a[i] + b[i];
        y.push(if relu && sum < 0.0 { 0.0 } else { sum });
    }
    y
}
