//! Upsampling of integers in plain loops.

use super::integers::PackedSquares;
use crate::op::integers::Exact;

impl Exact for PackedSquares {
    fn exact(&self, x: &[&[i64]]) -> Vec<i64> {
        let [_, height, width, channels] = self.0.x();
        let size = self.0.size;
        let mut y = Vec::new();
        for row in 0..height * size {
            for column in 0..width * size {
                let from = (row / size * width + column / size) * channels;
                y.extend(&x[0][from..from + channels]);
            }
        }
        y
    }
}
