//! The entries of the kernels.

use crate::gpu::{Kernel, Numbers, ReadsTextures};
use crate::kernels::{DIVIDE, UPSAMPLE_SHAPE, elementwise};

/// Every number as a square of equal ones.
pub static UPSAMPLE_FORWARD: Kernel = Kernel {
    textures: ReadsTextures::Always,
    ..elementwise(
        "upsample_forward",
        "UpsampleParams",
        include_str!("../../../shaders/upsample/upsample_forward.wgsl"),
        &[UPSAMPLE_SHAPE, DIVIDE],
    )
};
/// Gradient of an upsampling.
pub static UPSAMPLE_BACKWARD: Kernel = elementwise(
    "upsample_backward",
    "UpsampleParams",
    include_str!("../../../shaders/upsample/upsample_backward.wgsl"),
    &[UPSAMPLE_SHAPE, DIVIDE],
);
/// [`UPSAMPLE_FORWARD`] of integers.
pub static PACKED_UPSAMPLE: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..UPSAMPLE_FORWARD
};
