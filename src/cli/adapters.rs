//! `gtc adapters`

use crate::cli::output::say;
use std::process::ExitCode;

use super::{CliError, print_json, tuning};
use serde::Serialize;

use crate::gpu::{AdapterSummary, GpuError, list_adapters};
use crate::tune::Tuning;

#[derive(clap::Args)]
pub(crate) struct AdaptersArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// One adapter in what `--json` prints.
#[derive(Serialize)]
struct AdapterReport {
    #[serde(flatten)]
    adapter: AdapterSummary,
    /// How packed layers ran, of every shape they had so far.
    kernels: Tuning,
}

pub(super) fn run(args: &AdaptersArgs) -> Result<ExitCode, CliError> {
    let adapters = pollster::block_on(list_adapters());
    if adapters.is_empty() {
        return Err(GpuError::NoAdapter.into());
    }
    let remembered = tuning::remembered();
    let report = |adapter: AdapterSummary| AdapterReport {
        kernels: tuning::of_adapter(&remembered, &adapter).unwrap_or_default(),
        adapter,
    };
    let reports: Vec<AdapterReport> = adapters.into_iter().map(report).collect();
    if args.json {
        print_json(&reports)?;
        return Ok(ExitCode::SUCCESS);
    }
    for AdapterReport {
        adapter: a,
        kernels,
    } in &reports
    {
        let mark = if a.default { "*" } else { " " };
        say!("{mark} {}: {} ({}, {})", a.index, a.name, a.kind, a.backend);
        say!("     driver {}, {} kernels", a.driver, a.path);
        if !kernels.shapes.is_empty() {
            say!("     packed layers that ran here, with what each took (milliseconds):");
        }
        for (shape, trials) in &kernels.shapes {
            let times = trials.iter().map(|t| {
                let time = match t.right {
                    true => format!("{:.2}", t.microseconds / 1e3),
                    false => "WRONG, never used".to_owned(),
                };
                format!("{} {} {time}", t.kernel.name(), t.sharing.name())
            });
            let times: Vec<String> = times.collect();
            say!("       {shape}: {}", times.join(", "));
        }
    }
    say!("* is used unless --adapter names another, by number or by a part of its name.");
    Ok(ExitCode::SUCCESS)
}
