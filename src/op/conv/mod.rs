//! Convolution, grouped and depthwise too, and as convolutions of 1 x 1 images dense layers.

pub(crate) mod cases;
mod conv_shape;
mod im2col;
mod kernels;
mod packed;
pub mod reference;
mod shifts;
mod sum;

mod group;
pub(in crate::op) mod integers;
mod matrix;
pub(in crate::op) mod operation;
mod packed_reference;
pub(in crate::op) mod plain;

pub use conv_shape::ConvShape;
pub use im2col::im2col;
pub use kernels::{
    Epilogue, OutputGradient, Windows, conv_backward_input, conv_backward_weight, conv_forward,
};
pub(crate) use matrix::Matrix;
pub use operation::Conv;
pub use packed::{Arithmetic, CodeShape, Sharing, packed_bytes, packed_conv, packed_im2col};
pub use shifts::shifts;
pub use sum::sum_partials;
