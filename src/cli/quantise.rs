//! `gtc quantise`

use crate::cli::output::{say, say_error};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressStyle};
use pollster::block_on;
use serde::Serialize;

use super::data_args::{Learned, PictureArgs, reading, seen_by};
use super::elsewhere::{ScalingArgs, is_onnx_file, is_own, read_float_aloud};
use super::pictures::slice;
use super::{CliError, DeviceArgs, outputs, print_json, quoted};
use crate::checkpoint::{self, Checkpoint};
use crate::data::{Dataset, Seen};
use crate::evaluate::{Evaluator, Progress};
use crate::files;
use crate::fit::{Fit, align_norms, fit_all, fit_outputs};
use crate::gpu::Gpu;
use crate::graph::{Description, Model, Scaling};
use crate::inspect::{inspect, mean_bits, weighted_bits};
use crate::model::{LayerParameters, Parameters};
use crate::quantiser::Quantiser;
use crate::rescale::rescale;
use crate::train::{Snapshot, TrainOptions};

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
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    expect: Option<f64>,
    /// Most bits of a weight, 1 to 6. Several, such as 2,3,4: a table of accuracy against bits, and a file for each. Layers may have
    /// their own, and those at the ends are also called first and last: 2,first=4,last=3
    #[arg(long, value_name = "N,LAYER=N,...", default_value = "4", value_delimiter = ',', value_parser = asked_bits)]
    bits: Vec<(Option<String>, u32)>,
    /// What levels are fitted to: outputs, so that what each layer computes from training images changes least; weights, so
    /// that each weight changes least
    #[arg(long, value_name = "WHAT", default_value = "outputs", value_parser = ["outputs", "weights"])]
    fit: String,
    /// Data whose test images measure the cost, and whose training images settle batch normalisations
    /// [default: the data of the model's run, or the digits inside the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// What a file in PyTorch's layout is: a name, see `gtc models`, or a description that ends in .toml
    /// [default: the one that fits]
    #[arg(long = "model", value_name = "NAME|FILE.toml")]
    described: Option<String>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    // Those with a heading of their own come last: it would be that of all that follow.
    #[command(flatten)]
    scaling: ScalingArgs,
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

/// What speaks against a scaling of pixels that was not asked for: another one that is often used fits a model from elsewhere
/// better.
fn doubt_scaling(
    gpu: &Gpu,
    checkpoint: &Checkpoint,
    data: &Dataset,
    (used, file): (&Model, &Path),
) -> Result<Option<String>, CliError> {
    let few = slice(&data.test, 0..data.test.count().min(JUDGED));
    let usual = usual_scalings();
    let bar = ProgressBar::new(usual.len() as u64).with_style(ProgressStyle::with_template(
        "trying scalings of pixels {bar:24} {pos}/{len}",
    )?);
    // Of ONNX a scaling comes before what the network does to its pixels itself.
    let of = |first: Scaling| match is_onnx_file(file) {
        true => used.scaling.after(&first),
        false => first,
    };
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
        return Ok(None);
    }
    let mut best = (found, "");
    for (flags, scaling) in usual.iter().copied() {
        bar.inc(1);
        let other = match of(scaling) == used.scaling {
            true => found,
            false => accuracy(of(scaling))?,
        };
        if other > best.0 {
            best = (other, flags);
        }
    }
    bar.finish_and_clear();
    let (most, flags) = best;
    if most < found + CLEARLY {
        return Ok(None);
    }
    let same = usual
        .iter()
        .find(|(_, scaling)| of(*scaling) == used.scaling);
    let keep = same.map_or("--mean and --deviation", |(flags, _)| *flags);
    let shown = file.display();
    let say = match is_own(file) {
        true => "Import it again and say",
        false => "Say",
    };
    Ok(Some(format!(
        "{shown}: the float network names {:.1} % of {} test images rightly, and {:.1} % with {flags}: it was trained on other \
         pixels. {say} which it reads: {flags}, or {keep} to leave it as it is",
        100.0 * found,
        few.count(),
        100.0 * most
    )))
}

