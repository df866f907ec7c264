//! Operations: everything about one of them lies in its folder here, and its kernels in the folder of
//! the same name in `shaders/`.

pub mod activation;
pub mod add;
pub mod average_pool;
pub mod concat;
pub mod group_conv;
pub mod window_max_pool;

mod group_shape;
mod packed_windows;
mod requantise;
mod window_shape;

pub use group_shape::GroupShape;
pub use window_shape::WindowShape;
