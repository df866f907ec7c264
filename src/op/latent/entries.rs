//! The entries of the kernels.

use crate::gpu::{Kernel, Numbers};
use crate::kernels::{NOISE_SHAPE, PHILOX_BITS, POSTERIOR, QUANTISER, SCHEDULE, elementwise};

/// Random bits.
pub static PHILOX: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..elementwise(
        "philox",
        "NoiseParams",
        include_str!("../../../shaders/latent/philox.wgsl"),
        &[NOISE_SHAPE, PHILOX_BITS, SCHEDULE],
    )
};
/// Noise of N(0, 1).
pub static STANDARD_NORMAL: Kernel = elementwise(
    "standard_normal",
    "NoiseParams",
    include_str!("../../../shaders/latent/standard_normal.wgsl"),
    &[NOISE_SHAPE, PHILOX_BITS, QUANTISER, SCHEDULE],
);
/// A sample of a normal distribution.
pub static REPARAMETERISE_FORWARD: Kernel = elementwise(
    "reparameterise_forward",
    "ReparameteriseForwardParams",
    include_str!("../../../shaders/latent/reparameterise_forward.wgsl"),
    &[POSTERIOR],
);
/// Gradient of a distribution through its sample.
pub static REPARAMETERISE_BACKWARD: Kernel = elementwise(
    "reparameterise_backward",
    "ReparameteriseBackwardParams",
    include_str!("../../../shaders/latent/reparameterise_backward.wgsl"),
    &[POSTERIOR],
);
/// Divergence of normal distributions, and its gradient.
pub static GAUSSIAN_KL: Kernel = elementwise(
    "gaussian_kl",
    "GaussianKlParams",
    include_str!("../../../shaders/latent/gaussian_kl.wgsl"),
    &[POSTERIOR, SCHEDULE],
);
