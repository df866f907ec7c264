//! The program from outside, as its users run it.
//!
//! All of these are one test program, because linking takes longer than most of them run.

#[path = "../common/mod.rs"]
mod common;

mod boards;
mod cli;
mod compare;
mod compatibility;
mod documentation;
mod folders_cli;
mod onnx;
mod own_network;
mod packed_cli;
mod pictures;
#[cfg(unix)]
mod ranks;
mod refusals;
#[cfg(unix)]
mod resume;
mod simulate;
mod strangers;
mod sweep;
mod train_from;
mod tuning;
mod verilog;
