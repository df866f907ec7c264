//! The trainer: one plan that teaches both networks of a step, one that tests them.
//!
//! L = CE(labels, HP) + λ_d CE(softmax(HP) as constants, LP) + λ_b Σ 2^bits + λ_w ½Σ‖w‖²
//! (SPEC section 3). HP runs on the weights, LP on their quantised values; both see every batch.

use serde::{Deserialize, Serialize};

use crate::data::{Dataset, Images, epoch_order};
use crate::gpu::{Gpu, GpuError, Plan, PlanBuilder, Readback, Timing};
use crate::loss::{LossOutputs, metrics, softmax_cross_entropy};
use crate::model::{Inputs, Model, ModelError, Network, Parameters, Weights};
use crate::optimiser::{AdamState, Schedule, adam};
use crate::quantiser::{Quantised, partial_len, quantiser_backward, quantiser_forward};
use crate::tensor::{Tensor, pad4};

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
    /// Decides initial weights and the order of the images.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            epochs: 8,
            batch_size: 64,
            learning_rate: 1e-3,
            quantiser_rate: 4.0,
            lambda_bits: 1e-2,
            bits_ramp: 0.5,
            lambda_distill: 1.0,
            lambda_l2: 0.0,
            decay: Decay::Cosine,
            objective: Objective::Gtc,
            seed: 1,
        }
    }
}

impl TrainOptions {
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
        if self.epochs == 0 {
            return bad("epochs", "0".to_owned(), "it must be at least 1".to_owned());
        }
        for (option, value, limit) in [
            ("learning-rate", self.learning_rate, 10.0),
            ("quantiser-rate", self.quantiser_rate, 1e4),
            ("lambda-bits", self.lambda_bits, 1e6),
            ("lambda-distill", self.lambda_distill, 1e6),
            ("lambda-l2", self.lambda_l2, 1e6),
            ("bits-ramp", self.bits_ramp, 1.0),
        ] {
            if !(0.0..=limit).contains(&value) {
                return bad(option, value.to_string(), format!("it must be 0 to {limit}"));
            }
        }
        Ok(())
    }

    /// Learning rate and λ_bits of step `t` of `total`, counted from 1.
    pub fn schedule(&self, t: u64, total: u64) -> Schedule {
        let done = (t - 1) as f64 / total.max(1) as f64;
        let rate = match self.decay {
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Decay::Constant => 1.0,
        };
        let ramp = if self.bits_ramp > 0.0 {
            (done / self.bits_ramp).min(1.0)
        } else {
            1.0
        };
        Schedule::new(t, self.learning_rate * rate, self.lambda_bits * ramp)
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
    /// The model and the images do not fit.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device failed.
    #[error(transparent)]
    Gpu(#[from] GpuError),
}

/// Sums over the images seen since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of the loss that trains this network.
    pub loss: f64,
    /// Images whose label won.
    pub correct: f64,
    /// Sum of the cross entropy with the labels.
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

/// Everything a run needs to continue as if it had never stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Steps done.
    pub step: u64,
    /// The arena of weights, biases, intercepts and slopes.
    pub weights: Vec<f32>,
    /// Adam's first moment of the same.
    pub first_moment: Vec<f32>,
    /// Adam's second moment of the same.
    pub second_moment: Vec<f32>,
    /// Running totals of the epoch: HP and LP, (4, 4).
    pub totals: Vec<f32>,
}

/// What the low-precision network made of every test image.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    /// Most probable class.
    pub class: Vec<u8>,
    /// Its probability.
    pub confidence: Vec<f32>,
}

/// Trains one model on one device.
pub struct Trainer<'g> {
    gpu: &'g Gpu,
    model: Model,
    options: TrainOptions,
    parameters: Parameters,
    inputs: Inputs,
    arenas: Arenas,
    train_plan: Plan,
    quantise_plan: Plan,
    test_plan: Plan,
    totals_readback: Readback,
    levels_readback: Readback,
    order: Vec<u32>,
    step: u64,
    images: usize,
    upload: Vec<f32>,
}

