//! `gtc bench`: every answer is checked, then timed.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use indicatif::{ProgressBar, ProgressStyle};
use pollster::block_on;
use serde::Serialize;

use super::{CliError, DeviceArgs, print_json};
use crate::data::Images;
use crate::gpu::{Gpu, PlanBuilder};
use crate::layer::{
    ConvShape, conv_backward_input, conv_backward_weight, conv_forward, sum_partials,
};
use crate::model::{Model, Network, Op};
use crate::rng::Philox;
use crate::tensor::Tensor;
use crate::train::{Objective, TrainOptions, Trainer};
use crate::verify::{matrix_cases, run_case};

#[derive(clap::Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
    /// Print a Markdown table
    #[arg(long, global = true, conflicts_with = "json")]
    markdown: bool,
    /// Least time spent on each row
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
}

#[derive(clap::Subcommand)]
enum What {
    /// The matrix product and every convolution of a model: forward, backward to its input,
    /// backward to its weights.
    Kernels {
        /// Whose layers
        #[arg(long, value_name = "NAME", default_value = "vgg16")]
        model: String,
        /// Images at a time
        #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
        batch_size: u32,
    },
    /// Training steps of a model, on random images.
    Train {
        /// Which
        #[arg(long, value_name = "NAME", default_value = "vgg16")]
        model: String,
        /// Images in a step
        #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "32", value_parser = clap::value_parser!(u32).range(1..=65_536))]
        batch_size: Vec<u32>,
        /// What is minimised
        #[arg(long, value_name = "NAME,NAME", value_delimiter = ',', default_value = "float,gtc", value_parser = ["float", "gtc", "direct"])]
        objective: Vec<String>,
    },
}

/// Times of one thing done again and again.
#[derive(Clone, Debug, Serialize)]
struct Times {
    runs: usize,
    /// Wall clock, milliseconds: the median, the fastest and the slowest.
    milliseconds: f64,
    fastest: f64,
    slowest: f64,
    /// Processor time of the whole process a run, milliseconds: what a CPU driver really costs.
    cpu_milliseconds: f64,
}

#[derive(Serialize)]
struct KernelRow {
    layer: String,
    kernel: &'static str,
    shape: String,
    gflop: f64,
    megabytes: f64,
    times: Times,
    /// By the wall clock.
    gflops: f64,
    /// By processor time: the rate of one core on a CPU driver.
    gflops_per_core: f64,
    /// Share of the matrix product's rate in the same run.
    of_matrix_product: f64,
}

#[derive(Serialize)]
struct TrainRow {
    model: String,
    objective: String,
    batch_size: usize,
    first_step_seconds: f64,
    times: Times,
    images_per_second: f64,
    buffer_bytes: u64,
}

#[derive(Serialize)]
struct Report<R> {
    adapter: String,
    driver: String,
    path: &'static str,
    rows: Vec<R>,
}

