//! The gradient of a ReLU. Its forward half is part of the convolution's store.

use bytemuck::{Pod, Zeroable};

use crate::gpu::Kernel;
use crate::kernels::elementwise;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

/// Gradient of a ReLU.
pub static RELU_BACKWARD: Kernel = elementwise(
    "relu_backward",
    "ReluParams",
    include_str!("../../../shaders/activation/relu_backward.wgsl"),
    &[],
);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct ReluParams {
    count: u32,
    y_base: u32,
    d_base: u32,
}

/// Turns d_y into d_x: kept where the output y is positive. Both have one shape.
pub fn relu_backward(recording: &mut Recording, label: &str, y: &Tensor, d_y: &Tensor) {
    let params = ReluParams {
        count: y.texels(),
        y_base: y.base(),
        d_base: d_y.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &RELU_BACKWARD,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[y],
        writes: &[Write::Update(d_y)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: y.len() as u64,
    });
}
