//! Packed networks as programs for other machines: C for microcontrollers, ONNX for runtimes. Both do what
//! `docs/FORMAT.md` says, with the same integers.

pub mod c;
pub mod onnx;
mod program;

pub use program::{ExportError, Program, Read, Step};
