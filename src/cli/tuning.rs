//! What was measured on this machine's adapters, kept between runs.

use crate::cli::output::say_error;
use std::collections::BTreeMap;
use std::path::PathBuf;

use pollster::block_on;

use super::CliError;
use crate::files;
use crate::gpu::{AdapterSummary, Gpu, Path};
use crate::infer::Inference;
use crate::kernels;
use crate::op::Arithmetic;
use crate::pack::PackedModel;
use crate::tune::Tuning;

/// Of all adapters, by [`key`].
pub(super) type Remembered = BTreeMap<String, Tuning>;

/// Kernels and drivers of another version run at other speeds.
fn key(name: &str, driver: &str, path: &str) -> String {
    format!("{name} | {driver} | {path} | {:016x}", kernels_version())
}

/// A number that changes with the text of any kernel over packed weights.
fn kernels_version() -> u64 {
    // FNV-1a
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let packed = kernels::all()
        .into_iter()
        .filter(|k| k.name == "packed_conv");
    packed
        .flat_map(|kernel| Path::ALL.map(|path| (kernel, path)))
        .flat_map(|(kernel, path)| {
            let cores = kernel.cores(path, 16).into_iter();
            cores.map(move |core| kernel.source(path, Some(core)))
        })
        .fold(0xcbf2_9ce4_8422_2325, |hash, text| {
            text.bytes().fold(hash, add)
        })
}

/// The file: GTC_CACHE, else a folder of the user's cache.
fn file() -> Option<PathBuf> {
    let folder = match std::env::var_os("GTC_CACHE") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => dirs::cache_dir().map(|cache| cache.join("gtc")),
    };
    folder.map(|folder| folder.join("kernels.json"))
}

/// What is kept; nothing if there is no file, or a damaged one: everything in it can be measured
/// again.
pub(super) fn remembered() -> Remembered {
    let text = file().and_then(|file| std::fs::read_to_string(file).ok());
    let known = text.and_then(|text| serde_json::from_str(&text).ok());
    known.unwrap_or_default()
}

/// The kept measurements of an adapter.
pub(super) fn of_adapter(remembered: &Remembered, adapter: &AdapterSummary) -> Option<Tuning> {
    let key = key(&adapter.name, &adapter.driver, adapter.path);
    remembered.get(&key).cloned()
}

fn keep(remembered: &Remembered) -> Result<(), CliError> {
    let Some(file) = file() else { return Ok(()) };
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    files::write(&file, serde_json::to_string_pretty(remembered)?.as_bytes())?;
    Ok(())
}

/// A packed model on a device. Unless an arithmetic is given, each shape of a layer that is new to the
/// adapter is tried in every one first, which is remembered.
///
/// # Errors
/// Those of [`Inference::new`].
pub(super) fn inference<'g>(
    gpu: &'g Gpu,
    model: PackedModel,
    batch: usize,
    kernel: Option<Arithmetic>,
) -> Result<Inference<'g>, CliError> {
    let mut remembered = remembered();
    let key = key(gpu.name(), &gpu.driver(), gpu.path().name());
    let tuning = remembered.entry(key).or_default();
    let bar = indicatif::ProgressBar::new_spinner();
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
