//! Convolution, grouped and depthwise too.

mod group;
mod matrix;
pub(in crate::op) mod plain;
pub(in crate::op) mod operation;

pub(crate) use matrix::Matrix;
pub use operation::Conv;
