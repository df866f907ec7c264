//! `gtc eval`

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::pack_model::accuracy;
use super::{AnyModel, CliError, DeviceArgs, KernelArgs, ModelArg, load_data, print_json, tuning};
use crate::checkpoint::{self, Checkpoint};
use crate::evaluate::Evaluator;
use crate::infer::{Choice, probabilities};
use crate::pack::{Operations, PackedModel};

#[derive(clap::Args)]
pub(crate) struct EvalArgs {
    #[command(flatten)]
    model: ModelArg,
    /// Folder with the files of MNIST, Fashion-MNIST or CIFAR-10, whose test images are used
    /// [default: the digits inside the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Images at a time
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=4096))]
    batch_size: u32,
    #[command(flatten)]
    device: DeviceArgs,
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
}

/// What `--json` prints.
#[derive(Serialize)]
struct EvalReport {
    images: usize,
    hp_accuracy: f64,
    lp_accuracy: f64,
    hp_loss: f64,
    lp_loss: f64,
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
    match args.model.load()? {
        AnyModel::Trained(checkpoint) => trained(args, &checkpoint),
        AnyModel::Packed(model) => packed(args, *model),
    }
}

fn packed(args: &EvalArgs, model: PackedModel) -> Result<ExitCode, CliError> {
    let data = load_data(args.data.as_deref())?;
    model.model.check_input(data.test.size())?;
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
        checkpoint::write_atomically(path, serde_json::to_string(&file)?.as_bytes())?;
    }
    if args.json {
        print_json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{} test images of {} on {}: {:.2} % right, loss {:.4}",
        report.images,
        data.name,
        gpu.name(),
        100.0 * report.accuracy,
        report.loss
    );
    for choice in &report.layers {
        println!(
            "  {:10} {:5} {}",
            choice.layer,
            choice.kernel.name(),
            choice.sharing
        );
    }
    if let Some(operations) = &report.operations {
        println!(
            "an image takes {} additions, {} shifts, {} multiplications",
            operations.additions, operations.shifts, operations.multiplications
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn trained(args: &EvalArgs, checkpoint: &Checkpoint) -> Result<ExitCode, CliError> {
    for (given, flag) in [
        (args.kernel.kernel.is_some(), "--kernel"),
        (args.logits.is_some(), "--logits"),
        (args.count_ops, "--count-ops"),
    ] {
        if given {
            let model = args.model.model.display();
            return Err(
                format!("{flag} is for packed models: make one with `gtc pack {model}`").into(),
            );
        }
    }
    let model = checkpoint.header.model()?;
    let data = load_data(args.data.as_deref())?;
    model.check_input(data.test.size())?;
    let gpu = args.device.open()?;
    let round_norm = !checkpoint.header.options.exact_norm;
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
    let report = EvalReport {
        images: data.test.count(),
        hp_accuracy: progress.hp.accuracy(),
        lp_accuracy: progress.lp.accuracy(),
        hp_loss: progress.hp.mean_label_loss(),
        lp_loss: progress.lp.mean_label_loss(),
    };
    if args.json {
        print_json(&report)?;
    } else {
        println!(
            "{} test images of {} on {}",
            report.images,
            data.name,
            gpu.name()
        );
        println!("                              accuracy    loss");
        let row = |name, accuracy: f64, loss: f64| {
            println!("{name:28} {:8.2} %  {loss:.4}", 100.0 * accuracy);
        };
        row(
            "high precision (HP, floats)",
            report.hp_accuracy,
            report.hp_loss,
        );
        row(
            "low precision (LP, 2^e)",
            report.lp_accuracy,
            report.lp_loss,
        );
    }
    Ok(ExitCode::SUCCESS)
}
