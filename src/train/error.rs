//! What can go wrong with a run.

use crate::gpu::GpuError;
use crate::graph::ModelError;
use crate::pack::PackError;

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// An option outside what makes sense.
    #[error("--{option} {value}: {remedy}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What to do.
        remedy: String,
    },
    /// The loss became infinite or not a number.
    #[error(
        "the loss stopped being a number at step {step}. The last checkpoint is untouched; \
         go on from it with smaller steps: --resume RUN with another --learning-rate, or with Muon --muon-rate."
    )]
    NotFinite {
        /// Counted from 1.
        step: u64,
    },
    /// The batch needs more memory than the device has or lends to one tensor.
    #[error("--batch-size {batch_size} is too large for this device: {reason} {fits} fits.")]
    BatchTooLarge {
        /// The size asked for.
        batch_size: usize,
        /// What was short.
        reason: String,
        /// A size that was tried and fits.
        fits: usize,
    },
    /// The model and the images do not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The size of the packed file could not be found out.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}
