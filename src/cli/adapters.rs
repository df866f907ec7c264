//! `gtc adapters`

use crate::cli::output::say;
use std::process::ExitCode;

use pollster::block_on;
use serde::Serialize;

use super::{CliError, print_json, tuning};
use crate::gpu::{AdapterSummary, Gpu, GpuError, GpuOptions, fastest, list_adapters};
use crate::op::conv::entries::CONV_FORWARD;
use crate::probe::f32_rate;
use crate::tune::Tuning;
use crate::tune::tiles::TileTuning;

#[derive(clap::Args)]
pub(crate) struct AdaptersArgs {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// One adapter in what `--json` prints.
#[derive(Serialize)]
struct AdapterReport {
    #[serde(flatten)]
    adapter: AdapterSummary,
    /// What was found out on it just now, or why it could not be opened.
    #[serde(flatten)]
    measured: Measured,
    /// How packed layers ran, of every shape they had so far.
    kernels: Tuning,
    /// How float products ran that `gtc tune` has tried, in each of their tiles.
    products: TileTuning,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Measured {
    Open {
        /// Rate of f32 multiply-adds in registers, in GFLOP/s.
        peak_gflops: f64,
        /// Tiles of float products, for products of some sizes.
        tiles: Vec<Tile>,
    },
    Failed {
        error: String,
    },
}

/// The tile that the table of the engine gives a product.
#[derive(Serialize)]
struct Tile {
    /// Rows and columns of the product.
    size: [usize; 2],
    /// Rows x columns of the tile.
    tile: String,
}

/// Rows and columns of products that stand for others: a small dense layer, and 3 x 3 convolutions of VGG-16 at batch 128 from
/// its end to its beginning.
const EXAMPLES: [[usize; 2]; 5] = [
    [64, 512],
    [512, 512],
    [8192, 256],
    [32_768, 128],
    [131_072, 64],
];
/// Depth of those products.
const DEPTH: usize = 1152;

/// Opens an adapter and measures it.
fn measure(index: usize) -> Result<Measured, GpuError> {
    let options = GpuOptions {
        adapter: Some(index.to_string()),
        ..GpuOptions::default()
    };
    let gpu = block_on(Gpu::open(&options))?.without_compiling_ahead();
    let backend = gpu.path().backend();
    let tile = |size: [usize; 2]| {
        let flops = 2 * (size[0] * size[1] * DEPTH) as u64;
        let cut = (size, backend.splits(size, DEPTH));
        let core = fastest(&CONV_FORWARD.cores(gpu.path(), size[0]), cut, flops, &[]);
        let tile = core.map_or_else(String::new, |core| core.tile_name());
        Tile { size, tile }
    };
    Ok(Measured::Open {
        peak_gflops: block_on(f32_rate(&gpu))? / 1e9,
        tiles: EXAMPLES.map(tile).into(),
    })
}

/// The class of an adapter in words.
fn class(kind: &str) -> &str {
    match kind {
        "DiscreteGpu" => "discrete GPU",
        "IntegratedGpu" => "integrated GPU",
        "VirtualGpu" => "virtual GPU",
        "Cpu" => "CPU driver",
        _ => "of unknown class",
    }
}

pub(super) fn run(args: &AdaptersArgs) -> Result<ExitCode, CliError> {
    let adapters = block_on(list_adapters());
    if adapters.is_empty() {
        return Err(GpuError::NoAdapter.into());
    }
    let remembered = tuning::remembered();
    let remembered_tiles = tuning::remembered_tiles();
    let report = |adapter: AdapterSummary| AdapterReport {
        products: tuning::tiles_of_adapter(&remembered_tiles, &adapter).unwrap_or_default(),
        measured: measure(adapter.index).unwrap_or_else(|error| Measured::Failed {
            error: error.to_string(),
        }),
        kernels: tuning::of_adapter(&remembered, &adapter).unwrap_or_default(),
        adapter,
    };
    let reports: Vec<AdapterReport> = adapters.into_iter().map(report).collect();
    if args.json {
        print_json(&reports)?;
        return Ok(ExitCode::SUCCESS);
    }
    for report in &reports {
        let a = &report.adapter;
        let mark = if a.default { "*" } else { " " };
        say!("{mark} {}: {} ({})", a.index, a.name, a.backend);
        say!(
            "     {}, driver {}, {} kernels",
            class(&a.kind),
            a.driver,
            a.path
        );
        if let Some(matrices) = a.matrices {
            let size = matrices.size;
            // Only kernels for GPUs use them.
            let path = match a.path {
                "gpu" => "",
                _ => " --path gpu",
            };
            say!(
                "     cooperative matrices of {size} x {size} numbers of 16 bits: gtc train --precision cooperative{path}"
            );
        }
        match &report.measured {
            Measured::Open { peak_gflops, tiles } => {
                say!(
                    "     f32 peak {peak_gflops:.1} GFLOP/s, measured: multiply-adds in registers"
                );
                let tiles = tiles.iter().map(|t| {
                    let [rows, columns] = t.size;
                    format!("{rows}x{columns} in {}", t.tile)
                });
                let tiles: Vec<String> = tiles.collect();
                say!(
                    "     tiles of float products, by size: {}",
                    tiles.join(", ")
                );
            }
            Measured::Failed { error } => say!("     cannot be opened: {error}"),
        }
        float_products(&report.products);
        packed_layers(&report.kernels);
    }
    say!("* is used unless --adapter names another, by number or by a part of its name.");
    Ok(ExitCode::SUCCESS)
}

fn float_products(tuning: &TileTuning) {
    if !tuning.products.is_empty() {
        say!(
            "     float products that were tuned here for gpu kernels, with what each tile took (milliseconds):"
        );
    }
    for (name, trials) in &tuning.products {
        let times = trials.iter().map(|t| match t.same {
            true => format!("{} {:.3}", t.tile, t.microseconds / 1e3),
            false => format!("{} OTHER BITS, never used", t.tile),
        });
        let times: Vec<String> = times.collect();
        say!("       {name}: {}", times.join(", "));
    }
}

fn packed_layers(kernels: &Tuning) {
    if !kernels.shapes.is_empty() {
        say!("     packed layers that ran here, with what each took (milliseconds):");
    }
    for (shape, trials) in &kernels.shapes {
        let times = trials.iter().map(|t| {
            let time = match t.right {
                true => format!("{:.2}", t.microseconds / 1e3),
                false => "WRONG, never used".to_owned(),
            };
            format!("{} {} {time}", t.kernel.name(), t.sharing.name())
        });
        let times: Vec<String> = times.collect();
        say!("       {shape}: {}", times.join(", "));
    }
}
