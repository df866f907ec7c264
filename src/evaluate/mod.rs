//! Testing: both networks of a model over a set of images.

mod memory;
mod results;

pub(crate) use memory::{Batch, Memory, Teacher};
pub use results::{LayerBits, Predictions, Progress, Tested, Totals};

use std::ops::Range;

use crate::data::{Augmentation, Images, mix_up, smooth};
use crate::gpu::{Gpu, GpuError, Plan, Pool, Readback};
use crate::graph::{INPUT, Value};
use crate::loss::Lesson;
use crate::model::{Mode, Model, Network, Parameters, PartedTensor, Pass};
use crate::op::{TEST_NOISE, standard_normal};
use crate::optimiser::Schedule;
use crate::recording::Recording;
use crate::rng::Philox;
use crate::tensor::{Tensor, pad4};

/// Numbers that pass through a trained low-precision network, from which units are chosen.
#[derive(Clone, Debug, Default)]
pub struct Calibration {
    /// What every value of the packed graph (of an auto-encoder, of its decoder) was for some images, with the padding of
    /// channels; the index is the value's number. The first value holds normalised pixels, or of an auto-encoder samples of the
    /// posteriors and of the prior. Values that nobody stores are empty.
    pub values: Vec<Vec<f32>>,
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
    /// Tests HP alone, where LP joins a run later.
    hp_test_plan: Option<Plan>,
    totals_readback: Readback,
    levels_readback: Readback,
    upload: Vec<f32>,
}

/// One network with every value kept, see [`Evaluator::trace`].
#[cfg(not(target_arch = "wasm32"))]
pub(crate) struct Tracer {
    network: Network,
    pass: Pass,
    plan: Plan,
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

    /// The same, ready to test HP alone.
    pub(crate) fn with_high_precision_alone(mut self) -> Result<Self, GpuError> {
        self.hp_test_plan = Some(test_plan(self.gpu, &self.memory, &mut self.pool, 0..1)?);
        Ok(self)
    }