/// A number of bits, of one layer or of all that have no own.
fn asked_bits(text: &str) -> Result<(Option<String>, u32), String> {
    let (layer, number) = match text.split_once('=') {
        Some((layer, number)) => (Some(layer.trim().to_owned()), number),
        None => (None, text),
    };
    match number.trim().parse() {
        Ok(bits @ 1..=6) => Ok((layer, bits)),
        _ => Err(
            "bits are a whole number from 1 to 6, such as 3, or first=4 for one layer".to_owned(),
        ),
    }
}

/// The bits of layers that were given their own, by their names.
fn own_bits(
    asked: &[(Option<String>, u32)],
    model: &Model,
) -> Result<BTreeMap<String, u32>, CliError> {
    let parameters = Parameters::new(model);
    let names: Vec<&str> = parameters
        .quantised()
        .map(|layer| layer.name.as_str())
        .collect();
    let own = asked
        .iter()
        .filter_map(|(layer, bits)| Some((layer.clone()?, *bits)));
    let options = TrainOptions {
        layer_bits: own.collect(),
        ..TrainOptions::default()
    };
    let own = options.bits_of_layers(&names);
    match own.keys().find(|name| !names.contains(&name.as_str())) {
        None => Ok(own),
        Some(name) => Err(format!(
            "--bits: {} has no quantised layer '{name}'; they are {}, or first and last",
            model.name,
            names.join(", ")
        )
        .into()),
    }
}

/// An accuracy in percent.
fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    match value > 1.0 && value.is_finite() {
        true => Ok(value),
        false => Err("percent, such as 99.1, and above 1".to_owned()),
    }
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
    /// Most bits of layers that were not given their own.
    bits: u32,
    images: usize,
    float_accuracy: f64,
    /// Of the float weights as they are stored: those that another level than the nearest was chosen for were moved to it.
    hp_accuracy: f64,
    lp_accuracy: f64,
    /// Mean over layers.
    mean_bits: f64,
    /// Mean over weights.
    weighted_bits: f64,
    layers: Vec<LayerRow>,
}

