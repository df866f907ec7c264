//! `gtc bench`: every answer is checked, then timed.

mod infer;
mod infer_report;
mod kernels;
mod plot;
mod train;

use crate::cli::output::say;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use indicatif::{ProgressBar, ProgressStyle};
use pollster::block_on;
use serde::Serialize;

use super::charts::{self, chart_path};
use super::{CliError, DeviceArgs, outputs, print_json};
use crate::data::Images;
use crate::gpu::Gpu;
use crate::model::Model;
use crate::probe::f32_rate;
use crate::rng::Philox;
use infer::infer;
pub(super) use infer::random_packed;
use infer_report::{INFER_HEADS, headline, infer_bar, infer_cells};
use kernels::{KERNEL_HEADS, kernel_bar, kernel_cells, kernels};
use plot::{Bar, Bars};
use train::{Setup, TRAIN_HEADS, precision_of, train, train_bar, train_cells};

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
    /// Print comma-separated values
    #[arg(long, global = true, conflicts_with_all = ["json", "markdown"])]
    csv: bool,
    /// Also draw the table as bars; the suffix names the format: svg, png, jpg, gif or bmp
    #[arg(long, global = true, value_name = "FILE", value_parser = chart_path)]
    plot: Option<PathBuf>,
    /// Least time spent on each row
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,
}

#[derive(clap::Subcommand)]
enum What {
    /// The matrix product and every convolution of a model: forward, backward to its input,
    /// backward to its weights. `of peak` is the share of what multiply-adds in registers reach here.
    Kernels {
        /// Whose layers
        #[arg(long, value_name = "NAME", default_value = "vgg16")]
        model: String,
        /// Images at a time
        #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
        batch_size: u32,
        /// Tiles of every product, e.g. 64x64,128x128 to compare them [default: the one chosen for each]
        #[arg(long, value_name = "HxW,HxW,...", value_delimiter = ',')]
        tile: Vec<String>,
    },
    /// Training steps of a model, on random images.
    Train {
        /// Model to train
        #[arg(long, value_name = "NAME", default_value = "vgg16")]
        model: String,
        /// Images in a step
        #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "32", value_parser = clap::value_parser!(u32).range(1..=65_536))]
        batch_size: Vec<u32>,
        /// Which networks learn
        #[arg(long, value_name = "NAME,NAME", value_delimiter = ',', default_value = "float,gtc", value_parser = ["float", "gtc", "direct"])]
        objective: Vec<String>,
        /// full: values between layers and their gradients in 32 bits. mixed, on GPUs: the same in 16 bits. cooperative: as
        /// mixed, and products use cooperative matrices (tensor cores)
        #[arg(long, value_name = "NAME,NAME", value_delimiter = ',', default_value = "full", value_parser = ["full", "mixed", "cooperative"])]
        precision: Vec<String>,
        /// Print the time of every kernel of one more step
        #[arg(long, conflicts_with_all = ["json", "csv"])]
        profile: bool,
    },
    /// Whether packing a model pays on this device: time and size beside f32, of every layer in every arithmetic and of
    /// the whole model.
    Infer {
        /// Whose layers
        #[arg(long, value_name = "NAME", default_value = "vgg16")]
        model: String,
        /// Images at a time
        #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1,32", value_parser = clap::value_parser!(u32).range(1..=65_536))]
        batch_size: Vec<u32>,
        /// Bits of a weight
        #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=4))]
        bits: u32,
    },
}

/// Runs between two waits on a GPU, where a wait takes as long as a small kernel.
const RUNS_ON_GPU: usize = 10;

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

impl Times {
    /// Of one of `runs` that were timed together.
    fn each(self, runs: usize) -> Self {
        let share = |time: f64| time / runs as f64;
        Self {
            runs: self.runs * runs,
            milliseconds: share(self.milliseconds),
            fastest: share(self.fastest),
            slowest: share(self.slowest),
            cpu_milliseconds: share(self.cpu_milliseconds),
        }
    }
}

#[derive(Serialize)]
struct Report<R> {
    /// What the rows come to, in words, of those that come to something.
    #[serde(skip_serializing_if = "String::is_empty")]
    headline: String,
    adapter: String,
    driver: String,
    path: &'static str,
    /// Multiply-adds in registers: the most that the device does.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_gflops: Option<f64>,
    rows: Vec<R>,
}

