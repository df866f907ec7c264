//! `gtc export --to verilog`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::export::write_all;
use super::output::say;
use super::{CliError, human_bytes, quoted};
use crate::export::Program;
use crate::export::verilog::{self, Arithmetic, Options, Summary};
use crate::pack::PackedModel;
use crate::verify::known_answers;

/// Images that the test bench compares, if nothing is said.
const IMAGES: usize = 20;
/// Widths of multipliers that engines are compared with.
const WIDTHS: [u32; 3] = [8, 4, 2];

#[derive(clap::Args)]
pub(crate) struct VerilogArgs {
    /// Outputs that the engine sums at once, of --to verilog [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    lanes: Option<u16>,
    /// Inputs that each lane adds a clock, of --to verilog: 2, 4, 8, 16 or 32 [default: 8]
    #[arg(long, value_name = "N", value_parser = ["2", "4", "8", "16", "32"])]
    inputs: Option<String>,
    /// Multipliers of so many bits instead of shifts, for comparison, of --to verilog
    #[arg(long, value_name = "2|4|8", value_parser = ["2", "4", "8"])]
    multipliers: Option<String>,
    /// Bits of an accumulator, of --to verilog [default: as few as the sums need]
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(2..=32))]
    accumulator: Option<u32>,
    /// Images that the test bench compares, of --to verilog [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    images: Option<u32>,
    /// Writes the engines with multipliers of 8, 4 and 2 bits into folders of their own too, of --to verilog
    #[arg(long)]
    compare: bool,
}

impl VerilogArgs {
    /// Which flags were given.
    pub(super) fn given(&self) -> [(&'static str, bool); 6] {
        [
            ("--lanes", self.lanes.is_some()),
            ("--inputs", self.inputs.is_some()),
            ("--multipliers", self.multipliers.is_some()),
            ("--accumulator", self.accumulator.is_some()),
            ("--images", self.images.is_some()),
            ("--compare", self.compare),
        ]
    }
}

pub(super) fn run(
    model: &PackedModel,
    out: &Path,
    args: &VerilogArgs,
) -> Result<ExitCode, CliError> {
    let network = model.network();
    let program = Program::new(model, &network)?;
    if out.exists() && !out.is_dir() {
        let shown = out.display();
        return Err(format!("{shown}: Verilog is written as several files; name a folder").into());
    }
    if args.compare && args.multipliers.is_some() {
        return Err("--compare writes engines with multipliers beside the one that shifts; leave --multipliers away".into());
    }
    let usual = Options::default();
    let number = |word: &Option<String>| word.as_deref().and_then(|word| word.parse().ok());
    let arithmetic = |bits: u32| Arithmetic::Multiply {
        bits,
        random: !verilog::weights_fit(&program, bits),
    };
    let options = Options {
        lanes: args.lanes.map_or(usual.lanes, usize::from),
        inputs: number(&args.inputs).unwrap_or(usual.inputs),
        arithmetic: number(&args.multipliers)
            .map_or(Arithmetic::Shift, |bits| arithmetic(bits as u32)),
        accumulator: args.accumulator,
    };
    let mut engines: Vec<(PathBuf, Options)> = vec![(out.to_owned(), options.clone())];
    for bits in WIDTHS.into_iter().filter(|_| args.compare) {
        let options = Options {
            arithmetic: arithmetic(bits),
            accumulator: None,
            ..options.clone()
        };
        engines.push((out.join(format!("multipliers-{bits}")), options));
    }
    // Refused before the images are computed.
    verilog::write(&program, &options, &[])?;
    let answers = known_answers(model, args.images.map_or(IMAGES, |n| n as usize))?;
    for (number, (folder, options)) in engines.iter().enumerate() {
        let source = verilog::write(&program, options, &answers)?;
        write_all(folder, &source.files, (verilog::MARK, "DESIGN = top.v"))?;
        if number == 0 {
            describe(&source.summary, folder, source.files.len());
        } else {
            let random = if source.summary.random_weights {
                ", random weights"
            } else {
                ""
            };
            say!(
                "  for comparison  {}{random}, in {}",
                source.summary.arithmetic,
                folder.display()
            );
        }
    }
    say!("test    make -C {} test", quoted(out));
    say!("areas   make -C {} synth", quoted(out));
    Ok(ExitCode::SUCCESS)
}

fn describe(summary: &Summary, folder: &Path, files: usize) {
    let kilobits = |bits: usize| human_bytes(bits.div_ceil(8) as u64);
    say!(
        "{} in Verilog, {files} files in {}",
        summary.network,
        folder.display()
    );
    say!(
        "  engine          {} lanes of {} inputs, {}, accumulators of {} bits",
        summary.lanes,
        summary.inputs,
        summary.arithmetic,
        summary.accumulator_bits
    );
    say!(
        "  memories        {} of weights, {} of activations",
        kilobits(summary.weight_memory_bits),
        kilobits(summary.activation_memory_bits)
    );
    say!("  an image        about {} clocks", summary.cycles);
    if summary.random_weights {
        say!("  weights         random: those of the network do not fit into these multipliers");
    }
}
