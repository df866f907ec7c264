//! `gtc tune`

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use pollster::block_on;
use serde::Serialize;

use super::bench::random_packed;
use super::config::{preset_of, preset_on};
use super::model_files::find_model_alone;
use super::output::{say, say_error};
use super::{AnyModel, CliError, DeviceArgs, load_any, print_json, tuning};
use crate::checkpoint::is_checkpoint;
use crate::gpu::{Gpu, Tiles};
use crate::infer::runs;
use crate::model::Model;
use crate::pack::{PackedModel, is_packed};
use crate::recording::{Recording, cores};
use crate::train::{TrainOptions, record_step};
use crate::tune::tiles::{TileTrial, TileTuning};
use crate::tune::{Trial, Tuning, shape_name};

#[derive(clap::Args)]
pub(crate) struct TuneArgs {
    /// Whose products: the name of a model, a description that ends in .toml, a network from ONNX, the folder of a run, a
    /// .safetensors file, or a packed .gtc file
    #[arg(value_name = "MODEL", default_value = "lenet5")]
    model: String,
    /// Images in a training step, which is tuned for this size alone; of a packed file, images at a time [default: as the model
    /// trains, and packed layers at 1 and 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: Option<u32>,
    /// Bits of a weight in the packed layers of a model that is not packed yet
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=4))]
    bits: u32,
    /// Measure again what is known already
    #[arg(long)]
    force: bool,
    /// Forget everything that was measured, on all adapters, and measure nothing
    #[arg(long, exclusive = true)]
    clear: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// What is tuned.
enum Target {
    /// Packed layers alone.
    Packed(Box<PackedModel>),
    /// A training step, and the layers that packing will make.
    Float(Box<Model>, Box<TrainOptions>),
}

