//! Which arithmetic a packed layer runs in: tried and timed on the device once, then remembered by
//! whoever keeps the [`Tuning`]. [`tiles`] does the same for the tiles of float products.

pub mod tiles;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::gpu::{Gpu, GpuError, Kernel, Path, Plan};
use crate::infer::{Candidate, runs};
use crate::op::{Arithmetic, CodeShape, ConvShape, Sharing, packed_conv};
use crate::pack::PackedModel;
use crate::recording::Recording;
use crate::rng::Philox;
use crate::tensor::Tensor;

/// A number that changes with the text of any of these kernels on any of these paths, in any of its cores: what was timed is out of
/// date then.
pub(crate) fn version_of(kernels: impl Iterator<Item = &'static Kernel>, paths: &[Path]) -> u64 {
    // FNV-1a
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    kernels
        .flat_map(|kernel| paths.iter().map(move |path| (kernel, *path)))
        .flat_map(|(kernel, path)| {
            let cores = kernel.cores(path, 16).into_iter();
            cores.map(move |core| kernel.source(path, Some(core)))
        })
        .fold(0xcbf2_9ce4_8422_2325, |hash, text| {
            text.bytes().fold(hash, add)
        })
}

/// Multiply-adds of one trial, at most: what a CPU driver does in a few hundredths of a second.
const MOST_MACS: u64 = 256_000_000;
/// Up to so many positions it is tried to let the threads of a layer share its depth.
pub(crate) const VECTOR_TRIED: usize = 64;
/// Timed runs after one that is not; the fastest counts.
const RUNS: usize = 3;

/// What one way to run a layer came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// How sums are formed.
    pub kernel: Arithmetic,
    /// How threads share them.
    pub sharing: Sharing,
    /// Whether it gave the integers of the definition's arithmetic: one that did not is never used.
    pub right: bool,
    /// What it took; zero on a device that cannot time.
    pub microseconds: f64,
}

/// What was found out on one device: for every shape, [`shape_name`], its trials, fastest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tuning {
    /// By the name of the shape.
    pub shapes: BTreeMap<String, Vec<Trial>>,
}

/// The batch that is tried for a layer: many images, but not too much work.
fn trial_shape(shape: &ConvShape) -> ConvShape {
    let each = shape.flops() / 2 / shape.batch as u64;
    let most = (MOST_MACS / each.max(1)).max(1) as usize;
    ConvShape {
        batch: match shape.batch <= most {
            true => shape.batch,
            false => 1 << most.ilog2(),
        },
        ..*shape
    }
}

/// The name under which a layer's trials are kept; layers that share it run alike.
pub fn shape_name(shape: &ConvShape, width: u32) -> String {
    let s = trial_shape(shape);
    format!(
        "{}x{}x{}x{} -> {}, {}x{}, stride {}, {}, {width} bits",
        s.batch,
        s.input_height,
        s.input_width,
        s.input_channels,
        s.output_channels,
        s.kernel_height,
        s.kernel_width,
        s.stride,
        s.padding_name()
    )
}

impl Tuning {
    /// The fastest way that gave the right integers, among those a layer allows.
    pub(crate) fn fastest(
        &self,
        shape: &ConvShape,
        width: u32,
        allowed: impl Fn(Candidate) -> bool,
    ) -> Option<Candidate> {
        let trials = self.shapes.get(&shape_name(shape, width))?;
        let found = trials
            .iter()
            .find(|t| t.right && allowed((t.kernel, t.sharing)));
        found.map(|t| (t.kernel, t.sharing))
    }

    /// Tries every shape of a model that is not known yet, and returns whether there were any.
    /// `tick` is called before each with its name.
    ///
    /// # Errors
    /// [`GpuError`] when the device fails meanwhile.
    pub async fn complete(
        &mut self,
        gpu: &Gpu,
        model: &PackedModel,
        batch: usize,
        mut tick: impl FnMut(&str),
    ) -> Result<bool, GpuError> {
        let mut new = false;
        for (layer, shape) in runs(model, batch) {
            let name = shape_name(&shape, layer.bits.next_power_of_two());
            if self.shapes.contains_key(&name) {
                continue;
            }
            tick(&name);
            let trials = try_all(gpu, &trial_shape(&shape), layer.bits).await?;
            self.shapes.insert(name, trials);
            new = true;
        }
        Ok(new)
    }
}

