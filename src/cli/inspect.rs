//! `gtc inspect`

use crate::cli::output::{say, short};
use std::process::ExitCode;

use serde::Serialize;

use super::pack_model::levels_text;
use super::{AnyModel, CliError, ModelArg, human_bytes, print_json};
use crate::checkpoint::Checkpoint;
use crate::inspect::{LayerReport, inspect, mean_bits, weighted_bits};
use crate::loss::Likelihood;
use crate::model::Parameters;
use crate::pack::{Operations, PackedLayer, PackedModel};
use crate::quantiser::Quantiser;

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

/// One layer of a packed model in what `--json` prints.
#[derive(Serialize)]
struct PackedRow {
    name: String,
    shape: [usize; 4],
    weights: usize,
    bits: u32,
    levels: Vec<f64>,
    exponent_min: i32,
    exponent_max: i32,
    zeros: usize,
    input_scale: i32,
    output_scale: i32,
    shift_min: i32,
    shift_max: i32,
    /// The largest sum that can occur.
    largest_sum: i64,
}

/// How a packed decoder is entered and left.
#[derive(Serialize)]
struct Decoder {
    /// Numbers of a latent.
    latent: usize,
    likelihood: Likelihood,
}

/// What `--json` prints of a packed model.
#[derive(Serialize)]
struct PackedReport {
    model: String,
    data: String,
    /// Of the decoder of an auto-encoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    decoder: Option<Decoder>,
    activation_bits: u32,
    bytes: usize,
    layers: Vec<PackedRow>,
    mean_bits: f64,
    operations: Operations,
}

pub(super) fn run(args: &InspectArgs) -> Result<ExitCode, CliError> {
    match args.model.load()? {
        AnyModel::Trained(checkpoint) => trained(args, &checkpoint),
        AnyModel::Packed(model) => packed(args, &model),
    }
}

fn packed(args: &InspectArgs, model: &PackedModel) -> Result<ExitCode, CliError> {
    let row = |layer: &PackedLayer| PackedRow {
        name: layer.name.clone(),
        shape: layer.shape,
        weights: layer.codes.len(),
        bits: layer.bits,
        levels: layer.levels(),
        exponent_min: layer.exponent_min,
        exponent_max: layer.exponent_min + layer.span() as i32,
        zeros: layer.zeros(),
        input_scale: layer.input_scale,
        output_scale: layer.output_scale,
        shift_min: layer.shift.iter().copied().min().unwrap_or(0),
        shift_max: layer.shift.iter().copied().max().unwrap_or(0),
        largest_sum: layer.bounds(model.most()).0,
    };
    let layers: Vec<PackedRow> = model.layers.iter().map(row).collect();
    let bits = layers.iter().map(|l| f64::from(l.bits)).sum::<f64>();
    let ends = model.model.latent().zip(model.model.likelihood);
    let report = PackedReport {
        decoder: ends.map(|(latent, likelihood)| Decoder { latent, likelihood }),
        model: model.model.name.to_owned(),
        data: model.data.clone(),
        activation_bits: model.activations.bits(),
        bytes: std::fs::metadata(&args.model.model)?.len() as usize,
        mean_bits: bits / layers.len().max(1) as f64,
        layers,
        operations: model.operations(),
    };
    if args.json {
        print_json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let what = match &report.decoder {
        Some(decoder) => format!(
            "decoder from latents of {} numbers of {}",
            decoder.latent, report.model
        ),
        None => report.model.clone(),
    };
    say!(
        "{what} trained on {}, packed: {}-bit activations, {} in all",
        report.data,
        report.activation_bits,
        human_bytes(report.bytes as u64)
    );
    say!("  layer        weights  bits  units in, out  shifts     largest sum  levels");
    for row in &report.layers {
        say!(
            "  {:10} {:9}  {:4}   2^{:<4} 2^{:<4}  {:3} to {:3}  {:10}  {}",
            row.name,
            row.weights,
            row.bits,
            row.input_scale,
            row.output_scale,
            row.shift_min,
            row.shift_max,
            row.largest_sum,
            levels_text(&row.levels)
        );
    }
    say!(
        "\nan image takes {} additions, {} shifts, {} multiplications",
        report.operations.additions,
        report.operations.shifts,
        report.operations.multiplications
    );
    Ok(ExitCode::SUCCESS)
}

fn trained(args: &InspectArgs, checkpoint: &Checkpoint) -> Result<ExitCode, CliError> {
    let model = checkpoint.header.model()?;
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
    match header.data.as_str() {
        "" => say!("{}, not trained by this program", header.model),
        data => say!(
            "{} trained on {data}, {} steps, seed {}",
            header.model,
            header.step,
            header.options.seed
        ),
    }
    let has_no_levels = checkpoint.has_no_levels(&model);
    if has_no_levels {
        say!(
            "Only floats have learned: the levels below are the powers of two next to them, and nobody trained them."
        );
    }
    for layer in &report.layers {
        print_layer(layer);
    }
    let weights: usize = report.layers.iter().map(|l| l.weights).sum();
    if has_no_levels {
        let size = human_bytes(4 * weights as u64);
        say!("\n{weights} weights: {size} as floats");
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "\n{weights} weights, {:.2} bits a layer, {:.2} bits a weight: {} instead of {} as floats",
        report.mean_bits,
        report.weighted_bits,
        human_bytes((weights as f64 * report.weighted_bits / 8.0).ceil() as u64),
        human_bytes(4 * weights as u64)
    );
    Ok(ExitCode::SUCCESS)
}

fn print_layer(layer: &LayerReport) {
    let rule = match layer.quantiser {
        Quantiser::Gtc => format!(
            "Q = ±2^round({:.3} + {:.3} log2|w|)",
            layer.intercept, layer.slope
        ),
        other => format!(
            "{other}, {} values from {} to {}; by size:",
            layer.levels.len(),
            short(layer.levels.first().copied().unwrap_or_default()),
            short(layer.levels.last().copied().unwrap_or_default())
        ),
    };
    say!(
        "\n{}  {:?}  {} weights  {} bits  {rule}",
        layer.name,
        layer.shape,
        layer.weights,
        layer.bits
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
        say!(
            "  ±2^{e:<4} {:5.1} %  {bar}",
            100.0 * count as f64 / layer.weights as f64
        );
    }
    if layer.zeros > 0 {
        say!(
            "  0       {:5.1} %",
            100.0 * layer.zeros as f64 / layer.weights as f64
        );
    }
}
