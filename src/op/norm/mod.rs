//! Batch normalisation.

pub(crate) mod cases;
pub mod entries;
mod kernels;
mod operation;
mod plain;
mod pool;
pub mod reference;

use super::Folder;

pub use kernels::{
    NORM_EPSILON, NORM_MOMENTUM, NORM_STATISTICS, norm_backward, norm_backward_sums, norm_combine,
    norm_forward, norm_gradients, norm_range, norm_running, norm_shard, norm_statistics,
};
pub use operation::Norm;
pub use pool::{norm_pool_backward, norm_pool_backward_sums, norm_pool_forward};

pub(super) const FOLDER: Folder = Folder {
    kernels: &[
        &entries::NORM_STATISTICS,
        &entries::NORM_COMBINE,
        &entries::NORM_SHARD,
        &entries::NORM_RUNNING,
        &entries::NORM_FORWARD,
        &entries::NORM_BACKWARD_SUMS,
        &entries::NORM_GRADIENTS,
        &entries::NORM_BACKWARD,
        &entries::NORM_POOL_FORWARD,
        &entries::NORM_POOL_BACKWARD_SUMS,
        &entries::NORM_POOL_BACKWARD,
    ],
    cases: &[cases::cases],
};
