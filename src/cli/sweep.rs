//! `gtc sweep`

use crate::cli::output::{say, say_part};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

use super::run_folder::{EpochMetrics, RunFolder, own};
use super::signals::on_stop;
use super::{Cli, CliError, human_bytes};
use crate::files;
use crate::graph::Model;
use crate::model::Parameters;
use crate::pack::PackedSize;

#[derive(clap::Args)]
pub(crate) struct SweepArgs {
    /// Name of a model, see `gtc models`, or a description of your own that ends in .toml
    #[arg(value_name = "MODEL")]
    model: String,
    /// Prices of a layer's 2^bits to train with, one run each: more makes fewer levels
    #[arg(long, value_name = "X,X,...", value_delimiter = ',', required = true)]
    lambda_bits: Vec<f64>,
    /// Seeds to train each price with
    #[arg(
        long,
        value_name = "N,N,...",
        value_delimiter = ',',
        default_value = "1"
    )]
    seeds: Vec<u64>,
    /// Folder for all runs, the table and the picture. One that holds part of this sweep is continued [default:
    /// runs/MODEL-sweep]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Flags of `gtc train` for every run, after two dashes
    #[arg(last = true, value_name = "TRAIN FLAGS")]
    train: Vec<String>,
}

/// What a sweep is, kept in its folder: another one may not continue it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    model: String,
    lambda_bits: Vec<f64>,
    seeds: Vec<u64>,
    train: Vec<String>,
}

/// A finished run.
struct Row {
    lambda_bits: f64,
    seed: u64,
    last: EpochMetrics,
    /// Bits over all quantised weights.
    bits_per_weight: f64,
    /// Bytes of the packed file, about.
    packed: usize,
}

/// Flags that a sweep sets itself.
const OWN: [&str; 5] = ["--lambda-bits", "--seed", "--out", "--resume", "--help"];

