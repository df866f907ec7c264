//! Upsampling as plain loops.

use crate::op::UpsampleShape;
use crate::op::plain::{Plain, PlainBackward, PlainForward, PlainGradients, PlainOutput};
use crate::reference::{upsample_backward, upsample_forward};

/// Every pixel as a square.
pub struct PlainUpsample(pub UpsampleShape);

impl Plain for PlainUpsample {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        upsample_forward(&self.0, at.x[0]).into()
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        PlainGradients::of_input(upsample_backward(&self.0, at.d_y))
    }
}
