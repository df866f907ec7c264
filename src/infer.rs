//! Packed models on a device: integers in, the same integers out on every adapter (SPEC section 5).

use crate::data::Images;
use crate::gpu::{Buffer, Gpu, GpuError, Path, Plan, PlanBuilder, Pool};
use crate::layer::{
    Arithmetic, CodeShape, ConvShape, PoolShape, Sharing, UpsampleShape, packed_conv,
    packed_im2col, packed_max_pool, packed_upsample,
};
use crate::model::{Layer, check_positions, shapes, uses_rows};
use crate::pack::{Activations, PackedLayer, PackedModel};
use crate::tensor::{Tensor, pad4};
use crate::tune::{self, Tuning};

/// Up to so many positions the threads of a layer share its depth, where nothing was measured.
const FEW_POSITIONS: usize = 16;

/// A way to run a layer.
pub(crate) type Candidate = (Arithmetic, Sharing);

/// Why a packed model does not run.
#[derive(Debug, thiserror::Error)]
pub enum InferError {
    /// An arithmetic was asked for in which a layer is not exact.
    #[error("layer '{layer}' cannot run with --kernel {kernel}: {reason}. Leave --kernel away.")]
    Unfit {
        /// The layer.
        layer: String,
        /// What was asked for.
        kernel: &'static str,
        /// What speaks against it.
        reason: String,
    },
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// How one layer runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Choice {
    /// The layer.
    pub layer: String,
    /// How its sums are formed.
    pub kernel: Arithmetic,
    /// How threads share them: `tile` or `vector`.
    pub sharing: &'static str,
}

/// Whether a layer's sums are exact in an arithmetic.
///
/// # Errors
/// What speaks against it.
pub fn fits(
    layer: &PackedLayer,
    activations: Activations,
    arithmetic: Arithmetic,
) -> Result<(), String> {
    match arithmetic {
        Arithmetic::Shift => Ok(()),
        _ if activations != Activations::Eight => {
            Err("its inputs are wider than 8 bits".to_owned())
        }
        _ if layer.span() > 6 => Err(format!(
            "its weights span {} exponents, and bytes hold 7",
            layer.span() + 1
        )),
        Arithmetic::Dot4 => Ok(()),
        Arithmetic::Float => match layer.bounds(activations.most()).0 {
            sum if sum < 1 << 24 => Ok(()),
            sum => Err(format!(
                "its sums may reach {sum}, and floats count to 2^24"
            )),
        },
    }
}

/// Arithmetics of a kind of device, fastest first, where nothing was measured.
pub(crate) fn usual(path: Path) -> [Arithmetic; 3] {
    match path {
        Path::Gpu => [Arithmetic::Dot4, Arithmetic::Float, Arithmetic::Shift],
        Path::CpuSampled | Path::CpuStorage | Path::CpuSubgroup => {
            [Arithmetic::Float, Arithmetic::Dot4, Arithmetic::Shift]
        }
    }
}

/// Positions of a layer's outputs.
fn positions(shape: &ConvShape) -> usize {
    shape.batch * shape.output_height() * shape.output_width()
}

/// What decides how layers run.
#[derive(Clone, Copy)]
enum Basis<'t> {
    /// What is usually the fastest.
    Usual,
    /// What was measured on this device.
    Measured(&'t Tuning),
    /// The time until the first answer: all layers share one kernel.
    LeastCode,
}

