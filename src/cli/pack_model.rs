//! `gtc pack`

use crate::cli::output::{say, say_error};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::data_args::{Learned, PictureArgs, seen_by};
use super::{CliError, DeviceArgs, TrainedArg, human_bytes, outputs, print_json, quoted, tuning};
use crate::checkpoint::Checkpoint;
use crate::data::Images;
use crate::evaluate::Evaluator;
use crate::files;
use crate::generate::{Generator, Which, draw_latents, mean_difference};
use crate::gpu::Gpu;
use crate::infer::{Inference, best, pictures};
use crate::inspect::inspect;
use crate::model::{Model, whole_batch};
use crate::pack::{Activations, PackedModel, Trained, encode, pack};
use crate::train::Objective;

/// Images at a time, and images from which scales are chosen; fewer where images are large.
const BATCH: usize = 100;
/// Latents from which a packed decoder draws beside LP.
const LATENTS: usize = 1000;

#[derive(clap::Args)]
pub(crate) struct PackArgs {
    #[command(flatten)]
    model: TrainedArg,
    /// The file to write [default: beside the model, ending in .gtc]
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Bits of an activation
    #[arg(long, value_name = "8|16", default_value = "8", value_parser = ["8", "16"])]
    activations: String,
    /// Data whose training images decide the scales and, of a classifier, whose test images measure
    /// the cost
    /// [default: the data it was trained on, else the digits inside the program]
    #[arg(long, value_name = "DIR")]
    calibrate: Option<PathBuf>,
    /// Pack a model that was trained as floats all the same: every weight becomes the power of two next to
    /// it, which costs accuracy
    #[arg(long)]
    force: bool,
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
    levels: Vec<f64>,
    bits: u32,
    bytes: usize,
    zeros_replaced: usize,
    shift_min: i32,
    shift_max: i32,
}

/// What `--json` prints.
#[derive(Serialize)]
struct PackReport {
    file: String,
    bytes: usize,
    float_bytes: usize,
    /// Σ bits × weights / 8, the paper's measure.
    formula_bytes: usize,
    activation_bits: u32,
    #[serde(flatten)]
    cost: Cost,
    layers: Vec<LayerRow>,
}

/// What becoming integers costs.
#[derive(Serialize)]
#[serde(untagged)]
enum Cost {
    Classifier {
        /// Test images.
        images: usize,
        accuracy_before: f64,
        accuracy_after: f64,
    },
    Decoder {
        /// Drawn from the prior.
        latents: usize,
        /// Mean absolute difference of pixels from LP's, in units of 1/255.
        pixel_difference: f64,
    },
}

/// Refuses a model without levels, unless `--force` is given.
fn check_levels(args: &PackArgs, checkpoint: &Checkpoint, model: &Model) -> Result<(), CliError> {
    if !checkpoint.has_no_levels(model) {
        return Ok(());
    }
    let shown = args.model.model.display();
    let word = quoted(&args.model.model);
    let (trained, go_on) = match checkpoint.header.options.objective {
        Objective::Float => ("trained as floats (--objective float)", String::new()),
        _ if checkpoint.snapshot.is_whole() => (
            "trained as floats so far (LP joins at --lp-start)",
            format!("`gtc train --resume {word}` (until LP has joined), "),
        ),
        _ => ("trained as floats", String::new()),
    };
    let what = format!(
        "{shown}: {trained}, so its layers have no levels yet: each weight would become the power of two next to it, which \
         costs accuracy"
    );
    if args.force {
        say_error!("warning: {what}");
        return Ok(());
    }
    let quantise = match model.likelihood {
        None => format!("`gtc quantise {word} -o FILE.safetensors` (at once) or "),
        Some(_) => String::new(),
    };
    Err(format!(
        "{what}. Give it levels first, with {go_on}{quantise}`gtc train --from {word}` (it learns them); \
         --force packs it as it is"
    )
    .into())
}

