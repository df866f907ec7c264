//! Joins two activations along their channels.

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

pub use packed::{PACKED_CONCAT, packed_concat};
