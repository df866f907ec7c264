//! Sums as plain loops.

use super::reference::add;
use crate::op::plain::{Plain, PlainBackward, PlainForward, PlainGradients, PlainOutput};

/// The sum of all inputs.
pub struct PlainAdd;

impl Plain for PlainAdd {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        let first = at.x[0].to_vec();
        at.x[1..]
            .iter()
            .fold(first, |sum, x| add(&sum, x, false))
            .into()
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        PlainGradients {
            d_x: vec![at.d_y.to_vec(); at.x.len()],
            ..PlainGradients::default()
        }
    }
}