    pub(crate) fn with_memory(
        gpu: &'g Gpu,
        model: Model,
        batch: usize,
        memory: Memory,
        mut pool: Pool,
    ) -> Result<Self, GpuError> {
        let mut recording = Recording::new(gpu.path());
        memory.quantise(&mut recording);
        let quantise_plan = gpu.plan_in(recording, &mut pool)?;
        let test_plan = test_plan(gpu, &memory, &mut pool, 0..2)?;
        let pixels: usize = model.input.iter().product();
        Ok(Self {
            totals_readback: Readback::new(gpu, 16),
            levels_readback: Readback::new(gpu, 12 * memory.parameters.quantised().count()),
            upload: vec![0.0; pad4(batch * pixels)],
            gpu,
            memory,
            pool,
            model,
            batch,
            quantise_plan,
            test_plan,
            hp_test_plan: None,
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
    pub fn plans(&self) -> Vec<(&'static str, &Plan)> {
        let mut plans = vec![
            ("quantise", &self.quantise_plan),
            ("test batch", &self.test_plan),
        ];
        plans.extend(
            self.hp_test_plan
                .as_ref()
                .map(|plan| ("test batch, HP alone", plan)),
        );
        plans
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
        self.upload_shard(0, images, which, augment);
    }

    /// The same for a shard of this process.
    pub(crate) fn upload_shard(
        &mut self,
        own: usize,
        images: &Images,
        which: &[u32],
        augment: impl Fn(u32) -> Augmentation,
    ) {
        let pixels: usize = self.model.input.iter().product();
        let width = pad4(self.model.classes);
        self.upload.fill(0.0);
        let mut labels = vec![0.0f32; self.batch * width];
        let augmentations: Vec<_> = which.iter().map(|i| augment(*i)).collect();
        for (row, (&i, augmentation)) in which.iter().zip(&augmentations).enumerate() {
            let target = &mut self.upload[row * pixels..(row + 1) * pixels];
            let image = augmentation.recolour(images.image(i as usize), images.channels);
            let image = self.model.scaling.apply(&image, images.channels);
            augmentation.apply(&image, images.size(), target);
            labels[row * width + usize::from(images.labels[i as usize])] = 1.0;
        }
        let shares: Option<Vec<f32>> = augmentations.iter().map(|drawn| drawn.share).collect();
        if let Some(shares) = &shares {
            mix_up(&mut self.upload, pixels, shares);
        }
        let inputs = &self.memory.inputs[own];
        if let Some(targets) = &inputs.targets {
            let mut soft = labels.clone();
            if let Some(shares) = &shares {
                mix_up(&mut soft, width, shares);
            }
            for (row, drawn) in soft.chunks_mut(width).zip(&augmentations) {
                smooth(&mut row[..self.model.classes], drawn.label_smoothing);
            }
            targets.write(self.gpu, &soft);
        }
        // The label of a mixed image is that of its larger part.
        if let Some(shares) = &shares {
            let halves: Vec<f32> = shares.iter().map(|share| share.round()).collect();
            mix_up(&mut labels, width, &halves);
        }
        inputs.images.write(self.gpu, &self.upload);
        inputs.labels.write(self.gpu, &labels);
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
        self.progress_of(&totals).await
    }

    /// The same from totals that are known.
    pub(crate) async fn progress_of(&self, totals: &[f32]) -> Result<(Progress, u64), GpuError> {
        let levels = &self.memory.levels;
        let levels = self
            .levels_readback
            .read(self.gpu, &levels.buffer, levels.offset)
            .await?;
        // Whole ones: where no layer is quantised, a read gives one number all the same.
        let layers = levels.chunks_exact(12).map(|l| LayerBits {
            range: l[2] as u32,
            bits: l[3] as u32,
        });
        let progress = Progress {
            hp: Totals::new(&totals[0..4]),
            lp: Totals::new(&totals[8..12]),
            layers: layers.collect(),
            not_finite: [totals[4] as u64, totals[12] as u64],
        };
        let lost = progress.not_finite[0].max(progress.not_finite[1]);
        Ok((progress, lost))
    }

    /// What the low-precision network makes of the first batch of `images`, value by value, and its decoder
    /// of as many latents of the prior, which lie further out than those of images.
    ///
    /// # Errors
    /// [`GpuError`] when memory is refused or the device fails meanwhile.
    pub async fn calibrate(&mut self, images: &Images) -> Result<Calibration, GpuError> {
        self.values_of(1, images).await
    }

    /// The name of the first node whose numbers are infinite or not numbers in the first batch of `images`, in network
    /// `network` (0: HP, 1: LP), if there is one. A ReLU makes zero of what is not a number, so that nothing may show in
    /// the outputs.
    ///
    /// # Errors
    /// [`GpuError`] when memory is refused or the device fails meanwhile.
    pub async fn first_not_finite(
        &mut self,
        network: usize,
        images: &Images,
    ) -> Result<Option<String>, GpuError> {
        let values = self.values_of(network, images).await?.values;
        let last = self.model.graph.output() + 1;
        let first = last - values.len();
        let broken = |values: &Vec<f32>| values.iter().any(|v| !v.is_finite());
        let at = values.iter().position(broken).map(|at| first + at);
        Ok(at.map(|value| match value {
            INPUT => "the images".to_owned(),
            value => self.model.graph.nodes[value - 1].name.clone(),
        }))
    }

    /// What network `network` makes of the first batch of `images`, see [`Evaluator::calibrate`].
    async fn values_of(
        &mut self,
        network: usize,
        images: &Images,
    ) -> Result<Calibration, GpuError> {
        let used = network;
        let sample = images.sample();
        let which: Vec<u32> = (0..images.count().min(self.batch)).map(sample).collect();
        self.upload(images, &which, |_| Augmentation::default());
        self.quantise_plan.run(self.gpu, &[]);
        // No fusion, so that every value is there to be read.
        let mut network = Network::unfused(&self.model, self.batch).in_parts_for(self.gpu);
        if let Some(noise) = self.memory.noise() {
            network = network.with_noise(noise);
        }
        let weights = self.memory.arenas_of(used);
        let mut recording = Recording::new(self.gpu.path());
        if let Some(noise) = self.memory.noise() {
            standard_normal(&mut recording, "noise", TEST_NOISE, noise);
        }
        let input = network.prepare(&mut recording, &self.memory.inputs[0], self.model.input);
        let pass = network.forward_keeping(&mut recording, &input, weights);
        let plan = self.gpu.plan_in(recording, &mut self.pool)?;
        let schedule = Schedule::default().with_noise(1.0, 0, 0);
        plan.run(self.gpu, bytemuck::bytes_of(&schedule));
        let latent = self.model.graph.latent();
        let first = latent.map_or(INPUT, |at| at + 1);
        let mut values = self
            .read_values(&network, &pass, first, which.len())
            .await?;
        if let Some(size) = self.model.latent() {
            let latents = self.draw_latents(size)?;
            let mut recording = Recording::new(self.gpu.path());
            let pass = network.decode_keeping(&mut recording, &latents, weights);
            self.gpu
                .plan_in(recording, &mut self.pool)?
                .run(self.gpu, &[]);
            let more = self.read_values(&network, &pass, first, self.batch).await?;
            for (values, more) in values.iter_mut().zip(more) {
                values.extend(more);
            }
        } else {
            let pixels: usize = self.model.input.iter().product();
            values[INPUT] = self.upload[..which.len() * pixels].to_vec();
        }
        Ok(Calibration { values })
    }

    /// A plan of one network that keeps every value.
    ///
    /// # Errors
    /// [`GpuError`] when memory or a kernel is refused.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn tracer(&mut self, number: usize) -> Result<Tracer, GpuError> {
        let network = Network::unfused(&self.model, self.batch).in_parts_for(self.gpu);
        let mut recording = Recording::new(self.gpu.path());
        let input = network.prepare(&mut recording, &self.memory.inputs[0], self.model.input);
        let pass = network.forward_keeping(&mut recording, &input, self.memory.arenas_of(number));
        let plan = self.gpu.plan_in(recording, &mut self.pool)?;
        Ok(Tracer {
            network,
            pass,
            plan,
        })
    }

    /// What a classifier's network makes of batch number `number` of `images`, from the first on and around: one value, as it is
    /// stored, with the padding of channels but for the images.
    ///
    /// # Errors
    /// [`GpuError`] when the device fails meanwhile.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) async fn trace(
        &mut self,
        tracer: &Tracer,
        value: Value,
        (images, number): (&Images, usize),
    ) -> Result<Vec<f32>, GpuError> {
        let first = number * self.batch;
        let which = (first..first + self.batch).map(images.sample());
        self.upload(images, &which.collect::<Vec<_>>(), |_| {
            Augmentation::default()
        });
        if value == INPUT {
            let pixels: usize = self.model.input.iter().product();
            return Ok(self.upload[..self.batch * pixels].to_vec());
        }
        self.quantise_plan.run(self.gpu, &[]);
        tracer
            .plan
            .run(self.gpu, bytemuck::bytes_of(&Schedule::default()));
        let stored = tracer.pass.value(tracer.network.place(value));
        match stored.and_then(PartedTensor::tensor) {
            Some(tensor) => tensor.read(self.gpu).await,
            None => Ok(Vec::new()),
        }
    }

    /// Latents of the prior for a batch, (batch, padded latent).
    fn draw_latents(&self, size: usize) -> Result<Tensor, GpuError> {
        let row = pad4(size);
        let latents = Tensor::new(self.gpu, "latents", &[self.batch, row])?;
        let mut drawn = vec![0.0; latents.len()];
        let mut rng = Philox::new(0, 0);
        for latent in drawn.chunks_mut(row) {
            latent[..size].fill_with(|| rng.normal() as f32);
        }
        latents.write(self.gpu, &drawn);
        Ok(latents)
    }

    /// The stored values of a pass from number `first` on, of the first `images` images.
    async fn read_values(
        &self,
        network: &Network,
        pass: &Pass,
        first: Value,
        images: usize,
    ) -> Result<Vec<Vec<f32>>, GpuError> {
        let mut values = Vec::new();
        for value in first..=self.model.graph.output() {
            let stored = pass
                .value(network.place(value))
                .and_then(PartedTensor::tensor);
            values.push(match stored {
                Some(tensor) => {
                    let mut numbers = tensor.read(self.gpu).await?;
                    numbers.truncate(numbers.len() / self.batch * images);
                    numbers
                }
                None => Vec::new(),
            });
        }
        Ok(values)
    }

    /// Lets the running statistics of a network's batch normalisations, HP's (0) or LP's (1), follow `batches` batches of
    /// `images`, from the first on and around, and returns their arena. `tick` is called after every batch with the number of
    /// images done.
    ///
    /// # Errors
    /// [`GpuError`] when memory is refused or the device fails meanwhile.
    pub async fn settle(
        &mut self,
        network: usize,
        images: &Images,
        batches: usize,
        mut tick: impl FnMut(usize),
    ) -> Result<Vec<f32>, GpuError> {
        let mut recording = Recording::new(self.gpu.path());
        let batch = [self.memory.prepare(&mut recording)];
        let which = (network, Mode::Train);
        let lesson = Lesson::plain(0.0);
        self.memory
            .judge(&mut recording, which, &batch, Teacher::Data, lesson);
        let plan = self.gpu.plan_in(recording, &mut self.pool)?;
        self.quantise_plan.run(self.gpu, &[]);
        let sample = images.sample();
        for number in 0..batches {
            let first = number * self.batch;
            let which = (first..first + self.batch).map(&sample);
            self.upload(images, &which.collect::<Vec<_>>(), |_| {
                Augmentation::default()
            });
            plan.run(self.gpu, &[]);
            // Reading waits, so that batches do not pile up.
            self.totals().await?;
            tick(first + self.batch);
        }
        self.memory.running[network].read(self.gpu).await
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
        tick: impl FnMut(usize),
    ) -> Result<(Progress, Predictions), GpuError> {
        self.test_on(images, 1, tick).await
    }

    /// The same for HP alone, whose predictions it returns.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub(crate) async fn test_high_precision(
        &mut self,
        images: &Images,
        tick: impl FnMut(usize),
    ) -> Result<(Progress, Predictions), GpuError> {
        self.test_on(images, 0, tick).await
    }

