//! The largest integers of windows.

use crate::gpu::{Kernel, Numbers};
use crate::kernels;
use crate::op::{WindowShape, packed_windows};
use crate::recording::Recording;
use crate::tensor::Tensor;

/// The largest of each window of integers.
pub static PACKED_WINDOW_MAX_POOL: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..kernels::elementwise(
        "packed_window_max_pool",
        "PackedWindowParams",
        include_str!("../../../shaders/window_max_pool/packed_window_max_pool.wgsl"),
        &[packed_windows::TEXT, kernels::DIVIDE],
    )
};

/// y = the largest x of each window. Pixels outside the image are left out, so that padding never wins, not even over
/// negative numbers.
///
/// x and y are stored as `shape` says. The padding must be smaller than the window, so that every window has a pixel
/// of the image.
pub fn packed_window_max_pool(
    recording: &mut Recording,
    label: &str,
    shape: &WindowShape,
    x: &Tensor,
    y: &Tensor,
) {
    debug_assert!((0..2).all(|axis| shape.padding[axis] < shape.window[axis]));
    let kernel = (&PACKED_WINDOW_MAX_POOL, label);
    packed_windows::record(recording, kernel, shape, (0, [0, 0]), [x, y]);
}
