//! `gtc plan`

use crate::cli::output::say;
use std::process::ExitCode;

use serde::Serialize;

use super::model_files::find_model_alone;
use super::{CliError, DeviceArgs, human_bytes, print_json};
use crate::gpu::{Plan, PlanRow};
use crate::train::{Objective, Precision, TrainOptions, Trainer};

#[derive(clap::Args)]
pub(crate) struct PlanArgs {
    /// Name of a model, a description that ends in .toml, a network from ONNX or a trained model. It is planned with Adam and the
    /// engine's other defaults, not with a preset
    #[arg(value_name = "MODEL-NAME")]
    model: String,
    /// Images in a step
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,
    /// Which networks learn
    #[arg(long, default_value = "gtc", value_parser = ["gtc", "float", "direct"])]
    objective: String,
    /// full: values between layers and their gradients in 32 bits. mixed, on GPUs: the same in 16 bits. cooperative: as mixed, and
    /// products use cooperative matrices (tensor cores)
    #[arg(long, default_value = "full", value_parser = ["full", "mixed", "cooperative"])]
    precision: String,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Memory {
    buffer: String,
    bytes: u64,
    texture_bytes: u64,
}

#[derive(Serialize)]
struct PlanReport<'a> {
    plans: Vec<(&'a str, &'a [PlanRow])>,
    memory: Vec<Memory>,
    total_bytes: u64,
}

pub(super) fn run(args: &PlanArgs) -> Result<ExitCode, CliError> {
    let model = find_model_alone(&args.model)?;
    let precision = serde_json::from_value::<Precision>(args.precision.as_str().into())?;
    let gpu = args.device.open_for(0, precision)?;
    let gpu = gpu.without_compiling_ahead();
    let options = TrainOptions {
        batch_size: args.batch_size as usize,
        objective: serde_json::from_value::<Objective>(args.objective.as_str().into())?,
        precision,
        ..TrainOptions::default()
    };
    let trainer = Trainer::for_count(&gpu, model, args.batch_size as usize, options)?;
    let plans = trainer.plans();
    let mut memory: Vec<Memory> = trainer
        .buffers()
        .iter()
        .map(|b| Memory {
            buffer: b.label().to_owned(),
            bytes: b.bytes(),
            texture_bytes: b.texture_bytes(),
        })
        .collect();
    let slabs = trainer.pool().slabs();
    let sum = |side: usize| slabs.iter().map(|slab| slab[side]).sum();
    memory.push(Memory {
        buffer: "working memory".to_owned(),
        bytes: sum(0),
        texture_bytes: sum(1),
    });
    let total_bytes = trainer.memory_bytes();
    if args.json {
        print_json(&PlanReport {
            plans: plans
                .iter()
                .map(|(name, plan)| (*name, plan.rows()))
                .collect(),
            memory,
            total_bytes,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    for (name, plan) in &plans {
        print_plan(name, plan);
    }
    say!("memory");
    for m in &memory {
        let copy = match m.texture_bytes {
            0 => String::new(),
            bytes => format!("  + {} texture copy", human_bytes(bytes)),
        };
        say!("  {:18} {:>12}{copy}", m.buffer, human_bytes(m.bytes));
    }
    say!(
        "  {:18} {:>12}",
        "peak, all of it",
        human_bytes(total_bytes)
    );
    let (count, bytes) = trainer.pool().placed();
    say!(
        "  working memory holds {count} tensors of {} in turn",
        human_bytes(bytes)
    );
    if trainer.parts() > 1 {
        say!(
            "  one binding cannot hold a tensor of all images: every operation runs on {} parts of the batch",
            trainer.parts()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn print_plan(name: &str, plan: &Plan) {
    say!(
        "{name}: {} dispatches in {} passes, {} submission(s)",
        plan.rows().len(),
        plan.passes(),
        plan.submissions()
    );
    say!(
        "  {:16} {:22} {:>14} {:>9} {:>9}  shapes",
        "what",
        "kernel",
        "grid",
        "MFLOP",
        "MB"
    );
    for row in plan.rows() {
        let [x, y, z] = row.grid;
        say!(
            "  {:16} {:22} {:>14} {:9.2} {:9.2}  {:?} -> {:?}",
            row.label,
            row.kernel,
            format!("{x}x{y}x{z}"),
            row.flops as f64 / 1e6,
            row.bytes as f64 / 1e6,
            row.reads,
            row.writes
        );
    }
    let flops: u64 = plan.rows().iter().map(|r| r.flops).sum();
    let bytes: u64 = plan.rows().iter().map(|r| r.bytes).sum();
    say!(
        "  {:.2} GFLOP, {:.2} GB\n",
        flops as f64 / 1e9,
        bytes as f64 / 1e9
    );
}
