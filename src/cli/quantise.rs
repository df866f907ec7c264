//! `gtc quantise`

use crate::cli::output::{say, say_error};
use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use pollster::block_on;
use serde::Serialize;

use super::data_args::{Learned, PictureArgs, reading};
use super::elsewhere::{ScalingArgs, read_float_aloud};
use super::pictures::slice;
use super::{CliError, DeviceArgs, outputs, print_json, quoted};
use crate::checkpoint::{self, Checkpoint};
use crate::data::{Dataset, Seen};
use crate::evaluate::{Evaluator, Progress};
use crate::files;
use crate::fit::fit_all;
use crate::gpu::Gpu;
use crate::graph::{Model, Scaling};
use crate::inspect::{inspect, mean_bits};
use crate::rescale::rescale;

/// Images at a time.
const BATCH: usize = 100;
/// Batches that running statistics follow: nine tenths of each new one's distance are left.
const SETTLING: usize = 60;

#[derive(clap::Args)]
pub(crate) struct QuantiseArgs {
    /// A float model, not a packed .gtc file: the folder of a run, a .safetensors file of this program, an .onnx file, or a
    /// .safetensors file in PyTorch's layout, or the index of several (model.safetensors.index.json)
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// The model to write
    #[arg(short, long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// Accuracy in percent that the float model is known to have: an error if it is measured to be lower here
    #[arg(long, value_name = "PERCENT")]
    expect: Option<f64>,
    /// Most bits of a weight, in every layer
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=6))]
    bits: u32,
    /// Data whose test images measure the cost, and whose training images settle batch normalisations
    /// [default: the data of the model's run, or the digits inside the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What a file in PyTorch's layout is: a name, see `gtc models`, or a description that ends in .toml
    /// [default: the one that fits]
    #[arg(long = "model", value_name = "NAME|FILE.toml")]
    described: Option<String>,
    #[command(flatten)]
    scaling: ScalingArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pictures: PictureArgs,
}

