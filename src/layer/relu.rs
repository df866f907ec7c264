//! The gradient of a ReLU. Its forward half is part of the convolution's store.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Dispatch, Grid, PlanBuilder, Write};
use crate::kernels;
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ReluParams {
    count: u32,
    y_base: u32,
    d_y_base: u32,
    d_x_base: u32,
}

/// d_x = d_y where the output y is positive. All three have one shape.
pub fn relu_backward(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    [y, d_y]: [&Tensor; 2],
    d_x: &Tensor,
) {
    let params = ReluParams {
        count: y.texels(),
        y_base: y.base(),
        d_y_base: d_y.base(),
        d_x_base: d_x.base(),
    };
    plan.dispatch(Dispatch {
        kernel: &kernels::RELU_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[y, d_y],
        writes: &[Write::New(d_x)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: y.len() as u64,
    });
}
