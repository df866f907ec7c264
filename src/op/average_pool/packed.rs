//! Averages of windows of integers.

use crate::gpu::{Kernel, Numbers};
use crate::kernels;
use crate::op::{WindowShape, packed_windows, requantise};
use crate::recording::Recording;
use crate::tensor::Tensor;

/// The shifted sum of each window of integers.
pub static PACKED_AVERAGE_POOL: Kernel = Kernel {
    numbers: Numbers::Integer,
    ..kernels::elementwise(
        "packed_average_pool",
        "PackedWindowParams",
        include_str!("../../../shaders/average_pool/packed_average_pool.wgsl"),
        &[packed_windows::TEXT, kernels::DIVIDE, kernels::REQUANTISE],
    )
};

/// y = limits(sum of x over each window >> shift), rounded half up. A negative shift goes left. Outside the image x is
/// zero. The shift is the whole division: for a window of four pixels and equal units it is 2.
///
/// x and y are stored as `shape` says. The caller guarantees that nothing leaves 32 bits, that the shift is below 32,
/// and that the limits contain zero: the padding of channels then stays zero.
pub fn packed_average_pool(
    recording: &mut Recording,
    label: &str,
    shape: &WindowShape,
    shift: i32,
    limits: [i32; 2],
    x: &Tensor,
    y: &Tensor,
) {
    requantise::check(&[shift], limits);
    let kernel = (&PACKED_AVERAGE_POOL, label);
    packed_windows::record(recording, kernel, shape, (shift, limits), [x, y]);
}
