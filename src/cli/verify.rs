//! `gtc verify`

use crate::cli::output::say;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{CliError, DeviceArgs, print_json};
use crate::suggest::did_you_mean;
use crate::train::Precision;
use crate::verify::{
    CaseReport, GoldenLayer, GoldenReport, cases, check_golden, half_cases, model_cases, run_case,
    run_case_in_halves,
};

#[derive(clap::Args)]
pub(crate) struct VerifyArgs {
    /// Also compare the quantiser with a file of golden values
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,
    /// Check the kernels at the shapes of this model's layers, two images at a time
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Only kernels whose names hold this
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
    /// Only every Nth case: a quick look
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
    /// Use cooperative matrices for operands of 16 bits, as training with --precision cooperative does
    #[arg(long)]
    cooperative: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What `--json` prints. `max_error` is the largest error as a share of the allowed one.
#[derive(Serialize)]
struct VerifyReport {
    adapter: String,
    driver: String,
    path: &'static str,
    checked: bool,
    cases: usize,
    failed: usize,
    max_error: f64,
    results: Vec<CaseReport>,
    golden: Option<GoldenReport>,
}

pub(super) fn run(args: &VerifyArgs) -> Result<ExitCode, CliError> {
    let golden: Option<Vec<GoldenLayer>> = match &args.golden {
        None => None,
        Some(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            let layers = serde_json::from_str(&text)
                .map_err(|e| format!("{}: not a file of golden values: {e}", path.display()))?;
            Some(layers)
        }
    };
    let mut cases = match &args.model {
        Some(name) => model_cases(&super::model_files::find_model_alone(name)?, 2),
        None => cases(),
    };
    // With operands in 16 bits too, as training with mixed precision has them.
    let mut halves = match &args.model {
        Some(_) => Vec::new(),
        None => half_cases(),
    };
    for cases in [&mut cases, &mut halves] {
        if let Some(word) = &args.only {
            cases.retain(|case| case.kernel.name.contains(word.as_str()));
        }
        let every = std::mem::take(cases).into_iter();
        *cases = every.step_by(args.every as usize).collect();
    }
    if cases.is_empty() {
        let word = args.only.as_deref().unwrap_or_default();
        let names = crate::kernels::all();
        let names = names.iter().map(|kernel| kernel.name);
        let hint = did_you_mean(word, names);
        return Err(format!("--only {word}: no case is of such a kernel{hint}").into());
    }
    let precision = match args.cooperative {
        true => Precision::Cooperative,
        false => Precision::Full,
    };
    let gpu = args.device.open_for(0, precision)?;
    if gpu.path().reads_textures() {
        halves.clear();
    }
    let bar = if args.json {
        indicatif::ProgressBar::hidden()
    } else {
        indicatif::ProgressBar::new((cases.len() + halves.len()) as u64)
    };
    let mut results = Vec::new();
    for case in &cases {
        results.push(pollster::block_on(run_case(&gpu, case))?);
        bar.inc(1);
    }
    for case in &halves {
        results.push(pollster::block_on(run_case_in_halves(&gpu, case))?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let golden = match golden {
        None => None,
        Some(layers) => Some(pollster::block_on(check_golden(&gpu, &layers))?),
    };
    let wrong_golden = golden
        .as_ref()
        .map_or(0, |g| usize::from(!g.failures.is_empty()));
    let report = VerifyReport {
        adapter: gpu.name().to_owned(),
        driver: gpu.driver(),
        path: gpu.path().name(),
        checked: gpu.checked(),
        cases: results.len() + usize::from(golden.is_some()),
        failed: results.iter().filter(|r| r.failure.is_some()).count() + wrong_golden,
        max_error: results.iter().map(|r| r.max_error).fold(0.0, f64::max),
        results,
        golden,
    };
    if args.json {
        print_json(&report)?;
    } else {
        print(&report);
    }
    Ok(ExitCode::from(u8::from(report.failed > 0)))
}

fn print(report: &VerifyReport) {
    say!(
        "{} ({}), {} kernels{}",
        report.adapter,
        report.driver,
        report.path,
        if report.checked { ", checked" } else { "" }
    );
    let mut names: Vec<&str> = crate::kernels::all().iter().map(|k| k.name).collect();
    let mut seen = std::collections::HashSet::new();
    // Several kernels may be made of one file.
    names.retain(|name| seen.insert(*name));
    for name in names {
        let of: Vec<&CaseReport> = report.results.iter().filter(|r| r.kernel == name).collect();
        if of.is_empty() {
            continue;
        }
        let failed = of.iter().filter(|r| r.failure.is_some()).count();
        let worst = of.iter().map(|r| r.max_error).fold(0.0, f64::max);
        let word = if failed == 0 { "agrees" } else { "FAILS" };
        say!(
            "  {:22} {word:7} {:3} cases, largest error {:5.1} % of the allowed",
            name,
            of.len(),
            100.0 * worst
        );
        for case in of.iter().filter(|r| r.failure.is_some()) {
            say!(
                "      [{}] {}",
                case.case,
                case.failure.as_deref().unwrap_or("")
            );
        }
    }
    if let Some(golden) = &report.golden {
        let word = if golden.failures.is_empty() {
            "agrees"
        } else {
            "FAILS"
        };
        say!(
            "  {:22} {word:7} {} layers, {} values, largest relative error {:.1e}",
            "golden values",
            golden.layers,
            golden.values,
            golden.max_error
        );
        for failure in &golden.failures {
            say!("      {failure}");
        }
    }
    say!("{} cases, {} failed", report.cases, report.failed);
}
