//! The trainer: one plan that teaches both networks of a step, one that tests them.
//!
//! L = CE(labels, HP) + λ_d CE(softmax(HP) as constants, LP) + λ_b Σ 2^bits + λ_w ½Σ‖w‖²
//!
//! With target bits N, a layer is left out of the third term while it uses at most 2^(N-1) - 1 exponents (two for N = 2). HP runs on the weights, LP on their
//! quantised values; both see every batch.
//!
//! Of a variational auto-encoder HP minimises the negative evidence lower bound (Kingma, Welling
//! 2013, Eq. 10 with one sample), and λ_d weighs what LP learns of HP with the same noise:
//! CE(pixels of HP as constants, LP) + KL(q_LP(z|x) || q_HP(z|x)), both summed over an image.

mod check;
mod course;
mod error;
mod exchange;
mod memory;
mod options;
mod presets;
mod prices;
mod step;
mod testing;

pub use error::TrainError;
pub use options::{
    Decay, MAX_LATENT, MAX_SHARDS, Objective, Optimiser, Precision, QuantiserRate, StraightThrough,
    TrainOptions,
};

use crate::data::{Images, epoch_order};
use crate::evaluate::{Calibration, Evaluator, Predictions, Progress};
use crate::gpu::{Buffer, Gpu, GpuError, Plan, Pool, Timing};
use crate::graph::Model;
use crate::model::Parameters;
use crate::optimiser::Schedule;
use crate::ranks::{Communicator, Lonely};
use crate::recording::{Exchange, Recording};
use crate::tensor::Tensor;
use exchange::Exchanger;
use memory::{gradients_of, memory_of};
use step::{adam_state, step_of};

/// Everything a run needs to continue as if it had never stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Steps done.
    pub step: u64,
    /// The arena of weights, biases, intercepts, slopes, γ and β.
    pub weights: Vec<f32>,
    /// Adam's first moment of the same, or the momentum of Muon and SGD; empty in a snapshot of the weights alone.
    pub first_moment: Vec<f32>,
    /// Adam's second moment of the same.
    pub second_moment: Vec<f32>,
    /// Running statistics of the batch normalisations of HP and LP.
    pub running: [Vec<f32>; 2],
    /// Running totals of the epoch: HP (2, 4) and LP (2, 4).
    pub totals: Vec<f32>,
}

impl Snapshot {
    /// Forgets what only going on needs: moments and totals.
    pub fn keep_weights_alone(&mut self) {
        self.first_moment.clear();
        self.second_moment.clear();
        self.totals.clear();
    }

    /// Whether training can go on from it.
    pub fn is_whole(&self) -> bool {
        !self.first_moment.is_empty()
    }
}

/// Records a training step without making a plan of it: for looking at its products.
///
/// # Errors
/// [`TrainError`] for options that make no sense and for parameters that the device has no memory for.
pub fn record_step(
    gpu: &Gpu,
    model: &Model,
    options: &TrainOptions,
) -> Result<Recording, TrainError> {
    options.check(options.batch_size)?;
    let memory = memory_of(gpu, model, options, 0..options.shards)?;
    let layout = &memory.parameters.layout;
    let [first, second] = ["first moment", "second moment"].map(|label| layout.tensor(label));
    let gradients = gradients_of(layout, options);
    let state = adam_state(&memory, [&first, &second], options);
    Ok(step_of(
        options.objective,
        gpu.path(),
        options,
        &memory,
        &gradients,
        &state,
    ))
}

/// The parameters that a run begins with. Where Muon keeps weights at a norm, the scales that a quantiser learns begin with
/// those that fit that norm.
pub(crate) fn initial(model: &Model, parameters: &Parameters, options: &TrainOptions) -> Vec<f32> {
    let mut arena = parameters.initial(options.seed);
    if options.optimiser == Optimiser::Muon && !model.quantiser.is_gtc() {
        let mut running = [parameters.initial_running(), parameters.initial_running()];
        parameters.bring_to_norm(model, &mut arena, &mut running);
    }
    arena
}

/// Trains one model on one device.
pub struct Trainer<'g> {
    evaluator: Evaluator<'g>,
    options: TrainOptions,
    first_moment: Tensor,
    second_moment: Tensor,
    gradients: Tensor,
    plan: Plan,
    /// The step before LP joins, where it joins later.
    alone: Option<Plan>,
    exchanger: Exchanger<'g>,
    /// How the device failed in a step that could not be waited for.
    failure: Option<GpuError>,
    order: Vec<u32>,
    step: u64,
    images: usize,
}

