//! Activations as plain loops.

use super::Activate;
use super::reference::{activation_backward, activation_forward};
use crate::op::plain::{Plain, PlainBackward, PlainForward, PlainGradients, PlainOutput};

/// A function of every number by itself.
pub struct PlainActivation(pub Activate);

impl Plain for PlainActivation {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        activation_forward(&self.0, at.x[0]).into()
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        PlainGradients::of_input(activation_backward(&self.0, at.x[0], at.d_y))
    }
}
