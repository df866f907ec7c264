//! `gtc` trains neural networks whose weights are all powers of two, on GPUs of every vendor, with every kernel
//! in WGSL (Generalized Ternary Connect: Parajuli, Raghavan, Chai 2018, arXiv 1811.04985).
//!
//! Each layer learns how many levels it needs and where they lie, together with the weights. Two
//! networks share one set of weights: the high-precision one (HP) runs on them as they are, the
//! low-precision one (LP) on their quantised values, taught by HP. LP reads a weight w as Q(w) = sgn(w) 2^round(c + s log2 |w|);
//! a layer learns its intercept c and its slope s, and as s falls, fewer exponents are left ([`quantiser`]). The loss is in
//! [`train`].
//!
//! # The machine on one page
//!
//! ```text
//! data  ->  graph of ops  ->  model  ->  train  ->  checkpoint  ->  pack  ->  infer
//!                               \          \                                  /
//!                                `----------`----------->  gpu  <------------'
//!         a Recording is a step as data, a Plan a Recording compiled for a device: a fixed list of dispatches
//! ```
//!
//! A model is a [`graph`] of operations; everything about one operation lies in its folder of [`op`].
//! A [`model::Network`] is a [`graph::Model`] for one batch size; it records its passes as data, without a device
//! ([`recording`]). Compiling that makes a
//! [`gpu::Plan`]: every dispatch of the step, with its pipeline, bind group, parameters and grid, all memory placed. A step uploads a batch
//! and a [`optimiser::Schedule`], replays the list in one submission, and reads back a handful of
//! numbers every few steps. Nothing is allocated, compiled or decided while training. Profiling,
//! tracing and printing are other ways to walk the same list.
//!
//! A kernel is four things of one name: a file in `shaders/`, a `static` [`gpu::Kernel`], a plain function on the CPU (`f64`, or `i64` over integers), and a table of
//! cases. Of an operation the last three lie in its folder of [`op`]; of all others in [`kernels`], [`reference`](mod@reference)
//! and [`verify`].
//!
//! # Ten lines
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> { pollster::block_on(async {
//! use gtc::{data, gpu, model, train};
//!
//! let gpu = gpu::Gpu::open(&gpu::GpuOptions::default()).await?;
//! let digits = data::embedded_digits()?;
//! let options = train::TrainOptions { epochs: 2, ..Default::default() };
//! let mut trainer = train::Trainer::new(&gpu, model::lenet5(), &digits.train, options)?;
//! while trainer.steps_done() < trainer.total_steps() {
//!     trainer.train_step(&digits.train);
//! }
//! let (result, _) = trainer.test(&digits.test, |_| ()).await?;
//! println!("LP {:.1} % at {:.2} bits a layer", 100.0 * result.lp.accuracy(), result.mean_bits());
//! # Ok(()) }) }
//! ```

// What everything runs on.
pub mod gpu;
pub mod kernels;
pub mod probe;
pub mod recording;
pub mod rng;
pub mod tensor;

// In the order data flows.
pub mod data;
pub mod graph;
pub mod levels;
pub mod loss;
pub mod model;
pub mod op;
pub mod optimiser;
pub mod quantiser;

// Training, testing, sampling.
pub mod evaluate;
pub mod generate;
#[cfg(not(target_arch = "wasm32"))]
pub mod judge;
pub mod ranks;
pub mod train;

// Files in and out, and what they say.
pub mod checkpoint;
pub mod costs;
#[cfg(not(target_arch = "wasm32"))]
pub mod files;
pub mod fit;
pub mod foreign;
pub mod inspect;
pub mod onnx;
pub mod picture;
pub mod rescale;

// Packed models, here and on other machines.
pub mod export;
pub mod infer;
pub mod pack;
pub mod simulate;
pub mod tune;

// What it must compute, and whether it does.
pub mod reference;
pub mod verify;

#[cfg(feature = "cli")]
pub mod cli;
mod printable;
mod suggest;
#[cfg(target_arch = "wasm32")]
pub mod web;