/// Scalings that networks are often trained with, for a look at which one a file was made for.
fn usual_scalings() -> Vec<(&'static str, Scaling)> {
    let normal = |mean, deviation| Scaling { mean, deviation };
    vec![
        ("--range 0..1", Scaling::NONE),
        ("--range -1..1", normal([0.5; 3], [0.5; 3])),
        ("--range 0..255", normal([0.0; 3], [1.0 / 255.0; 3])),
        (
            "--mean 0.1307 --deviation 0.3081",
            normal([0.1307; 3], [0.3081; 3]),
        ),
        (
            "--mean 0.4914,0.4822,0.4465 --deviation 0.247,0.2435,0.2616",
            Scaling::CIFAR10,
        ),
        (
            "--mean 0.485,0.456,0.406 --deviation 0.229,0.224,0.225",
            normal([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ),
    ]
}

/// Images that a scaling is judged by.
const JUDGED: usize = 1000;
/// By how much another scaling must be better, in accuracy, so that the one in use is taken for a mistake.
const CLEARLY: f64 = 0.02;

/// Refuses a scaling of pixels that was not asked for, if another one that is often used fits a model from elsewhere better.
fn check_scaling(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    data: &Dataset,
    used: &Model,
) -> Result<(), CliError> {
    let few = slice(&data.test, 0..data.test.count().min(JUDGED));
    let usual = usual_scalings();
    let bar = ProgressBar::new(usual.len() as u64).with_style(ProgressStyle::with_template(
        "trying scalings of pixels {bar:24} {pos}/{len}",
    )?);
    let accuracy = |scaling: Scaling| -> Result<f64, CliError> {
        let model = Model {
            scaling,
            ..used.clone()
        };
        let mut evaluator = Evaluator::new(gpu, model, BATCH, false)?;
        evaluator.set_weights(&checkpoint.snapshot.weights);
        evaluator.set_running(&checkpoint.snapshot.running);
        Ok(block_on(evaluator.test(&few, |_| ()))?.0.hp.accuracy())
    };
    let found = accuracy(used.scaling)?;
    if found + CLEARLY > 1.0 {
        return Ok(());
    }
    let mut best = (found, "");
    for (flags, scaling) in usual.iter().copied() {
        bar.inc(1);
        let other = match scaling == used.scaling {
            true => found,
            false => accuracy(scaling)?,
        };
        if other > best.0 {
            best = (other, flags);
        }
    }
    bar.finish_and_clear();
    let (most, flags) = best;
    if most < found + CLEARLY {
        return Ok(());
    }
    let same = usual.iter().find(|(_, scaling)| *scaling == used.scaling);
    let keep = same.map_or("--mean and --deviation", |(flags, _)| *flags);
    Err(format!(
        "the float network names {:.1} % of {} test images rightly, and {:.1} % with {flags}: it was trained on other \
         pixels. Say which it reads: {flags}, or {keep} to leave it as it is",
        100.0 * found,
        few.count(),
        100.0 * most
    )
    .into())
}

/// Compares the accuracy of the float model with what is expected of it, or at least of any model.
fn judge_float(args: &QuantiseArgs, accuracy: f64, classes: usize) -> Result<(), CliError> {
    /// Percent by which two programs may differ.
    const ROUNDING: f64 = 0.5;
    let percent = 100.0 * accuracy;
    let shown = args.model.display();
    if let Some(expected) = args.expect
        && percent + ROUNDING < expected
    {
        return Err(format!(
            "{shown}: as floats {percent:.2} % here, and {expected} % were expected: its pixels, its classes or the data \
             differ from those that it was measured on. See --mean, --deviation, --range and --data"
        )
        .into());
    }
    if accuracy * (classes as f64) < 2.0 {
        say_error!(
            "note: {shown}: as floats it names {percent:.1} % rightly, hardly more than by guessing: its pixels, its classes \
             or the data may be others than it was trained on"
        );
    }
    Ok(())
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

pub(super) fn run(args: &QuantiseArgs) -> Result<ExitCode, CliError> {
    outputs::check(&args.out, &outputs::SAFETENSORS, &[&args.model])?;
    let mut checkpoint = read_float_aloud(
        &args.model,
        args.described.as_deref(),
        args.scaling.scaling()?,
    )?;
    let model = checkpoint.header.model()?;
    if model.likelihood.is_some() {
        let name = model.name;
        return Err(format!("{name}: an auto-encoder; only classifiers are quantised").into());
    }
    let learned = Learned::of(&args.model, &checkpoint.header, &model);
    let data = learned.load("--data", args.data.as_deref(), &args.pictures)?;
    let from_elsewhere = checkpoint.header.classes.is_empty();
    if from_elsewhere {
        checkpoint.header.data.clone_from(&data.name);
        checkpoint.header.classes.clone_from(&data.classes);
        checkpoint.header.images = data.train.count();
        let reading = reading(args.data.as_deref(), &args.pictures)?;
        let seen = Seen::of(&data.train);
        checkpoint.header.seen = seen.map(|seen| Seen { reading, ..seen });
    }
    model.check_images(&data.test)?;
    let gpu = args.device.open()?;
    if from_elsewhere && args.scaling.scaling()?.is_none() {
        check_scaling(&gpu, &checkpoint, &data, &model)?;
    }
    let snapshot = &mut checkpoint.snapshot;
    rescale(&model, &mut snapshot.weights, &mut snapshot.running[0]);
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
        let progress = block_on(evaluator.test(&data.test, tick))?.0;
        progress.require_finite()?;
        Ok(progress)
    };
    evaluator.set_weights(&snapshot.weights);
    evaluator.set_running(&snapshot.running);
    let before = test(&mut evaluator, 0)?;
    judge_float(args, before.hp.accuracy(), data.classes.len())?;
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
