//! Sums of packed models.

use super::packed_add;
use crate::graph::Shape;
use crate::op::integers::{Form, Integers, numbers, shifted, through_shift};
use crate::pack::Operations;
use crate::recording::Recording;
use crate::tensor::Tensor;

/// The sum of several values, in the finest of their units and then in that of the output.
pub struct PackedSum {
    /// One image.
    pub shape: Shape,
    /// Places to the left that bring every input to the finest unit.
    pub ups: Vec<u32>,
    /// Places to the right from there to the unit of the output.
    pub shift: i32,
    /// The smallest and the largest output.
    pub limits: [i32; 2],
}

/// One addition of two numbers, of which only the last is shifted and limited.
pub(super) struct Addition {
    pub ups: [u32; 2],
    pub shift: i32,
    pub limits: [i32; 2],
}

impl PackedSum {
    /// The additions, from left to right.
    pub(super) fn additions(&self) -> Vec<Addition> {
        let last = self.ups.len() - 1;
        let addition = |number: usize| Addition {
            ups: [if number == 1 { self.ups[0] } else { 0 }, self.ups[number]],
            shift: if number == last { self.shift } else { 0 },
            limits: if number == last {
                self.limits
            } else {
                [i32::MIN, i32::MAX]
            },
        };
        (1..=last).map(addition).collect()
    }
}

impl Integers for PackedSum {
    fn form(&self) -> Form {
        Form::Sum {
            ups: self.ups.clone(),
            shift: self.shift,
        }
    }

    fn record(&self, recording: &mut Recording, label: &str, x: &[Tensor], y: &Tensor) {
        let additions = self.additions();
        let mut sum = x[0].clone();
        for (number, addition) in additions.iter().enumerate() {
            let to = match number + 1 == additions.len() {
                true => y.clone(),
                false => Tensor::transient("sum", &y.shape),
            };
            let Addition { ups, shift, limits } = addition;
            packed_add(
                recording,
                label,
                [&sum, &x[number + 1]],
                *ups,
                *shift,
                *limits,
                &to,
            );
            sum = to;
        }
    }

    fn bound(&self, most: i64) -> i128 {
        let sum = self.ups.iter().map(|up| shifted(most, *up as i32)).sum();
        through_shift(sum, self.shift)
    }

    fn operations(&self) -> Operations {
        let (each, inputs) = (numbers(self.shape), self.ups.len() as u64);
        Operations {
            additions: each * inputs,
            shifts: each * (inputs + 1),
            multiplications: 0,
        }
    }
}
