//! The trainer: one plan that teaches both networks of a step, one that tests them.
//!
//! L = CE(labels, HP) + λ_d CE(softmax(HP) as constants, LP) + λ_b Σ 2^bits + λ_w ½Σ‖w‖²
//! (SPEC section 3). HP runs on the weights, LP on their quantised values; both see every batch.
//!
//! Of a variational auto-encoder HP minimises the negative evidence lower bound (Kingma, Welling
//! 2013, Eq. 10 with one sample), and λ_d weighs what LP learns of HP with the same noise:
//! CE(pixels of HP as constants, LP) + KL(q_LP(z|x) || q_HP(z|x)), both summed over an image.

use serde::{Deserialize, Serialize};

use crate::data::{Augment, Dataset, Images, epoch_order};
use crate::evaluate::{Calibration, Evaluator, Memory, Predictions, Progress, Teacher};
use crate::gpu::{Buffer, Gpu, GpuError, Plan, PlanBuilder, Pool, Timing, Trace};
use crate::layer::TRAINING_NOISE;
use crate::loss::Likelihood;
use crate::model::{LATENT, Mode, Model, ModelError, Parameters};
use crate::optimiser::{AdamState, Schedule, adam};
use crate::quantiser::quantiser_backward;
use crate::tensor::Tensor;

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Both networks: HP learns the labels and teaches LP.
    Gtc,
    /// LP alone learns the labels, straight through its quantiser: the ablation.
    Direct,
    /// HP alone: an ordinary float network.
    Float,
}

impl Objective {
    fn high_precision(self) -> bool {
        self != Self::Direct
    }

    fn low_precision(self) -> bool {
        self != Self::Float
    }
}

/// How the learning rate falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a cosine from the full rate to zero.
    Cosine,
    /// Not at all.
    Constant,
}

/// Largest latent that makes sense for small images.
pub const MAX_LATENT: usize = 1024;

/// Everything that decides what is learned, given the data and the adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// Passes over the data.
    pub epochs: u32,
    /// Images in a step.
    pub batch_size: usize,
    /// Adam's step size at the start.
    pub learning_rate: f64,
    /// Multiple of the learning rate for intercepts and slopes.
    pub quantiser_rate: f64,
    /// Part of the run after which intercepts and slopes stay as they are.
    pub freeze_levels: f64,
    /// Weight of the bit loss once the ramp is over.
    pub lambda_bits: f64,
    /// Part of the run over which λ_bits rises linearly from zero.
    pub bits_ramp: f64,
    /// Weight of the distillation loss.
    pub lambda_distill: f64,
    /// Weight of ½Σ‖w‖².
    pub lambda_l2: f64,
    /// How the learning rate falls.
    pub decay: Decay,
    /// What is minimised.
    pub objective: Objective,
    /// Largest random shift of a training image, in pixels, up or down and left or right.
    pub shift: u32,
    /// Whether every second training image is mirrored, left to right.
    pub flip: bool,
    /// Part of the run after which training images are taken as they are.
    pub augment_until: f64,
    /// Whether LP's batch normalisations multiply by γ/σ as it is, not by the nearest power of two.
    pub exact_norm: bool,
    /// Numbers of an auto-encoder's latent.
    pub latent: usize,
    /// How an auto-encoder's outputs become pixels.
    pub likelihood: Likelihood,
    /// Part of the run over which the weight of an auto-encoder's KL(q || N(0, 1)) rises linearly
    /// to one.
    pub kl_warmup: f64,
    /// Decides initial weights, the order of the images and noise.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            epochs: 8,
            batch_size: 64,
            learning_rate: 2e-3,
            quantiser_rate: 5.0,
            freeze_levels: 1.0,
            lambda_bits: 1e-2,
            bits_ramp: 0.5,
            lambda_distill: 1.0,
            lambda_l2: 0.0,
            decay: Decay::Cosine,
            objective: Objective::Gtc,
            shift: 0,
            flip: false,
            augment_until: 1.0,
            exact_norm: false,
            latent: LATENT,
            likelihood: Likelihood::Bernoulli,
            kl_warmup: 0.0,
            seed: 1,
        }
    }
}

impl TrainOptions {
    /// Settings for LeNet-5 on the complete MNIST: random shifts; the last fifth of the run on images
    /// as they are, with levels that stay.
    pub fn mnist() -> Self {
        Self {
            epochs: 10,
            lambda_bits: 4e-3,
            quantiser_rate: 1.0,
            freeze_levels: 0.8,
            shift: 1,
            augment_until: 0.8,
            ..Self::default()
        }
    }