pub(super) fn run(args: &SweepArgs) -> Result<ExitCode, CliError> {
    let plan = Plan {
        model: args.model.clone(),
        lambda_bits: args.lambda_bits.clone(),
        seeds: args.seeds.clone(),
        train: args.train.clone(),
    };
    check(&plan)?;
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => {
            let name = Path::new(&args.model).file_stem().unwrap_or_default();
            PathBuf::from(format!("runs/{}-sweep", name.to_string_lossy()))
        }
    };
    keep_plan(&folder, &plan)?;
    let _owned = own(&folder, "sweep.lock", "trains the sweep in this folder")?;
    // The run in hand stops after its step and saves; then the sweep stops too.
    let stopped = Arc::new(AtomicBool::new(false));
    let asked = stopped.clone();
    on_stop(move || asked.store(true, Ordering::SeqCst))?;
    let mut rows = Vec::new();
    let runs = plan.lambda_bits.len() * plan.seeds.len();
    for &lambda_bits in &plan.lambda_bits {
        for &seed in &plan.seeds {
            let name = format!("lambda-{lambda_bits}-seed-{seed}");
            let path = folder.join(&name);
            say!("run {} of {runs}: {}", rows.len() + 1, path.display());
            let row = match finished(&path, lambda_bits, seed)? {
                Some(row) => row,
                None => {
                    let done = train(&plan, &path, lambda_bits, seed)?;
                    if stopped.load(Ordering::SeqCst) {
                        say!("\nstopped. Say the same again to go on.");
                        return Ok(ExitCode::from(130));
                    }
                    if !done {
                        return Err(format!(
                            "{}: the run failed, see above. Say the same again to go on.",
                            path.display()
                        )
                        .into());
                    }
                    let row = finished(&path, lambda_bits, seed)?;
                    row.ok_or_else(|| format!("{}: the run did not end", path.display()))?
                }
            };
            rows.push(row);
            // After every run, so that what is there can be looked at.
            files::write(&folder.join("sweep.md"), table(&rows).as_bytes())?;
            files::write(
                &folder.join("sweep.svg"),
                picture(&plan.model, &rows)?.as_bytes(),
            )?;
        }
    }
    say_part!("\n{}", table(&rows));
    say!("\ntable    {}", folder.join("sweep.md").display());
    say!(
        "picture  {} (open it in a browser)",
        folder.join("sweep.svg").display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Finds mistakes before the first run.
fn check(plan: &Plan) -> Result<(), CliError> {
    for flag in &plan.train {
        let name = flag.split('=').next().unwrap_or(flag);
        if OWN.contains(&name) || name == "-h" {
            return Err(format!("{name} belongs before the two dashes, to `gtc sweep`").into());
        }
    }
    let words = command(
        plan,
        Path::new("nowhere"),
        plan.lambda_bits[0],
        plan.seeds[0],
    );
    let words = std::iter::once(OsString::from("gtc")).chain(words);
    if let Err(error) = Cli::try_parse_from(words) {
        return Err(error
            .to_string()
            .trim_start_matches("error: ")
            .trim_end()
            .into());
    }
    for (number, lambda_bits) in plan.lambda_bits.iter().enumerate() {
        if plan.lambda_bits[..number].contains(lambda_bits) {
            return Err(format!("--lambda-bits names {lambda_bits} twice").into());
        }
    }
    Ok(())
}

/// Writes down what the sweep is, or finds the same in its folder.
fn keep_plan(folder: &Path, plan: &Plan) -> Result<(), CliError> {
    let file = folder.join("sweep.toml");
    let shown = folder.display();
    match std::fs::read_to_string(&file) {
        Ok(text) => {
            let known: Plan =
                toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
            if known != *plan {
                return Err(format!(
                    "{shown} holds another sweep, see {}. Name another folder with --out.",
                    file.display()
                )
                .into());
            }
            Ok(())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder).map_err(|e| format!("{shown}: {e}"))?;
            Ok(files::write(&file, toml::to_string(plan)?.as_bytes())?)
        }
        Err(error) => Err(format!("{}: {error}", file.display()).into()),
    }
}

/// The words of `gtc train` for one run.
fn command(plan: &Plan, path: &Path, lambda_bits: f64, seed: u64) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["train".into(), plan.model.clone().into()];
    words.extend(plan.train.iter().map(OsString::from));
    words.extend(["--lambda-bits".into(), lambda_bits.to_string().into()]);
    words.extend(["--seed".into(), seed.to_string().into()]);
    words.extend(["--out".into(), path.into()]);
    words
}

/// Trains one run in a process of its own, or goes on with it; whether it ended well.
fn train(plan: &Plan, path: &Path, lambda_bits: f64, seed: u64) -> Result<bool, CliError> {
    let begun = path.join("model.safetensors").exists();
    let words = match begun {
        true => vec!["train".into(), "--resume".into(), path.into()],
        false => {
            // Left by a run that was stopped before its first checkpoint.
            if path.join("config.toml").exists() {
                std::fs::remove_dir_all(path).map_err(|e| format!("{}: {e}", path.display()))?;
            }
            command(plan, path, lambda_bits, seed)
        }
    };
    let program = std::env::current_exe()?;
    let status = Command::new(&program).args(words).status();
    Ok(status
        .map_err(|e| format!("{}: {e}", program.display()))?
        .success())
}

/// What a run came to, if it has ended.
fn finished(path: &Path, lambda_bits: f64, seed: u64) -> Result<Option<Row>, CliError> {
    if !path.join("model.safetensors").exists() {
        return Ok(None);
    }
    let (folder, config, checkpoint) = RunFolder::resume(path)?;
    let epochs = config.options.epochs;
    let metrics = folder.metrics_until(epochs)?;
    let Some(last) = metrics.into_iter().find(|line| line.epoch == epochs) else {
        return Ok(None);
    };
    if checkpoint.header.step < last.step {
        return Ok(None);
    }
    let model: Model = checkpoint.header.model()?;
    let counts: Vec<usize> = Parameters::new(&model)
        .quantised()
        .map(|l| l.weights())
        .collect();
    let bits = counts.iter().zip(&last.bits);
    let bits: f64 = bits
        .map(|(count, bits)| *count as f64 * f64::from(*bits))
        .sum();
    Ok(Some(Row {
        lambda_bits,
        seed,
        bits_per_weight: bits / counts.iter().sum::<usize>().max(1) as f64,
        packed: PackedSize::of(&model)?.bytes(last.bits.iter().copied()),
        last,
    }))
}

