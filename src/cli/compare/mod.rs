//! `gtc compare`

mod contenders;
mod energy;
mod page;
mod rows;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::CliError;
use super::model_files::find_model_alone;
use super::output::{say, say_part};
use super::series::{self, Run, Series, refuse_twice};
use crate::files;
use contenders::{Contender, known, usual};
use rows::{Outcome, Row};

#[derive(clap::Args)]
pub(crate) struct CompareArgs {
    /// Name of a model, see `gtc models`, or a description of your own that ends in .toml
    #[arg(value_name = "MODEL", required_unless_present = "list")]
    model: Option<String>,
    /// Print what can be compared, and stop
    #[arg(long)]
    list: bool,
    /// Folder with the data, as for `gtc train` [default: the digits inside the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Learn from the first N training images only
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Seeds to train each method with: a seed decides the initial weights and the order of the images
    #[arg(
        long,
        value_name = "N,N,...",
        value_delimiter = ',',
        default_value = "1,2,3"
    )]
    seeds: Vec<u64>,
    /// What to compare [default: those with "yes" under "usual" in --list]
    #[arg(long, value_name = "METHOD,...", value_delimiter = ',')]
    methods: Option<Vec<Contender>>,
    /// Keep the first and the last layer with weights in float, as is usual in the literature
    #[arg(long)]
    float_ends: bool,
    /// Folder for all runs, the tables and the page. One that holds part of this comparison is continued [default:
    /// runs/MODEL-compare]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Flags of `gtc train` for every run, after two dashes
    #[arg(last = true, value_name = "TRAIN FLAGS")]
    train: Vec<String>,
}

/// What a comparison is, kept in its folder: another one may not continue it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    model: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    seeds: Vec<u64>,
    methods: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    float_ends: bool,
    train: Vec<String>,
}

/// Flags that a comparison sets itself.
const OWN: [&str; 14] = [
    "--seed",
    "--data",
    "--limit",
    "--quantiser",
    "--objective",
    "--target-bits",
    "--straight-through",
    "--centred-slopes",
    "--lambda-bits",
    "--bits-ramp",
    "--freeze-levels",
    "--float-ends",
    "--exact-norm",
    "--lambda-norm",
];

pub(super) fn run(args: &CompareArgs) -> Result<ExitCode, CliError> {
    let Some(model) = args.model.as_ref().filter(|_| !args.list) else {
        list();
        return Ok(ExitCode::SUCCESS);
    };
    let contenders = match &args.methods {
        Some(methods) => methods.clone(),
        None => usual(),
    };
    refuse_twice(&args.seeds)?;
    let described = find_model_alone(model)?;
    if described.likelihood.is_some() {
        return Err(format!(
            "{} is an auto-encoder: only classifiers are compared",
            described.name
        )
        .into());
    }
    for (number, contender) in contenders.iter().enumerate() {
        if contenders[..number].contains(contender) {
            return Err(format!("--methods names {contender} twice").into());
        }
    }
    let plan = Plan {
        model: model.clone(),
        data: args.data.as_ref().map(std::path::absolute).transpose()?,
        limit: args.limit,
        seeds: args.seeds.clone(),
        methods: contenders.iter().map(ToString::to_string).collect(),
        float_ends: args.float_ends,
        train: args.train.clone(),
    };
    let pairs: Vec<(&Contender, u64)> = args
        .seeds
        .iter()
        .flat_map(|seed| contenders.iter().map(move |contender| (contender, *seed)))
        .collect();
    // Settings that a model, a preset or flags bring.
    let lp_start = series::settings(&common_words(&plan))?.options.lp_start;
    let runs = pairs.iter().map(|pair| run_of(&plan, lp_start, *pair));
    let runs: Vec<Run> = runs.collect();
    for run in &runs {
        series::check_flags("compare", &OWN, &plan.train, run)?;
    }
    let folder = args.out.clone();
    let folder = folder.unwrap_or_else(|| series::default_folder(model, "compare"));
    let series = Series::open(folder, "compare", &plan)?;
    let mut results: Vec<Outcome> = Vec::new();
    let all = series.all(&runs, |number, finished| {
        let (contender, seed) = pairs[number];
        results.push(Outcome::of(contender, seed, &finished)?);
        // After every run, so that what is there can be looked at.
        let rows = Row::all(&contenders, &results);
        let folder = series.folder();
        files::write(&folder.join("compare.md"), rows::table(&rows).as_bytes())?;
        let json = serde_json::to_string_pretty(&rows)?;
        files::write(&folder.join("compare.json"), json.as_bytes())?;
        let page = page::render(&plan, &rows)?;
        Ok(files::write(&folder.join("compare.html"), page.as_bytes())?)
    })?;
    if !all {
        return Ok(ExitCode::from(130));
    }
    say_part!("\n{}", rows::table(&Row::all(&contenders, &results)));
    let file = |name: &str| series.folder().join(name).display().to_string();
    say!("\ntable  {}", file("compare.md"));
    say!("page   {} (open it in a browser)", file("compare.html"));
    Ok(ExitCode::SUCCESS)
}

/// Flags of every run.
fn common_words(plan: &Plan) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![plan.model.clone().into()];
    if let Some(data) = &plan.data {
        words.extend(["--data".into(), data.into()]);
    }
    if let Some(limit) = plan.limit {
        words.extend(["--limit".into(), limit.to_string().into()]);
    }
    words.extend(plan.train.iter().map(OsString::from));
    words
}

/// One run, of which LP joins after `lp_start`.
fn run_of(plan: &Plan, lp_start: f64, (contender, seed): (&Contender, u64)) -> Run {
    let mut words = common_words(plan);
    words.extend(contender.flags(lp_start).into_iter().map(OsString::from));
    if plan.float_ends {
        words.push("--float-ends".into());
    }
    words.extend(["--seed".into(), seed.to_string().into()]);
    Run {
        name: format!("{}-seed-{seed}", contender.to_string().replace(':', "-")),
        words,
    }
}

/// All that can be compared.
fn list() {
    say!("  method         bits  packs  usual  what a weight becomes");
    for contender in known() {
        say!(
            "  {:12}  {:>5}  {:5}  {:5}  {}",
            contender.to_string(),
            contender.bits(),
            if contender.packs() { "yes" } else { "no" },
            if usual().contains(&contender) {
                "yes"
            } else {
                ""
            },
            contender.summary()
        );
    }
}