pub(super) fn run(args: &BenchArgs) -> Result<ExitCode, CliError> {
    if !(args.seconds > 0.0 && args.seconds <= 3600.0) {
        return Err(format!("--seconds {}: give more than 0, up to 3600", args.seconds).into());
    }
    let least = Duration::from_secs_f64(args.seconds);
    let started = Instant::now();
    let gpu = args.device.open()?;
    match &args.what {
        What::Kernels { model, batch_size } => {
            let rows = kernels(&gpu, &Model::by_name(model)?, *batch_size as usize, least)?;
            show(args, &gpu, rows, KERNEL_HEADS, kernel_cells)?;
        }
        What::Train {
            model,
            batch_size,
            objective,
        } => {
            let mut rows = Vec::new();
            let bar = bar((batch_size.len() * objective.len()) as u64)?;
            for objective in objective {
                for batch in batch_size {
                    bar.set_message(format!("{model} {objective} at {batch}"));
                    let since = if rows.is_empty() {
                        started
                    } else {
                        Instant::now()
                    };
                    rows.push(train(
                        &gpu,
                        model,
                        objective,
                        *batch as usize,
                        least,
                        since,
                    )?);
                    bar.inc(1);
                }
            }
            bar.finish_and_clear();
            show(args, &gpu, rows, TRAIN_HEADS, train_cells)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn bar(length: u64) -> Result<ProgressBar, CliError> {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}")?;
    Ok(ProgressBar::new(length).with_style(style))
}

/// Runs `once`, which waits for its own end, until `least` has passed and at least five times.
fn time(
    least: Duration,
    mut once: impl FnMut() -> Result<(), CliError>,
) -> Result<Times, CliError> {
    once()?;
    let (mut walls, started, cpu) = (Vec::new(), Instant::now(), ProcessTime::now());
    while walls.len() < 5 || started.elapsed() < least {
        let at = Instant::now();
        once()?;
        walls.push(1e3 * at.elapsed().as_secs_f64());
    }
    let cpu_milliseconds = 1e3 * cpu.elapsed().as_secs_f64() / walls.len() as f64;
    walls.sort_by(f64::total_cmp);
    Ok(Times {
        runs: walls.len(),
        milliseconds: walls[walls.len() / 2],
        fastest: walls[0],
        slowest: walls[walls.len() - 1],
        cpu_milliseconds,
    })
}

fn kernels(
    gpu: &Gpu,
    model: &Model,
    batch: usize,
    least: Duration,
) -> Result<Vec<KernelRow>, CliError> {
    let mut shapes = vec![(
        "matrix product".to_owned(),
        ConvShape::dense(512, 512, 512),
        ConvShape::dense(512, 512, 512),
    )];
    let (full, small) = (Network::new(model, batch), Network::new(model, 2));
    for ((op, layer), (small, _)) in full.ops().zip(small.ops()) {
        if let (Op::Matrix { shape, .. }, Op::Matrix { shape: small, .. }, Some(layer)) =
            (op, small, layer)
            && !shapes.iter().any(|(_, known, _)| known == shape)
        {
            shapes.push((layer.name.to_owned(), *shape, *small));
        }
    }
    let bar = bar(3 * shapes.len() as u64)?;
    let mut rows: Vec<KernelRow> = Vec::new();
    for (name, shape, small) in shapes {
        bar.set_message(format!("checking {name}"));
        for case in matrix_cases(small) {
            let report = block_on(run_case(gpu, &case))?;
            if let Some(failure) = report.failure {
                let (kernel, case) = (report.kernel, report.case);
                return Err(format!("{kernel} [{case}] is wrong: {failure}").into());
            }
        }
        for kernel in ["forward", "backward input", "backward weight"] {
            bar.set_message(format!("{name} {kernel}"));
            rows.push(kernel_row(gpu, &name, kernel, &shape, least)?);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let best = rows[0].gflops;
    for row in &mut rows {
        row.of_matrix_product = row.gflops / best;
    }
    Ok(rows)
}

fn kernel_row(
    gpu: &Gpu,
    layer: &str,
    kernel: &'static str,
    shape: &ConvShape,
    least: Duration,
) -> Result<KernelRow, CliError> {
    let mut rng = Philox::new(1, 0);
    let mut random = |label: &str, shape: &[usize]| -> Result<Tensor, CliError> {
        let tensor = Tensor::new(gpu, label, shape)?;
        let values: Vec<f32> = (0..tensor.len())
            .map(|_| rng.below(2049) as f32 / 1024.0 - 1.0)
            .collect();
        tensor.write(gpu, &values);
        Ok(tensor)
    };
    let (x, y) = (random("x", &shape.x())?, random("y", &shape.y())?);
    let (w, bias) = (random("w", &shape.w())?, random("bias", &shape.w()[..1])?);
    let mut plan = PlanBuilder::new(gpu);
    match kernel {
        "forward" => conv_forward(&mut plan, layer, shape, [&x, &w, &bias], true, &y),
        "backward input" => conv_backward_input(&mut plan, layer, shape, [&y, &w], &x),
        _ => {
            let splits = shape.weight_splits(gpu.path());
            if splits == 1 {
                conv_backward_weight(&mut plan, layer, shape, [&y, &x], 1, &w);
            } else {
                let partial = Tensor::transient("partial", &[splits * w.len()]);
                conv_backward_weight(&mut plan, layer, shape, [&y, &x], splits, &partial);
                sum_partials(&mut plan, layer, &partial, splits, false, &w);
            }
        }
    }
    let plan = plan.finish()?;
    let bytes: u64 = plan.rows().iter().map(|r| r.bytes).sum();
    let times = time(least, || {
        plan.run(gpu, &[]);
        gpu.wait();
        Ok(gpu.check()?)
    })?;
    let gflop = shape.flops() as f64 / 1e9;
    Ok(KernelRow {
        layer: layer.to_owned(),
        kernel,
        shape: format!(
            "{}x{}x{}x{} -> {}, {}x{}",
            shape.batch,
            shape.input_height,
            shape.input_width,
            shape.input_channels,
            shape.output_channels,
            shape.kernel_height,
            shape.kernel_width
        ),
        gflop,
        megabytes: bytes as f64 / 1e6,
        gflops: 1e3 * gflop / times.milliseconds,
        gflops_per_core: 1e3 * gflop / times.cpu_milliseconds,
        of_matrix_product: 0.0,
        times,
    })
}

const KERNEL_HEADS: [&str; 9] = [
    "layer",
    "kernel",
    "shape",
    "GFLOP",
    "ms",
    "spread ms",
    "GFLOP/s",
    "per core",
    "of matrix",
];

fn kernel_cells(r: &KernelRow) -> [String; 9] {
    [
        r.layer.clone(),
        r.kernel.to_owned(),
        r.shape.clone(),
        format!("{:.3}", r.gflop),
        format!("{:.2}", r.times.milliseconds),
        format!("{:.2}-{:.2}", r.times.fastest, r.times.slowest),
        format!("{:.1}", r.gflops),
        format!("{:.1}", r.gflops_per_core),
        format!("{:.0} %", 100.0 * r.of_matrix_product),
    ]
}

fn train(
    gpu: &Gpu,
    name: &str,
    objective: &str,
    batch: usize,
    least: Duration,
    started: Instant,
) -> Result<TrainRow, CliError> {
    let model = Model::by_name(name)?;
    let [height, width, channels] = model.input;
    let mut rng = Philox::new(1, 0);
    let images = Images {
        height,
        width,
        channels,
        pixels: (0..batch * height * width * channels)
            .map(|_| rng.below(256) as u8)
            .collect(),
        labels: (0..batch).map(|i| (i % model.classes) as u8).collect(),
    };
    let options = TrainOptions {
        batch_size: batch,
        objective: serde_json::from_value::<Objective>(objective.into())?,
        // Enough that the schedule never ends.
        epochs: u32::MAX,
        ..TrainOptions::default()
    };
    let mut trainer = Trainer::new(gpu, model, batch, options)?;
    let mut step = || -> Result<(), CliError> {
        trainer.train_step(&images);
        gpu.wait();
        Ok(gpu.check()?)
    };
    step()?;
    let first_step_seconds = started.elapsed().as_secs_f64();
    let times = time(least, step)?;
    Ok(TrainRow {
        model: name.to_owned(),
        objective: objective.to_owned(),
        batch_size: batch,
        first_step_seconds,
        images_per_second: 1e3 * batch as f64 / times.milliseconds,
        buffer_bytes: trainer.memory_bytes(),
        times,
    })
}

const TRAIN_HEADS: [&str; 8] = [
    "model",
    "objective",
    "batch",
    "first step s",
    "step ms",
    "spread ms",
    "images/s",
    "buffers",
];

fn train_cells(r: &TrainRow) -> [String; 8] {
    [
        r.model.clone(),
        r.objective.clone(),
        r.batch_size.to_string(),
        format!("{:.2}", r.first_step_seconds),
        format!("{:.1}", r.times.milliseconds),
        format!("{:.1}-{:.1}", r.times.fastest, r.times.slowest),
        format!("{:.1}", r.images_per_second),
        super::human_bytes(r.buffer_bytes),
    ]
}

fn show<R: Serialize, const N: usize>(
    args: &BenchArgs,
    gpu: &Gpu,
    rows: Vec<R>,
    heads: [&str; N],
    cells: fn(&R) -> [String; N],
) -> Result<(), CliError> {
    if args.json {
        return print_json(&Report {
            adapter: gpu.name().to_owned(),
            driver: gpu.driver(),
            path: gpu.path().name(),
            rows,
        });
    }
    println!(
        "{} ({}), {} kernels\n",
        gpu.name(),
        gpu.driver(),
        gpu.path().name()
    );
    let mut table = vec![heads.map(str::to_owned)];
    table.extend(rows.iter().map(cells));
    let width = |column: usize| table.iter().map(|r| r[column].len()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let edge = if args.markdown { "|" } else { "" };
    for (i, row) in table.iter().enumerate() {
        let cells = row.iter().zip(widths).enumerate();
        // Words to the left, numbers to the right.
        let line: Vec<String> = cells
            .map(|(column, (cell, width))| match table[1..].first() {
                Some(first) if first[column].starts_with(|c: char| c.is_ascii_digit()) => {
                    format!("{cell:>width$}")
                }
                _ => format!("{cell:width$}"),
            })
            .collect();
        let between = if args.markdown { " | " } else { "  " };
        println!("{edge} {} {edge}", line.join(between));
        if i == 0 && args.markdown {
            let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
            println!("| {} |", rule.join(" | "));
        }
    }
    Ok(())
}
