//! The definition of dropout.

use crate::op::Counter;
use crate::optimiser::Schedule;
use crate::reference::philox;

/// y = x / (1 - p), or 0 where the upper 24 bits of a random word are below p · 2^24. Number i of x belongs to word
/// i of [`philox`].
pub fn dropout(schedule: &Schedule, (probability, counter): (f64, Counter), x: &[f64]) -> Vec<f64> {
    let words = philox(schedule, counter, x.len());
    let threshold = (probability * f64::from(1 << 24)).round();
    let mut y = Vec::new();
    for (x, word) in x.iter().zip(words) {
        let dropped = f64::from(word >> 8) < threshold;
        y.push(if dropped {
            0.0
        } else {
            x / (1.0 - probability)
        });
    }
    y
}