pub(super) fn run(args: &PackArgs) -> Result<ExitCode, CliError> {
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| default_file(&args.model.model));
    outputs::check(&out, &outputs::PACKED, &[&args.model.model])?;
    let mut checkpoint = args.model.load("cannot be packed again")?;
    let model = checkpoint.header.model()?;
    check_levels(args, &checkpoint, &model)?;
    checkpoint.share_statistics(&model);
    let learned = Learned::of(&args.model.model, &checkpoint.header, &model);
    let data = learned.load("--calibrate", args.calibrate.as_deref(), &args.pictures)?;
    model.check_images(&data.test)?;
    let activations = match args.activations.as_str() {
        "16" => Activations::Sixteen,
        _ => Activations::Eight,
    };
    let gpu = args.device.open()?;
    let header = &checkpoint.header;
    let batch = whole_batch(&gpu, &model, BATCH);
    let mut evaluator = Evaluator::new(&gpu, model.clone(), batch, !header.options.exact_norm)?;
    evaluator.set_weights(&checkpoint.snapshot.weights);
    evaluator.set_running(&checkpoint.snapshot.running);
    let calibration = pollster::block_on(evaluator.calibrate(&data.train))?;
    let trained = Trained {
        model: &model,
        data: &header.data,
        classes: &header.classes,
        seen: seen_by(&args.model.model, header),
        weights: &checkpoint.snapshot.weights,
        running: &checkpoint.snapshot.running[1],
        exact_norm: header.options.exact_norm,
    };
    let packed = pack(&trained, activations, &calibration)?;
    let bytes = encode(&packed)?;
    let mut inference = tuning::inference(&gpu, packed, BATCH, None)?;
    let cost = match model.latent() {
        Some(_) => decoder_cost(&gpu, &checkpoint, &mut inference)?,
        None => classifier_cost(args, &mut evaluator, &mut inference, &data.test)?,
    };
    let mut report = report(&out, bytes.len(), inference.model(), cost);
    let trained = inspect(evaluator.parameters(), &checkpoint.snapshot.weights);
    let mut formula = 0;
    for (row, packed) in report.layers.iter_mut().zip(&inference.model().layers) {
        // Only the decoder of an auto-encoder is packed, and layers that stay floats have no levels.
        if let Some(trained) = trained.iter().find(|layer| layer.name == row.name) {
            formula += trained.weights * trained.bits as usize;
            row.zeros_replaced = trained.zeros.saturating_sub(packed.zeros());
        }
    }
    report.formula_bytes = formula.div_ceil(8);
    files::write(&out, &bytes)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&report, &header.model);
    }
    Ok(ExitCode::SUCCESS)
}

/// The accuracies of LP and of the packed classifier.
fn classifier_cost(
    args: &PackArgs,
    evaluator: &mut Evaluator<'_>,
    inference: &mut Inference<'_>,
    test: &Images,
) -> Result<Cost, CliError> {
    let bar = match args.json {
        true => indicatif::ProgressBar::hidden(),
        false => indicatif::ProgressBar::new(2 * test.count() as u64),
    };
    let tick = |done: usize| bar.set_position(done as u64);
    let (before, _) = pollster::block_on(evaluator.test(test, tick))?;
    before.require_finite([false, true])?;
    let tick = |done: usize| bar.set_position((test.count() + done) as u64);
    let logits = pollster::block_on(inference.infer(test, tick))?;
    bar.finish_and_clear();
    Ok(Cost::Classifier {
        images: test.count(),
        accuracy_before: before.lp.accuracy(),
        accuracy_after: accuracy(test, &logits),
    })
}

/// The distance of the packed decoder's pictures from LP's.
fn decoder_cost(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    inference: &mut Inference<'_>,
) -> Result<Cost, CliError> {
    let Some(generator) = Generator::new(gpu, checkpoint.header.model()?, BATCH)? else {
        return Err("no decoder in this model".into());
    };
    generator.set_weights(&checkpoint.snapshot.weights);
    let latents = draw_latents(1, LATENTS, generator.latent());
    let lp = pollster::block_on(generator.decode(Which::LowPrecision, &latents))?;
    let logits = pollster::block_on(inference.decode(&latents, |_| ()))?;
    Ok(Cost::Decoder {
        latents: LATENTS,
        pixel_difference: mean_difference(&lp, &pictures(inference.model(), &logits)),
    })
}