    /// Settings under which nearly every layer of LeNet-5 ends with two levels: a dearer bit.
    pub fn almost_binary() -> Self {
        Self {
            epochs: 6,
            lambda_bits: 2e-2,
            quantiser_rate: 1.0,
            shift: 1,
            ..Self::default()
        }
    }

    /// Settings for the VGG models on CIFAR-10: random crops and mirrors.
    pub fn cifar10() -> Self {
        Self {
            epochs: 20,
            quantiser_rate: 1.0,
            shift: 4,
            flip: true,
            ..Self::default()
        }
    }

    /// Settings for auto-encoders, whose losses are sums over pixels: a bit is dearer in
    /// proportion.
    pub fn auto_encoder() -> Self {
        Self {
            epochs: 20,
            learning_rate: 1e-3,
            lambda_bits: 1.0,
            ..Self::default()
        }
    }

    /// Checks every number against what makes sense for `images` training images.
    ///
    /// # Errors
    /// [`TrainError::BadOption`], naming option, value and remedy.
    pub fn check(&self, images: usize) -> Result<(), TrainError> {
        let bad = |option: &'static str, value: String, remedy: String| {
            Err(TrainError::BadOption {
                option,
                value,
                remedy,
            })
        };
        if self.batch_size == 0 || self.batch_size > images {
            let remedy = format!("it must be 1 to {images}, the number of training images");
            return bad("batch-size", self.batch_size.to_string(), remedy);
        }
        if self.shift > 16 {
            let remedy = "it must be 0 to 16 pixels".to_owned();
            return bad("shift", self.shift.to_string(), remedy);
        }
        if self.latent == 0 || self.latent > MAX_LATENT {
            let remedy = format!("it must be at least 1 and at most {MAX_LATENT} numbers");
            return bad("latent", self.latent.to_string(), remedy);
        }
        if self.epochs == 0 {
            return bad("epochs", "0".to_owned(), "it must be at least 1".to_owned());
        }
        for (option, value, limit) in [
            ("learning-rate", self.learning_rate, 1e30),
            ("quantiser-rate", self.quantiser_rate, 1e4),
            ("lambda-bits", self.lambda_bits, 1e6),
            ("lambda-distill", self.lambda_distill, 1e6),
            ("lambda-l2", self.lambda_l2, 1e6),
            ("freeze-levels", self.freeze_levels, 1.0),
            ("bits-ramp", self.bits_ramp, 1.0),
            ("augment-until", self.augment_until, 1.0),
            ("kl-warmup", self.kl_warmup, 1.0),
        ] {
            if !(0.0..=limit).contains(&value) {
                return bad(
                    option,
                    value.to_string(),
                    format!("it must be 0 to {limit}"),
                );
            }
        }
        Ok(())
    }

    /// What happens to training images when `done` of the run, 0 to 1, is over.
    pub fn augment(&self, done: f64) -> Augment {
        let on = done < self.augment_until;
        Augment {
            shift: if on { self.shift } else { 0 },
            flip: on && self.flip,
        }
    }

    /// Learning rates and λ_bits of step `t` of `total`, counted from 1.
    pub fn schedule(&self, t: u64, total: u64) -> Schedule {
        let done = (t - 1) as f64 / total.max(1) as f64;
        let rate = match self.decay {
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Decay::Constant => 1.0,
        };
        let ramp = |part: f64| match part > 0.0 {
            true => (done / part).min(1.0),
            false => 1.0,
        };
        let lambda_bits = self.lambda_bits * ramp(self.bits_ramp);
        let moves = self.objective.low_precision() && done < self.freeze_levels;
        Schedule::new(t, self.learning_rate * rate, lambda_bits)
            .with_quantiser_rate(if moves { self.quantiser_rate } else { 0.0 })
            .with_noise(ramp(self.kl_warmup), self.seed, t)
    }
}

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// An option outside what makes sense.
    #[error("--{option} {value}: {remedy}")]
    BadOption {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What to do.
        remedy: String,
    },
    /// The loss became infinite or not a number.
    #[error(
        "the loss stopped being a number at step {step}. The last checkpoint is untouched; \
         start again from it with a smaller --learning-rate or --lambda-bits."
    )]
    NotFinite {
        /// Counted from 1.
        step: u64,
    },
    /// The batch needs more memory than the device has or lends to one tensor.
    #[error("--batch-size {batch_size} is too large for this device: {reason} {fits} fits.")]
    BatchTooLarge {
        /// The size asked for.
        batch_size: usize,
        /// What was short.
        reason: String,
        /// A size that was tried and fits.
        fits: usize,
    },
    /// The model and the images do not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// Everything a run needs to continue as if it had never stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Steps done.
    pub step: u64,
    /// The arena of weights, biases, intercepts and slopes.
    pub weights: Vec<f32>,
    /// Adam's first moment of the same; empty in a snapshot of the weights alone.
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

