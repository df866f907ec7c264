//! Operations: everything about one of them lies in its folder here, and its kernels in the folder of
//! the same name in `shaders/`.
//!
//! A folder holds `mod.rs` (what is recorded into a plan, and the kernels), `reference.rs` (plain functions in
//! `f64` that define the kernels, with the names of the kernels) and `cases.rs` (calls with known answers).

pub mod add;
mod group_shape;
mod window_shape;

pub use add::add;
pub use group_shape::GroupShape;
pub use window_shape::WindowShape;

use crate::verify::Case;

/// The cases of all operations.
pub(crate) fn cases() -> Vec<Case> {
    add::cases::cases()
}
