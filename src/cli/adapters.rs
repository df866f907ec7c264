//! `gtc adapters`

use std::process::ExitCode;

use super::{CliError, print_json};
use crate::gpu::{GpuError, list_adapters};

#[derive(clap::Args)]
pub(crate) struct AdaptersArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &AdaptersArgs) -> Result<ExitCode, CliError> {
    let adapters = pollster::block_on(list_adapters());
    if adapters.is_empty() {
        return Err(GpuError::NoAdapter.into());
    }
    if args.json {
        print_json(&adapters)?;
        return Ok(ExitCode::SUCCESS);
    }
    for a in &adapters {
        let mark = if a.default { "*" } else { " " };
        println!("{mark} {}: {} ({}, {})", a.index, a.name, a.kind, a.backend);
        println!("     driver {}, {} kernels", a.driver, a.path);
    }
    println!("* is used unless --adapter names another, by number or by a part of its name.");
    Ok(ExitCode::SUCCESS)
}