struct Arenas {
    weights: Tensor,
    first_moment: Tensor,
    second_moment: Tensor,
    gradients: Tensor,
    /// Gradients of the quantised weights.
    d_values: Tensor,
    /// Quantised weights.
    values: Tensor,
    /// (layers, 3, 4)
    levels: Tensor,
    /// Scratch of the quantiser.
    partial: Tensor,
    /// HP (2, 4), LP (2, 4)
    totals: Tensor,
    /// Probabilities of HP and LP, (batch, padded classes) each.
    probabilities: [Tensor; 2],
    /// (batch, 4)
    outcome: Tensor,
}

impl Arenas {
    fn new(gpu: &Gpu, parameters: &Parameters, batch: usize, width: usize) -> Result<Self, GpuError> {
        let arena = |label| parameters.layout.allocate(gpu, label);
        let largest = parameters.layers.iter().map(|l| l.stored_weights()).max();
        Ok(Self {
            weights: arena("weights")?,
            first_moment: arena("first moment")?,
            second_moment: arena("second moment")?,
            gradients: arena("gradients")?,
            d_values: arena("d_quantised")?,
            values: arena("quantised")?,
            levels: Tensor::new(gpu, "levels", &[parameters.layers.len(), 3, 4])?,
            partial: Tensor::new(gpu, "quantiser partial", &[pad4(partial_len(largest.unwrap_or(4)))])?,
            totals: Tensor::new(gpu, "totals", &[4, 4])?,
            probabilities: [
                Tensor::new(gpu, "HP probabilities", &[batch, width])?,
                Tensor::new(gpu, "LP probabilities", &[batch, width])?,
            ],
            outcome: Tensor::new(gpu, "outcome", &[batch, 4])?,
        })
    }

    fn totals_of(&self, network: usize) -> Tensor {
        Tensor {
            offset: 8 * network,
            shape: vec![2, 4],
            ..self.totals.clone()
        }
    }

