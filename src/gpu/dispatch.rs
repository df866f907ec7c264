//! One kernel call, as data.

use super::kernel::{Kernel, WORKGROUP};
use crate::tensor::Tensor;

const MAX_GROUPS: u32 = 65_535;

/// An output of a dispatch.
#[derive(Clone, Copy)]
pub enum Write<'a> {
    /// Overwritten without looking.
    New(&'a Tensor),
    /// Two ranges of one buffer, both overwritten without looking.
    Both(&'a Tensor, &'a Tensor),
    /// Read as `previous_N` and then overwritten.
    Update(&'a Tensor),
}

impl<'a> Write<'a> {
    pub(super) fn tensor(self) -> &'a Tensor {
        match self {
            Write::New(tensor) | Write::Both(tensor, _) | Write::Update(tensor) => tensor,
        }
    }

    pub(super) fn tensors(self) -> impl Iterator<Item = &'a Tensor> {
        let second = match self {
            Write::Both(_, second) => Some(second),
            _ => None,
        };
        [self.tensor()].into_iter().chain(second)
    }
}

/// How many threads run.
#[derive(Clone, Copy, Debug)]
pub enum Grid {
    /// At least this many threads in workgroups of [`WORKGROUP`]; a large number is folded into
    /// y, and the kernel's `thread_index` unfolds it.
    Threads(u32),
    /// Exactly these workgroups.
    Groups([u32; 3]),
    /// Whatever workgroups share the product of a matrix kernel, of so many rows and columns of numbers, best.
    Product {
        /// Rows and columns.
        size: [usize; 2],
        /// Ranges that its depth is cut into, for a product each.
        splits: usize,
    },
}

/// Workgroups for so many threads, see [`Grid::Threads`].
pub(super) fn groups_of(threads: u32) -> [u32; 3] {
    let groups = threads.div_ceil(WORKGROUP).max(1);
    let y = groups.div_ceil(MAX_GROUPS);
    [groups.div_ceil(y), y, 1]
}

/// One kernel call, as data.
pub struct Dispatch<'a> {
    /// The shader.
    pub kernel: &'static Kernel,
    /// What it does here: the layer's name.
    pub label: &'a str,
    /// Values of `override` constants.
    pub constants: &'a [(&'static str, f64)],
    /// The uniform block, a `#[repr(C)]` twin of the shader's `Params`.
    pub params: &'a [u8],
    /// Inputs `a`, `b`, `c`, `d`.
    pub reads: &'a [&'a Tensor],
    /// Outputs 0 to 3.
    pub writes: &'a [Write<'a>],
    /// Whether the kernel reads the block of numbers that change from step to step.
    pub schedule: bool,
    /// Threads.
    pub grid: Grid,
    /// Floating-point operations, for reports.
    pub flops: u64,
}
