//! Packed networks as programs for other machines: C for microcontrollers, ONNX for runtimes. Both do what
//! `docs/FORMAT.md` says, with the same integers.

pub mod c;
mod program;

pub use program::{ExportError, Program, Read, Step};