/// How a layer runs: as asked for, as measured, or as usual.
fn choose(
    gpu: &Gpu,
    layer: &PackedLayer,
    activations: Activations,
    shape: &ConvShape,
    (forced, basis): (Option<Arithmetic>, Basis<'_>),
) -> Result<Candidate, InferError> {
    let exact = |a: Arithmetic| fits(layer, activations, a);
    if let Some(kernel) = forced {
        exact(kernel).map_err(|reason| InferError::Unfit {
            layer: layer.name.clone(),
            kernel: kernel.name(),
            reason,
        })?;
    }
    let allowed = |(kernel, sharing): Candidate| {
        forced.is_none_or(|forced| forced == kernel)
            && exact(kernel).is_ok()
            && (sharing == Sharing::Tile || positions(shape) <= tune::FEW_POSITIONS)
    };
    let width = layer.bits.next_power_of_two();
    let measured = match basis {
        Basis::Usual => None,
        Basis::Measured(tuning) => tuning.fastest(shape, width, allowed),
        Basis::LeastCode => Some((forced.unwrap_or(Arithmetic::Shift), Sharing::Vector)),
    };
    let usual = || {
        let sharing = match positions(shape) <= FEW_POSITIONS {
            true => Sharing::Vector,
            false => Sharing::Tile,
        };
        let ways = usual(gpu.path()).map(|kernel| (kernel, sharing));
        let found = ways.into_iter().find(|way| allowed(*way));
        found.unwrap_or((Arithmetic::Shift, sharing))
    };
    Ok(measured.unwrap_or_else(usual))
}

/// The packed layers of a model with the geometry in which each runs on a batch.
pub(crate) fn runs(model: &PackedModel, batch: usize) -> Vec<(&PackedLayer, ConvShape)> {
    let network = model.network();
    let ops = shapes(&network, batch);
    let windows = uses_rows(&ops[0].1);
    let matrices = ops
        .into_iter()
        .enumerate()
        .filter(|(_, (layer, _))| layer.has_weights())
        .map(|(number, (layer, shape))| run_shape(layer, &shape, number == 0 && windows));
    model.layers.iter().zip(matrices).collect()
}

/// A packed model for batches of one size.
pub struct Inference<'g> {
    gpu: &'g Gpu,
    model: PackedModel,
    batch: usize,
    plan: Plan,
    pool: Pool,
    input: Tensor,
    /// Channels of the input, and as they are stored.
    channels: [usize; 2],
    /// (batch, height, width, stored channels)
    logits: Tensor,
    choices: Vec<Choice>,
    upload: Vec<i32>,
}

impl<'g> Inference<'g> {
    /// Compiles the plan. `kernel` forces an arithmetic, otherwise each layer takes what is usually
    /// the fastest on this kind of device among those in which it is exact.
    ///
    /// # Errors
    /// [`InferError`] when a layer is not exact in a forced arithmetic, or the device refuses.
    pub fn new(
        gpu: &'g Gpu,
        model: PackedModel,
        batch: usize,
        kernel: Option<Arithmetic>,
    ) -> Result<Self, InferError> {
        Self::compile(gpu, model, batch, (kernel, Basis::Usual))
    }

    /// [`Inference::new`] with the least code: all layers run in one kernel, made for few positions.
    /// Where kernels compile slowly its first answer comes sooner, and later ones take longer.
    ///
    /// # Errors
    /// As there.
    pub fn small(
        gpu: &'g Gpu,
        model: PackedModel,
        batch: usize,
        kernel: Option<Arithmetic>,
    ) -> Result<Self, InferError> {
        Self::compile(gpu, model, batch, (kernel, Basis::LeastCode))
    }

    /// [`Inference::new`] with what was measured on this very device.
    ///
    /// # Errors
    /// As there.
    pub fn tuned(
        gpu: &'g Gpu,
        model: PackedModel,
        batch: usize,
        kernel: Option<Arithmetic>,
        tuning: &Tuning,
    ) -> Result<Self, InferError> {
        Self::compile(gpu, model, batch, (kernel, Basis::Measured(tuning)))
    }

