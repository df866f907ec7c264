//! Convolution, grouped and depthwise too, and as convolutions of 1 x 1 images dense layers.

pub(crate) mod cases;
mod conv_shape;
pub mod entries;
mod helper_cases;
mod im2col;
mod kernels;
mod packed;
pub(crate) mod packed_cases;
pub mod reference;
mod shifts;
mod sum;
#[cfg(test)]
mod tests;

mod group;
pub(in crate::op) mod integers;
mod matrix;
pub(in crate::op) mod operation;
mod packed_reference;
pub(in crate::op) mod plain;

use super::Folder;

pub use conv_shape::ConvShape;
pub use im2col::im2col;
pub use kernels::{
    Epilogue, OutputGradient, Windows, conv_backward_input, conv_backward_weight, conv_forward,
};
pub(crate) use matrix::Matrix;
pub use operation::Conv;
pub use packed::{Arithmetic, CodeShape, Sharing, packed_bytes, packed_conv, packed_im2col};
pub use shifts::shifts;
pub use sum::{SumEpilogue, sum_partials, sum_partials_then};

pub(super) const FOLDER: Folder = Folder {
    kernels: &[
        &entries::CONV_FORWARD,
        &entries::CONV_BACKWARD_INPUT,
        &entries::CONV_BACKWARD_WEIGHT,
        &entries::IM2COL,
        &entries::SHIFTS,
        &entries::SUM_PARTIALS,
        &entries::PACKED_FLOAT_TILE,
        &entries::PACKED_FLOAT_LANES,
        &entries::PACKED_FLOAT_VECTOR,
        &entries::PACKED_DOT4_TILE,
        &entries::PACKED_DOT4_VECTOR,
        &entries::PACKED_SHIFT_TILE,
        &entries::PACKED_SHIFT_VECTOR,
        &entries::PACKED_BYTES,
        &entries::PACKED_IM2COL,
    ],
    cases: &[cases::cases, helper_cases::cases, packed_cases::cases],
};
