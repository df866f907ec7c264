//! What was measured on this machine's adapters, kept between runs.

use crate::cli::output::say_error;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use pollster::block_on;
use serde::de::DeserializeOwned;

use super::CliError;
use super::data_args::own_cache;
use crate::files;
use crate::gpu::{AdapterSummary, Gpu, GpuError, Path, Tiles};
use crate::infer::{InferError, Inference};
use crate::kernels;
use crate::model::Model;
use crate::op::Arithmetic;
use crate::pack::PackedModel;
use crate::probe::f32_rate;
use crate::recording::Recording;
use crate::train::{TrainError, TrainOptions, record_step};
use crate::tune::tiles::{self, TileTuning};
use crate::tune::{Tuning, version_of};

/// How packed layers ran on all adapters, by [`key`].
pub(super) type Remembered = BTreeMap<String, Tuning>;

/// How tiles of float products ran on all adapters, by [`key`].
pub(super) type RememberedTiles = BTreeMap<String, TileTuning>;

/// Names of files in the cache folder.
const PACKED: &str = "kernels.json";
const TILES: &str = "tiles.json";

/// Kernels and drivers of another version run at other speeds.
fn key(name: &str, driver: &str, path: &str, version: u64) -> String {
    format!("{name} | {driver} | {path} | {version:016x}")
}

/// The key of packed layers on a device.
pub(super) fn packed_key(gpu: &Gpu) -> String {
    key(
        gpu.name(),
        &gpu.driver(),
        gpu.path().name(),
        kernels_version(),
    )
}

/// The key of float products on a device.
pub(super) fn tiles_key(gpu: &Gpu) -> String {
    key(
        gpu.name(),
        &gpu.driver(),
        gpu.path().name(),
        tiles::version(),
    )
}

/// A number that changes with the text of any kernel over packed weights.
fn kernels_version() -> u64 {
    let packed = kernels::all().into_iter();
    version_of(packed.filter(|k| k.name == "packed_conv"), &Path::ALL)
}

fn file(name: &str) -> Option<PathBuf> {
    own_cache().map(|folder| folder.join(name))
}

/// What a file holds; nothing if there is no file, or a damaged one: everything in it can be measured
/// again.
fn read<T: DeserializeOwned + Default>(name: &str) -> T {
    let text = file(name).and_then(|file| std::fs::read_to_string(file).ok());
    let known = text.and_then(|text| serde_json::from_str(&text).ok());
    known.unwrap_or_default()
}

/// What is kept of packed layers.
pub(super) fn remembered() -> Remembered {
    read(PACKED)
}

/// What is kept of float products.
pub(super) fn remembered_tiles() -> RememberedTiles {
    read(TILES)
}

/// The kept measurements of an adapter's packed layers.
pub(super) fn of_adapter(remembered: &Remembered, adapter: &AdapterSummary) -> Option<Tuning> {
    let version = kernels_version();
    let key = key(&adapter.name, &adapter.driver, adapter.path, version);
    remembered.get(&key).cloned()
}

/// The kept measurements of an adapter's float products, on the path where tiles are tuned.
pub(super) fn tiles_of_adapter(
    remembered: &RememberedTiles,
    adapter: &AdapterSummary,
) -> Option<TileTuning> {
    let version = tiles::version();
    let key = key(&adapter.name, &adapter.driver, Path::Gpu.name(), version);
    remembered.get(&key).cloned()
}

/// The tiles that float products should have on a device: none where none were tuned, or where tiles decide bits.
pub(super) fn tiles(gpu: &Gpu) -> Tiles {
    if !gpu.path().backend().tiles_keep_bits {
        return Tiles::default();
    }
    let remembered = remembered_tiles();
    // The key needs the text of every kernel.
    if remembered.is_empty() {
        return Tiles::default();
    }
    let known = remembered.get(&tiles_key(gpu));
    known.map(TileTuning::tiles).unwrap_or_default()
}

/// When training tries the tiles of its network's products before it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TuneWhen {
    /// On hardware, for two seconds, whatever has not been tried there
    #[default]
    Auto,
    /// On every device where tiles change no result, until all are known
    Always,
    /// Uses what `gtc tune` found, and tries nothing
    Never,
}

/// How long a run waits for this on its own accord.
const AT_FIRST_USE: Duration = Duration::from_secs(2);

