//! Batch normalisation.

pub(crate) mod cases;
mod kernels;
mod operation;
mod plain;
pub mod reference;

pub use kernels::{
    NORM_EPSILON, NORM_MOMENTUM, NORM_STATISTICS, norm_backward, norm_backward_sums, norm_combine,
    norm_forward, norm_gradients, norm_range, norm_running, norm_statistics,
};
pub use operation::Norm;