    fn compile(
        gpu: &'g Gpu,
        model: PackedModel,
        batch: usize,
        wanted: (Option<Arithmetic>, Basis<'_>),
    ) -> Result<Self, InferError> {
        let network = model.network();
        check_positions(&network, batch)?;
        let [height, width, channels] = network.input;
        let ops = shapes(&network, batch);
        let windows = uses_rows(&ops[0].1);
        let stored = if windows { channels } else { pad4(channels) };
        let input = Tensor::new(gpu, "input", &[pad4(batch * height * width * stored)])?;
        let outputs = runs(&model, batch).last().map(|(_, shape)| shape.y());
        let logits = Tensor::new(gpu, "logits", &outputs.unwrap_or_default())?;
        let mut plan = PlanBuilder::new(gpu);
        let mut packed = model.layers.iter();
        let mut choices = Vec::new();
        let mut x = input.clone();
        for (number, (layer, shape)) in ops.into_iter().enumerate() {
            let relu = match layer {
                Layer::MaxPool { size } => {
                    let shape = PoolShape {
                        batch,
                        input_height: shape.input_height,
                        input_width: shape.input_width,
                        channels: shape.input_channels,
                        size: *size,
                    };
                    let y = Tensor::transient("activations", &shape.y());
                    packed_max_pool(&mut plan, "pool", &shape, &x.view(&shape.x()), &y);
                    x = y;
                    continue;
                }
                Layer::Upsample { size } => {
                    let shape = UpsampleShape {
                        batch,
                        input_height: shape.input_height,
                        input_width: shape.input_width,
                        channels: shape.input_channels,
                        size: *size,
                    };
                    let y = Tensor::transient("activations", &shape.y());
                    packed_upsample(&mut plan, "upsample", &shape, &x.view(&shape.x()), &y);
                    x = y;
                    continue;
                }
                // The same numbers in the same places.
                Layer::Reshape { .. } => continue,
                Layer::Latent { .. } => unreachable!("decoders start after it"),
                Layer::Conv { relu, .. } | Layer::Dense { relu, .. } => *relu,
            };
            let Some(weights) = packed.next() else { break };
            let layer_shape = run_shape(layer, &shape, number == 0 && windows);
            if number == 0 && windows && !shape.rows_are_images() {
                let rows = Tensor::transient("rows", &layer_shape.x());
                packed_im2col(&mut plan, "input", &shape, &input, &rows);
                x = rows;
            }
            let [b, h, w, c] = layer_shape.y();
            let y = match weights.last {
                true => logits.clone(),
                false => Tensor::transient("activations", &[b, h, w, c]),
            };
            let (arithmetic, sharing) =
                choose(gpu, weights, model.activations, &layer_shape, wanted)?;
            choices.push(Choice {
                layer: weights.name.clone(),
                kernel: arithmetic,
                sharing: sharing.name(),
            });
            let codes = CodeShape::new(&layer_shape, weights.bits, weights.zero, arithmetic);
            let logical = if number == 0 && windows {
                &layer_shape
            } else {
                &shape
            };
            let words = codes.store(logical, &weights.codes, weights.bits);
            let w = constant(&mut plan, &weights.name, &codes.codes(&layer_shape), &words)?;
            let table = constant(&mut plan, "table", &[2, c], &table(weights, c))?;
            let most = model.most() as i32;
            let limits = match (weights.last, relu) {
                (true, _) => [i32::MIN, i32::MAX],
                (false, true) => [0, most],
                (false, false) => [-most, most],
            };
            let operands = [&x.view(&layer_shape.x()), &w, &table];
            let how = (arithmetic, sharing, codes);
            packed_conv(
                &mut plan,
                &weights.name,
                &layer_shape,
                how,
                operands,
                limits,
                &y,
            );
            x = y;
        }
        let mut pool = Pool::default();
        Ok(Self {
            plan: plan.finish_in(&mut pool)?,
            upload: vec![0; input.len()],
            gpu,
            model,
            batch,
            pool,
            input,
            channels: [channels, stored],
            logits,
            choices,
        })
    }

    /// The model.
    pub fn model(&self) -> &PackedModel {
        &self.model
    }

    /// How each layer runs.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// The dispatches of a batch.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Images or latents at a time.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Bytes of all GPU memory in use: buffers, and the textures that mirror them.
    pub fn memory_bytes(&self) -> u64 {
        let lasting = self.plan.buffers().iter().filter(|b| !b.is_transient());
        let lasting: u64 = lasting.map(|b: &Buffer| b.bytes() + b.mirror_bytes()).sum();
        lasting + self.pool.slabs().iter().flatten().sum::<u64>()
    }

    /// Puts a batch onto the device: what [`PackedModel::image_input`] makes of images of the model's
    /// size, or [`PackedModel::latent_input`] of latents of its size.
    pub fn upload(&mut self, inputs: impl Iterator<Item = Vec<i32>>) {
        let [channels, stored] = self.channels;
        for (row, input) in inputs.take(self.batch).enumerate() {
            let first = row * input.len() / channels;
            for (pixel, values) in input.chunks(channels).enumerate() {
                let at = (first + pixel) * stored;
                self.upload[at..at + channels].copy_from_slice(values);
            }
        }
        self.input.write(self.gpu, &self.upload);
    }

    /// Runs the uploaded batch.
    pub fn run(&self) {
        self.plan.run(self.gpu, &[]);
    }

    /// Waits and reads the logits of the first `count` inputs: one a class, or (height, width,
    /// channels) of an image.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn logits(&self, count: usize) -> Result<Vec<Vec<i32>>, GpuError> {
        let all = self.logits.read_integers(self.gpu).await?;
        let rows = all.chunks(all.len() / self.batch).take(count);
        let real = self.model.layers.last().map_or(0, |layer| layer.shape[0]);
        let stored = self.logits.shape[3];
        let logits = |row: &[i32]| {
            let pixels = row.chunks(stored);
            pixels.flat_map(|pixel| &pixel[..real]).copied().collect()
        };
        Ok(rows.map(logits).collect())
    }