/// The device with tiles tuned for a training step; they change no result. `alone`: no other process trains beside this one, maybe
/// on the same device, whose times would then say little.
pub(super) fn tuned_for(
    gpu: Gpu,
    model: &Model,
    options: &TrainOptions,
    when: TuneWhen,
    alone: bool,
) -> Result<Gpu, CliError> {
    let until = match when {
        TuneWhen::Auto if gpu.is_hardware() && alone => Some(Instant::now() + AT_FIRST_USE),
        TuneWhen::Always => None,
        TuneWhen::Auto | TuneWhen::Never => return Ok(gpu),
    };
    if !gpu.path().backend().tiles_keep_bits {
        return Ok(gpu);
    }
    if gpu.matrices().is_some() {
        if when == TuneWhen::Always {
            say_error!("note: tiles of products with cooperative matrices are not tuned");
        }
        return Ok(gpu);
    }
    let step = match record_step(&gpu, model, options) {
        // Training finds a batch that fits.
        Err(TrainError::Gpu(error)) if error.is_about_size() && when == TuneWhen::Auto => {
            return Ok(gpu);
        }
        step => step?,
    };
    let mut remembered = remembered_tiles();
    let tuning = remembered.entry(tiles_key(&gpu)).or_default();
    let any = match complete_tiles(&gpu, &step, tuning, until) {
        // A product alone may need memory that training does not.
        Err(error) if when == TuneWhen::Auto => {
            say_error!("note: the tiles of this network's products were not all tried: {error}");
            gpu.forget_out_of_memory();
            true
        }
        other => other?,
    };
    let tiles = tuning.tiles();
    if any && let Err(error) = keep_tiles(&remembered) {
        say_error!("note: the timings of tiles could not be kept for the next time: {error}");
    }
    Ok(gpu.with_tiles(tiles))
}

/// A bar that counts what is tried.
pub(super) fn bar(length: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}");
    ProgressBar::new(length as u64).with_style(style.expect("a valid template"))
}

/// Tries the tiles of all products of a step that are new to the device, or of as many as time allows. Returns whether there
/// was any.
pub(super) fn complete_tiles(
    gpu: &Gpu,
    step: &Recording,
    tuning: &mut TileTuning,
    until: Option<Instant>,
) -> Result<bool, CliError> {
    let missing = tuning.missing(step).len();
    if missing == 0 {
        return Ok(false);
    }
    // An idle GPU runs at a fraction of its clock.
    block_on(f32_rate(gpu))?;
    let bar = bar(missing);
    let tick = |name: &str| {
        bar.set_message(format!("timing tiles here, once: {name}"));
        bar.inc(1);
        match until.is_some_and(|until| Instant::now() > until) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    block_on(tuning.complete(gpu, step, tick))?;
    bar.finish_and_clear();
    Ok(true)
}

/// Removes everything that is kept, and returns the files that were there.
pub(super) fn clear() -> Result<Vec<PathBuf>, CliError> {
    let mut removed = Vec::new();
    for file in [PACKED, TILES].into_iter().filter_map(file) {
        match std::fs::remove_file(&file) {
            Ok(()) => removed.push(file),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", file.display()).into()),
        }
    }
    Ok(removed)
}

/// Keeps measurements of packed layers.
pub(super) fn keep(remembered: &Remembered) -> Result<(), CliError> {
    write(PACKED, remembered)
}

/// Keeps measurements of float products.
pub(super) fn keep_tiles(remembered: &RememberedTiles) -> Result<(), CliError> {
    write(TILES, remembered)
}

fn write(name: &str, remembered: &impl serde::Serialize) -> Result<(), CliError> {
    let Some(file) = file(name) else {
        return Ok(());
    };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    files::write(&file, serde_json::to_string_pretty(remembered)?.as_bytes())?;
    Ok(())
}

/// A packed model on a device, for as many images at a time as fit, at most `wanted`: results do not depend on it. See
/// [`inference_of`].
///
/// # Errors
/// Those of [`Inference::new`], of memory only if one image does not fit.
pub(super) fn inference<'g>(
    gpu: &'g Gpu,
    model: PackedModel,
    wanted: usize,
    kernel: Option<Arithmetic>,
) -> Result<Inference<'g>, CliError> {
    let is_about_size = |error: &CliError| {
        let of_layer = match error.downcast_ref() {
            Some(InferError::Gpu(error)) => Some(error),
            _ => None,
        };
        let error = of_layer.or_else(|| error.downcast_ref());
        error.is_some_and(GpuError::is_about_size)
    };
    let mut batch = wanted;
    loop {
        match inference_of(gpu, model.clone(), batch, kernel) {
            Err(error) if batch > 1 && is_about_size(&error) => {
                gpu.forget_out_of_memory();
                batch /= 2;
            }
            result => return result,
        }
    }
}

/// A packed model on a device, for `batch` images at a time. Unless an arithmetic is given, each shape of a layer that is new to the
/// adapter is tried in every one first, which is remembered.
///
/// # Errors
/// Those of [`Inference::new`].
pub(super) fn inference_of<'g>(
    gpu: &'g Gpu,
    model: PackedModel,
    batch: usize,
    kernel: Option<Arithmetic>,
) -> Result<Inference<'g>, CliError> {
    let mut remembered = remembered();
    let tuning = remembered.entry(packed_key(gpu)).or_default();
    let bar = ProgressBar::new_spinner();
    let tick = |shape: &str| {
        bar.set_message(format!("timing the kernels here, once: {shape}"));
        bar.tick();
    };
    // Where the arithmetic is given there is little to find out.
    let new = kernel.is_none() && block_on(tuning.complete(gpu, &model, batch, tick))?;
    bar.finish_and_clear();
    let inference = Inference::tuned(gpu, model, batch, kernel, tuning)?;
    if new && let Err(error) = keep(&remembered) {
        say_error!("note: the timings of kernels could not be kept for the next time: {error}");
    }
    Ok(inference)
}
