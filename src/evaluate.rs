//! Testing: both networks of a model over a set of images.

use serde::{Deserialize, Serialize};

use crate::data::{Augmentation, Images};
use crate::gpu::{Gpu, GpuError, Plan, PlanBuilder, Pool, Readback};
use crate::layer::{ConvShape, Counter, TEST_NOISE, gaussian_kl, im2col, standard_normal};
use crate::loss::{LossOutputs, image_loss, metrics, softmax_cross_entropy};
use crate::model::{Inputs, LayerParameters, Mode, Model, Network, Parameters, Pass, Weights};
use crate::optimiser::Schedule;
use crate::quantiser::{Quantised, partial_len, quantiser_forward};
use crate::tensor::{Tensor, pad4};

/// Sums over the images seen since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of the loss that trains this network.
    pub loss: f64,
    /// Images whose label won; of an auto-encoder, the sum of KL(q || N(0, 1)) in nats.
    pub correct: f64,
    /// Sum of the cross entropy with the labels; of an auto-encoder, of the reconstruction loss with
    /// the images, in nats.
    pub label_loss: f64,
    /// Images.
    pub images: f64,
}

impl Totals {
    fn new(values: &[f32]) -> Self {
        let v: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
        Self {
            loss: v[0],
            correct: v[1],
            label_loss: v[2],
            images: v[3],
        }
    }

    /// Share of images whose label won.
    pub fn accuracy(&self) -> f64 {
        self.correct / self.images.max(1.0)
    }

    /// Mean loss that trains this network.
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1.0)
    }

    /// Mean KL(q || N(0, 1)) of an auto-encoder, in nats.
    pub fn mean_divergence(&self) -> f64 {
        self.correct / self.images.max(1.0)
    }

    /// Mean reconstruction loss of an auto-encoder, in nats summed over pixels.
    pub fn mean_reconstruction(&self) -> f64 {
        self.label_loss / self.images.max(1.0)
    }

    /// Mean negative evidence lower bound of an auto-encoder, in nats.
    pub fn negative_elbo(&self) -> f64 {
        self.mean_reconstruction() + self.mean_divergence()
    }

    /// Mean cross entropy with the labels.
    pub fn mean_label_loss(&self) -> f64 {
        self.label_loss / self.images.max(1.0)
    }
}

/// The levels of one layer as the device sees them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LayerBits {
    /// Largest exponent minus smallest plus one.
    pub range: u32,
    /// 1 + ⌈log2 range⌉
    pub bits: u32,
}

/// How the run stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// High-precision network.
    pub hp: Totals,
    /// Low-precision network.
    pub lp: Totals,
    /// One entry a layer.
    pub layers: Vec<LayerBits>,
}

impl Progress {
    /// Σ 2^bits
    pub fn bit_loss(&self) -> f64 {
        self.layers.iter().map(|l| f64::from(l.bits).exp2()).sum()
    }

    /// Mean of the layers' bits.
    pub fn mean_bits(&self) -> f64 {
        self.layers.iter().map(|l| f64::from(l.bits)).sum::<f64>() / self.layers.len().max(1) as f64
    }
}

/// What the low-precision network made of every test image.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// Most probable class.
    pub class: Vec<u8>,
    /// Probability of every class.
    pub probabilities: Vec<Vec<f32>>,
}

/// Memory that both testing and training use.
pub(crate) struct Memory {
    pub parameters: Parameters,
    pub inputs: Inputs,
    /// Weights, biases, γ, β, intercepts and slopes.
    pub weights: Tensor,
    /// Quantised weights.
    values: Tensor,
    /// (layers, 3, 4), see `shaders/levels.wgsl`
    levels: Tensor,
    /// Running statistics of the batch normalisations of HP and LP.
    pub running: [Tensor; 2],
    /// A bias for layers that have none.
    zeros: Tensor,
    /// HP (2, 4), LP (2, 4)
    totals: Tensor,
    /// Of HP and LP each: probabilities (batch, padded classes), or means of pixels (batch, stored
    /// pixels).
    pub probabilities: [Tensor; 2],
    pub network: Network,
    /// Whether LP's batch normalisations multiply by powers of two.
    round_norm: bool,
    model: Model,
    /// Of an auto-encoder, (batch, padded latent).
    noise: Option<Tensor>,
}