    /// The logits that a classifier gives images, batch by batch; `tick` is called after each with
    /// the number done.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn infer(
        &mut self,
        images: &Images,
        tick: impl FnMut(usize),
    ) -> Result<Vec<Vec<i32>>, GpuError> {
        let input = |model: &PackedModel, i| model.image_input(images.image(i));
        self.in_batches(images.count(), input, tick).await
    }

    /// The logits that a decoder gives latents, which [`pictures`] makes images of; else as
    /// [`Inference::infer`].
    ///
    /// # Errors
    /// As there.
    pub async fn decode(
        &mut self,
        latents: &[Vec<f32>],
        tick: impl FnMut(usize),
    ) -> Result<Vec<Vec<i32>>, GpuError> {
        let input = |model: &PackedModel, i: usize| model.latent_input(&latents[i]);
        self.in_batches(latents.len(), input, tick).await
    }

    async fn in_batches(
        &mut self,
        count: usize,
        input: impl Fn(&PackedModel, usize) -> Vec<i32>,
        mut tick: impl FnMut(usize),
    ) -> Result<Vec<Vec<i32>>, GpuError> {
        let mut all = Vec::new();
        while all.len() < count {
            let range = all.len()..count.min(all.len() + self.batch);
            let inputs: Vec<Vec<i32>> = range.map(|i| input(&self.model, i)).collect();
            let part = inputs.len();
            self.upload(inputs.into_iter());
            self.run();
            all.extend(self.logits(part).await?);
            tick(all.len());
        }
        Ok(all)
    }
}

/// The geometry in which a layer runs: windows laid out as rows, images of a dense layer as one
/// pixel.
fn run_shape(layer: &Layer, shape: &ConvShape, rows: bool) -> ConvShape {
    if rows {
        shape.as_rows()
    } else if matches!(layer, Layer::Dense { .. }) {
        let inputs = shape.input_height * shape.input_width * pad4(shape.input_channels);
        ConvShape::dense(shape.batch, inputs, shape.output_channels)
    } else {
        *shape
    }
}

/// Biases and shifts (2, stored outputs).
fn table(layer: &PackedLayer, stored: usize) -> Vec<u32> {
    let mut table = vec![0; 2 * stored];
    for (o, (bias, shift)) in layer.bias.iter().zip(&layer.shift).enumerate() {
        table[o] = bias.cast_unsigned();
        table[stored + o] = shift.cast_unsigned();
    }
    table
}

fn constant(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    shape: &[usize],
    words: &[u32],
) -> Result<Tensor, GpuError> {
    let tensor = Tensor::new(plan.gpu(), label, shape)?;
    tensor.write(plan.gpu(), words);
    plan.constant(&tensor.buffer);
    Ok(tensor)
}

/// The pictures that logits of a decoder stand for: the means of their pixels. The labels are zero; there
/// are none of a classifier.
pub fn pictures(model: &PackedModel, logits: &[Vec<i32>]) -> Images {
    let [height, width, channels] = model.model.input;
    let mut images = Images {
        height,
        width,
        channels,
        ..Images::default()
    };
    if let Some(likelihood) = model.model.likelihood {
        let unit = f64::from(model.logit_scale()).exp2();
        let byte = |logit: &i32| likelihood.byte((f64::from(*logit) * unit) as f32);
        images.pixels = logits.iter().flatten().map(byte).collect();
        images.labels = vec![0; logits.len()];
    }
    images
}

/// The class with the largest logit.
pub fn best(logits: &[i32]) -> usize {
    (0..logits.len()).fold(0, |best, c| if logits[c] > logits[best] { c } else { best })
}

/// Probabilities of the classes; `scale` is log2 of the logits' unit.
pub fn probabilities(logits: &[i32], scale: i32) -> Vec<f64> {
    let unit = f64::from(scale).exp2();
    let largest = f64::from(logits.iter().copied().max().unwrap_or(0));
    let sizes: Vec<f64> = logits
        .iter()
        .map(|l| ((f64::from(*l) - largest) * unit).exp())
        .collect();
    let sum: f64 = sizes.iter().sum();
    sizes.iter().map(|s| s / sum).collect()
}
