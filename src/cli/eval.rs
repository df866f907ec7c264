//! `gtc eval`

use crate::cli::output::say;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::data_args::{Learned, PictureArgs};
use super::pack_model::accuracy;
use super::run_folder::ElboTerms;
use super::{
    AnyModel, CliError, DeviceArgs, KernelArgs, ModelArg, human_bytes, load_trained, outputs,
    print_json, quoted, tuning,
};
use crate::checkpoint::Checkpoint;
use crate::data::{Dataset, Images};
use crate::evaluate::{Evaluator, Progress};
use crate::files;
use crate::generate::{Generator, Which, draw_latents};
use crate::gpu::Gpu;
use crate::infer::{Choice, probabilities};
use crate::inspect::{LayerReport, inspect, mean_bits, weighted_bits};
use crate::judge::{Judge, Judgement, frechet_distance};
use crate::model::Parameters;
use crate::pack::{Operations, PackedModel};
use crate::quantiser::Quantiser;

#[derive(clap::Args)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    model: ModelArg,
    /// Folder with one folder of pictures for each class, or with the files of MNIST, Fashion-MNIST,
    /// CIFAR-10 or CIFAR-100, whose test images are used [default: the data of the model's run, or the digits inside the
    /// program if it learned from those]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Images at a time, at most: a packed model takes fewer where that many do not fit
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch_size: u32,
    #[command(flatten)]
    device: DeviceArgs,
    /// Run of a classifier that judges 10,000 samples of each network of an auto-encoder beside the
    /// test images
    #[arg(long, value_name = "RUN")]
    judge: Option<PathBuf>,
    #[command(flatten)]
    kernel: KernelArgs,
    /// Write a packed model's integer logits into a file
    #[arg(long, value_name = "FILE.json")]
    logits: Option<PathBuf>,
    /// Count the operations of a packed model
    #[arg(long)]
    count_ops: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pictures: PictureArgs,
}

/// What `--json` prints of a packed model.
#[derive(Serialize)]
struct PackedReport {
    images: usize,
    accuracy: f64,
    loss: f64,
    /// log2 of the unit of the logits.
    logit_scale: i32,
    layers: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<Operations>,
}

/// The file of `--logits`: one row of integers an image.
#[derive(Serialize)]
struct Logits<'l> {
    logit_scale: i32,
    logits: &'l [Vec<i32>],
}

pub(super) fn run(args: &EvalArgs) -> Result<ExitCode, CliError> {
    if let Some(path) = &args.logits {
        outputs::check(path, &outputs::JSON, &[&args.model.model])?;
    }
    let model = args.model.load()?;
    let samples = match &model {
        AnyModel::Trained(checkpoint) => checkpoint.header.model()?.likelihood.is_some(),
        AnyModel::Packed(_) => false,
    };
    if args.judge.is_some() && !samples {
        return Err("--judge judges samples of an auto-encoder, and this model draws none".into());
    }
    match model {
        AnyModel::Trained(checkpoint) => trained(args, &checkpoint),
        AnyModel::Packed(model) => packed(args, *model),
    }
}