fn default_file(model: &Path) -> PathBuf {
    match model.is_dir() {
        true => model.join("model.gtc"),
        false => model.with_extension("gtc"),
    }
}

/// The share of images whose label has the largest logit.
pub(super) fn accuracy(images: &Images, logits: &[Vec<i32>]) -> f64 {
    let right = logits.iter().zip(&images.labels);
    let right = right.filter(|(logits, label)| best(logits) == usize::from(**label));
    right.count() as f64 / images.count().max(1) as f64
}

fn report(out: &Path, bytes: usize, packed: &PackedModel, cost: Cost) -> PackReport {
    let row = |layer: &crate::pack::PackedLayer| LayerRow {
        name: layer.name.clone(),
        weights: layer.codes.len(),
        levels: layer.levels(),
        bits: layer.bits,
        zeros_replaced: 0,
        bytes: (layer.codes.len() * layer.bits as usize).div_ceil(32) * 4 + 5 * layer.shape[0],
        shift_min: layer.shift.iter().copied().min().unwrap_or(0),
        shift_max: layer.shift.iter().copied().max().unwrap_or(0),
    };
    PackReport {
        file: out.display().to_string(),
        bytes,
        float_bytes: packed.float_bytes(),
        formula_bytes: 0,
        activation_bits: packed.activations.bits(),
        cost,
        layers: packed.layers.iter().map(row).collect(),
    }
}

/// Levels as text: their exponents, and zero.
pub(super) fn levels_text(levels: &[f64]) -> String {
    let mut sizes: Vec<i32> = levels
        .iter()
        .filter(|v| **v != 0.0)
        .map(|v| v.abs().log2() as i32)
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    let zero = if levels.contains(&0.0) { "0, " } else { "" };
    let sizes: Vec<String> = sizes.iter().map(|e| format!("±2^{e}")).collect();
    format!("{zero}{}", sizes.join(", "))
}

fn print(report: &PackReport, model: &str) {
    let (what, cost, next) = match &report.cost {
        Cost::Classifier {
            images,
            accuracy_before,
            accuracy_after,
        } => (
            format!("{images} images of the test set"),
            format!(
                "accuracy  {:.2} % as floats (LP), {:.2} % as integers",
                100.0 * accuracy_before,
                100.0 * accuracy_after
            ),
            "eval",
        ),
        Cost::Decoder {
            latents,
            pixel_difference,
        } => (
            format!("the decoder, {latents} latents of the prior"),
            format!(
                "pixels    {pixel_difference:.3} of 255 from those of the floats (LP) on average"
            ),
            "sample",
        ),
    };
    say!(
        "{model}, {}-bit activations: {what}",
        report.activation_bits
    );
    say!("  layer        weights  bits      bytes  shifts     levels");
    for row in &report.layers {
        say!(
            "  {:10} {:9}  {:4} {:10}  {:3} to {:3}  {}",
            row.name,
            row.weights,
            row.bits,
            row.bytes,
            row.shift_min,
            row.shift_max,
            levels_text(&row.levels)
        );
    }
    for row in report.layers.iter().filter(|row| row.zeros_replaced > 0) {
        say!(
            "  {}: {} of {} weights were zero and took the smallest level, which saves a bit each",
            row.name,
            row.zeros_replaced,
            row.weights
        );
    }
    say!("\n  {cost}");
    say!(
        "  size      {}, 1/{:.1} of its weights and biases as floats ({})",
        human_bytes(report.bytes as u64),
        report.float_bytes as f64 / report.bytes as f64,
        human_bytes(report.float_bytes as u64)
    );
    say!(
        "  formula   {}: bits × weights as the paper counts them, a zero free of charge",
        human_bytes(report.formula_bytes as u64)
    );
    say!("\npacked  {}", report.file);
    say!("next    gtc {next} {}", quoted(report.file.as_ref()));
}
