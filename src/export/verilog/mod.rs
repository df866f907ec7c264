//! A packed network as hardware: synthesisable Verilog-2005 of an engine that shifts and adds, the contents of its
//! memories, a test bench with known answers, and a Makefile that simulates and synthesises it.
//!
//! [`Plan`] places values in the activation memory and turns steps into nested loops, [`Hardware`] finds how wide
//! everything must be and fills the memories. The engine itself is `engine.v`. See `docs/VERILOG.md`.

mod evaluate;
mod files;
mod hardware;
mod plan;
mod products;
mod summary;
mod table;
mod vectors;
mod weights;

pub use hardware::Hardware;
pub use plan::{Micro, Place, Plan, Work};
pub use summary::{LayerSummary, Summary};

use super::{ExportError, Program};
use crate::verify::KnownAnswer;

/// What every file says of itself, so that no other is ever replaced.
pub const MARK: &str = "Made by gtc";

/// How weights and activations are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// Shifts and additions: weights are powers of two.
    Shift,
    /// For comparison, multipliers for weights of so many bits in two's complement.
    Multiply {
        /// 2, 4 or 8.
        bits: u32,
        /// Whether the weights are random ones of this width instead of the network's, which do not fit.
        random: bool,
    },
}

/// The size of the engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Outputs that are summed at once.
    pub lanes: usize,
    /// Inputs that each of them adds a clock: a power of two.
    pub inputs: usize,
    /// How weights and activations are combined.
    pub arithmetic: Arithmetic,
    /// Bits of an accumulator; as few as the sums need, if nothing is said.
    pub accumulator: Option<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lanes: 16,
            inputs: 8,
            arithmetic: Arithmetic::Shift,
            accumulator: None,
        }
    }
}

/// What is written.
#[derive(Clone, Debug)]
pub struct Source {
    /// Names of files and what stands in them.
    pub files: Vec<(String, String)>,
    /// Sizes and cycles.
    pub summary: Summary,
}

/// Whether all weights of a network are whole numbers of so many bits in two's complement.
pub fn weights_fit(program: &Program<'_>, bits: u32) -> bool {
    let half = 1i64 << (bits - 1);
    let layers = program.steps.iter().filter_map(|step| step.layer);
    layers
        .flat_map(|layer| crate::pack::unpacked(&layer.codes, layer.bits, layer.zero))
        .all(|weight| (-half..half).contains(&weight))
}

/// Writes a packed network in Verilog. `answers` are images and logits, which must be those of the network.
///
/// # Errors
/// [`ExportError::Layer`] for an operation that the engine lacks, and for an accumulator that is too narrow.
pub fn write(
    program: &Program<'_>,
    options: &Options,
    answers: &[KnownAnswer],
) -> Result<Source, ExportError> {
    if program.model.table.is_empty() {
        return Err(ExportError::Layer {
            layer: program.model.model.name.clone(),
            reason: "it is the decoder of an auto-encoder, and the engine reads images. Write it in C with --to c"
                .to_owned(),
        });
    }
    let plan = Plan::new(program, options)?;
    let hardware = Hardware::new(&plan, options)?;
    let answers = match options.arithmetic {
        // Other weights than the network's have other answers.
        Arithmetic::Multiply { random: true, .. } => vectors::answers(&plan, &hardware, answers),
        _ => answers.to_vec(),
    };
    let tests = vectors::layers(&plan, &hardware);
    let summary = Summary::new(&plan, &hardware, options);
    let files = files::all(&plan, &hardware, options, &answers, &tests, &summary);
    Ok(Source { files, summary })
}
