//! `gtc eval`

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::{CliError, DeviceArgs, ModelArg, load_data, print_json};
use crate::checkpoint;
use crate::evaluate::Evaluator;
use crate::model::Model;

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

pub(super) fn run(args: &EvalArgs) -> Result<ExitCode, CliError> {
    let checkpoint = checkpoint::load(&args.model.model)?;
    let model = Model::by_name(&checkpoint.header.model)?;
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
