//! Max pooling as plain loops.

use crate::op::WindowShape;
use crate::op::plain::{Plain, PlainBackward, PlainForward, PlainGradients, PlainOutput};
use crate::op::window_max_pool::reference::{window_max_pool_backward, window_max_pool_forward};

/// The largest number of each window.
pub struct PlainMaxPool(pub WindowShape);

impl Plain for PlainMaxPool {
    fn forward(&self, at: PlainForward<'_>) -> PlainOutput {
        let [y, kept] = window_max_pool_forward(&self.0, at.x[0]);
        PlainOutput { y, kept }
    }

    fn backward(&self, at: &PlainBackward<'_>) -> PlainGradients {
        PlainGradients::of_input(window_max_pool_backward(&self.0, at.d_y, at.kept))
    }
}
