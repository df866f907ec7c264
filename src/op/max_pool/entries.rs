//! The entries of the kernels.

use crate::gpu::{Kernel, Numbers};
use crate::kernels::{DIVIDE, POOL_SHAPE, elementwise};

/// Largest of each window.
pub static MAX_POOL_FORWARD: Kernel = elementwise(
    "max_pool_forward",
    "PoolParams",
    include_str!("../../../shaders/max_pool/max_pool_forward.wgsl"),
    &[POOL_SHAPE, DIVIDE],
);
/// Gradient of a max pool and of the ReLU before it.
pub static MAX_UNPOOL: Kernel = elementwise(
    "max_unpool",
    "PoolParams",
    include_str!("../../../shaders/max_pool/max_unpool.wgsl"),
    &[POOL_SHAPE, DIVIDE],
);
/// [`MAX_POOL_FORWARD`] of integers.
pub static PACKED_MAX_POOL: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..MAX_POOL_FORWARD
};
