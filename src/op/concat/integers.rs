//! Concatenation of packed models.

use super::packed_concat;
use crate::op::integers::{Form, Integers, through_shift};
use crate::pack::Operations;
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};

/// One input: its channels, without padding, and its places to the right.
pub struct Part {
    /// Channels.
    pub channels: usize,
    /// From its unit to that of the output.
    pub shift: i32,
}

/// The channels of all inputs side by side, in one unit.
pub struct PackedJoin {
    /// Of every input.
    pub parts: Vec<Part>,
    /// Pixels of one image.
    pub pixels: usize,
    /// The smallest and the largest output.
    pub limits: [i32; 2],
}

impl PackedJoin {
    /// What is joined from left to right: channels and shift of the left side, then the right side.
    pub(super) fn joins(&self) -> Vec<[(usize, i32); 2]> {
        let mut joins = Vec::new();
        let mut left = (self.parts[0].channels, self.parts[0].shift);
        for part in &self.parts[1..] {
            joins.push([left, (part.channels, part.shift)]);
            left = (left.0 + part.channels, 0);
        }
        joins
    }
}

impl Integers for PackedJoin {
    fn form(&self) -> Form {
        Form::Join {
            shifts: self.parts.iter().map(|part| part.shift).collect(),
        }
    }

    fn record(&self, recording: &mut Recording, label: &str, x: &[Tensor], y: &Tensor) {
        let joins = self.joins();
        let mut joined = x[0].clone();
        for (number, [left, right]) in joins.iter().enumerate() {
            let mut shape = y.shape.clone();
            shape[3] = pad4(left.0 + right.0);
            let to = match number + 1 == joins.len() {
                true => y.clone(),
                false => Tensor::transient("joined", &shape),
            };
            let sides = [
                (&joined, left.0, left.1),
                (&x[number + 1], right.0, right.1),
            ];
            packed_concat(recording, label, sides, self.limits, &to);
            joined = to;
        }
    }

    fn bound(&self, most: i64) -> i128 {
        let bounds = self
            .parts
            .iter()
            .map(|part| through_shift(most.into(), part.shift));
        bounds.max().unwrap_or(0)
    }

    fn operations(&self) -> Operations {
        let channels: usize = self.parts.iter().map(|part| part.channels).sum();
        let each = (self.pixels * channels) as u64;
        Operations {
            additions: each,
            shifts: each,
            multiplications: 0,
        }
    }
}
