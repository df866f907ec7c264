//! The largest numbers of windows that may overlap and reach into padding.

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

pub use packed::{PACKED_WINDOW_MAX_POOL, packed_window_max_pool};
