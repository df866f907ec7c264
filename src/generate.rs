//! Making images with a trained variational auto-encoder: encoders and decoders of both networks,
//! each by itself.

use crate::data::{Augmentation, Images};
use crate::evaluate::{Evaluator, Memory};
use crate::gpu::{Gpu, GpuError, Plan, Pool};
use crate::loss::Likelihood;
use crate::model::Model;
use crate::recording::Recording;
use crate::rng::Philox;
use crate::tensor::{Tensor, pad4};

/// One of the two networks that share a model's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// On the weights as they are.
    HighPrecision,
    /// On their quantised values.
    LowPrecision,
}

impl Which {
    /// Both, as pictures show them.
    pub const BOTH: [Self; 2] = [Self::HighPrecision, Self::LowPrecision];

    /// Those that have learned, of HP and LP.
    pub fn of(learned: [bool; 2]) -> Vec<Self> {
        let all = Self::BOTH.into_iter().zip(learned);
        all.filter_map(|(which, learned)| learned.then_some(which))
            .collect()
    }

    /// HP or LP.
    pub fn name(self) -> &'static str {
        ["HP", "LP"][self as usize]
    }
}

/// `count` latents drawn from the prior N(0, 1): a function of the seed alone.
pub fn draw_latents(seed: u64, count: usize, latent: usize) -> Vec<Vec<f32>> {
    const STREAM: u64 = 5 << 32;
    let mut rng = Philox::new(seed, STREAM);
    let mut draw = || (0..latent).map(|_| rng.normal() as f32).collect();
    (0..count).map(|_| draw()).collect()
}

/// Mean absolute difference of the pixels of as many images of one size, in units of 1/255.
pub fn mean_difference(a: &Images, b: &Images) -> f64 {
    let pairs = a.pixels.iter().zip(&b.pixels);
    let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.pixels.len().max(1) as f64
}

/// An encoder and a decoder as plans, with what the last dispatch of each leaves.
struct Half {
    plan: Plan,
    output: Tensor,
}

/// A trained auto-encoder for batches of one size.
pub struct Generator<'g> {
    evaluator: Evaluator<'g>,
    /// Input of the decoders, (batch, padded latent).
    latents: Tensor,
    encoders: [Half; 2],
    decoders: [Half; 2],
    latent: usize,
    likelihood: Likelihood,
    batch: usize,
}

impl<'g> Generator<'g> {
    /// Compiles the plans; the weights are zero until [`Generator::set_weights`]. `None` for a
    /// classifier.
    ///
    /// # Errors
    /// [`GpuError`] when memory or a kernel is refused.
    pub fn new(gpu: &'g Gpu, model: Model, batch: usize) -> Result<Option<Self>, GpuError> {
        let (Some(latent), Some(likelihood)) = (model.latent(), model.likelihood) else {
            return Ok(None);
        };
        let memory = Memory::new(gpu, &model, batch, true)?;
        let latents = Tensor::new(gpu, "latents", &[batch, pad4(latent)])?;
        let mut pool = Pool::default();
        let mut half = |decode: bool, network: usize| -> Result<Half, GpuError> {
            let mut recording = Recording::new(gpu.path());
            let weights = memory.arenas_of(network);
            let output = if decode {
                memory.network.decode(&mut recording, &latents, weights)
            } else {
                let input = memory
                    .network
                    .prepare(&mut recording, &memory.inputs[0], model.input);
                memory.network.encode(&mut recording, &input, weights)
            };
            let plan = gpu.plan_in(recording, &mut pool)?;
            Ok(Half { plan, output })
        };
        let encoders = [half(false, 0)?, half(false, 1)?];
        let decoders = [half(true, 0)?, half(true, 1)?];
        Ok(Some(Self {
            evaluator: Evaluator::with_memory(gpu, model, batch, memory, pool)?,
            latents,
            encoders,
            decoders,
            latent,
            likelihood,
            batch,
        }))
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.evaluator.model()
    }

    /// Numbers of a latent.
    pub fn latent(&self) -> usize {
        self.latent
    }

    /// Sets the arena of weights, biases, intercepts and slopes.
    pub fn set_weights(&self, arena: &[f32]) {
        self.evaluator.set_weights(arena);
        self.evaluator.quantise();
    }

    /// Means of the posteriors of images: one latent each.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn encode(
        &mut self,
        which: Which,
        images: &Images,
    ) -> Result<Vec<Vec<f32>>, GpuError> {
        let all: Vec<u32> = (0..images.count() as u32).collect();
        let mut means = Vec::new();
        for part in all.chunks(self.batch) {
            self.evaluator
                .upload(images, part, |_| Augmentation::default());
            let half = &self.encoders[which as usize];
            half.plan.run(self.evaluator.gpu, &[]);
            let posterior = half.output.read(self.evaluator.gpu).await?;
            let rows = posterior.chunks(posterior.len() / self.batch);
            means.extend(rows.take(part.len()).map(|row| row[..self.latent].to_vec()));
        }
        Ok(means)
    }

    /// Means of the pixels that latents stand for, as bytes (height, width, channels); the labels
    /// are zero.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn decode(&self, which: Which, latents: &[Vec<f32>]) -> Result<Images, GpuError> {
        let [height, width, channels] = self.model().input;
        let mut images = Images {
            height,
            width,
            channels,
            ..Images::default()
        };
        let pixel = self.evaluator.memory.channels();
        let row = pad4(self.latent);
        for part in latents.chunks(self.batch) {
            let mut upload = vec![0.0; self.batch * row];
            for (target, latent) in upload.chunks_mut(row).zip(part) {
                target[..self.latent].copy_from_slice(latent);
            }
            self.latents.write(self.evaluator.gpu, &upload);
            let half = &self.decoders[which as usize];
            half.plan.run(self.evaluator.gpu, &[]);
            let values = half.output.read(self.evaluator.gpu).await?;
            let used = values.len() / self.batch * part.len();
            for texels in values[..used].chunks(pad4(pixel)) {
                let bytes = texels[..pixel].iter().map(|v| self.likelihood.byte(*v));
                images.pixels.extend(bytes);
            }
            images.labels.extend(vec![0; part.len()]);
        }
        Ok(images)
    }
}
