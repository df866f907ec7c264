//! Max pooling over integers in plain loops.

use super::integers::PackedMaxPool;
use crate::op::WindowShape;
use crate::op::integers::Exact;
use crate::op::window_max_pool::packed_reference::packed_window_max_pool;

impl Exact for PackedMaxPool {
    fn exact(&self, x: &[&[i64]]) -> Vec<i64> {
        let shape = WindowShape {
            batch: 1,
            ..self.shape
        };
        packed_window_max_pool(&shape, x[0])
    }
}
