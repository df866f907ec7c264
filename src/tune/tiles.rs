//! Which tile each float product of a training step runs in: every tile is tried and timed on the device once.
//!
//! Only on devices where the tile decides no bit, see [`Backend::tiles_keep_bits`](crate::gpu::Backend). Into how many ranges
//! the depth of a product is cut does decide bits, and is not tuned.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::version_of;
use crate::gpu::{Buffer, Family, Gpu, GpuError, Numbers, Path, Plan, Tiles};
use crate::kernels;
use crate::probe::microseconds;
use crate::recording::{Call, Command, Grid, Recording};
use crate::rng::Philox;
use crate::tensor::Tensor;

/// Timed runs of each tile after one that is not, at most; the fastest counts.
const MOST_ROUNDS: usize = 8;
/// Microseconds of timed runs after which a product has no further round of all its tiles.
const ENOUGH: f64 = 40_000.0;
/// Numbers at either end of a result that are compared with those of the first tile.
const COMPARED: usize = 1 << 18;
/// Random numbers that operands are filled with, again and again. No power of two, so that rows differ.
const BLOCK: usize = 99_991;

/// What one tile of a product came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TileTrial {
    /// Rows x columns, as `64x64`.
    pub tile: String,
    /// Whether it gave the same bits as the first tile: one that did not is never used.
    pub same: bool,
    /// What it took.
    pub microseconds: f64,
}

/// What was found out about float products on one device: for every product, by its name ([`Call::product_name`]), its
/// trials, fastest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TileTuning {
    /// By the name of the product.
    pub products: BTreeMap<String, Vec<TileTrial>>,
}

/// A number that changes with the text of any float product whose tile is tuned.
pub fn version() -> u64 {
    let products = kernels::all().into_iter();
    let products = products.filter(|k| matches!(k.family, Family::Matrix(_)));
    let paths = Path::ALL.into_iter();
    let paths: Vec<Path> = paths.filter(|p| p.backend().tiles_keep_bits).collect();
    version_of(products, &paths)
}

impl TileTuning {
    /// The fastest tile of each product among those that gave the same bits.
    pub fn tiles(&self) -> Tiles {
        let fastest = |(name, trials): (&String, &Vec<TileTrial>)| {
            let found = trials.iter().find(|trial| trial.same)?;
            Some((name.clone(), found.tile.clone()))
        };
        Tiles::new(self.products.iter().filter_map(fastest))
    }

    /// Names of the products of a list that are not known yet, each once. None on devices where the tile decides bits.
    pub fn missing(&self, step: &Recording) -> Vec<String> {
        let names = products(step).into_iter().map(|(name, _)| name);
        names
            .filter(|name| !self.products.contains_key(name))
            .collect()
    }

    /// Tries every product of a list that is not known yet. `tick` is called before each with its name, and may stop there: then
    /// the rest remain unknown.
    ///
    /// # Errors
    /// [`GpuError`] when memory is short or the device fails meanwhile.
    pub async fn complete(
        &mut self,
        gpu: &Gpu,
        step: &Recording,
        mut tick: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), GpuError> {
        for (name, call) in products(step) {
            if let Entry::Vacant(place) = self.products.entry(name) {
                if tick(place.key()).is_break() {
                    break;
                }
                place.insert(Alone::new(gpu, call)?.try_all(gpu).await?);
            }
        }
        Ok(())
    }
}

/// The float products of a list whose tile may be chosen, each name once.
pub(crate) fn products(step: &Recording) -> Vec<(String, &Call)> {
    let mut found: Vec<(String, &Call)> = Vec::new();
    if !step.path().backend().tiles_keep_bits {
        return found;
    }
    for call in step.calls() {
        let Grid::Product { size, .. } = call.grid else {
            continue;
        };
        let has_choice = call.kernel.cores(step.path(), size[0]).len() > 1;
        if call.kernel.numbers != Numbers::Float || !has_choice {
            continue;
        }
        let name = call.product_name().unwrap_or_default();
        if !found.iter().any(|(known, _)| *known == name) {
            found.push((name, call));
        }
    }
    found
}

/// A product with operands of its own, which hold random numbers.
struct Alone {
    call: Call,
    tiles: Vec<String>,
}

