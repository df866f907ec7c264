//! Packed networks as programs for other machines: C for microcontrollers and Verilog for hardware here,
//! and ONNX for runtimes in [`crate::onnx`]. All do what `docs/FORMAT.md` says, with the same integers.

pub mod c;
mod pooled;
mod program;
pub mod verilog;

use pooled::pooled;
pub use program::{ExportError, Program, Read, Step};
