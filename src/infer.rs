//! Packed models on a device: integers in, the same integers out on every adapter (`docs/FORMAT.md`, What is computed).

use crate::data::Images;
use crate::gpu::{Buffer, Gpu, GpuError, Path, Plan, Pool};
use crate::graph::INPUT;
use crate::model::{check_positions, uses_rows};
use crate::op::integers::{stored, table};
use crate::op::{Arithmetic, CodeShape, ConvShape, Sharing, packed_conv, packed_im2col};
use crate::pack::{Activations, BoundStep, PackedLayer, PackedModel, bind};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};
use crate::tune::{self, Tuning};

/// Up to so many positions the threads of a layer share its depth, where nothing was measured.
const VECTOR_UNMEASURED: usize = 16;

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
    match path.backend().dot4_is_fast {
        true => [Arithmetic::Dot4, Arithmetic::Float, Arithmetic::Shift],
        false => [Arithmetic::Float, Arithmetic::Dot4, Arithmetic::Shift],
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
    path: Path,
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
            && (sharing == Sharing::Tile || positions(shape) <= tune::VECTOR_TRIED)
    };
    let width = layer.bits.next_power_of_two();
    let measured = match basis {
        Basis::Usual => None,
        Basis::Measured(tuning) => tuning.fastest(shape, width, allowed),
        Basis::LeastCode => Some((forced.unwrap_or(Arithmetic::Shift), Sharing::Vector)),
    };
    let usual = || {
        let sharing = match positions(shape) <= VECTOR_UNMEASURED {
            true => Sharing::Vector,
            false => Sharing::Tile,
        };
        let ways = usual(path).map(|kernel| (kernel, sharing));
        let found = ways.into_iter().find(|way| allowed(*way));
        found.unwrap_or((Arithmetic::Shift, sharing))
    };
    Ok(measured.unwrap_or_else(usual))
}

/// The matrix products of a model with the geometry in which each runs on a batch.
pub(crate) fn runs(model: &PackedModel, batch: usize) -> Vec<(&PackedLayer, ConvShape)> {
    let network = model.network();
    let steps = bind(model, &network, batch);
    let product = |step: &BoundStep<'_>| {
        let layer = &model.layers[step.layer?];
        Some((layer, run_of(step)?.shape))
    };
    steps.iter().filter_map(product).collect()
}

/// How a product reads its input.
struct Run {
    /// The geometry in which it runs.
    shape: ConvShape,
    /// The convolution whose windows are its rows, if it reads the images as rows of windows.
    windows: Option<ConvShape>,
}

