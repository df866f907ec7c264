//! Batch normalisation.

pub(crate) mod cases;
pub mod entries;
mod kernels;
mod operation;
mod plain;
pub mod reference;

use super::Folder;

pub use kernels::{
    NORM_EPSILON, NORM_MOMENTUM, NORM_STATISTICS, norm_backward, norm_backward_sums, norm_combine,
    norm_forward, norm_gradients, norm_range, norm_running, norm_shard, norm_statistics,
};
pub use operation::Norm;

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
    ],
    cases: &[cases::cases],
};
