//! A model of the energy, cycles and memory traffic of a packed network on an accelerator: arithmetic over counts, no
//! device, and no silicon. `docs/HARDWARE.md` states every formula, what is assumed and what is left out.

mod accelerator;
mod activity;
mod cost;
mod format;
mod node;
mod sensitivity;
mod synthesis;
mod workload;

pub use accelerator::{Accelerator, Dataflow, Flow};
pub use activity::{Activity, Meter, WorkActivity};
pub use cost::{Energy, FormatCost, LayerCost, Skipping, Traffic, cost};
pub use format::Format;
pub use node::{Bandwidth, Clock, Constant, Dram, NODES, Node, NodeError, Sram, node_text};
pub use sensitivity::{Point, Sensitivity, point, sensitivity, sram_sweep};
pub use synthesis::Synthesis;
pub use workload::{Product, Work, Workload};
