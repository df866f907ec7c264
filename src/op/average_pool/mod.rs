//! Averages of windows.

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

pub use packed::{PACKED_AVERAGE_POOL, packed_average_pool};
