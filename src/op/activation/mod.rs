//! Functions of single numbers: ReLU, clips and leaky ReLU.

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

pub use packed::{PACKED_ACTIVATION, packed_activation};
