//! `gtc export`

use crate::cli::output::say;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{CliError, TrainedArg, human_bytes, outputs};
use crate::checkpoint::encode_weights;
use crate::files;

#[derive(clap::Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    model: TrainedArg,
    /// The file to write
    #[arg(short, long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Numbers of 16 bits (f16): half the size; a few weights may change their level
    #[arg(long)]
    half: bool,
}

pub(super) fn run(args: &ExportArgs) -> Result<ExitCode, CliError> {
    outputs::check(&args.out, &outputs::SAFETENSORS, &[&args.model.model])?;
    let checkpoint = args.model.load("has none left to export")?;
    let file = encode_weights(&checkpoint, args.half)?;
    files::write(&args.out, &file)?;
    let size = human_bytes(file.len() as u64);
    say!(
        "weights of {}: {} ({size})",
        checkpoint.header.model,
        args.out.display()
    );
    Ok(ExitCode::SUCCESS)
}