/// Trains one model on one device.
pub struct Trainer<'g> {
    evaluator: Evaluator<'g>,
    options: TrainOptions,
    first_moment: Tensor,
    second_moment: Tensor,
    gradients: Tensor,
    plan: Plan,
    order: Vec<u32>,
    step: u64,
    images: usize,
}

impl<'g> Trainer<'g> {
    /// Compiles the plans for a model and `images` training images, with fresh parameters.
    ///
    /// # Errors
    /// [`TrainError`] for options that make no sense, a batch that is too large (with one that
    /// fits) or a device that fails.
    pub fn new(
        gpu: &'g Gpu,
        model: Model,
        images: usize,
        options: TrainOptions,
    ) -> Result<Self, TrainError> {
        options.check(images)?;
        let reason = match Self::compile(gpu, model.clone(), images, options.clone()) {
            Err(TrainError::Gpu(error)) if error.is_about_size() => error.shortage(),
            result => return result,
        };
        let batch_size = options.batch_size;
        let mut fits = batch_size / 2;
        while fits > 0 {
            gpu.forget_out_of_memory();
            let smaller = TrainOptions {
                batch_size: fits,
                ..options.clone()
            };
            match Self::compile(gpu, model.clone(), images, smaller) {
                Err(TrainError::Gpu(error)) if error.is_about_size() => fits /= 2,
                Err(error) => return Err(error),
                Ok(_) => {
                    return Err(TrainError::BatchTooLarge {
                        batch_size,
                        reason,
                        fits,
                    });
                }
            }
        }
        Err(GpuError::OutOfMemory(reason).into())
    }