    /// Calls `record` with the places of every quantised layer.
    fn each_layer(
        &self,
        parameters: &Parameters,
        mut record: impl FnMut(usize, &str, &Quantised<'_>),
    ) {
        for (i, layer) in parameters.layers.iter().enumerate() {
            let levels = Tensor {
                offset: 12 * i,
                shape: vec![3, 4],
                ..self.levels.clone()
            };
            let quantised = Quantised {
                weights: &layer.weight_of(&self.weights),
                quantiser: &layer.quantiser_of(&self.weights),
                values: &layer.weight_of(&self.values),
                levels: &levels,
                partial: &self.partial,
            };
            record(i, layer.name, &quantised);
        }
    }
}

/// Records one pass of one network through loss and totals. `network` is 0 for HP, 1 for LP.
fn judge(
    plan: &mut PlanBuilder<'_>,
    network: usize,
    net: &Network,
    arenas: &Arenas,
    inputs: &Inputs,
    (targets, scale): (&Tensor, f32),
    d_logits: &Tensor,
) {
    let name = ["HP", "LP"][network];
    let weights = Weights {
        weights: [&arenas.weights, &arenas.values][network],
        biases: &arenas.weights,
    };
    net.forward(plan, name, inputs, weights);
    let outputs = LossOutputs {
        d_logits,
        probabilities: &arenas.probabilities[network],
        outcome: &arenas.outcome,
    };
    let label = format!("{name} loss");
    let operands = [net.logits(), targets, &inputs.labels];
    softmax_cross_entropy(plan, &label, net.classes(), operands, scale, &outputs);
    metrics(plan, &label, &arenas.outcome, &arenas.totals_of(network));
}

impl<'g> Trainer<'g> {
    /// Compiles the plans for a model and `images` training images, with fresh parameters.
    ///
    /// # Errors
    /// [`TrainError`] for options that make no sense or a device that fails.
    pub fn new(
        gpu: &'g Gpu,
        model: Model,
        images: usize,
        options: TrainOptions,
    ) -> Result<Self, TrainError> {
        options.check(images)?;
        let parameters = Parameters::new(&model);
        let batch = options.batch_size;
        let width = pad4(model.classes);
        let pixels: usize = model.input.iter().product();
        let inputs = Inputs {
            images: Tensor::new(gpu, "images", &[pad4(batch * pixels)])?,
            labels: Tensor::new(gpu, "labels", &[batch, width])?,
        };
        let arenas = Arenas::new(gpu, &parameters, batch, width)?;
        arenas.weights.write(gpu, &parameters.initial(options.seed));
        let net = Network::new(gpu, &model, batch, true)?;
        let quantise_plan = {
            let mut plan = PlanBuilder::new(gpu);
            arenas.each_layer(&parameters, |_, name, layer| {
                quantiser_forward(&mut plan, &format!("quantise {name}"), layer);
            });
            plan.finish()?
        };
        let test_plan = {
            let mut plan = PlanBuilder::new(gpu);
            net.prepare(&mut plan, &inputs);
            for network in [0, 1] {
                let scratch = &arenas.probabilities[1 - network];
                // The gradient goes unused; HP's lands where LP's probabilities will be.
                let d_logits = net.d_logits().unwrap_or(scratch);
                judge(&mut plan, network, &net, &arenas, &inputs, (&inputs.labels, 0.0), d_logits);
            }
            plan.finish()?
        };
        let train_plan = Self::train_plan(gpu, &options, &parameters, &arenas, &inputs, &net)?;
        Ok(Self {
            totals_readback: Readback::new(gpu, 16),
            levels_readback: Readback::new(gpu, 12 * parameters.layers.len()),
            upload: vec![0.0; pad4(batch * pixels)],
            order: Vec::new(),
            step: 0,
            gpu,
            model,
            options,
            parameters,
            inputs,
            arenas,
            train_plan,
            quantise_plan,
            test_plan,
            images,
        })
    }

