//! `gtc sweep`

use crate::cli::output::{say, say_part};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use plotters::prelude::*;
use serde::{Deserialize, Serialize};

use super::charts::{FONT, svg_page};
use super::run_folder::EpochMetrics;
use super::series::{self, Finished, Run, Series, refuse_twice};
use super::{CliError, human_bytes};
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

pub(super) fn run(args: &SweepArgs) -> Result<ExitCode, CliError> {
    let plan = Plan {
        model: args.model.clone(),
        lambda_bits: args.lambda_bits.clone(),
        seeds: args.seeds.clone(),
        train: args.train.clone(),
    };
    refuse_twice(&plan.seeds)?;
    for (number, lambda_bits) in plan.lambda_bits.iter().enumerate() {
        if plan.lambda_bits[..number].contains(lambda_bits) {
            return Err(format!("--lambda-bits names {lambda_bits} twice").into());
        }
    }
    let pairs: Vec<(f64, u64)> = plan
        .lambda_bits
        .iter()
        .flat_map(|price| plan.seeds.iter().map(move |seed| (*price, *seed)))
        .collect();
    let runs: Vec<Run> = pairs.iter().map(|pair| run_of(&plan, *pair)).collect();
    if let Some(first) = runs.first() {
        series::check_flags("sweep", &["--lambda-bits", "--seed"], &plan.train, first)?;
    }
    let folder = args.out.clone();
    let folder = folder.unwrap_or_else(|| series::default_folder(&args.model, "sweep"));
    let series = Series::open(folder, "sweep", &plan)?;
    let mut rows = Vec::new();
    let all = series.all(&runs, |number, finished| {
        rows.push(row_of(pairs[number], finished)?);
        // After every run, so that what is there can be looked at.
        let folder = series.folder();
        files::write(&folder.join("sweep.md"), table(&rows).as_bytes())?;
        let picture = picture(&plan.model, &rows)?;
        Ok(files::write(&folder.join("sweep.svg"), picture.as_bytes())?)
    })?;
    if !all {
        return Ok(ExitCode::from(130));
    }
    say_part!("\n{}", table(&rows));
    say!("\ntable    {}", series.folder().join("sweep.md").display());
    say!(
        "picture  {} (open it in a browser)",
        series.folder().join("sweep.svg").display()
    );
    Ok(ExitCode::SUCCESS)
}

/// One run.
fn run_of(plan: &Plan, (lambda_bits, seed): (f64, u64)) -> Run {
    let mut words: Vec<OsString> = vec![plan.model.clone().into()];
    words.extend(plan.train.iter().map(OsString::from));
    words.extend(["--lambda-bits".into(), lambda_bits.to_string().into()]);
    words.extend(["--seed".into(), seed.to_string().into()]);
    Run {
        name: format!("lambda-{lambda_bits}-seed-{seed}"),
        words,
    }
}

/// What a run came to.
fn row_of((lambda_bits, seed): (f64, u64), finished: Finished) -> Result<Row, CliError> {
    let model: Model = finished.checkpoint.header.model()?;
    let last = finished.last;
    let counts: Vec<usize> = Parameters::new(&model)
        .quantised()
        .map(|l| l.weights())
        .collect();
    let bits = counts.iter().zip(&last.bits);
    let bits: f64 = bits
        .map(|(count, bits)| *count as f64 * f64::from(*bits))
        .sum();
    Ok(Row {
        lambda_bits,
        seed,
        bits_per_weight: bits / counts.iter().sum::<usize>().max(1) as f64,
        packed: PackedSize::of(&model)?.bytes(last.bits.iter().copied()),
        last,
    })
}

/// Results of HP and LP: accuracies in percent, or of auto-encoders losses.
fn results(row: &Row) -> [Option<f64>; 2] {
    let last = &row.last;
    match last.elbo {
        None => [last.hp_accuracy, last.lp_accuracy].map(|share| share.map(|share| 100.0 * share)),
        Some(_) => [last.hp_loss, last.lp_loss],
    }
}

/// What [`results`] are.
fn measure(row: &Row) -> &'static str {
    match row.last.elbo {
        None => "test accuracy, %",
        Some(_) => "test -ELBO, nats",
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
        let root = svg_page(&mut text, (720, 480))?;
        let mut chart = ChartBuilder::on(&root)
            .caption(format!("{model}: what bits buy"), (FONT, 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..most + 0.5, low - room..high + room)?;
        chart
            .configure_mesh()
            .x_desc("bits a weight")
            .y_desc(rows.first().map_or("", measure))
            .label_style((FONT, 14))
            .axis_desc_style((FONT, 15))
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
            .label_font((FONT, 14))
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(RGBColor(0xcc, 0xcc, 0xcc))
            .draw()?;
        root.present()?;
    }
    Ok(text)
}