/// What a batch is made into before the networks run.
pub(crate) struct Batch {
    /// What the first layer reads.
    pub input: Tensor,
    /// Labels, or of an auto-encoder the images, laid out like its outputs.
    pub targets: Tensor,
}

/// What a network learns from.
#[derive(Clone, Copy)]
pub(crate) enum Teacher<'a> {
    /// Labels or images, and the prior.
    Data,
    /// What HP made of the batch.
    HighPrecision(&'a Pass),
}

impl Memory {
    pub(crate) fn new(
        gpu: &Gpu,
        model: &Model,
        batch: usize,
        round_norm: bool,
    ) -> Result<Self, GpuError> {
        let parameters = Parameters::new(model);
        let width = pad4(model.classes);
        let pixels: usize = model.input.iter().product();
        let widest = parameters.layers.iter().map(|l| pad4(l.shape[0])).max();
        let rows = |label| Tensor::new(gpu, label, &[batch, width]);
        let mut network = Network::new(model, batch);
        let noise = match model.latent() {
            Some(size) => Some(Tensor::new(gpu, "noise", &[batch, pad4(size)])?),
            None => None,
        };
        if let Some(noise) = &noise {
            network = network.with_noise(noise.clone());
        }
        let outputs = match model.latent() {
            Some(_) => network.output().iter().product::<usize>() / batch,
            None => width,
        };
        let outputs = |label| Tensor::new(gpu, label, &[batch, outputs]);
        let running = |label| {
            let tensor = Tensor::new(gpu, label, &[parameters.initial_running().len()])?;
            tensor.write(gpu, &parameters.initial_running());
            Ok::<_, GpuError>(tensor)
        };
        Ok(Self {
            inputs: Inputs {
                images: Tensor::new(gpu, "images", &[pad4(batch * pixels)])?,
                labels: rows("labels")?,
            },
            weights: parameters.layout.allocate(gpu, "weights")?,
            values: parameters.layout.allocate(gpu, "quantised")?,
            levels: Tensor::new(gpu, "levels", &[parameters.layers.len(), 3, 4])?,
            running: [running("HP running")?, running("LP running")?],
            zeros: Tensor::new(gpu, "zeros", &[widest.unwrap_or(4)])?,
            totals: Tensor::new(gpu, "totals", &[4, 4])?,
            probabilities: [outputs("HP probabilities")?, outputs("LP probabilities")?],
            network,
            parameters,
            round_norm,
            model: model.clone(),
            noise,
        })
    }

    /// Calls `record` with the places of every quantised layer.
    pub fn each_layer(&self, mut record: impl FnMut(usize, &str, &Quantised<'_>)) {
        for (i, layer) in self.parameters.layers.iter().enumerate() {
            let levels = Tensor {
                offset: 12 * i,
                shape: vec![3, 4],
                ..self.levels.clone()
            };
            let partial = pad4(partial_len(layer.stored_weights()));
            let quantised = Quantised {
                weights: &layer.weight_of(&self.weights),
                quantiser: &layer.quantiser_of(&self.weights),
                values: &layer.weight_of(&self.values),
                levels: &levels,
                partial: &Tensor::transient("partial", &[partial]),
                normalised: layer.has_norm(),
            };
            record(i, layer.name, &quantised);
        }
    }

    /// Records the quantiser's forward pass over all layers.
    pub fn quantise(&self, plan: &mut PlanBuilder<'_>) {
        self.each_layer(|_, name, layer| {
            quantiser_forward(plan, &format!("quantise {name}"), layer);
        });
    }

    /// What a network reads. 0 is HP, 1 is LP; they share biases.
    pub fn weights_of(&self, network: usize) -> Weights<'_> {
        Weights {
            name: ["HP", "LP"][network],
            weights: [&self.weights, &self.values][network],
            biases: &self.weights,
            running: &self.running[network],
            zeros: &self.zeros,
            round_norm: network == 1 && self.round_norm,
        }
    }

