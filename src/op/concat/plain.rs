//! Concatenation as plain loops.

use crate::op::plain::{Plain, PlainBackward, PlainForward, PlainGradients, PlainOutput};
use crate::tensor::pad4;

/// The channels of all inputs side by side; holds the channels of each, without padding.
pub struct PlainConcat(pub Vec<usize>);

impl Plain for PlainConcat {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        let sum: usize = self.0.iter().sum();
        let pixels = at.x[0].len() / pad4(self.0[0]);
        let mut y = Vec::new();
        for pixel in 0..pixels {
            for (x, channels) in at.x.iter().zip(&self.0) {
                y.extend(&x[pixel * pad4(*channels)..][..*channels]);
            }
            y.resize(y.len() + pad4(sum) - sum, 0.0);
        }
        y.into()
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        let stored = pad4(self.0.iter().sum());
        let mut first = 0;
        let mut d_x = Vec::new();
        for channels in &self.0 {
            let mut d = Vec::new();
            for pixel in at.d_y.chunks(stored) {
                d.extend(&pixel[first..first + channels]);
                d.resize(d.len() + pad4(*channels) - channels, 0.0);
            }
            d_x.push(d);
            first += channels;
        }
        PlainGradients {
            d_x,
            ..PlainGradients::default()
        }
    }
}
