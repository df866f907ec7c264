//! Max pooling of packed models: numbers keep their unit.

use crate::op::WindowShape;
use crate::op::integers::{Form, Integers};
use crate::op::window_max_pool::packed_window_max_pool;
use crate::op::{PoolShape, packed_max_pool};
use crate::pack::Operations;
use crate::recording::Recording;
use crate::tensor::Tensor;

/// The largest number of each window.
pub struct PackedMaxPool {
    /// Windows of a batch.
    pub shape: WindowShape,
    /// The same, if windows are square and lie side by side.
    pub tiles: Option<PoolShape>,
}

impl Integers for PackedMaxPool {
    fn form(&self) -> Form {
        Form::Maximum { shape: self.shape }
    }

    fn record(&self, recording: &mut Recording, label: &str, x: &[Tensor], y: &Tensor) {
        match &self.tiles {
            Some(tiles) => packed_max_pool(recording, label, tiles, &x[0], y),
            None => packed_window_max_pool(recording, label, &self.shape, &x[0], y),
        }
    }

    fn bound(&self, most: i64) -> i128 {
        most.into()
    }

    fn operations(&self) -> Operations {
        Operations::default()
    }
}