impl<'g> Trainer<'g> {
    /// Compiles the plans for a model and the images that it will learn from, with fresh parameters.
    ///
    /// # Errors
    /// [`TrainError`] for images or labels that do not fit the model, options that make no sense, a batch that is
    /// too large (with one that fits) or a device that fails.
    pub fn new(
        gpu: &'g Gpu,
        model: Model,
        images: &Images,
        options: TrainOptions,
    ) -> Result<Self, TrainError> {
        Self::with_ranks(gpu, &Lonely, model, images, options)
    }

    /// The same as one of several processes that train together: each has the same model, images and options, works through its
    /// part of the shards, and ends with the same parameters.
    ///
    /// # Errors
    /// As [`Trainer::new`], and [`TrainError::BadOption`] where ranks cannot share the shards.
    pub fn with_ranks(
        gpu: &'g Gpu,
        ranks: &'g dyn Communicator,
        model: Model,
        images: &Images,
        options: TrainOptions,
    ) -> Result<Self, TrainError> {
        model.check_images(images)?;
        options.check_ranks(ranks.count())?;
        Self::fitting(gpu, ranks, model, images.count(), options)
    }

    /// The same for a number of images that are not at hand: to look at the plans.
    ///
    /// # Errors
    /// [`TrainError`] for options that make no sense, a batch that is too large (with one that fits) or a device
    /// that fails.
    pub fn for_count(
        gpu: &'g Gpu,
        model: Model,
        images: usize,
        options: TrainOptions,
    ) -> Result<Self, TrainError> {
        Self::fitting(gpu, &Lonely, model, images, options)
    }

    fn fitting(
        gpu: &'g Gpu,
        ranks: &'g dyn Communicator,
        model: Model,
        images: usize,
        options: TrainOptions,
    ) -> Result<Self, TrainError> {
        options.check(images)?;
        let compile = |options: &TrainOptions, twins: bool| {
            Self::compile(gpu, ranks, model.clone(), images, options.clone(), twins)
        };
        let mut error = match compile(&options, true) {
            Err(TrainError::Gpu(error)) if error.is_about_size() => error,
            result => return result,
        };
        // One network after the other needs less memory.
        if gpu.most_rows_of_twins() > 0 {
            gpu.forget_out_of_memory();
            error = match compile(&options, false) {
                Err(TrainError::Gpu(error)) if error.is_about_size() => error,
                result => return result,
            };
        }
        let (batch_size, shards) = (options.batch_size, options.shards);
        let smaller = |fits: usize| fits / 2 / shards * shards;
        let mut fits = smaller(batch_size);
        while fits > 0 {
            gpu.forget_out_of_memory();
            let options = TrainOptions {
                batch_size: fits,
                ..options.clone()
            };
            match compile(&options, false) {
                Err(TrainError::Gpu(error)) if error.is_about_size() => fits = smaller(fits),
                Err(error) => return Err(error),
                Ok(_) => {
                    return Err(TrainError::BatchTooLarge {
                        batch_size,
                        reason: error.shortage(),
                        fits,
                    });
                }
            }
        }
        Err(error.into())
    }

    fn compile(
        gpu: &'g Gpu,
        ranks: &'g dyn Communicator,
        model: Model,
        images: usize,
        options: TrainOptions,
        twins: bool,
    ) -> Result<Self, TrainError> {
        let batch = options.shard_size();
        let own = options.shards / ranks.count();
        let own = ranks.rank() * own..(ranks.rank() + 1) * own;
        let memory = memory_of(gpu, &model, &options, own)?;
        memory.write_spans(gpu);
        let parameters = &memory.parameters;
        let mut initial = initial(&model, parameters, &options);
        parameters.put_centres(&mut initial, options.centred_slopes);
        memory.weights.write(gpu, &initial);
        let arena = |label| parameters.layout.allocate(gpu, label);
        let (first_moment, second_moment) = (arena("first moment")?, arena("second moment")?);
        let both_gradients = gradients_of(&parameters.layout, &options);
        let gradients = both_gradients[0].clone();
        gradients.allocate(gpu)?;
        let state = adam_state(&memory, [&first_moment, &second_moment], &options);
        // First, because it needs the most: what follows fits into its working memory.
        let mut pool = Pool::default();
        let step = |objective| {
            let path = gpu.path();
            let step = step_of(objective, path, &options, &memory, &both_gradients, &state);
            if twins {
                step
            } else {
                step.one_after_the_other()
            }
        };
        let plan = gpu.plan_in(step(options.objective), &mut pool)?;
        let waits = options.objective == Objective::Gtc && options.lp_start > 0.0;
        let alone = match waits {
            true => Some(gpu.plan_in(step(Objective::Float), &mut pool)?),
            false => None,
        };
        let mut evaluator = Evaluator::with_memory(gpu, model, batch, memory, pool)?;
        if alone.is_some() || options.objective == Objective::Float {
            evaluator = evaluator.with_high_precision_alone()?;
        }
        Ok(Self {
            plan,
            alone,
            exchanger: Exchanger::new(gpu, ranks),
            failure: None,
            order: Vec::new(),
            step: 0,
            evaluator,
            options,
            first_moment,
            second_moment,
            gradients,
            images,
        })
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.evaluator.model()
    }