pub(super) fn run(args: &BenchArgs) -> Result<ExitCode, CliError> {
    if !(args.seconds > 0.0 && args.seconds <= 3600.0) {
        return Err(format!("--seconds {}: give more than 0, up to 3600", args.seconds).into());
    }
    if let Some(path) = &args.plot {
        outputs::check(path, &outputs::PICTURE, &[])?;
    }
    let least = Duration::from_secs_f64(args.seconds);
    let started = Instant::now();
    let gpu = args.device.open()?;
    match &args.what {
        What::Kernels {
            model,
            batch_size,
            tile,
        } => {
            let model = super::model_files::find_model_alone(model)?;
            let peak = block_on(f32_rate(&gpu))? / 1e9;
            let rows = kernels(&gpu, &model, *batch_size as usize, tile, peak, least)?;
            let about = About {
                peak: Some(peak),
                ..About::new(&gpu)
            };
            show(
                args,
                &about,
                rows,
                KERNEL_HEADS,
                kernel_cells,
                ("GFLOP/s", kernel_bar),
            )?;
        }
        What::Train {
            model,
            batch_size,
            objective,
            precision,
            profile,
        } => {
            let mut rows = Vec::new();
            // A device with cooperative matrices is opened for them.
            let mut with_matrices = None;
            for name in precision {
                let precision = precision_of(name)?;
                if precision.needs_matrices() && with_matrices.is_none() {
                    with_matrices = Some(args.device.open_for(0, precision)?);
                }
            }
            let setups = objective.iter().flat_map(|objective| {
                let batches = batch_size
                    .iter()
                    .flat_map(|batch| precision.iter().map(move |precision| (batch, precision)));
                batches.map(move |(batch, precision)| Setup {
                    model,
                    objective,
                    precision,
                    batch: *batch as usize,
                })
            });
            let setups: Vec<Setup<'_>> = setups.collect();
            let bar = bar(setups.len() as u64)?;
            for setup in setups {
                let what = [model, setup.objective, setup.precision].join(" ");
                bar.set_message(format!("{what} at {}", setup.batch));
                let since = if rows.is_empty() {
                    started
                } else {
                    Instant::now()
                };
                let needs = precision_of(setup.precision)?.needs_matrices();
                let gpu = with_matrices.as_ref().filter(|_| needs).unwrap_or(&gpu);
                rows.push(train(gpu, setup, least, since, *profile)?);
                bar.inc(1);
            }
            bar.finish_and_clear();
            show(
                args,
                &About::new(&gpu),
                rows,
                TRAIN_HEADS,
                train_cells,
                ("images/s", train_bar),
            )?;
        }
        What::Infer {
            model,
            batch_size,
            bits,
        } => {
            let model = super::model_files::find_model_alone(model)?;
            let rows = infer(&gpu, &model, batch_size, *bits, least)?;
            let about = About {
                headline: headline(&rows, gpu.name(), *bits),
                ..About::new(&gpu)
            };
            show(
                args,
                &about,
                rows,
                INFER_HEADS,
                infer_cells,
                ("GMAC/s", infer_bar),
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Images of noise, for timing.
fn random_images(model: &Model, count: usize) -> Images {
    let [height, width, channels] = model.input;
    let mut rng = Philox::new(1, 0);
    Images {
        height,
        width,
        channels,
        pixels: (0..count * height * width * channels)
            .map(|_| rng.below(256) as u8)
            .collect(),
        labels: (0..count).map(|i| (i % model.classes) as u16).collect(),
    }
}

fn bar(length: u64) -> Result<ProgressBar, CliError> {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}")?;
    Ok(ProgressBar::new(length).with_style(style))
}

/// Keeps a GPU at work until its clock is up: idle ones run at a fifth of their speed.
fn warm_up(mut start: impl FnMut(), wait: impl Fn()) {
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(300) {
        (0..20).for_each(|_| start());
        wait();
    }
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

/// What stands around a table.
struct About<'g> {
    gpu: &'g Gpu,
    /// Measured GFLOP/s of multiply-adds, if the table compares with it.
    peak: Option<f64>,
    /// What the table comes to, in words; empty if there is nothing to say.
    headline: String,
}

impl<'g> About<'g> {
    fn new(gpu: &'g Gpu) -> Self {
        Self {
            gpu,
            peak: None,
            headline: String::new(),
        }
    }
}

fn show<R: Serialize, const N: usize>(
    args: &BenchArgs,
    about: &About<'_>,
    rows: Vec<R>,
    heads: [&str; N],
    cells: fn(&R) -> [String; N],
    (unit, bar): (&str, fn(&R) -> Bar),
) -> Result<(), CliError> {
    let gpu = about.gpu;
    if let Some(path) = &args.plot {
        let bars: Vec<Bar> = rows.iter().map(bar).collect();
        let chart = Bars {
            title: format!("{unit} on {}", gpu.name()),
            unit,
            bars: &bars,
        };
        charts::save(path, &chart)?;
    }
    if args.json {
        return print_json(&Report {
            headline: about.headline.clone(),
            adapter: gpu.name().to_owned(),
            driver: gpu.driver(),
            path: gpu.path().name(),
            peak_gflops: about.peak,
            rows,
        });
    }
    if args.csv {
        say!("{}", heads.join(","));
        for row in &rows {
            let quoted = cells(row).map(|cell| match cell.contains(',') {
                true => format!("\"{cell}\""),
                false => cell,
            });
            say!("{}", quoted.join(","));
        }
        return Ok(());
    }
    if !about.headline.is_empty() {
        say!("{}\n", about.headline);
    }
    say!(
        "{} ({}), {} kernels",
        gpu.name(),
        gpu.driver(),
        gpu.path().name()
    );
    if let Some(peak) = about.peak {
        say!("peak {peak:.1} GFLOP/s, measured: f32 multiply-adds in registers");
    }
    say!("");
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
        say!("{edge} {} {edge}", line.join(between));
        if i == 0 && args.markdown {
            let rule: Vec<String> = widths.iter().map(|w| "-".repeat(*w)).collect();
            say!("| {} |", rule.join(" | "));
        }
    }
    Ok(())
}
