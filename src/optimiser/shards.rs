//! Sums of the gradients of shards.

use bytemuck::{Pod, Zeroable};

use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct AddShardsParams {
    count: u32,
    a_base: u32,
    b_base: u32,
    y_base: u32,
}

/// y = a + b, three arenas, with the bits of [`crate::ranks::sum`].
pub fn add_shards(recording: &mut Recording, label: &str, [a, b]: [&Tensor; 2], y: &Tensor) {
    let params = AddShardsParams {
        count: y.texels(),
        a_base: a.base(),
        b_base: b.base(),
        y_base: y.base(),
    };
    recording.dispatch(Dispatch {
        kernel: &kernels::ADD_SHARDS,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[a, b],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads(params.count),
        flops: y.len() as u64,
    });
}