/// How a step runs, if it is a product.
fn run_of(step: &BoundStep<'_>) -> Option<Run> {
    let run = step.integers.product()?;
    let input = step.inputs[0];
    let whole = match run.input_height == input.height && run.input_width == input.width {
        true => run,
        // A dense layer: its windows are whole images.
        false => ConvShape {
            input_height: input.height,
            input_width: input.width,
            input_channels: input.channels,
            kernel_height: input.height,
            kernel_width: input.width,
            ..run
        },
    };
    let rows = step.step.inputs[0] == INPUT && uses_rows(&whole);
    Some(match rows {
        true => Run {
            shape: whole.as_rows(),
            windows: Some(whole),
        },
        false => Run {
            shape: run,
            windows: None,
        },
    })
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
        let steps = bind(&model, &network, batch);
        // Where a layer reads windows as rows, the images are uploaded without padding.
        let windows = steps
            .iter()
            .any(|step| run_of(step).is_some_and(|run| run.windows.is_some()));
        let pixel = if windows { channels } else { pad4(channels) };
        let input = Tensor::new(gpu, "input", &[pad4(batch * height * width * pixel)])?;
        let logits = Tensor::new(gpu, "logits", &stored(batch, network.output_shape()))?;
        let mut walk = Walk {
            path: gpu.path(),
            recording: Recording::new(gpu.path()),
            input: &input,
            padded: None,
            batch,
            image: network.input,
            values: vec![None; network.graph.nodes.len() + 1],
            choices: Vec::new(),
        };
        if !windows {
            let shape = [batch, height, width, pixel];
            walk.padded = Some(input.view(&shape));
        }
        let last = steps.last().map_or(INPUT, |step| step.step.output);
        for step in &steps {
            let y = match step.step.output == last {
                true => logits.clone(),
                false => Tensor::transient("activations", &stored(batch, step.output)),
            };
            walk.step(&model, step, wanted, &y)?;
            walk.values[step.step.output] = Some(y);
        }
        let Walk {
            recording, choices, ..
        } = walk;
        let mut pool = Pool::default();
        Ok(Self {
            plan: gpu.plan_in(recording, &mut pool)?,
            upload: vec![0; input.len()],
            gpu,
            model,
            batch,
            pool,
            input,
            channels: [channels, pixel],
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

    /// Bytes of all GPU memory in use: buffers, and the textures that hold copies of them.
    pub fn memory_bytes(&self) -> u64 {
        let lasting = self.plan.buffers().iter().filter(|b| !b.is_transient());
        let lasting: u64 = lasting
            .map(|b: &Buffer| b.bytes() + b.texture_bytes())
            .sum();
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
        let real = self.model.model.output_shape().channels;
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

/// A walk over a packed model that records its steps.
struct Walk<'a> {
    path: Path,
    recording: Recording,
    /// The images, as they are uploaded.
    input: &'a Tensor,
    /// The images with padded channels, once somebody reads them.
    padded: Option<Tensor>,
    /// Images.
    batch: usize,
    /// (height, width, channels)
    image: [usize; 3],
    /// The integers of every value of the graph that is computed already.
    values: Vec<Option<Tensor>>,
    choices: Vec<Choice>,
}

impl Walk<'_> {
    /// Records one step, which writes `y`.
    fn step(
        &mut self,
        model: &PackedModel,
        step: &BoundStep<'_>,
        wanted: (Option<Arithmetic>, Basis<'_>),
        y: &Tensor,
    ) -> Result<(), InferError> {
        let name = &step.step.node.name;
        if let (Some(run), Some(layer)) = (run_of(step), step.layer) {
            return self.product(model, step, (&run, &model.layers[layer]), wanted, y);
        }
        let mut x = Vec::new();
        for (value, shape) in step.step.inputs.iter().zip(&step.inputs) {
            let batch = y.shape[0];
            x.push(self.value(*value).view(&stored(batch, *shape)));
        }
        step.integers.record(&mut self.recording, name, &x, y);
        Ok(())
    }

    /// What a step reads.
    fn value(&mut self, value: usize) -> Tensor {
        if value != INPUT {
            let found = self.values[value].clone();
            return found.expect("steps come after what they read");
        }
        if self.padded.is_none() {
            let [height, width, channels] = self.image;
            let batch = self.batch;
            let shape = ConvShape {
                input_height: height,
                input_width: width,
                ..ConvShape::dense(batch, channels, channels)
            };
            let padded = Tensor::transient("padded images", &shape.x());
            packed_im2col(&mut self.recording, "input", &shape, self.input, &padded);
            self.padded = Some(padded);
        }
        self.padded.clone().unwrap_or_else(|| self.input.clone())
    }

    /// Records a matrix product in the arithmetic that suits it.
    fn product(
        &mut self,
        model: &PackedModel,
        step: &BoundStep<'_>,
        (run, weights): (&Run, &PackedLayer),
        wanted: (Option<Arithmetic>, Basis<'_>),
        y: &Tensor,
    ) -> Result<(), InferError> {
        let shape = &run.shape;
        let x = match &run.windows {
            Some(windows) if windows.rows_are_images() => self.input.clone(),
            Some(windows) => {
                let rows = Tensor::transient("rows", &shape.x());
                packed_im2col(&mut self.recording, "input", windows, self.input, &rows);
                rows
            }
            None => self.value(step.step.inputs[0]),
        };
        let (arithmetic, sharing) = choose(self.path, weights, model.activations, shape, wanted)?;
        self.choices.push(Choice {
            layer: weights.name.clone(),
            kernel: arithmetic,
            sharing: sharing.name(),
        });
        let codes = CodeShape::new(shape, weights.bits, weights.zero, arithmetic);
        let logical = match run.windows {
            Some(_) => *shape,
            None => logical_shape(shape, weights.shape),
        };
        let words = codes.store(&logical, &weights.codes, weights.bits);
        let w = self
            .recording
            .constant_of(&weights.name, &codes.codes(shape), &words);
        let outputs = pad4(weights.shape[0]);
        let table = self
            .recording
            .constant_of("table", &[2, outputs], &table(weights));
        let operands = [&x.view(&shape.x()), &w, &table];
        let how = (arithmetic, sharing, codes);
        let recording = &mut self.recording;
        packed_conv(
            recording,
            &weights.name,
            shape,
            how,
            operands,
            step.limits,
            &y.view(&shape.y()),
        );
        Ok(())
    }
}

/// A product's shape with the kernel and the inputs of its weights, which of a dense layer cover the image.
fn logical_shape(run: &ConvShape, [_, height, width, inputs]: [usize; 4]) -> ConvShape {
    ConvShape {
        kernel_height: height,
        kernel_width: width,
        input_channels: inputs,
        ..*run
    }
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