/// Results of HP and LP: accuracies in percent, or of auto-encoders losses.
fn results(row: &Row) -> [Option<f64>; 2] {
    match row.last.hp_accuracy {
        Some(hp) => [Some(hp), row.last.lp_accuracy].map(|share| share.map(|share| 100.0 * share)),
        None => [Some(row.last.hp_loss), row.last.lp_loss],
    }
}

/// What [`results`] are.
fn measure(row: &Row) -> &'static str {
    match row.last.hp_accuracy {
        Some(_) => "test accuracy, %",
        None => "test -ELBO, nats",
    }
}

/// All runs as a Markdown table.
fn table(rows: &[Row]) -> String {
    let what = rows.first().map_or("", measure);
    let mut text = format!(
        "| λ_bits | seed | HP ({what}) | LP | bits of layers | bits a weight | packed, about |\n\
         |---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let [hp, lp] = results(row).map(|v| v.map_or("-".to_owned(), |v| format!("{v:.2}")));
        let bits: Vec<String> = row.last.bits.iter().map(u32::to_string).collect();
        text += &format!(
            "| {} | {} | {hp} | {lp} | {} | {:.2} | {} |\n",
            row.lambda_bits,
            row.seed,
            bits.join(", "),
            row.bits_per_weight,
            human_bytes(row.packed as u64)
        );
    }
    text
}

/// Results against bits a weight: a point a run.
fn picture(model: &str, rows: &[Row]) -> Result<String, CliError> {
    /// Colours that eyes without red or green tell apart (Okabe, Ito 2008).
    const COLOURS: [RGBColor; 2] = [RGBColor(0x99, 0x99, 0x99), RGBColor(0x00, 0x72, 0xb2)];
    let points = |network: usize| -> Vec<(f64, f64)> {
        let point = |row: &Row| Some((row.bits_per_weight, results(row)[network]?));
        rows.iter().filter_map(point).collect()
    };
    let all = [points(0), points(1)];
    let values = || all.iter().flatten().map(|(_, value)| *value);
    let (low, high) = (
        values().fold(f64::INFINITY, f64::min),
        values().fold(f64::NEG_INFINITY, f64::max),
    );
    let room = (0.1 * (high - low)).max(0.5);
    let most = all
        .iter()
        .flatten()
        .map(|(bits, _)| *bits)
        .fold(1.0, f64::max);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (720, 480)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("{model}: what bits buy"), ("sans-serif", 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..most + 0.5, low - room..high + room)?;
        chart
            .configure_mesh()
            .x_desc("bits a weight")
            .y_desc(rows.first().map_or("", measure))
            .label_style(("sans-serif", 14))
            .axis_desc_style(("sans-serif", 15))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for ((name, colour), points) in ["HP (float weights of the same run)", "LP (powers of two)"]
            .into_iter()
            .zip(COLOURS)
            .zip(&all)
        {
            let circles = points
                .iter()
                .map(|point| Circle::new(*point, 5, colour.filled()));
            chart
                .draw_series(circles)?
                .label(name)
                .legend(move |at| Circle::new(at, 5, colour.filled()));
        }
        chart
            .configure_series_labels()
            .label_font(("sans-serif", 14))
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(0xcc, 0xcc, 0xcc))
            .draw()?;
        root.present()?;
    }
    Ok(text)
}
