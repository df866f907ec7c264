//! The entries of the kernels.

use crate::gpu::Kernel;
use crate::kernels::{CHAN, DIVIDE, NORM, NORM_SQUARES, QUANTISER, RANGES, SCHEDULE, elementwise};

/// Mean and squared differences over ranges of rows.
pub static NORM_STATISTICS: Kernel = elementwise(
    "norm_statistics",
    "NormStatisticsParams",
    include_str!("../../../shaders/norm/norm_statistics.wgsl"),
    &[],
);
/// Statistics of a batch, and the running ones.
pub static NORM_COMBINE: Kernel = elementwise(
    "norm_combine",
    "NormCombineParams",
    include_str!("../../../shaders/norm/norm_combine.wgsl"),
    &[NORM, QUANTISER, RANGES, CHAN],
);
/// Statistics of a shard, and its moments.
pub static NORM_SHARD: Kernel = elementwise(
    "norm_shard",
    "NormShardParams",
    include_str!("../../../shaders/norm/norm_shard.wgsl"),
    &[NORM, QUANTISER, RANGES, CHAN],
);
/// Statistics for a test.
pub static NORM_RUNNING: Kernel = elementwise(
    "norm_running",
    "NormRunningParams",
    include_str!("../../../shaders/norm/norm_running.wgsl"),
    &[NORM, QUANTISER],
);
/// Normalisation and ReLU.
pub static NORM_FORWARD: Kernel = elementwise(
    "norm_forward",
    "NormForwardParams",
    include_str!("../../../shaders/norm/norm_forward.wgsl"),
    &[DIVIDE],
);
/// What the gradient of a normalisation sums over a batch, in partial sums.
pub static NORM_BACKWARD_SUMS: Kernel = elementwise(
    "norm_backward_sums",
    "NormBackwardSumsParams",
    include_str!("../../../shaders/norm/norm_backward_sums.wgsl"),
    &[],
);
/// Gradients of γ and β.
pub static NORM_GRADIENTS: Kernel = elementwise(
    "norm_gradients",
    "NormGradientsParams",
    include_str!("../../../shaders/norm/norm_gradients.wgsl"),
    &[SCHEDULE, RANGES],
);
/// Gradient of the input of a normalisation.
pub static NORM_BACKWARD: Kernel = elementwise(
    "norm_backward",
    "NormBackwardParams",
    include_str!("../../../shaders/norm/norm_backward.wgsl"),
    &[DIVIDE],
);
/// Normalisation, ReLU and a max pool over squares.
pub static NORM_POOL_FORWARD: Kernel = elementwise(
    "norm_pool_forward",
    "NormPoolForwardParams",
    include_str!("../../../shaders/norm/norm_pool_forward.wgsl"),
    &[DIVIDE, NORM_SQUARES],
);
/// [`NORM_BACKWARD_SUMS`] behind such a max pool.
pub static NORM_POOL_BACKWARD_SUMS: Kernel = elementwise(
    "norm_pool_backward_sums",
    "NormPoolBackwardSumsParams",
    include_str!("../../../shaders/norm/norm_pool_backward_sums.wgsl"),
    &[DIVIDE, NORM_SQUARES],
);
/// [`NORM_BACKWARD`] behind such a max pool.
pub static NORM_POOL_BACKWARD: Kernel = elementwise(
    "norm_pool_backward",
    "NormPoolBackwardParams",
    include_str!("../../../shaders/norm/norm_pool_backward.wgsl"),
    &[DIVIDE, NORM_SQUARES],
);