    /// Records what both networks read of a batch; an auto-encoder's noise counts from `noise`.
    pub fn prepare(&self, plan: &mut PlanBuilder<'_>, noise: Counter) -> Batch {
        let input = self.network.prepare(plan, &self.inputs);
        let Some(tensor) = &self.noise else {
            let targets = self.inputs.labels.clone();
            return Batch { input, targets };
        };
        standard_normal(plan, "noise", noise, tensor);
        let images = &self.inputs.images;
        let output = self.network.output();
        let targets = if self.channels() == 4 {
            images.view(&[output[0], images.len() / output[0]])
        } else {
            let [height, width, channels] = self.model.input;
            let shape = ConvShape {
                batch: output[0],
                input_height: height,
                input_width: width,
                input_channels: channels,
                ..ConvShape::dense(output[0], channels, channels)
            };
            let padded = Tensor::transient("padded images", &output);
            im2col(plan, "images", &shape, images, &padded);
            padded.view(&[output[0], padded.len() / output[0]])
        };
        Batch { input, targets }
    }

    /// Real numbers in a texel of an auto-encoder's outputs: all, or an image's channels.
    pub fn channels(&self) -> usize {
        let pixels: usize = self.model.input.iter().product();
        let output = self.network.output();
        match output.iter().product::<usize>() == output[0] * pixels {
            true => 4,
            false => self.model.input[2],
        }
    }

    /// Records the forward pass of one network on what [`Memory::prepare`] made, its loss and its
    /// totals. `network` is 0 for HP, 1 for LP; `scale` multiplies the gradient of the logits,
    /// which is returned.
    pub fn judge(
        &self,
        plan: &mut PlanBuilder<'_>,
        (network, mode): (usize, Mode),
        batch: &Batch,
        teacher: Teacher<'_>,
        scale: f32,
    ) -> (Pass, Tensor) {
        let weights = self.weights_of(network);
        let mut pass = self.network.forward(plan, &batch.input, weights, mode);
        let targets = match teacher {
            Teacher::Data => &batch.targets,
            Teacher::HighPrecision(_) => &self.probabilities[0],
        };
        let rows = targets.shape[0];
        let outcome = Tensor::transient("outcome", &[rows, 4]);
        let logits = pass.logits().view(&targets.shape);
        let d_logits = Tensor::transient("d_logits", &logits.shape);
        let outputs = LossOutputs {
            d_logits: &d_logits,
            probabilities: &self.probabilities[network],
            outcome: &outcome,
        };
        let label = format!("{} loss", weights.name);
        let labels = &self.inputs.labels;
        if let (Some(likelihood), Some(latent), Some(posterior)) = (
            self.model.likelihood,
            self.model.latent(),
            self.network.posterior(&pass),
        ) {
            let d_posterior = Tensor::transient("d_posterior", &posterior.shape);
            let divergence = Tensor::transient("divergence", &[rows, 4]);
            let teacher = match teacher {
                Teacher::Data => None,
                Teacher::HighPrecision(pass) => self.network.posterior(pass),
            };
            let operands = (posterior, teacher, labels);
            let made = [&d_posterior, &divergence];
            gaussian_kl(plan, &label, latent, operands, scale, made);
            let how = (likelihood, self.channels());
            let operands = [&logits, targets, &batch.targets, &divergence];
            image_loss(plan, &label, how, operands, scale, &outputs);
            pass.d_posterior = Some(d_posterior);
        } else {
            let operands = [&logits, targets, labels];
            let classes = self.network.classes();
            softmax_cross_entropy(plan, &label, classes, operands, scale, &outputs);
        }
        let totals = Tensor {
            offset: 8 * network,
            shape: vec![2, 4],
            ..self.totals.clone()
        };
        metrics(plan, &label, &outcome, &totals);
        (pass, d_logits)
    }
}

/// Numbers that pass through a trained low-precision network, from which scales are chosen.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    /// What goes into the first layer that is packed: normalised pixels; of an auto-encoder, samples
    /// of the posteriors.
    pub input: Vec<f32>,
    /// What every convolution and dense layer gives, after normalisation and ReLU.
    pub outputs: Vec<Vec<f32>>,
}

/// Tests a model, high and low precision, batch by batch.
pub struct Evaluator<'g> {
    pub(crate) gpu: &'g Gpu,
    pub(crate) memory: Memory,
    pool: Pool,
    model: Model,
    batch: usize,
    quantise_plan: Plan,
    test_plan: Plan,
    totals_readback: Readback,
    levels_readback: Readback,
    upload: Vec<f32>,
}

