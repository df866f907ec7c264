//! Batch normalisation.

mod operation;
mod plain;

pub use operation::Norm;
