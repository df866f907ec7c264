//! Packed networks as programs for other machines: C for microcontrollers here, and ONNX for runtimes in
//! [`crate::onnx`]. Both do what `docs/FORMAT.md` says, with the same integers.

pub mod c;
mod program;

pub use program::{ExportError, Program, Read, Step};