    /// Tests up to network number `last`, and returns its predictions.
    async fn test_on(
        &mut self,
        images: &Images,
        last: usize,
        tick: impl FnMut(usize),
    ) -> Result<(Progress, Predictions), GpuError> {
        let batches = 0..self.batches(images);
        let (totals, predictions) = self.test_part(images, last, batches, tick).await?;
        let (progress, _) = self.progress_of(&totals).await?;
        Ok((progress, predictions))
    }

    /// Batches of a test.
    pub(crate) fn batches(&self, images: &Images) -> usize {
        images.count().div_ceil(self.batch)
    }

    /// Tests on some batches up to network number `last`, and returns their totals and its predictions; running totals are kept.
    pub(crate) async fn test_part(
        &mut self,
        images: &Images,
        last: usize,
        batches: Range<usize>,
        mut tick: impl FnMut(usize),
    ) -> Result<(Vec<f32>, Predictions), GpuError> {
        let kept = self.totals().await?;
        self.set_totals(&[0.0; 16]);
        self.quantise_plan.run(self.gpu, &[]);
        let mut predictions = Predictions::default();
        let width = pad4(self.model.classes);
        for number in batches {
            let first = number * self.batch;
            let end = (first + self.batch).min(images.count());
            let which: Vec<u32> = (first as u32..end as u32).collect();
            self.upload(images, &which, |_| Augmentation::default());
            // An auto-encoder meets the same noise in every test.
            let schedule = Schedule::default().with_noise(1.0, 0, number as u64);
            let plan = match (last, &self.hp_test_plan) {
                (0, Some(plan)) => plan,
                _ => &self.test_plan,
            };
            plan.run(self.gpu, bytemuck::bytes_of(&schedule));
            if self.model.likelihood.is_some() {
                tick(end);
                continue;
            }
            let probabilities = self.memory.probabilities[0][last].read(self.gpu).await?;
            for row in probabilities.chunks(width).take(which.len()) {
                let row = &row[..self.model.classes];
                let best =
                    (0..row.len()).fold(0, |best, c| if row[c] > row[best] { c } else { best });
                predictions.class.push(best as u16);
                predictions.probabilities.push(row.to_vec());
            }
            tick(end);
        }
        let totals = self.totals().await?;
        self.set_totals(&kept);
        Ok((totals, predictions))
    }
}

/// Tests these networks on a batch.
fn test_plan(
    gpu: &Gpu,
    memory: &Memory,
    pool: &mut Pool,
    networks: Range<usize>,
) -> Result<Plan, GpuError> {
    let mut recording = Recording::new(gpu.path());
    let batches = [memory.prepare(&mut recording)];
    let judge = |recording: &mut Recording, network: usize| {
        if networks.contains(&network) {
            let (network, lesson) = ((network, Mode::Test), Lesson::plain(0.0));
            memory.judge(recording, network, &batches, Teacher::Data, lesson);
        }
    };
    recording.side_by_side(
        |recording| judge(recording, 0),
        |recording, ()| judge(recording, 1),
    );
    memory.count(&mut recording, &batches[0], networks);
    gpu.plan_in(recording, pool)
}