pub(super) fn run(args: &QuantiseArgs) -> Result<ExitCode, CliError> {
    let usual = args.bits.iter().filter(|(layer, _)| layer.is_none());
    let mut bits: Vec<u32> = usual.map(|(_, bits)| *bits).collect();
    bits.sort_unstable();
    bits.dedup();
    if bits.is_empty() {
        return Err("--bits: say the bits of all other layers too, such as 2,first=4".into());
    }
    let outs: Vec<PathBuf> = match bits[..] {
        [_] => vec![args.out.clone()],
        _ => bits
            .iter()
            .map(|bits| with_bits(&args.out, *bits))
            .collect(),
    };
    for out in &outs {
        outputs::check(out, &outputs::SAFETENSORS, &[&args.model])?;
    }
    let mut checkpoint = read_float_aloud(
        &args.model,
        args.described.as_deref(),
        args.scaling.scaling()?,
    )?;
    // Levels are those of GTC, whatever low precision read the weights by before.
    let model = checkpoint.header.model()?;
    checkpoint.share_statistics(&model);
    let model = model.with_quantiser(Quantiser::Gtc);
    checkpoint.header.graph = Some(Description::of(&model));
    if model.likelihood.is_some() {
        let name = model.name;
        return Err(format!("{name}: an auto-encoder; only classifiers are quantised").into());
    }
    let learned = Learned::of(&args.model, &checkpoint.header, &model);
    let data = learned.load("--data", args.data.as_deref(), &args.pictures)?;
    let from_elsewhere = checkpoint.header.data.is_empty();
    checkpoint.header.seen = seen_by(&args.model, &checkpoint.header);
    if from_elsewhere {
        checkpoint.header.data.clone_from(&data.name);
        checkpoint.header.classes.clone_from(&data.classes);
        checkpoint.header.images = data.train.count();
        let reading = reading(args.data.as_deref(), &args.pictures)?;
        let seen = Seen::of(&data.train);
        checkpoint.header.seen = seen.map(|seen| Seen { reading, ..seen });
    }
    model.check_data(&data)?;
    let own = own_bits(&args.bits, &model)?;
    let gpu = args.device.open()?;
    // What was imported with a scaling was told it, or brings it.
    let imported = is_own(&args.model);
    let is_said = args.scaling.scaling()?.is_some() || (imported && model.scaling != Scaling::NONE);
    if from_elsewhere
        && !is_said
        && let Some(doubt) = doubt_scaling(&gpu, &checkpoint, &data, (&model, &args.model))?
    {
        match imported {
            // Nobody can tell whether 0 to 1 was said when it came in.
            true => say_error!("note: {doubt}"),
            false => return Err(doubt.into()),
        }
    }
    let snapshot = &mut checkpoint.snapshot;
    rescale(&model, &mut snapshot.weights, &mut snapshot.running[0]);
    align_norms(&model, &mut snapshot.weights, &mut snapshot.running[0]);
    snapshot.running[1] = snapshot.running[0].clone();
    let round_norm = !checkpoint.header.options.exact_norm;
    let mut work = Work {
        evaluator: Evaluator::new(&gpu, model, BATCH, round_norm)?,
        data: &data,
        gpu: &gpu,
        round_norm,
        to_outputs: args.fit == "outputs",
        own,
        bar: progress_bar(args.json)?,
    };
    let before = work.test(&checkpoint.snapshot, "as floats")?;
    checkpoint.header.learned = Some([true; 2]);
    judge_float(args, before.hp.accuracy(), data.classes.len())?;
    let mut reports = Vec::new();
    for (bits, out) in bits.iter().zip(&outs) {
        let mut at = checkpoint.clone();
        let (fits, after) = work.at(&mut at.snapshot, *bits)?;
        files::write(out, &checkpoint::encode(&at)?)?;
        reports.push(report(
            out,
            &at,
            (*bits, &fits),
            (&before, &after),
            work.evaluator.parameters(),
        ));
    }
    work.bar.finish_and_clear();
    match (&reports[..], args.json) {
        ([one], true) => print_json(one)?,
        (several, true) => print_json(&several)?,
        ([one], false) => print(one),
        (several, false) => print_table(several),
    }
    if !args.json {
        advise(&reports, args);
    }
    Ok(ExitCode::SUCCESS)
}

/// The file for one of several numbers of bits: NAME-3bits.safetensors.
fn with_bits(out: &Path, bits: u32) -> PathBuf {
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    let suffix = out.extension().unwrap_or("safetensors".as_ref());
    out.with_file_name(format!("{stem}-{bits}bits.{}", suffix.to_string_lossy()))
}

fn progress_bar(hidden: bool) -> Result<ProgressBar, CliError> {
    let bar = match hidden {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(0),
    };
    let style = ProgressStyle::with_template("{msg:22} {bar:24} {percent:>3} % {eta}")?;
    Ok(bar.with_style(style))
}

/// What numbers of bits are tried with.
struct Work<'g, 'd> {
    evaluator: Evaluator<'g>,
    data: &'d Dataset,
    gpu: &'g Gpu,
    round_norm: bool,
    to_outputs: bool,
    /// Bits of layers that have their own.
    own: BTreeMap<String, u32>,
    bar: ProgressBar,
}

impl Work<'_, '_> {
    fn begin(&self, what: &str, length: usize) {
        self.bar.reset();
        self.bar.set_length(length as u64);
        self.bar.set_message(what.to_owned());
    }

    /// Measures both networks on the test images.
    fn test(&mut self, snapshot: &Snapshot, what: &str) -> Result<Progress, CliError> {
        self.begin(what, self.data.test.count());
        self.evaluator.set_weights(&snapshot.weights);
        self.evaluator.set_running(&snapshot.running);
        let bar = &self.bar;
        let tick = |n: usize| bar.set_position(n as u64);
        let progress = block_on(self.evaluator.test(&self.data.test, tick))?.0;
        progress.require_finite([true; 2])?;
        Ok(progress)
    }

