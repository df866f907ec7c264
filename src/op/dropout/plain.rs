//! Dropout as plain loops.

use super::reference::dropout;
use crate::model::Mode;
use crate::op::Counter;
use crate::op::plain::{Plain, PlainBackward, PlainForward, PlainGradients, PlainOutput};

/// Numbers that are zero at random.
pub struct PlainDropout {
    /// Probability of becoming zero.
    pub probability: f32,
    /// Where its random bits begin.
    pub counter: Counter,
}

impl Plain for PlainDropout {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        if at.mode == Mode::Test {
            return at.x[0].to_vec().into();
        }
        dropout(
            at.schedule,
            (self.probability.into(), self.counter),
            at.x[0],
        )
        .into()
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        PlainGradients::of_input(dropout(
            at.schedule,
            (self.probability.into(), self.counter),
            at.d_y,
        ))
    }
}