    fn compile(
        gpu: &'g Gpu,
        model: Model,
        images: usize,
        options: TrainOptions,
    ) -> Result<Self, TrainError> {
        let batch = options.batch_size;
        let memory = Memory::new(gpu, &model, batch, !options.exact_norm)?;
        let parameters = &memory.parameters;
        memory.weights.write(gpu, &parameters.initial(options.seed));
        let arena = |label| parameters.layout.allocate(gpu, label);
        let (first_moment, second_moment) = (arena("first moment")?, arena("second moment")?);
        let gradients = arena("gradients")?;
        let mut plan = PlanBuilder::new(gpu);
        record_gradients(&mut plan, &options, &memory, &gradients);
        let state = AdamState {
            weights: &memory.weights,
            first_moment: &first_moment,
            second_moment: &second_moment,
            quantisers: parameters.quantisers,
        };
        adam(&mut plan, "optimiser", &gradients, &state);
        // First, because it needs the most: testing fits into its working memory.
        let mut pool = Pool::default();
        let plan = plan.finish_in(&mut pool)?;
        Ok(Self {
            plan,
            order: Vec::new(),
            step: 0,
            evaluator: Evaluator::with_memory(gpu, model, batch, memory, pool)?,
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

    /// The dispatches of a training step, of quantising for a test, and of testing a batch.
    pub fn plans(&self) -> [(&'static str, &Plan); 3] {
        let [quantise, test] = self.evaluator.plans();
        [("training step", &self.plan), quantise, test]
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

    /// Bytes of all buffers, working memory and mirrors included.
    pub fn memory_bytes(&self) -> u64 {
        let kept = self.buffers();
        let kept = kept.iter().map(|b| b.bytes() + b.mirror_bytes());
        let working = self.pool().slabs();
        kept.sum::<u64>() + working.iter().flatten().sum::<u64>()
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
        let batch = self.options.batch_size;
        let which = &self.order[within * batch..(within + 1) * batch];
        let done = self.step as f64 / self.total_steps().max(1) as f64;
        let (seed, augment) = (self.options.seed, self.options.augment(done));
        self.evaluator
            .upload(images, which, |i| augment.draw(seed, epoch, i));
        self.step += 1;
        self.options.schedule(self.step, self.total_steps())
    }

    /// Learns from the next batch: uploads it and submits the plan, without waiting.
    pub fn train_step(&mut self, images: &Images) {
        let schedule = self.next_batch(images);
        self.plan
            .run(self.evaluator.gpu, bytemuck::bytes_of(&schedule));
    }

    /// Learns from the next batch and returns the time of every dispatch.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn profile_step(&mut self, images: &Images) -> Result<Vec<Timing>, GpuError> {
        let schedule = self.next_batch(images);
        self.plan
            .profile(self.evaluator.gpu, bytemuck::bytes_of(&schedule))
            .await
    }

    /// Learns from the next batch, one dispatch at a time, and returns every output.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn trace_step(&mut self, images: &Images) -> Result<Trace, GpuError> {
        let schedule = self.next_batch(images);
        self.plan
            .trace(self.evaluator.gpu, bytemuck::bytes_of(&schedule))
            .await
    }

    /// Waits for the steps submitted so far and reads how the epoch stands.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] when a loss is no number, [`GpuError::Lost`] when the device fails.
    pub async fn progress(&self) -> Result<Progress, TrainError> {
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

    /// Tests both networks on `images`, see [`Evaluator::test`].
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn test(
        &mut self,
        images: &Images,
        tick: impl FnMut(usize),
    ) -> Result<(Progress, Predictions), GpuError> {
        self.evaluator.test(images, tick).await
    }

    /// What the low-precision network makes of a batch, see [`Evaluator::calibrate`].
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn calibrate(&mut self, images: &Images) -> Result<Calibration, GpuError> {
        self.evaluator.calibrate(images).await
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
        self.evaluator.set_weights(&snapshot.weights);
        self.evaluator.set_running(&snapshot.running);
        self.first_moment.write(gpu, &snapshot.first_moment);
        self.second_moment.write(gpu, &snapshot.second_moment);
        self.evaluator.set_totals(&snapshot.totals);
    }

    /// The arena of gradients of the last step.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn gradients(&self) -> Result<Vec<f32>, GpuError> {
        self.gradients.read(self.evaluator.gpu).await
    }
}

/// Records everything of a step but the optimiser: both networks, forward and backward.
fn record_gradients(
    plan: &mut PlanBuilder<'_>,
    options: &TrainOptions,
    memory: &Memory,
    gradients: &Tensor,
) {
    let objective = options.objective;
    let scale = 1.0 / options.batch_size as f32;
    let net = &memory.network;
    let d_values = Tensor::transient("d_quantised", &gradients.shape);
    let quantise = objective.low_precision() || options.lambda_l2 > 0.0;
    if quantise {
        memory.quantise(plan);
    }
    let batch = memory.prepare(plan, TRAINING_NOISE);
    let mut teacher = None;
    if objective.high_precision() {
        let data = Teacher::Data;
        let (pass, d_logits) = memory.judge(plan, (0, Mode::Train), &batch, data, scale);
        let weights = memory.weights_of(0);
        let d_biases = (gradients, false);
        net.backward(plan, &pass, weights, &d_logits, gradients, d_biases);
        teacher = Some(pass);
    } else {
        // What the quantiser's backward pass adds to.
        plan.clear(&gradients.buffer);
    }
    if objective.low_precision() {
        let (teacher, scale) = match &teacher {
            Some(pass) => (
                Teacher::HighPrecision(pass),
                options.lambda_distill as f32 * scale,
            ),
            None => (Teacher::Data, scale),
        };
        let (pass, d_logits) = memory.judge(plan, (1, Mode::Train), &batch, teacher, scale);
        let weights = memory.weights_of(1);
        let d_biases = (gradients, objective.high_precision());
        net.backward(plan, &pass, weights, &d_logits, &d_values, d_biases);
    } else if quantise {
        // Nothing flows through the quantised values of a float network.
        plan.clear(&d_values.buffer);
    }
    if quantise {
        memory.each_layer(|i, name, layer| {
            let parts = &memory.parameters.layers[i];
            let targets = [&parts.weight_of(gradients), &parts.quantiser_of(gradients)];
            let d_values = parts.weight_of(&d_values);
            let lambda_l2 = options.lambda_l2 as f32;
            let label = format!("quantise {name}");
            quantiser_backward(plan, &label, layer, &d_values, lambda_l2, targets);
        });
    }
}

/// Checks that a data set fits a model.
///
/// # Errors
/// [`ModelError::WrongInput`] with both sizes.
pub fn check_data(model: &Model, data: &Dataset) -> Result<(), ModelError> {
    model.check_input(data.train.size())?;
    model.check_input(data.test.size())
}
