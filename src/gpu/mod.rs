//! The only code that touches `wgpu`: opening a device, buffers, kernels, the [`Plan`], reading back.
//!
//! Everything above this module speaks of [`Buffer`]s and of [recordings](crate::recording). A [`Plan`] is a recording on
//! a device: the fixed list of dispatches of one step. Running, profiling, tracing and printing are four ways to walk
//! that same list.

mod adapters;
#[cfg(not(target_arch = "wasm32"))]
mod ahead;
mod backend;
mod buffer;
mod compile;
mod cooperative;
mod device;
mod error;
mod free_memory;
mod kernel;
mod matrix;
mod plan;
mod pool;
mod profile;
mod readback;
mod storage;
mod subgroups;
mod tiles;
mod twins;

pub use adapters::{AdapterSummary, list_adapters};
pub use backend::{Backend, Path, WeightSums};
pub use buffer::{Buffer, TEXEL_BYTES, TEXELS_PER_ROW};
pub use cooperative::Cooperative;
pub use device::{Gpu, GpuOptions};
pub use error::GpuError;
pub use kernel::{Family, Kernel, MAX_GROUPS, Numbers, ReadsTextures, WORKGROUP};
pub(crate) use matrix::fastest;
pub use matrix::{Core, Operand};
pub use plan::{Plan, PlanRow, Trace};
pub use pool::Pool;
pub use profile::Timing;
pub use readback::Readback;
pub use storage::{Operands, Storage};
pub use tiles::Tiles;
pub use twins::{Twins, read_write};