impl<'g> Evaluator<'g> {
    /// Compiles the plans; the weights are zero until [`Evaluator::set_weights`]. With `round_norm`
    /// the low-precision network multiplies by powers of two in its batch normalisations too.
    ///
    /// # Errors
    /// [`GpuError`] when memory or a kernel is refused.
    pub fn new(
        gpu: &'g Gpu,
        model: Model,
        batch: usize,
        round_norm: bool,
    ) -> Result<Self, GpuError> {
        let memory = Memory::new(gpu, &model, batch, round_norm)?;
        Self::with_memory(gpu, model, batch, memory, Pool::default())
    }

    pub(crate) fn with_memory(
        gpu: &'g Gpu,
        model: Model,
        batch: usize,
        memory: Memory,
        mut pool: Pool,
    ) -> Result<Self, GpuError> {
        let mut plan = PlanBuilder::new(gpu);
        memory.quantise(&mut plan);
        let quantise_plan = plan.finish_in(&mut pool)?;
        let mut plan = PlanBuilder::new(gpu);
        let input = memory.prepare(&mut plan, TEST_NOISE);
        for network in [0, 1] {
            memory.judge(&mut plan, (network, Mode::Test), &input, Teacher::Data, 0.0);
        }
        let test_plan = plan.finish_in(&mut pool)?;
        let pixels: usize = model.input.iter().product();
        Ok(Self {
            totals_readback: Readback::new(gpu, 16),
            levels_readback: Readback::new(gpu, 12 * memory.parameters.layers.len()),
            upload: vec![0.0; pad4(batch * pixels)],
            gpu,
            memory,
            pool,
            model,
            batch,
            quantise_plan,
            test_plan,
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Where the parameters lie.
    pub fn parameters(&self) -> &Parameters {
        &self.memory.parameters
    }

    /// The dispatches of quantising and of testing a batch.
    pub fn plans(&self) -> [(&'static str, &Plan); 2] {
        [
            ("quantise", &self.quantise_plan),
            ("test batch", &self.test_plan),
        ]
    }

    /// The working memory of the plans.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Sets the arenas of running statistics of HP and LP.
    pub fn set_running(&self, running: &[Vec<f32>; 2]) {
        for (tensor, values) in self.memory.running.iter().zip(running) {
            tensor.write(self.gpu, values);
        }
    }

    /// Sets the arena of weights, biases, γ, β, intercepts and slopes.
    pub fn set_weights(&self, arena: &[f32]) {
        self.memory.weights.write(self.gpu, arena);
    }

    /// Quantises the weights as they are now.
    pub(crate) fn quantise(&self) {
        self.quantise_plan.run(self.gpu, &[]);
    }

    /// Uploads a batch; `augment` says what happens to an image before.
    pub(crate) fn upload(
        &mut self,
        images: &Images,
        which: &[u32],
        augment: impl Fn(u32) -> Augmentation,
    ) {
        let pixels: usize = self.model.input.iter().product();
        let width = pad4(self.model.classes);
        self.upload.fill(0.0);
        let mut labels = vec![0.0f32; self.batch * width];
        for (row, &i) in which.iter().enumerate() {
            let target = &mut self.upload[row * pixels..(row + 1) * pixels];
            let image = self
                .model
                .scaling
                .apply(images.image(i as usize), images.channels);
            augment(i).apply(&image, images.size(), target);
            labels[row * width + usize::from(images.labels[i as usize])] = 1.0;
        }
        self.memory.inputs.images.write(self.gpu, &self.upload);
        self.memory.inputs.labels.write(self.gpu, &labels);
    }

    pub(crate) async fn totals(&self) -> Result<Vec<f32>, GpuError> {
        let totals = &self.memory.totals;
        self.totals_readback
            .read(self.gpu, &totals.buffer, totals.offset)
            .await
    }

    pub(crate) fn set_totals(&self, totals: &[f32]) {
        self.memory.totals.write(self.gpu, totals);
    }

    /// Waits for what was submitted and reads totals and levels, with the number of batches whose
    /// loss was not finite.
    pub(crate) async fn progress(&self) -> Result<(Progress, u64), GpuError> {
        let totals = self.totals().await?;
        let levels = &self.memory.levels;
        let levels = self
            .levels_readback
            .read(self.gpu, &levels.buffer, levels.offset)
            .await?;
        let layers = levels.chunks(12).map(|l| LayerBits {
            range: l[2] as u32,
            bits: l[3] as u32,
        });
        let progress = Progress {
            hp: Totals::new(&totals[0..4]),
            lp: Totals::new(&totals[8..12]),
            layers: layers.collect(),
        };
        Ok((progress, totals[4].max(totals[12]) as u64))
    }

    /// What the low-precision network makes of the first batch of `images`, layer by layer.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn calibrate(&mut self, images: &Images) -> Result<Calibration, GpuError> {
        let which: Vec<u32> = (0..images.count().min(self.batch) as u32).collect();
        self.upload(images, &which, |_| Augmentation::default());
        let kept = self.totals().await?;
        self.quantise_plan.run(self.gpu, &[]);
        let schedule = Schedule::default().with_noise(1.0, 0, 0);
        let schedule = bytemuck::bytes_of(&schedule);
        let trace = self.test_plan.trace(self.gpu, schedule).await?;
        self.set_totals(&kept);
        let pixels: usize = self.model.input.iter().product();
        let found = |name: &str| {
            let found = trace.iter().find(|(label, _)| label == name);
            let values = found.map_or(&[][..], |(_, outputs)| &outputs[0]);
            values[..values.len() / self.batch * which.len()].to_vec()
        };
        let output = |layer: &LayerParameters| {
            let kernel = match layer.has_norm() {
                true => "norm_forward",
                false => "conv_forward",
            };
            found(&format!("LP {} {kernel}", layer.name))
        };
        let layers = self.memory.parameters.layers.iter();
        Ok(Calibration {
            input: match self.model.latent() {
                Some(_) => found("LP latent reparameterise_forward"),
                None => self.upload[..which.len() * pixels].to_vec(),
            },
            outputs: layers.map(output).collect(),
        })
    }

    /// Lets the running statistics of LP's batch normalisations follow `batches` batches of `images`,
    /// from the first on and around, and returns their arena. `tick` is called after every batch with
    /// the number of images done.
    ///
    /// # Errors
    /// [`GpuError`] when memory is refused or the device fails meanwhile.
    pub async fn settle(
        &mut self,
        images: &Images,
        batches: usize,
        mut tick: impl FnMut(usize),
    ) -> Result<Vec<f32>, GpuError> {
        let kept = self.totals().await?;
        let mut plan = PlanBuilder::new(self.gpu);
        let batch = self.memory.prepare(&mut plan, TEST_NOISE);
        let lp = (1, Mode::Train);
        self.memory.judge(&mut plan, lp, &batch, Teacher::Data, 0.0);
        let plan = plan.finish_in(&mut self.pool)?;
        self.quantise_plan.run(self.gpu, &[]);
        for number in 0..batches {
            let first = number * self.batch;
            let which = (first..first + self.batch).map(|i| (i % images.count()) as u32);
            self.upload(images, &which.collect::<Vec<_>>(), |_| {
                Augmentation::default()
            });
            plan.run(self.gpu, &[]);
            // Reading waits, so that batches do not pile up.
            self.totals().await?;
            tick(first + self.batch);
        }
        self.set_totals(&kept);
        self.memory.running[1].read(self.gpu).await
    }

    /// Tests both networks on `images`; running totals are kept. There are no predictions of an
    /// auto-encoder. `tick` is called after every
    /// batch with the number of images done.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn test(
        &mut self,
        images: &Images,
        mut tick: impl FnMut(usize),
    ) -> Result<(Progress, Predictions), GpuError> {
        let kept = self.totals().await?;
        self.set_totals(&[0.0; 16]);
        self.quantise_plan.run(self.gpu, &[]);
        let mut predictions = Predictions::default();
        let all: Vec<u32> = (0..images.count() as u32).collect();
        let width = pad4(self.model.classes);
        for (number, which) in all.chunks(self.batch).enumerate() {
            self.upload(images, which, |_| Augmentation::default());
            // An auto-encoder meets the same noise in every test.
            let schedule = Schedule::default().with_noise(1.0, 0, number as u64);
            self.test_plan.run(self.gpu, bytemuck::bytes_of(&schedule));
            if self.model.likelihood.is_some() {
                tick(number * self.batch + which.len());
                continue;
            }
            let probabilities = self.memory.probabilities[1].read(self.gpu).await?;
            for row in probabilities.chunks(width).take(which.len()) {
                let row = &row[..self.model.classes];
                let best =
                    (0..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
                predictions.class.push(best as u8);
                predictions.probabilities.push(row.to_vec());
            }
            tick(predictions.class.len());
        }
        let (progress, _) = self.progress().await?;
        self.set_totals(&kept);
        Ok((progress, predictions))
    }
}
