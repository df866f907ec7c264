//! Upsampling of packed models: numbers keep their unit.

use crate::gpu::{GpuError, PlanBuilder};
use crate::op::integers::Integers;
use crate::op::{UpsampleShape, packed_upsample};
use crate::pack::Operations;
use crate::tensor::Tensor;

/// Every pixel as a square.
pub struct PackedSquares(pub UpsampleShape);

impl Integers for PackedSquares {
    fn record(
        &self,
        plan: &mut PlanBuilder<'_>,
        label: &str,
        x: &[Tensor],
        y: &Tensor,
    ) -> Result<(), GpuError> {
        packed_upsample(plan, label, &self.0, &x[0], y);
        Ok(())
    }

    fn bound(&self, most: i64) -> i128 {
        most.into()
    }

    fn operations(&self) -> Operations {
        Operations::default()
    }
}