    /// Where the parameters lie.
    pub fn parameters(&self) -> &Parameters {
        self.evaluator.parameters()
    }

    /// The options.
    pub fn options(&self) -> &TrainOptions {
        &self.options
    }

    /// Changes learning rate and λ_bits while the run goes on.
    pub fn adjust(&mut self, learning_rate: f64, lambda_bits: f64) {
        self.options.learning_rate = learning_rate;
        self.options.lambda_bits = lambda_bits;
    }

    /// The working memory of the plans.
    pub fn pool(&self) -> &Pool {
        self.evaluator.pool()
    }

    /// The dispatches of a training step, of one before LP joins, of quantising for a test, and of testing a batch.
    pub fn plans(&self) -> Vec<(&'static str, &Plan)> {
        let mut plans = vec![("training step", &self.plan)];
        plans.extend(
            self.alone
                .as_ref()
                .map(|plan| ("training step before LP joins", plan)),
        );
        plans.extend(self.evaluator.plans());
        plans
    }

    /// Whether LP has learned: it may join later than HP.
    pub fn has_low_precision(&self) -> bool {
        let last = self.step.max(1);
        self.options.low_precision_at(last, self.total_steps())
    }

    /// Which networks learn, HP and LP, as far as the run is.
    #[cfg(any(feature = "cli", target_arch = "wasm32"))]
    pub(crate) fn learned(&self) -> [bool; 2] {
        let trains_floats = self.options.objective.high_precision();
        [trains_floats, self.has_low_precision()]
    }

    /// The plan of the step that [`Trainer::next_batch`] went on to.
    fn plan(&self) -> &Plan {
        match &self.alone {
            Some(alone) if !self.has_low_precision() => alone,
            _ => &self.plan,
        }
    }

    /// The buffers that keep their content from step to step, each once.
    pub fn buffers(&self) -> Vec<Buffer> {
        let mut buffers: Vec<Buffer> = Vec::new();
        for buffer in self.plans().iter().flat_map(|(_, plan)| plan.buffers()) {
            if !buffer.is_transient() && !buffers.iter().any(|known| known.same(buffer)) {
                buffers.push(buffer.clone());
            }
        }
        buffers
    }

    /// Bytes of all buffers, working memory and texture copies included.
    pub fn memory_bytes(&self) -> u64 {
        let kept = self.buffers();
        let kept = kept.iter().map(|b| b.bytes() + b.texture_bytes());
        let working = self.pool().slabs();
        kept.sum::<u64>() + working.iter().flatten().sum::<u64>()
    }

    /// How many parts a batch is worked through in: several where one binding could not hold a tensor of
    /// all its images.
    pub fn parts(&self) -> usize {
        self.evaluator.memory.network.parts()
    }

    /// Steps done.
    pub fn steps_done(&self) -> u64 {
        self.step
    }

    /// Steps of an epoch; images that fill no batch are left for another epoch's order.
    pub fn steps_per_epoch(&self) -> u64 {
        (self.images / self.options.batch_size) as u64
    }

    /// Steps of the whole run.
    pub fn total_steps(&self) -> u64 {
        self.steps_per_epoch() * u64::from(self.options.epochs)
    }

    /// Uploads the next batch and returns the schedule of its step.
    fn next_batch(&mut self, images: &Images) -> Schedule {
        let per_epoch = self.steps_per_epoch();
        let within = (self.step % per_epoch) as usize;
        let epoch = (self.step / per_epoch) as u32;
        if within == 0 || self.order.is_empty() {
            self.order = epoch_order(self.options.seed, epoch, images.count());
        }
        let (batch, size) = (self.options.batch_size, self.options.shard_size());
        let done = self.step as f64 / self.total_steps().max(1) as f64;
        let (seed, augment) = (self.options.seed, self.options.augment(done));
        for (own, shard) in self.evaluator.memory.shards.own.clone().enumerate() {
            let first = within * batch + shard * size;
            let which = &self.order[first..first + size];
            self.evaluator
                .upload_shard(own, images, which, |i| augment.draw(seed, epoch, i));
        }
        self.step += 1;
        self.options.schedule(self.step, self.total_steps())
    }