/// A layer of random codes, and where its outputs go.
struct Operands {
    x: Tensor,
    codes: Vec<u8>,
    table: Tensor,
}

impl Operands {
    fn new(gpu: &Gpu, shape: &ConvShape, bits: u32) -> Result<Self, GpuError> {
        let mut rng = Philox::new(1, 0);
        let x = Tensor::new(gpu, "x", &shape.x())?;
        let channels = shape.x()[3];
        let input = |i: usize, v: u32| match i % channels < shape.input_channels {
            true => v.cast_signed() - 127,
            false => 0,
        };
        let values: Vec<i32> = (0..x.len()).map(|i| input(i, rng.below(255))).collect();
        x.write(gpu, &values);
        let taps = shape.kernel_height * shape.kernel_width;
        let count = shape.output_channels * taps * shape.input_channels;
        // A sign, and exponents up to 2, so that every arithmetic is exact.
        let code = |v: u32| (((v & 1) << (bits - 1)) | ((v >> 1) % 3 % (1 << (bits - 1)))) as u8;
        let codes = (0..count).map(|_| code(rng.below(64))).collect();
        let table = Tensor::new(gpu, "table", &[2, shape.y()[3]])?;
        table.write(gpu, &vec![3; table.len()]);
        Ok(Self { x, codes, table })
    }

    /// A plan that runs the layer, and its outputs: sums that are shifted but not clamped.
    fn plan(
        &self,
        gpu: &Gpu,
        shape: &ConvShape,
        bits: u32,
        (arithmetic, sharing): Candidate,
    ) -> Result<(Plan, Tensor), GpuError> {
        let form = CodeShape::new(shape, bits, false, arithmetic);
        let w = Tensor::new(gpu, "codes", &form.codes(shape))?;
        w.write(gpu, &form.store(shape, &self.codes, bits));
        let y = Tensor::new(gpu, "y", &shape.y())?;
        let mut recording = Recording::new(gpu.path());
        recording.constant(&w.buffer);
        let operands = [&self.x, &w, &self.table];
        let how = (arithmetic, sharing, form);
        let limits = [i32::MIN, i32::MAX];
        packed_conv(&mut recording, "trial", shape, how, operands, limits, &y);
        Ok((gpu.plan(recording)?, y))
    }
}

/// Every arithmetic is tried, also those that this model's activations are too wide for: the trials
/// are kept for all models with a layer of this shape.
async fn try_all(gpu: &Gpu, shape: &ConvShape, bits: u32) -> Result<Vec<Trial>, GpuError> {
    let operands = Operands::new(gpu, shape, bits)?;
    let [batch, height, width, _] = shape.y();
    let few = batch * height * width <= VECTOR_TRIED;
    let mut trials = Vec::new();
    let mut definition = Vec::new();
    // The definition comes first; the others are held against it.
    for kernel in Arithmetic::ALL {
        for sharing in Sharing::ALL {
            if sharing == Sharing::Vector && !few {
                continue;
            }
            let (plan, y) = operands.plan(gpu, shape, bits, (kernel, sharing))?;
            plan.run(gpu, &[]);
            let got = y.read_integers(gpu).await?;
            if definition.is_empty() {
                definition.clone_from(&got);
            }
            let mut microseconds = f64::INFINITY;
            for _ in 0..RUNS {
                let timings = plan.profile(gpu, &[]).await?;
                let sum = timings.iter().map(|t| t.microseconds).sum();
                microseconds = microseconds.min(sum);
            }
            trials.push(Trial {
                kernel,
                sharing,
                right: got == definition,
                microseconds,
            });
        }
    }
    if gpu.has_timestamps() {
        trials.sort_by(|a, b| a.microseconds.total_cmp(&b.microseconds));
    } else {
        let usual = crate::infer::usual(gpu.path());
        let rank = |t: &Trial| {
            let vector = t.sharing == Sharing::Tile;
            (usual.iter().position(|k| *k == t.kernel), vector)
        };
        trials.sort_by_key(rank);
    }
    Ok(trials)
}
