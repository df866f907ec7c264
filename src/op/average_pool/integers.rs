//! Average pooling of packed models.

use super::packed_average_pool;
use crate::op::WindowShape;
use crate::op::integers::{Form, Integers, through_shift};
use crate::pack::Operations;
use crate::recording::Recording;
use crate::tensor::Tensor;

/// Sums over windows, shifted.
pub struct PackedAverage {
    /// Windows of a batch.
    pub shape: WindowShape,
    /// Places to the right.
    pub shift: i32,
    /// The smallest and the largest output.
    pub limits: [i32; 2],
}

impl PackedAverage {
    fn window(&self) -> usize {
        self.shape.window.iter().product()
    }
}

impl Integers for PackedAverage {
    fn form(&self) -> Form {
        Form::Average {
            shape: self.shape,
            shift: self.shift,
        }
    }

    fn record(&self, recording: &mut Recording, label: &str, x: &[Tensor], y: &Tensor) {
        packed_average_pool(
            recording,
            label,
            &self.shape,
            self.shift,
            self.limits,
            &x[0],
            y,
        );
    }

    fn bound(&self, most: i64) -> i128 {
        through_shift(i128::from(most) * self.window() as i128, self.shift)
    }

    fn operations(&self) -> Operations {
        let [height, width] = self.shape.output();
        let outputs = (height * width * self.shape.channels) as u64;
        Operations {
            additions: outputs * (self.window() as u64 + 1),
            shifts: outputs,
            multiplications: 0,
        }
    }
}
