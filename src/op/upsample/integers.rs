//! Upsampling of packed models: numbers keep their unit.

use crate::op::integers::{Form, Integers};
use crate::op::{UpsampleShape, packed_upsample};
use crate::pack::Operations;
use crate::recording::Recording;
use crate::tensor::Tensor;

/// Every pixel as a square.
pub struct PackedSquares(pub UpsampleShape);

impl Integers for PackedSquares {
    fn form(&self) -> Form {
        Form::Repeat { size: self.0.size }
    }

    fn record(&self, recording: &mut Recording, label: &str, x: &[Tensor], y: &Tensor) {
        packed_upsample(recording, label, &self.0, &x[0], y);
    }

    fn bound(&self, most: i64) -> i128 {
        most.into()
    }

    fn operations(&self) -> Operations {
        Operations::default()
    }
}
