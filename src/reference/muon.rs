//! Muon (Jordan et al. 2024), matrix by matrix.

use crate::optimiser::{ITERATIONS, MOMENTUM, NEWTON_SCHULZ, NORM_EPSILON};

/// ‖values‖
fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// Momentum and update: m ← μ m + g, u = g + μ m.
pub fn momentum(gradients: &[f64], momentum: &[f64]) -> [Vec<f64>; 2] {
    let pairs = gradients.iter().zip(momentum);
    let new: Vec<f64> = pairs.map(|(g, m)| MOMENTUM * m + g).collect();
    let ahead = gradients.iter().zip(&new).map(|(g, m)| g + MOMENTUM * m);
    let update = ahead.collect();
    [new, update]
}

/// u / ‖u‖
pub fn unit_norm(update: &[f64]) -> Vec<f64> {
    let size = norm(update) + NORM_EPSILON;
    update.iter().map(|u| u / size).collect()
}

/// B = a I + b A + c A A for A (rows, rows) and its square.
pub fn newton_schulz(gram: &[f64], squared: &[f64], rows: usize) -> Vec<f64> {
    let [identity, linear, square] = NEWTON_SCHULZ;
    let pairs = gram.iter().zip(squared).enumerate();
    pairs
        .map(|(i, (a, aa))| {
            let diagonal = if i / rows == i % rows { identity } else { 0.0 };
            diagonal + linear * a + square * aa
        })
        .collect()
}

/// W n / ‖W‖ − rate X
pub fn muon(weights: &[f64], x: &[f64], size: f64, rate: f64) -> Vec<f64> {
    let factor = size / (norm(weights) + NORM_EPSILON);
    let pairs = weights.iter().zip(x);
    pairs.map(|(w, x)| factor * w - rate * x).collect()
}

/// p q for p (rows, inner) and q (inner, columns).
fn product(p: &[f64], q: &[f64], inner: usize) -> Vec<f64> {
    let columns = q.len() / inner;
    let entry = |row: &[f64], column: usize| -> f64 {
        let terms = row.iter().zip(q[column..].iter().step_by(columns));
        terms.map(|(a, b)| a * b).sum()
    };
    p.chunks(inner)
        .flat_map(|row| (0..columns).map(move |column| (row, column)))
        .map(|(row, column)| entry(row, column))
        .collect()
}

fn transposed(values: &[f64], columns: usize) -> Vec<f64> {
    let column = |c: usize| values[c..].iter().step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

/// A whole step of a matrix of so many rows: new (weights, momentum). `size` is the norm of the weights.
pub fn muon_step(
    gradients: &[f64],
    [weights, before]: [&[f64]; 2],
    rows: usize,
    [size, rate]: [f64; 2],
) -> [Vec<f64>; 2] {
    let columns = weights.len() / rows;
    let [new, update] = momentum(gradients, before);
    let mut x = unit_norm(&update);
    for _ in 0..ITERATIONS {
        let gram = product(&x, &transposed(&x, columns), columns);
        let squared = product(&gram, &gram, rows);
        let polynomial = newton_schulz(&gram, &squared, rows);
        x = product(&polynomial, &x, rows);
    }
    [muon(weights, &x, size, rate), new]
}