fn packed(args: &EvalArgs, model: PackedModel) -> Result<ExitCode, CliError> {
    args.model.refuse_decoder(&model)?;
    let learned = Learned {
        path: &args.model.model,
        data: &model.data,
        classes: &model.classes,
        input: model.model.input,
        reading: model.seen.and_then(|seen| seen.reading),
    };
    let data = learned.load("--data", args.data.as_deref(), &args.pictures)?;
    model.model.check_images(&data.test)?;
    let gpu = args.device.open()?;
    let operations = args.count_ops.then(|| model.operations());
    let batch = args.batch_size as usize;
    let mut inference = tuning::inference(&gpu, model, batch, args.kernel.arithmetic())?;
    let bar = if args.json {
        indicatif::ProgressBar::hidden()
    } else {
        indicatif::ProgressBar::new(data.test.count() as u64)
    };
    let tick = |done: usize| bar.set_position(done as u64);
    let logits = pollster::block_on(inference.infer(&data.test, tick))?;
    bar.finish_and_clear();
    let scale = inference.model().logit_scale();
    let losses = logits.iter().zip(&data.test.labels).map(|(row, label)| {
        let probability = probabilities(row, scale)[usize::from(*label)];
        -probability.max(f64::MIN_POSITIVE).ln()
    });
    let report = PackedReport {
        images: data.test.count(),
        accuracy: accuracy(&data.test, &logits),
        loss: losses.sum::<f64>() / data.test.count().max(1) as f64,
        logit_scale: scale,
        layers: inference.choices().to_vec(),
        operations,
    };
    if let Some(path) = &args.logits {
        let file = Logits {
            logit_scale: scale,
            logits: &logits,
        };
        files::write(path, serde_json::to_string(&file)?.as_bytes())?;
    }
    if args.json {
        print_json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "{} test images of {} on {}: {:.2} % right, loss {:.4}",
        report.images,
        data.name,
        gpu.name(),
        100.0 * report.accuracy,
        report.loss
    );
    for choice in &report.layers {
        say!(
            "  {:10} {:5} {}",
            choice.layer,
            choice.kernel.name(),
            choice.sharing
        );
    }
    if let Some(operations) = &report.operations {
        say!(
            "an image takes {} additions, {} shifts, {} multiplications",
            operations.additions,
            operations.shifts,
            operations.multiplications
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// What `--json` prints of an auto-encoder; nats are means over test images.
#[derive(Serialize)]
struct AutoEncoderReport {
    images: usize,
    /// Numbers of a network that did not learn are absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    hp_negative_elbo: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lp_negative_elbo: Option<f64>,
    #[serde(flatten)]
    terms: ElboTerms,
    mean_bits: f64,
    weighted_bits: f64,
    /// Weights at their layer's bits.
    weight_bytes: u64,
    /// With biases, intercepts and slopes as floats.
    all_bytes: u64,
    /// With `--judge`: of HP's samples, of LP's, of the test images.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    judged: Vec<Judged>,
}

/// What a classifier makes of images.
#[derive(Serialize)]
struct Judged {
    images: &'static str,
    count: usize,
    /// Mean probability of the most probable class.
    confidence: f64,
    /// Entropy of the shares of the classes, nats.
    label_entropy: f64,
    /// Distance of the penultimate features from those of the test images.
    frechet_distance: f64,
}

/// Samples of each network that are judged.
const JUDGED: usize = 10_000;

fn judged(
    path: &Path,
    checkpoint: &Checkpoint,
    data: &Dataset,
    gpu: &Gpu,
) -> Result<Vec<Judged>, CliError> {
    let shown = path.display();
    let mut other = load_trained(path, "shows no features to compare")?;
    let classifier = other.header.model()?;
    if classifier.likelihood.is_some() {
        return Err(format!("--judge {shown}: {} is no classifier", classifier.name).into());
    }
    classifier
        .check_input(data.test.size())
        .map_err(|e| format!("--judge {shown}: {e}"))?;
    other.share_statistics(&classifier);
    let model = checkpoint.header.model()?;
    let learned = Which::of(checkpoint.learned(&model));
    let Some(generator) = Generator::new(gpu, model, 100)? else {
        return Ok(Vec::new());
    };
    generator.set_weights(&checkpoint.snapshot.weights);
    let (weights, running) = (&other.snapshot.weights, &other.snapshot.running);
    let mut judge = Judge::new(gpu, classifier, 100, weights, running)?;
    let latents = draw_latents(1, JUDGED, generator.latent());
    let bar = ProgressBar::new((data.test.count() + 4 * JUDGED) as u64).with_style(
        ProgressStyle::with_template("judging {msg} {bar:24} {pos}/{len} images")?,
    );
    bar.set_message("test images");
    let real = pollster::block_on(judge.judge(&data.test))?;
    bar.inc(data.test.count() as u64);
    let row = |images, count, found: &Judgement, frechet_distance| Judged {
        images,
        count,
        confidence: found.confidence,
        label_entropy: found.label_entropy,
        frechet_distance,
    };
    let mut rows = Vec::new();
    for which in learned {
        bar.set_message(which.name());
        let mut samples = Images::default();
        for part in latents.chunks(JUDGED / 10) {
            let drawn = pollster::block_on(generator.decode(which, part))?;
            samples = Images {
                pixels: [&samples.pixels[..], &drawn.pixels].concat().into(),
                labels: [samples.labels, drawn.labels].concat(),
                ..drawn
            };
            bar.inc(part.len() as u64);
        }
        let found = pollster::block_on(judge.judge(&samples))?;
        bar.inc(JUDGED as u64);
        let distance = frechet_distance(&found, &real);
        rows.push(row(which.name(), JUDGED, &found, distance));
    }
    bar.finish_and_clear();
    rows.push(row("test", data.test.count(), &real, 0.0));
    Ok(rows)
}

/// The name of HP in a table.
const HIGH_PRECISION: &str = "high precision (HP, floats)";
/// Stands where a network that did not learn would have its results.
const NOT_TRAINED: &str = "       - (did not learn)";

/// The name of LP in a table.
fn low_precision(quantiser: Quantiser) -> &'static str {
    match quantiser.is_shift() {
        true => "low precision (LP, 2^e)",
        false => "low precision (LP)",
    }
}

fn auto_encoder(
    args: &EvalArgs,
    checkpoint: &Checkpoint,
    progress: &Progress,
    data: &Dataset,
    gpu: &Gpu,
) -> Result<ExitCode, CliError> {
    let model = checkpoint.header.model()?;
    let parameters = Parameters::new(&model);
    let layers = inspect(&parameters, &checkpoint.snapshot.weights);
    let bytes = |l: &LayerReport| (l.weights as u64 * u64::from(l.bits)).div_ceil(8);
    let weight_bytes = layers.iter().map(bytes).sum();
    let floats: usize = layers.iter().map(|l| l.shape[0] + 2).sum();
    let trained = checkpoint.learned(&model);
    let report = AutoEncoderReport {
        images: data.test.count(),
        hp_negative_elbo: trained[0].then(|| progress.hp.negative_elbo()),
        lp_negative_elbo: trained[1].then(|| progress.lp.negative_elbo()),
        terms: ElboTerms::new(progress, trained),
        mean_bits: mean_bits(&layers),
        weighted_bits: weighted_bits(&layers),
        weight_bytes,
        all_bytes: weight_bytes + 4 * floats as u64,
        judged: match &args.judge {
            Some(path) => judged(path, checkpoint, data, gpu)?,
            None => Vec::new(),
        },
    };
    if args.json {
        print_json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    say!(
        "{} test images of {}, nats an image",
        report.images,
        data.name
    );
    say!("                               -ELBO = reconstruction + KL(q || N(0, 1))");
    let row = |name, terms: [Option<f64>; 3]| match terms {
        [Some(elbo), Some(reconstruction), Some(divergence)] => {
            say!("{name:28} {elbo:8.2}   {reconstruction:14.2}   {divergence:.2}");
        }
        _ => say!("{name:28} {NOT_TRAINED}"),
    };
    let t = &report.terms;
    row(
        HIGH_PRECISION,
        [
            report.hp_negative_elbo,
            t.hp_reconstruction,
            t.hp_divergence,
        ],
    );
    row(
        low_precision(model.quantiser),
        [
            report.lp_negative_elbo,
            t.lp_reconstruction,
            t.lp_divergence,
        ],
    );
    if trained[1] {
        say!(
            "{:.2} bits a layer, {:.2} bits a weight: the weights take {} of {} ({:.1} %), biases and levels the rest",
            report.mean_bits,
            report.weighted_bits,
            human_bytes(report.weight_bytes),
            human_bytes(report.all_bytes),
            100.0 * report.weight_bytes as f64 / report.all_bytes as f64
        );
    }
    if !report.judged.is_empty() {
        say!("images    count  confidence  label entropy  Fréchet distance from the test images");
    }
    for row in &report.judged {
        say!(
            "{:6} {:8}  {:10.4}  {:13.4}  {:.4}",
            row.images,
            row.count,
            row.confidence,
            row.label_entropy,
            row.frechet_distance
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses to call something an accuracy if numbers on the way to it were none.
fn check_finite(
    args: &EvalArgs,
    evaluator: &mut Evaluator<'_>,
    (progress, trained): (&Progress, [bool; 2]),
    data: &Dataset,
) -> Result<(), CliError> {
    let shown = args.model.model.display();
    for (network, name) in ["high precision", "low precision"].into_iter().enumerate() {
        if !trained[network] {
            continue;
        }
        let lost = progress.not_finite[network];
        let node = pollster::block_on(evaluator.first_not_finite(network, &data.test))?;
        if lost == 0 && node.is_none() {
            continue;
        }
        let place = node.map_or(String::new(), |node| {
            format!(
                ", the first of them behind '{node}' in the first {} images",
                args.batch_size
            )
        });
        return Err(format!(
            "{shown}: {name} computes numbers that are infinite or none (in the outputs of {lost} batches of {}){place}: \
             what it answers is no result. Its weights or statistics are too large, or damaged",
            args.batch_size
        )
        .into());
    }
    Ok(())
}

fn trained(args: &EvalArgs, checkpoint: &Checkpoint) -> Result<ExitCode, CliError> {
    for (given, flag) in [
        (args.kernel.kernel.is_some(), "--kernel"),
        (args.logits.is_some(), "--logits"),
        (args.count_ops, "--count-ops"),
    ] {
        if given {
            let model = quoted(&args.model.model);
            return Err(
                format!("{flag} is for packed models: make one with `gtc pack {model}`").into(),
            );
        }
    }
    let model = checkpoint.header.model()?;
    let learned = Learned::of(&args.model.model, &checkpoint.header, &model);
    let data = learned.load("--data", args.data.as_deref(), &args.pictures)?;
    model.check_images(&data.test)?;
    let gpu = args.device.open()?;
    let round_norm = !checkpoint.header.options.exact_norm;
    let trained = checkpoint.learned(&model);
    let mut evaluator = Evaluator::new(&gpu, model, args.batch_size as usize, round_norm)?;
    evaluator.set_weights(&checkpoint.snapshot.weights);
    evaluator.set_running(&checkpoint.snapshot.running);
    let bar = if args.json {
        indicatif::ProgressBar::hidden()
    } else {
        indicatif::ProgressBar::new(data.test.count() as u64)
    };
    let tick = |done: usize| bar.set_position(done as u64);
    let (progress, _) = pollster::block_on(evaluator.test(&data.test, tick))?;
    bar.finish_and_clear();
    check_finite(args, &mut evaluator, (&progress, trained), &data)?;
    if evaluator.model().likelihood.is_some() {
        return auto_encoder(args, checkpoint, &progress, &data, &gpu);
    }
    let report = progress.tested(trained);
    if args.json {
        print_json(&report)?;
    } else {
        say!(
            "{} test images of {} on {}",
            report.images,
            data.name,
            gpu.name()
        );
        say!("                              accuracy    loss");
        let row = |name, accuracy: Option<f64>, loss: Option<f64>| match (accuracy, loss) {
            (Some(accuracy), Some(loss)) => {
                say!("{name:28} {:8.2} %  {loss:.4}", 100.0 * accuracy);
            }
            _ => say!("{name:28} {NOT_TRAINED}"),
        };
        row(HIGH_PRECISION, report.hp_accuracy, report.hp_loss);
        row(
            low_precision(evaluator.model().quantiser),
            report.lp_accuracy,
            report.lp_loss,
        );
    }
    Ok(ExitCode::SUCCESS)
}
