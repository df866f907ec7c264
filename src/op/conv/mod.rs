//! Convolution, grouped and depthwise too.

mod group;
pub(in crate::op) mod integers;
mod matrix;
pub(in crate::op) mod operation;
mod packed_reference;
pub(in crate::op) mod plain;

pub(crate) use matrix::Matrix;
pub use operation::Conv;
