//! Activations of packed models.

use super::packed_activation;
use crate::graph::Shape;
use crate::op::integers::{Form, Integers, numbers, shifted, through_shift};
use crate::pack::Operations;
use crate::recording::Recording;
use crate::tensor::Tensor;

/// A function of every number by itself.
pub struct PackedActivation {
    /// One image.
    pub shape: Shape,
    /// Places by which numbers that are not negative go up first.
    pub leak: u32,
    /// Places to the right after that.
    pub shift: i32,
    /// The smallest and the largest output.
    pub limits: [i32; 2],
}

impl Integers for PackedActivation {
    fn form(&self) -> Form {
        Form::Activation {
            leak: self.leak,
            shift: self.shift,
        }
    }

    fn record(&self, recording: &mut Recording, label: &str, x: &[Tensor], y: &Tensor) {
        packed_activation(
            recording,
            label,
            &x[0],
            self.leak,
            self.shift,
            self.limits,
            y,
        );
    }

    fn bound(&self, most: i64) -> i128 {
        through_shift(shifted(most, self.leak as i32), self.shift)
    }

    fn operations(&self) -> Operations {
        let each = numbers(self.shape);
        Operations {
            additions: each,
            shifts: 2 * each,
            multiplications: 0,
        }
    }
}
