//! Cases of dropout.

use super::{DROPOUT, dropout, reference};
use crate::op::Counter;
use crate::optimiser::Schedule;
use crate::recording::Recording;
use crate::tensor::Tensor;
use crate::verify::{Case, Expected, Tolerance, noise};

pub(crate) fn cases() -> Vec<Case> {
    let probabilities = [0.0, 0.2, 0.5, 1.0];
    let sizes = [4, 1000, 4 * 65 * 64];
    sizes
        .into_iter()
        .flat_map(|count| probabilities.map(|probability| of_size(count, probability)))
        .collect()
}

pub(crate) fn of_size(count: usize, probability: f32) -> Case {
    let schedule = Schedule::default().with_noise(1.0, 0x0123_4567_89ab_cdef, 99);
    let counter = Counter {
        first: 12,
        second: 5,
        fourth: 11,
    };
    let record = move |recording: &mut Recording, i: &[Tensor], o: &[Tensor]| {
        dropout(recording, "case", (probability, counter), &i[0], &o[0]);
    };
    let case = Case::new(
        &DROPOUT,
        format!("{count} numbers, probability {probability}"),
        vec![(noise("x", count), vec![count])],
        vec![vec![count]],
        Box::new(record),
        Box::new(move |i, _| {
            let options = (f64::from(probability), counter);
            vec![Expected {
                values: reference::dropout(&schedule, options, &i[0]),
                // The scale is rounded, and so is the product.
                tolerance: Tolerance {
                    absolute: 0.0,
                    relative: 2.0 * f64::from(f32::EPSILON),
                },
            }]
        }),
    );
    Case { schedule, ..case }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Half of many numbers are dropped, the mean stays, and other counters drop others.
    #[test]
    fn half_of_the_numbers_are_dropped() {
        let schedule = Schedule::default().with_noise(1.0, 7, 3);
        let ones = vec![1.0; 20_000];
        let draw = |second| {
            let counter = Counter {
                first: 0,
                second,
                fourth: 11,
            };
            reference::dropout(&schedule, (0.5, counter), &ones)
        };
        let y = draw(1);
        assert!(y.iter().all(|v| *v == 0.0 || *v == 2.0));
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        assert!((mean - 1.0).abs() < 0.03, "{mean}");
        assert_ne!(y, draw(2));
    }
}
