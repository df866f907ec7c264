//! `gtc quantise`

use crate::cli::output::say;
use std::path::PathBuf;
use std::process::ExitCode;

use pollster::block_on;
use serde::Serialize;

use super::data_args::{Learned, PictureArgs};
use super::{CliError, DeviceArgs, outputs, packed_already, print_json, quoted};
use crate::checkpoint::{self, Checkpoint, Header};
use crate::evaluate::{Evaluator, Progress};
use crate::files;
use crate::fit::fit_all;
use crate::foreign;
use crate::graph::Description;
use crate::inspect::{inspect, mean_bits};
use crate::pack;
use crate::train::{Snapshot, TrainOptions};

/// Images at a time.
const BATCH: usize = 100;
/// Batches that running statistics follow: nine tenths of each new one's distance are left.
const SETTLING: usize = 60;

#[derive(clap::Args)]
pub(crate) struct QuantiseArgs {
    /// A float model: the folder of a run, a .safetensors file of this program or one in PyTorch's layout;
    /// not a packed .gtc file
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The model to write
    #[arg(short, long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Most bits of a weight, in every layer
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=6))]
    bits: u32,
    /// Data whose test images measure the cost, and whose training images settle batch normalisations
    /// [default: the data of the model's run, or the digits inside the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pictures: PictureArgs,
}

/// One layer in what `--json` prints.
#[derive(Serialize)]
struct LayerRow {
    name: String,
    weights: usize,
    bits: u32,
    levels: Vec<f64>,
    zeros: usize,
    intercept: f32,
    slope: f32,
    /// Σ (w − Q(w))² / Σ w²
    relative_squared_error: f64,
}

/// What `--json` prints.
#[derive(Serialize)]
struct QuantiseReport {
    file: String,
    model: String,
    images: usize,
    float_accuracy: f64,
    lp_accuracy: f64,
    mean_bits: f64,
    layers: Vec<LayerRow>,
}

/// A model of either kind: this program's, or one in PyTorch's layout, whose header names no data yet.
fn read(args: &QuantiseArgs) -> Result<Checkpoint, CliError> {
    if args.model.is_dir() {
        return Ok(checkpoint::load(&args.model)?);
    }
    let file = args.model.display().to_string();
    let bytes = std::fs::read(&args.model).map_err(|e| format!("{file}: {e}"))?;
    if checkpoint::is_checkpoint(&bytes) {
        return Ok(checkpoint::decode(&file, &bytes)?);
    }
    if pack::is_packed(&bytes) {
        let packed = pack::decode(&file, &bytes)?;
        let reason = "has levels already, and no float weights to fit other levels to";
        return Err(packed_already(&args.model, &packed, reason).into());
    }
    let found = foreign::decode(&file, &bytes)?;
    let blank = vec![0.0; found.weights.len()];
    Ok(Checkpoint {
        header: Header {
            version: checkpoint::VERSION,
            model: found.model.name.clone(),
            graph: Some(Description::of(&found.model)),
            data: String::new(),
            classes: Vec::new(),
            images: 0,
            data_hash: None,
            step: 0,
            options: TrainOptions::default(),
        },
        snapshot: Snapshot {
            step: 0,
            weights: found.weights,
            first_moment: blank.clone(),
            second_moment: blank,
            running: [found.running.clone(), found.running],
            totals: vec![0.0; 16],
        },
    })
}

pub(super) fn run(args: &QuantiseArgs) -> Result<ExitCode, CliError> {
    outputs::check(&args.out, &outputs::SAFETENSORS, &[&args.model])?;
    let mut checkpoint = read(args)?;
    let model = checkpoint.header.model()?;
    if model.likelihood.is_some() {
        let name = model.name;
        return Err(format!("{name}: an auto-encoder; only classifiers are quantised").into());
    }
    let learned = Learned::of(&args.model, &checkpoint.header, &model);
    let data = learned.load("--data", args.data.as_deref(), &args.pictures)?;
    if checkpoint.header.classes.is_empty() {
        checkpoint.header.data.clone_from(&data.name);
        checkpoint.header.classes.clone_from(&data.classes);
        checkpoint.header.images = data.train.count();
    }
    model.check_images(&data.test)?;
    let gpu = args.device.open()?;
    let round_norm = !checkpoint.header.options.exact_norm;
    let mut evaluator = Evaluator::new(&gpu, model, BATCH, round_norm)?;
    let parameters = evaluator.parameters().clone();
    let normalised = !parameters.norms.is_empty();
    let settling = if normalised { SETTLING * BATCH } else { 0 };
    let bar = match args.json {
        true => indicatif::ProgressBar::hidden(),
        false => indicatif::ProgressBar::new((2 * data.test.count() + settling) as u64),
    };
    let snapshot = &mut checkpoint.snapshot;
    let test = |evaluator: &mut Evaluator<'_>, done: usize| -> Result<Progress, CliError> {
        let tick = |n: usize| bar.set_position((done + n) as u64);
        Ok(block_on(evaluator.test(&data.test, tick))?.0)
    };
    evaluator.set_weights(&snapshot.weights);
    evaluator.set_running(&snapshot.running);
    let before = test(&mut evaluator, 0)?;
    let fits = fit_all(&parameters, &mut snapshot.weights, args.bits);
    evaluator.set_weights(&snapshot.weights);
    if normalised {
        // Other weights, other outputs: LP's statistics start from those of the floats.
        snapshot.running[1] = snapshot.running[0].clone();
        evaluator.set_running(&snapshot.running);
        let tick = |n: usize| bar.set_position((data.test.count() + n) as u64);
        snapshot.running[1] = block_on(evaluator.settle(&data.train, SETTLING, tick))?;
    }
    let after = test(&mut evaluator, data.test.count() + settling)?;
    bar.finish_and_clear();
    files::write(&args.out, &checkpoint::encode(&checkpoint)?)?;
    let layers = inspect(&parameters, &checkpoint.snapshot.weights);
    let report = QuantiseReport {
        file: args.out.display().to_string(),
        model: checkpoint.header.model.clone(),
        images: data.test.count(),
        float_accuracy: before.hp.accuracy(),
        lp_accuracy: after.lp.accuracy(),
        mean_bits: mean_bits(&layers),
        layers: layers
            .into_iter()
            .zip(&fits)
            .map(|(layer, fit)| LayerRow {
                name: layer.name,
                weights: layer.weights,
                bits: layer.bits,
                levels: layer.levels,
                zeros: layer.zeros,
                intercept: fit.intercept,
                slope: fit.slope,
                relative_squared_error: fit.error,
            })
            .collect(),
    };
    match args.json {
        true => print_json(&report)?,
        false => print(&report),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &QuantiseReport) {
    say!("{}, without further training", report.model);
    say!("  layer        weights  bits   zeros  slope  squared error  levels");
    for row in &report.layers {
        say!(
            "  {:10} {:9}  {:4} {:6.1} %  {:5.3}  {:11.2} %  {}",
            row.name,
            row.weights,
            row.bits,
            100.0 * row.zeros as f64 / row.weights.max(1) as f64,
            row.slope,
            100.0 * row.relative_squared_error,
            super::pack_model::levels_text(&row.levels)
        );
    }
    say!(
        "\n  accuracy  {:.2} % as floats, {:.2} % as powers of two ({} test images)",
        100.0 * report.float_accuracy,
        100.0 * report.lp_accuracy,
        report.images
    );
    say!("\nmodel   {}", report.file);
    say!("next    gtc pack {}", quoted(report.file.as_ref()));
}