impl Target {
    fn find(name: &str) -> Result<Self, CliError> {
        let path = Path::new(name);
        let is_own = match std::fs::read(path) {
            Ok(data) => is_checkpoint(&data) || is_packed(&data),
            Err(_) => path.join("model.safetensors").exists(),
        };
        if is_own || path.extension().is_some_and(|suffix| suffix == "gtc") {
            return Ok(match load_any(path)? {
                AnyModel::Packed(packed) => Self::Packed(packed),
                AnyModel::Trained(checkpoint) => {
                    let header = checkpoint.header;
                    Self::Float(Box::new(header.model()?), Box::new(header.options))
                }
            });
        }
        let model = Box::new(find_model_alone(name)?);
        Ok(Self::Float(
            model,
            Box::new(preset_on(preset_of(name), name)),
        ))
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct TuneReport<'r> {
    adapter: &'r str,
    driver: &'r str,
    path: &'static str,
    /// Of a training step, images in it.
    batch_size: Option<usize>,
    /// Float products of a training step.
    products: Vec<ProductRow>,
    /// Packed layers, by the name of their shape.
    kernels: BTreeMap<String, Vec<Trial>>,
}

/// A float product of a training step.
#[derive(Serialize)]
struct ProductRow {
    product: String,
    /// How often a step has it.
    times: usize,
    /// The tile of the engine's table.
    table: String,
    /// All tiles, fastest first.
    trials: Vec<TileTrial>,
}

impl ProductRow {
    /// Microseconds of the tile that is used, and of that of the table.
    fn microseconds(&self) -> [f64; 2] {
        let of = |found: Option<&TileTrial>| found.map_or(0.0, |trial| trial.microseconds);
        let mut trials = self.trials.iter();
        let table = of(trials.clone().find(|trial| trial.tile == self.table));
        [of(trials.find(|trial| trial.same)), table]
    }
}

pub(super) fn run(args: &TuneArgs) -> Result<ExitCode, CliError> {
    if args.clear {
        for file in tuning::clear()? {
            say!("removed {}", file.display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let target = Target::find(&args.model)?;
    let gpu = match &target {
        Target::Packed(_) => args.device.open()?,
        Target::Float(_, options) => args.device.open_for(0, options.precision)?,
    };
    let mut rows = Vec::new();
    let (packed, batches, batch_size) = match target {
        Target::Packed(packed) => {
            let batches = args.batch_size.map_or(vec![1, 100], |n| vec![n as usize]);
            (Some(*packed), batches, None)
        }
        Target::Float(model, mut options) => {
            if let Some(batch_size) = args.batch_size {
                options.batch_size = batch_size as usize;
            }
            if gpu.path().backend().tiles_keep_bits {
                let step = record_step(&gpu, &model, &options)?;
                rows = tiles_of(&gpu, &step, args.force)?;
            } else if !args.json {
                say!(
                    "{} ({} kernels): float products keep the cores of the engine's table, because another core would change last \
                     bits of sums here. Packed layers give the same integers in every kernel, so they are tuned.",
                    gpu.name(),
                    gpu.path().name()
                );
            }
            let packed = random_packed(&gpu, &model, args.bits);
            let packed = packed.map_err(|error| {
                say_error!("note: packed layers are not tuned: {error}");
            });
            (packed.ok(), vec![1, 100], Some(options.batch_size))
        }
    };
    let kernels = match packed {
        Some(packed) => packed_layers(&gpu, &packed, &batches, args.force)?,
        None => BTreeMap::new(),
    };
    if args.json {
        print_json(&TuneReport {
            adapter: gpu.name(),
            driver: &gpu.driver(),
            path: gpu.path().name(),
            batch_size,
            products: rows,
            kernels,
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(batch_size), false) = (batch_size, rows.is_empty()) {
        show_products(&args.model, batch_size, &rows);
    }
    say!(
        "{} packed layers are tuned; `gtc adapters` shows everything.",
        kernels.len()
    );
    Ok(ExitCode::SUCCESS)
}

/// Tunes the float products of a training step, and returns all of them.
fn tiles_of(gpu: &Gpu, step: &Recording, force: bool) -> Result<Vec<ProductRow>, CliError> {
    let mut remembered = tuning::remembered_tiles();
    let tuning = remembered.entry(tuning::tiles_key(gpu)).or_default();
    let names = TileTuning::default().missing(step);
    if force {
        names.iter().for_each(|name| {
            tuning.products.remove(name);
        });
    }
    let any = tuning::complete_tiles(gpu, step, tuning, None)?;
    let shared = cores::choose(step, &Tiles::default(), None);
    let mut rows: Vec<ProductRow> = Vec::new();
    for (call, shared) in step.calls().zip(shared) {
        let Some(product) = call.product_name().filter(|name| names.contains(name)) else {
            continue;
        };
        match rows.iter_mut().find(|row| row.product == product) {
            Some(row) => row.times += 1,
            None => rows.push(ProductRow {
                times: 1,
                table: shared.core.map_or_else(String::new, |c| c.tile_name()),
                trials: tuning.products[&product].clone(),
                product,
            }),
        }
    }
    if any {
        tuning::keep_tiles(&remembered)?;
    }
    Ok(rows)
}

/// Tunes the packed layers of a model at some batch sizes, and returns all of them.
fn packed_layers(
    gpu: &Gpu,
    model: &PackedModel,
    batches: &[usize],
    force: bool,
) -> Result<BTreeMap<String, Vec<Trial>>, CliError> {
    let mut names: Vec<String> = Vec::new();
    for batch in batches {
        for (layer, shape) in runs(model, *batch) {
            let name = shape_name(&shape, layer.bits.next_power_of_two());
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let mut remembered = tuning::remembered();
    let tuning: &mut Tuning = remembered.entry(tuning::packed_key(gpu)).or_default();
    if force {
        tuning.shapes.retain(|name, _| !names.contains(name));
    }
    let missing = names
        .iter()
        .filter(|name| !tuning.shapes.contains_key(*name));
    let missing = missing.count();
    if missing > 0 {
        let bar = tuning::bar(missing);
        for batch in batches {
            let tick = |name: &str| {
                bar.set_message(format!("packed {name}"));
                bar.inc(1);
            };
            block_on(tuning.complete(gpu, model, *batch, tick))?;
        }
        bar.finish_and_clear();
    }
    let trials = |name: String| (name.clone(), tuning.shapes[&name].clone());
    let found = names.into_iter().map(trials).collect();
    if missing > 0 {
        tuning::keep(&remembered)?;
    }
    Ok(found)
}

fn show_products(model: &str, batch_size: usize, rows: &[ProductRow]) {
    say!(
        "float products of a training step of {model} at batch {batch_size}, microseconds by tile:"
    );
    let width = rows.iter().map(|row| row.product.len()).max().unwrap_or(0);
    for row in rows {
        let trials = row.trials.iter().map(|trial| {
            let mark = if trial.tile == row.table {
                " (table)"
            } else {
                ""
            };
            match trial.same {
                true => format!("{} {:.0}{mark}", trial.tile, trial.microseconds),
                false => format!("{} OTHER BITS, never used", trial.tile),
            }
        });
        let trials: Vec<String> = trials.collect();
        say!(
            "  {:width$}  {:2} x  {}",
            row.product,
            row.times,
            trials.join(", ")
        );
        if row.trials.iter().any(|trial| !trial.same) {
            say_error!(
                "note: {}: tiles that give other bits are never used",
                row.product
            );
        }
    }
    let sum = |side: usize| -> f64 {
        let of_row = |row: &ProductRow| row.times as f64 * row.microseconds()[side] / 1e3;
        rows.iter().map(of_row).sum()
    };
    let [tuned, table] = [sum(0), sum(1)];
    say!(
        "all together {tuned:.2} ms a step, {table:.2} ms with the tiles of the engine's table. Training uses the fastest tiles \
         from now on; they change no result."
    );
}
