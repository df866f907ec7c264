//! The only code that touches `wgpu`: opening a device, buffers, kernels, the [`Plan`], reading back.
//!
//! Everything above this module speaks of [`Buffer`]s and [`Dispatch`]es. A [`Plan`] is the fixed
//! list of dispatches of one step; running, profiling, tracing and printing are four ways to walk
//! that same list.

mod buffer;
mod device;
mod kernel;
mod plan;
mod pool;
mod profile;
mod readback;

pub use buffer::{Buffer, TEXEL_BYTES, TEXELS_PER_ROW};
pub use device::{AdapterSummary, Gpu, GpuError, GpuOptions, Path, list_adapters};
pub use kernel::{Family, Kernel, Numbers, WORKGROUP};
pub use plan::{Dispatch, Grid, Plan, PlanBuilder, PlanRow, Trace, Write};
pub use pool::Pool;
pub use profile::Timing;
pub use readback::Readback;
