//! The library: what kernels, walkers, readers and the trainer give, beside plain functions in `f64` and integers.
//!
//! All of these are one test program, because linking takes longer than most of them run.

#[path = "../common/mod.rs"]
mod common;

mod bad_descriptions;
mod batches;
mod decoders;
mod descriptions;
mod exports;
mod folders;
mod fuzz;
mod graphs;
mod kernels;
mod learning;
mod onnx;
mod operations;
mod oracle;
mod packed;
mod picture_cache;
mod picture_decoding;
mod quantisers;
mod ranks;
mod reference;
mod rules;
mod schedule;
mod simulate;
mod tiles;
mod trace;
mod translations;
mod twins;
mod vae;
