//! `gtc inspect`

use std::process::ExitCode;

use serde::Serialize;

use super::{CliError, ModelArg, human_bytes, print_json};
use crate::checkpoint;
use crate::inspect::{LayerReport, inspect, mean_bits, weighted_bits};
use crate::model::{Model, Parameters};

#[derive(clap::Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    model: ModelArg,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct InspectReport {
    layers: Vec<LayerReport>,
    mean_bits: f64,
    weighted_bits: f64,
}

pub(super) fn run(args: &InspectArgs) -> Result<ExitCode, CliError> {
    let checkpoint = checkpoint::load(&args.model.model)?;
    let model = Model::by_name(&checkpoint.header.model)?;
    let layers = inspect(&Parameters::new(&model), &checkpoint.snapshot.weights);
    let report = InspectReport {
        mean_bits: mean_bits(&layers),
        weighted_bits: weighted_bits(&layers),
        layers,
    };
    if args.json {
        print_json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let header = &checkpoint.header;
    println!(
        "{} trained on {}, {} steps, seed {}",
        header.model, header.data, header.step, header.options.seed
    );
    for layer in &report.layers {
        print_layer(layer);
    }
    let weights: usize = report.layers.iter().map(|l| l.weights).sum();
    println!(
        "\n{weights} weights, {:.2} bits a layer, {:.2} bits a weight: {} instead of {} as floats",
        report.mean_bits,
        report.weighted_bits,
        human_bytes((weights as f64 * report.weighted_bits / 8.0).ceil() as u64),
        human_bytes(4 * weights as u64)
    );
    Ok(ExitCode::SUCCESS)
}

fn print_layer(layer: &LayerReport) {
    println!(
        "\n{}  {:?}  {} weights  {} bits  Q = ±2^round({:.3} + {:.3} log2|w|)",
        layer.name, layer.shape, layer.weights, layer.bits, layer.intercept, layer.slope
    );
    let most = layer
        .histogram
        .iter()
        .map(|(n, p)| n + p)
        .max()
        .unwrap_or(1)
        .max(1);
    for (i, (negative, positive)) in layer.histogram.iter().enumerate() {
        let count = negative + positive;
        let bar = "#".repeat((count * 48).div_ceil(most));
        let e = layer.exponent_min + i as i32;
        println!(
            "  ±2^{e:<4} {:5.1} %  {bar}",
            100.0 * count as f64 / layer.weights as f64
        );
    }
    if layer.zeros > 0 {
        println!(
            "  0       {:5.1} %",
            100.0 * layer.zeros as f64 / layer.weights as f64
        );
    }
}
