//! Average pooling as plain loops.

use super::operation::factor;
use super::reference::{average_pool_backward, average_pool_forward};
use crate::op::WindowShape;
use crate::op::plain::{Plain, PlainBackward, PlainForward, PlainGradients, PlainOutput};

/// The mean of each window.
pub struct PlainAveragePool(pub WindowShape);

impl Plain for PlainAveragePool {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        average_pool_forward(&self.0, factor(&self.0).into(), at.x[0]).into()
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        let d_x = average_pool_backward(&self.0, factor(&self.0).into(), at.d_y);
        PlainGradients::of_input(d_x)
    }
}
