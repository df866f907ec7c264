//! `gtc export`

use crate::cli::output::say;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, TrainedArg, human_bytes, outputs};
use crate::checkpoint::encode_weights;
use crate::files;
use crate::foreign::{self, Network};

#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    model: TrainedArg,
    /// The file to write
    #[arg(short, long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// For whom. pytorch: names and layouts of PyTorch, for load_state_dict, and for `gtc quantise`; gtc: this program's own,
    /// with levels, classes and the model itself
    #[arg(long, value_name = "FORMAT", default_value = "pytorch", value_parser = ["pytorch", "gtc"])]
    to: String,
    /// Which of the two networks, of --to pytorch; --to gtc has both
    #[arg(long, value_name = "hp|lp", default_value = "hp", value_parser = ["hp", "lp"])]
    network: String,
    /// Numbers of 16 bits (f16): half the size; a few weights may change their level
    #[arg(long)]
    half: bool,
}

pub(super) fn run(args: &ExportArgs) -> Result<ExitCode, CliError> {
    outputs::check(&args.out, &outputs::SAFETENSORS, &[&args.model.model])?;
    let checkpoint = args.model.load("has none left to export")?;
    let file = match (args.to.as_str(), args.network.as_str()) {
        ("gtc", _) => encode_weights(&checkpoint, args.half)?,
        (_, "lp") => foreign::encode(&checkpoint, Network::LowPrecision, args.half)?,
        _ => foreign::encode(&checkpoint, Network::HighPrecision, args.half)?,
    };
    files::write(&args.out, &file)?;
    let size = human_bytes(file.len() as u64);
    say!(
        "weights of {}: {} ({size})",
        checkpoint.header.model,
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}