impl Alone {
    fn new(gpu: &Gpu, call: &Call) -> Result<Self, GpuError> {
        let Grid::Product { size, .. } = call.grid else {
            unreachable!("only products are tried")
        };
        let cores = call.kernel.cores(gpu.path(), size[0]);
        let mut call = call.clone();
        give_memory(&mut call);
        for tensor in call.inputs().chain(call.outputs()) {
            tensor.allocate(gpu)?;
        }
        let mut rng = Philox::new(1, 0);
        // All bits of their mantissas are used, so that a sum in another order has other last bits.
        let noise: Vec<f32> = (0..BLOCK)
            .map(|_| (2.0 * rng.uniform() - 1.0) as f32)
            .collect();
        let argmax: Vec<f32> = (0..BLOCK).map(|_| rng.below(4) as f32).collect();
        let pooled = call.constants.contains(&("POOLED", 1.0));
        for (slot, tensor) in call.reads.iter().enumerate() {
            let values = match (call.kernel.name, slot) {
                ("conv_backward_weight", 2) if pooled => &argmax,
                _ => &noise,
            };
            for start in (0..tensor.len()).step_by(BLOCK) {
                let count = BLOCK.min(tensor.len() - start);
                gpu.write(&tensor.buffer, tensor.offset + start, &values[..count]);
            }
        }
        Ok(Self {
            call,
            tiles: cores.into_iter().map(|core| core.tile_name()).collect(),
        })
    }

    fn plan(&self, gpu: &Gpu, core: usize) -> Result<Plan, GpuError> {
        let mut recording = Recording::new(gpu.path()).with_core(core);
        recording.commands.push(Command::Call(self.call.clone()));
        gpu.plan(recording)
    }

    /// Sets all results to zero.
    fn clear(&self, gpu: &Gpu) -> Result<(), GpuError> {
        let mut recording = Recording::new(gpu.path());
        self.call
            .outputs()
            .for_each(|tensor| recording.clear(&tensor.buffer));
        gpu.plan(recording)?.run(gpu, &[]);
        Ok(())
    }

    /// The bits of the results, or of both ends of long ones.
    async fn bits(&self, gpu: &Gpu) -> Result<Vec<u32>, GpuError> {
        let mut bits = Vec::new();
        for tensor in self.call.outputs() {
            let length = tensor.len();
            let first = 0..length.min(COMPARED);
            let last = length.saturating_sub(COMPARED).max(first.end)..length;
            for range in [first, last] {
                if !range.is_empty() {
                    let offset = tensor.offset + range.start;
                    let numbers = gpu.read(&tensor.buffer, offset, range.len()).await?;
                    bits.extend(numbers.into_iter().map(f32::to_bits));
                }
            }
        }
        Ok(bits)
    }

    async fn try_all(&self, gpu: &Gpu) -> Result<Vec<TileTrial>, GpuError> {
        let mut plans = Vec::new();
        let mut trials = Vec::new();
        let mut first = Vec::new();
        for (core, tile) in self.tiles.iter().enumerate() {
            let plan = match self.plan(gpu, core) {
                Err(GpuError::TooManyGroups { .. }) => continue,
                plan => plan?,
            };
            self.clear(gpu)?;
            plan.run(gpu, &[]);
            let bits = self.bits(gpu).await?;
            if trials.is_empty() {
                first.clone_from(&bits);
            }
            trials.push(TileTrial {
                tile: tile.clone(),
                same: bits == first,
                microseconds: f64::INFINITY,
            });
            plans.push(plan);
        }
        let mut spent = 0.0;
        // In turns, because the clock of a device may change meanwhile.
        for _ in 0..MOST_ROUNDS {
            for (plan, trial) in plans.iter().zip(&mut trials) {
                let took = microseconds(gpu, plan).await?;
                trial.microseconds = trial.microseconds.min(took);
                spent += took;
            }
            if spent > ENOUGH {
                break;
            }
        }
        trials.sort_by(|a, b| a.microseconds.total_cmp(&b.microseconds));
        Ok(trials)
    }
}

/// Replaces the buffers of a call by others that no plan has placed yet, just large enough.
fn give_memory(call: &mut Call) {
    let mut ends: Vec<(Buffer, usize)> = Vec::new();
    for tensor in call.inputs().chain(call.outputs()) {
        let end = tensor.offset + tensor.len();
        match ends.iter_mut().find(|(b, _)| b.same(&tensor.buffer)) {
            Some((_, known)) => *known = end.max(*known),
            None => ends.push((tensor.buffer.clone(), end)),
        }
    }
    let own: Vec<Buffer> = ends
        .iter()
        .map(|(buffer, end)| Buffer::kept(buffer.label(), *end))
        .collect();
    let replace = |tensor: &mut Tensor| {
        let at = ends.iter().position(|(b, _)| b.same(&tensor.buffer));
        tensor.buffer = own[at.expect("all are listed")].clone();
    };
    let outputs = call.writes.iter_mut().flat_map(|w| &mut w.tensors);
    call.reads.iter_mut().chain(outputs).for_each(replace);
}