    fn train_plan(
        gpu: &Gpu,
        options: &TrainOptions,
        parameters: &Parameters,
        arenas: &Arenas,
        inputs: &Inputs,
        net: &Network,
    ) -> Result<Plan, GpuError> {
        let objective = options.objective;
        let scale = 1.0 / options.batch_size as f32;
        let mut plan = PlanBuilder::new(gpu);
        let d_logits = net.d_logits().unwrap_or(&arenas.probabilities[0]);
        let quantise = objective.low_precision() || options.lambda_l2 > 0.0;
        if quantise {
            arenas.each_layer(parameters, |_, name, layer| {
                quantiser_forward(&mut plan, &format!("quantise {name}"), layer);
            });
        }
        net.prepare(&mut plan, inputs);
        let biases = &arenas.weights;
        if objective.high_precision() {
            judge(&mut plan, 0, net, arenas, inputs, (&inputs.labels, scale), d_logits);
            let weights = Weights {
                weights: &arenas.weights,
                biases,
            };
            let d_biases = (&arenas.gradients, false);
            net.backward(&mut plan, "HP", inputs, weights, &arenas.gradients, d_biases);
        } else {
            // What the quantiser's backward pass adds to.
            plan.clear(&arenas.gradients.buffer);
        }
        if objective.low_precision() {
            let target = if objective == Objective::Gtc {
                (&arenas.probabilities[0], options.lambda_distill as f32 * scale)
            } else {
                (&inputs.labels, scale)
            };
            judge(&mut plan, 1, net, arenas, inputs, target, d_logits);
            let weights = Weights {
                weights: &arenas.values,
                biases,
            };
            let d_biases = (&arenas.gradients, objective.high_precision());
            net.backward(&mut plan, "LP", inputs, weights, &arenas.d_values, d_biases);
        }
        if quantise {
            arenas.each_layer(parameters, |i, name, layer| {
                let parts = &parameters.layers[i];
                let gradients = [
                    &parts.weight_of(&arenas.gradients),
                    &parts.quantiser_of(&arenas.gradients),
                ];
                let d_values = parts.weight_of(&arenas.d_values);
                let label = format!("quantise {name}");
                let lambda_l2 = options.lambda_l2 as f32;
                quantiser_backward(&mut plan, &label, layer, &d_values, lambda_l2, gradients);
            });
        }
        let state = AdamState {
            weights: &arenas.weights,
            first_moment: &arenas.first_moment,
            second_moment: &arenas.second_moment,
            quantisers: parameters.quantisers,
            quantiser_rate: if objective.low_precision() {
                options.quantiser_rate as f32
            } else {
                0.0
            },
        };
        adam(&mut plan, "optimiser", &arenas.gradients, &state);
        plan.finish()
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Where the parameters lie.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The options.
    pub fn options(&self) -> &TrainOptions {
        &self.options
    }

    /// Changes λ_bits and the learning rate while the run goes on.
    pub fn adjust(&mut self, learning_rate: f64, lambda_bits: f64) {
        self.options.learning_rate = learning_rate;
        self.options.lambda_bits = lambda_bits;
    }

    /// The dispatches of a step, of quantising for a test, and of testing a batch.
    pub fn plans(&self) -> [(&'static str, &Plan); 3] {
        [
            ("training step", &self.train_plan),
            ("quantise", &self.quantise_plan),
            ("test batch", &self.test_plan),
        ]
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

    fn upload(&mut self, images: &Images, which: &[u32]) {
        let pixels: usize = self.model.input.iter().product();
        let width = pad4(self.model.classes);
        self.upload.fill(0.0);
        let mut labels = vec![0.0; self.options.batch_size * width];
        for (row, &i) in which.iter().enumerate() {
            let target = &mut self.upload[row * pixels..(row + 1) * pixels];
            for (pixel, value) in target.iter_mut().zip(images.scaled(i as usize)) {
                *pixel = value;
            }
            labels[row * width + usize::from(images.labels[i as usize])] = 1.0;
        }
        self.inputs.images.write(self.gpu, &self.upload);
        self.inputs.labels.write(self.gpu, &labels);
    }

    fn next_batch(&mut self, images: &Images) {
        let per_epoch = self.steps_per_epoch();
        let within = (self.step % per_epoch) as usize;
        if within == 0 || self.order.is_empty() {
            let epoch = (self.step / per_epoch) as u32;
            self.order = epoch_order(self.options.seed, epoch, images.count());
        }
        let batch = self.options.batch_size;
        let which = self.order[within * batch..(within + 1) * batch].to_vec();
        self.upload(images, &which);
    }

    /// Learns from the next batch: uploads it and submits the plan, without waiting.
    pub fn train_step(&mut self, images: &Images) {
        self.next_batch(images);
        self.step += 1;
        let schedule = self.options.schedule(self.step, self.total_steps());
        self.train_plan.run(self.gpu, bytemuck::bytes_of(&schedule));
    }

    /// Learns from the next batch and returns the time of every dispatch.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn profile_step(&mut self, images: &Images) -> Result<Vec<Timing>, GpuError> {
        self.next_batch(images);
        self.step += 1;
        let schedule = self.options.schedule(self.step, self.total_steps());
        self.train_plan.profile(self.gpu, bytemuck::bytes_of(&schedule)).await
    }

    /// Learns from the next batch, one dispatch at a time, and returns every output.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn trace_step(
        &mut self,
        images: &Images,
    ) -> Result<Vec<(String, Vec<Vec<f32>>)>, GpuError> {
        self.next_batch(images);
        self.step += 1;
        let schedule = self.options.schedule(self.step, self.total_steps());
        self.train_plan.trace(self.gpu, bytemuck::bytes_of(&schedule)).await
    }

    /// Waits for the steps submitted so far and reads how the epoch stands.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] when a loss is no number, [`GpuError::Lost`] when the device fails.
    pub async fn progress(&self) -> Result<Progress, TrainError> {
        let totals = self.read_totals().await?;
        let broken = totals[4].max(totals[12]);
        if broken > 0.0 {
            return Err(TrainError::NotFinite {
                step: self.step + 1 - broken as u64,
            });
        }
        Ok(Progress {
            hp: Totals::new(&totals[0..4]),
            lp: Totals::new(&totals[8..12]),
            layers: self.layer_bits().await?,
        })
    }

    async fn read_totals(&self) -> Result<Vec<f32>, GpuError> {
        self.totals_readback.read(self.gpu, &self.arenas.totals.buffer, 0).await
    }

    async fn layer_bits(&self) -> Result<Vec<LayerBits>, GpuError> {
        if self.options.objective == Objective::Float {
            return Ok(Vec::new());
        }
        let levels = self.levels_readback.read(self.gpu, &self.arenas.levels.buffer, 0).await?;
        Ok(levels
            .chunks(12)
            .map(|l| LayerBits {
                range: l[2] as u32,
                bits: l[3] as u32,
            })
            .collect())
    }

    /// Sets the running totals to zero: at the start of an epoch.
    pub fn reset_totals(&self) {
        self.arenas.totals.write(self.gpu, &[0.0; 16]);
    }

    /// Tests both networks on `images`; the totals of the epoch are kept. `tick` is called after
    /// every batch with the number of images done.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] or [`GpuError::Lost`].
    pub async fn test(
        &mut self,
        images: &Images,
        mut tick: impl FnMut(usize),
    ) -> Result<(Progress, Predictions), TrainError> {
        let kept = self.read_totals().await?;
        self.reset_totals();
        self.quantise_plan.run(self.gpu, &[]);
        let mut predictions = Predictions::default();
        let all: Vec<u32> = (0..images.count() as u32).collect();
        let width = pad4(self.model.classes);
        for which in all.chunks(self.options.batch_size) {
            self.upload(images, which);
            self.test_plan.run(self.gpu, &[]);
            let probabilities = self.arenas.probabilities[1].read(self.gpu).await?;
            for row in probabilities.chunks(width).take(which.len()) {
                let mut best = 0;
                for class in 1..self.model.classes {
                    if row[class] > row[best] {
                        best = class;
                    }
                }
                predictions.class.push(best as u8);
                predictions.confidence.push(row[best]);
            }
            tick(predictions.class.len());
        }
        let progress = self.progress().await;
        self.arenas.totals.write(self.gpu, &kept);
        Ok((progress?, predictions))
    }

    /// Reads everything needed to continue later.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn snapshot(&self) -> Result<Snapshot, GpuError> {
        Ok(Snapshot {
            step: self.step,
            weights: self.arenas.weights.read(self.gpu).await?,
            first_moment: self.arenas.first_moment.read(self.gpu).await?,
            second_moment: self.arenas.second_moment.read(self.gpu).await?,
            totals: self.read_totals().await?,
        })
    }

    /// Continues from a snapshot of the same model.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        self.step = snapshot.step;
        self.order.clear();
        self.arenas.weights.write(self.gpu, &snapshot.weights);
        self.arenas.first_moment.write(self.gpu, &snapshot.first_moment);
        self.arenas.second_moment.write(self.gpu, &snapshot.second_moment);
        self.arenas.totals.write(self.gpu, &snapshot.totals);
    }

    /// The arena of gradients of the last step.
    ///
    /// # Errors
    /// [`GpuError::Lost`] when the device fails meanwhile.
    pub async fn gradients(&self) -> Result<Vec<f32>, GpuError> {
        self.arenas.gradients.read(self.gpu).await
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