    /// Learns from the next batch: uploads it and submits the plan. It waits for nothing but other ranks, if there are any. A
    /// device that fails is reported by [`Trainer::check`] and [`Trainer::progress`]; until then nothing more is learned.
    pub fn train_step(&mut self, images: &Images) {
        if self.failure.is_some() {
            return;
        }
        let schedule = self.next_batch(images);
        let schedule = bytemuck::bytes_of(&schedule);
        let exchange = |what: &Exchange| self.exchanger.run(what);
        let done = self.plan().run_with(self.evaluator.gpu, schedule, exchange);
        self.failure = done.err();
    }

    /// Reports a device, or another rank, that failed in [`Trainer::train_step`]. Ranks must ask before they tell each other
    /// anything else.
    ///
    /// # Errors
    /// What went wrong.
    pub fn check(&mut self) -> Result<(), GpuError> {
        self.failure.take().map_or(Ok(()), Err)
    }

    /// Learns from the next batch and returns the time of every dispatch.
    ///
    /// # Panics
    /// On one of several ranks.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn profile_step(&mut self, images: &Images) -> Result<Vec<Timing>, GpuError> {
        let schedule = self.next_batch(images);
        self.plan()
            .profile(self.evaluator.gpu, bytemuck::bytes_of(&schedule))
            .await
    }

    /// Waits for the steps submitted so far and reads how the epoch stands.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] when a loss is no number, [`GpuError::Lost`] when the device fails.
    pub async fn progress(&self) -> Result<Progress, TrainError> {
        if let Some(failure) = &self.failure {
            return Err(GpuError::Lost(failure.to_string()).into());
        }
        let (progress, broken) = self.evaluator.progress().await?;
        if broken > 0 {
            return Err(TrainError::NotFinite {
                step: self.step + 1 - broken,
            });
        }
        Ok(progress)
    }

    /// Sets the running totals to zero: at the start of an epoch.
    pub fn reset_totals(&self) {
        self.evaluator.set_totals(&[0.0; 16]);
    }

    /// Tests both networks on `images`, see [`Evaluator::test`]; before LP joins, and where floats alone learn, HP
    /// alone, with its predictions.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn test(
        &mut self,
        images: &Images,
        tick: impl FnMut(usize),
    ) -> Result<(Progress, Predictions), GpuError> {
        let last = usize::from(self.has_low_precision());
        if self.options.shards == 1 {
            return match last {
                1 => self.evaluator.test(images, tick).await,
                _ => self.evaluator.test_high_precision(images, tick).await,
            };
        }
        self.test_shards(images, last, tick).await
    }

    /// What the low-precision network makes of a batch, see [`Evaluator::calibrate`].
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn calibrate(&mut self, images: &Images) -> Result<Calibration, GpuError> {
        self.evaluator.calibrate(images).await
    }

    /// Reads the arena of weights, biases, intercepts, slopes, γ and β alone.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn weights(&self) -> Result<Vec<f32>, GpuError> {
        let gpu = self.evaluator.gpu;
        self.evaluator.memory.weights.read(gpu).await
    }

    /// Reads everything needed to continue later.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn snapshot(&self) -> Result<Snapshot, GpuError> {
        let gpu = self.evaluator.gpu;
        Ok(Snapshot {
            step: self.step,
            weights: self.evaluator.memory.weights.read(gpu).await?,
            first_moment: self.first_moment.read(gpu).await?,
            second_moment: self.second_moment.read(gpu).await?,
            running: [
                self.evaluator.memory.running[0].read(gpu).await?,
                self.evaluator.memory.running[1].read(gpu).await?,
            ],
            totals: self.evaluator.totals().await?,
        })
    }

    /// Continues from a snapshot of the same model.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        let gpu = self.evaluator.gpu;
        self.step = snapshot.step;
        self.order.clear();
        self.set_weights(&snapshot.weights);
        self.evaluator.set_running(&snapshot.running);
        self.first_moment.write(gpu, &snapshot.first_moment);
        self.second_moment.write(gpu, &snapshot.second_moment);
        self.evaluator.set_totals(&snapshot.totals);
    }

    /// Begins with the weights, levels and running statistics of another run of the same model; the
    /// schedule and Adam's moments start anew.
    pub fn start_from(&mut self, snapshot: &Snapshot) {
        let (mut weights, mut running) = (snapshot.weights.clone(), snapshot.running.clone());
        if self.options.optimiser == Optimiser::Muon {
            self.parameters()
                .bring_to_norm(self.model(), &mut weights, &mut running);
        }
        self.set_weights(&weights);
        self.evaluator.set_running(&running);
    }

    fn set_weights(&self, arena: &[f32]) {
        let mut arena = arena.to_vec();
        self.parameters()
            .put_centres(&mut arena, self.options.centred_slopes);
        self.evaluator.set_weights(&arena);
    }

    /// The arena of gradients of the last step.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn gradients(&self) -> Result<Vec<f32>, GpuError> {
        self.gradients.read(self.evaluator.gpu).await
    }
}