    /// Gives every layer levels of so many bits, in place.
    fn at(&mut self, snapshot: &mut Snapshot, bits: u32) -> Result<(Vec<Fit>, Progress), CliError> {
        /// Steps of the bar.
        const STEPS: usize = 1000;
        let name = |what: &str| format!("{bits} bits: {what}");
        let parameters = self.evaluator.parameters().clone();
        let own = |layer: &LayerParameters| self.own.get(&layer.name).copied();
        let layers = parameters.quantised();
        let each: Vec<u32> = layers.map(|layer| own(layer).unwrap_or(bits)).collect();
        let fits = match self.to_outputs {
            false => fit_all(&parameters, &mut snapshot.weights, &each),
            true => {
                self.begin(&name("levels"), STEPS);
                let bar = &self.bar;
                block_on(fit_outputs(
                    self.gpu,
                    self.evaluator.model(),
                    snapshot,
                    self.round_norm,
                    (&self.data.train, &each),
                    |part| bar.set_position((part * STEPS as f64) as u64),
                ))?
            }
        };
        if !parameters.norms.is_empty() {
            // Of HP too: its weights have moved where they are zero now, or not on the nearest level.
            self.begin(&name("statistics"), 2 * SETTLING * BATCH);
            self.evaluator.set_weights(&snapshot.weights);
            self.evaluator.set_running(&snapshot.running);
            for (network, running) in snapshot.running.iter_mut().enumerate() {
                let bar = &self.bar;
                let tick = |n: usize| bar.set_position((network * SETTLING * BATCH + n) as u64);
                let train = &self.data.train;
                *running = block_on(self.evaluator.settle(network, train, SETTLING, tick))?;
            }
        }
        let after = self.test(snapshot, &name("test"))?;
        Ok((fits, after))
    }
}

fn report(
    out: &Path,
    checkpoint: &Checkpoint,
    (bits, fits): (u32, &[Fit]),
    (before, after): (&Progress, &Progress),
    parameters: &Parameters,
) -> QuantiseReport {
    let layers = inspect(parameters, &checkpoint.snapshot.weights);
    QuantiseReport {
        file: out.display().to_string(),
        model: checkpoint.header.model.clone(),
        bits,
        images: after.lp.images as usize,
        float_accuracy: before.hp.accuracy(),
        hp_accuracy: after.hp.accuracy(),
        lp_accuracy: after.lp.accuracy(),
        mean_bits: mean_bits(&layers),
        weighted_bits: weighted_bits(&layers),
        layers: layers
            .into_iter()
            .zip(fits)
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
    }
}

/// What further training would have to win back.
fn advise(reports: &[QuantiseReport], args: &QuantiseArgs) {
    /// Points that are worth some training.
    const WORTH: f64 = 0.01;
    let lost = |report: &QuantiseReport| report.float_accuracy - report.lp_accuracy;
    let Some(report) = reports.iter().find(|report| lost(report) > WORTH) else {
        return;
    };
    let data = match &args.data {
        Some(data) => format!(" --data {}", quoted(data)),
        None => String::new(),
    };
    say!(
        "        it lost {:.1} points; training further may win some back: gtc train --from {}{data}",
        100.0 * lost(report),
        quoted(report.file.as_ref())
    );
}

/// Accuracy against bits.
fn print_table(reports: &[QuantiseReport]) {
    say!("{}, without further training", reports[0].model);
    say!("  most bits  bits a weight  accuracy    lost  file");
    let float = reports[0].float_accuracy;
    say!("  float                     {:6.2} %", 100.0 * float);
    for report in reports {
        say!(
            "  {:9}  {:13.2}  {:6.2} %  {:6.2}  {}",
            report.bits,
            report.weighted_bits,
            100.0 * report.lp_accuracy,
            100.0 * (float - report.lp_accuracy),
            report.file
        );
    }
    say!("\n{} test images", reports[0].images);
    say!("next    gtc pack {}", quoted(reports[0].file.as_ref()));
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
