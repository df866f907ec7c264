//! Operations: everything about one of them lies in its folder here, and its kernels in the folder of
//! the same name in `shaders/`.
//!
//! A folder holds `mod.rs` (what is recorded into a plan, and the kernels), `reference.rs` (plain functions in
//! `f64` that define the kernels, with the names of the kernels) and `cases.rs` (calls with known answers).

pub mod activation;
pub mod add;
pub mod average_pool;
pub mod concat;
pub mod dropout;
pub mod group_conv;
mod group_shape;
pub mod window_max_pool;
mod window_shape;

pub use activation::{Activate, activation_backward, activation_forward};
pub use add::add;
pub use average_pool::{average_pool_backward, average_pool_forward};
pub use concat::{channels, concat};
pub use dropout::dropout;
pub use group_conv::{group_conv_backward_input, group_conv_backward_weight, group_conv_forward};
pub use group_shape::GroupShape;
pub use window_max_pool::{window_max_pool_backward, window_max_pool_forward};
pub use window_shape::WindowShape;

use crate::verify::Case;

/// The cases of all operations.
pub(crate) fn cases() -> Vec<Case> {
    let mut all = add::cases::cases();
    all.extend(activation::cases::cases());
    all.extend(average_pool::cases::cases());
    all.extend(window_max_pool::cases::cases());
    all.extend(group_conv::cases::cases());
    all.extend(concat::cases::cases());
    all.extend(dropout::cases::cases());
    all
}
