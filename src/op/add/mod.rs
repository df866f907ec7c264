//! Adds two activations.

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

pub use packed::{PACKED_ADD, packed_add};
