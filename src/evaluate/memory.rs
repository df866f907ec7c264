//! What testing and training share: tensors, and the networks recorded over them.

use std::ops::Range;

use crate::gpu::{Gpu, GpuError};
use crate::loss::{Lesson, LossOutputs, image_loss, metrics, softmax_cross_entropy};
use crate::model::{
    BitBudget, Images, Inputs, Mode, Model, Network, Parameters, Pass, Prices, Weights,
};
use crate::op::{Counter, gaussian_kl, standard_normal};
use crate::quantiser::{Quantised, Spans, budget, quantiser_forward};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};

/// Memory that both testing and training use.
pub(crate) struct Memory {
    pub parameters: Parameters,
    pub inputs: Inputs,
    /// Weights, biases, γ, β, intercepts and slopes.
    pub weights: Tensor,
    /// Quantised weights.
    values: Tensor,
    spans: Spans,
    /// [`Spans::table`]
    table: Tensor,
    /// (layers, 3, 4), see `shaders/quantiser/levels.wgsl`
    pub levels: Tensor,
    /// Running statistics of the batch normalisations of HP and LP.
    pub running: [Tensor; 2],
    /// A bias for layers that have none.
    zeros: Tensor,
    /// Of HP and LP: (2, 2, 4), see `shaders/loss/metrics.wgsl`
    pub totals: Tensor,
    /// Of HP and LP each: probabilities (batch, padded classes), or means of pixels (batch, stored
    /// pixels).
    pub probabilities: [Tensor; 2],
    pub network: Network,
    /// Whether LP's batch normalisations multiply by powers of two.
    round_norm: bool,
    model: Model,
    /// Of an auto-encoder, (batch, padded latent).
    noise: Option<Tensor>,
    /// What all layers' weights may take.
    budget: Option<BitBudget>,
}

/// What a batch is made into before the networks run.
pub(crate) struct Batch {
    /// What the first layer reads.
    pub input: Images,
    /// Labels, or of an auto-encoder the images, laid out like its outputs.
    pub targets: Tensor,
    /// How the images of HP and LP came out, (2, batch, 4).
    outcomes: Tensor,
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
    /// Memory on a device, with fresh running statistics.
    ///
    /// # Errors
    /// [`GpuError`] when memory is refused.
    pub(crate) fn new(
        gpu: &Gpu,
        model: &Model,
        batch: usize,
        round_norm: bool,
    ) -> Result<Self, GpuError> {
        let memory = Self::laid_out(model, batch, gpu.part_bytes(), round_norm);
        for tensor in memory.tensors() {
            tensor.allocate(gpu)?;
        }
        for running in &memory.running {
            running.write(gpu, &memory.parameters.initial_running());
        }
        memory.write_spans(gpu);
        Ok(memory)
    }

    /// The same without a device: enough to record plans. A batch is worked through in parts whose tensors have at
    /// most `part_bytes`.
    pub(crate) fn laid_out(model: &Model, batch: usize, part_bytes: u64, round_norm: bool) -> Self {
        let parameters = Parameters::new(model);
        let width = pad4(model.classes);
        let pixels: usize = model.input.iter().product();
        let widest = parameters.layers.iter().map(|l| pad4(l.shape[0])).max();
        let rows = |label| Tensor::kept(label, &[batch, width]);
        let mut network = Network::new(model, batch).in_parts_of(part_bytes);
        let latent = model.latent();
        let noise = latent.map(|size| Tensor::kept("noise", &[batch, pad4(size)]));
        if let Some(noise) = &noise {
            network = network.with_noise(noise);
        }
        let outputs = match latent {
            Some(_) => network.output().iter().product::<usize>() / batch,
            None => width,
        };
        let outputs = |label| Tensor::kept(label, &[batch, outputs]);
        let running = |label| Tensor::kept(label, &[parameters.initial_running().len()]);
        let spans = parameters.spans(&Prices::default());
        Self {
            inputs: Inputs {
                images: Tensor::kept("images", &[pad4(batch * pixels)]),
                labels: rows("labels"),
                targets: None,
            },
            weights: parameters.layout.tensor("weights"),
            values: parameters.layout.tensor("quantised"),
            table: Tensor::kept("spans", &[spans.table().len() / 4, 4]),
            spans,
            levels: Tensor::kept("levels", &[parameters.quantised().count(), 3, 4]),
            running: [running("HP running"), running("LP running")],
            zeros: Tensor::kept("zeros", &[widest.unwrap_or(4)]),
            totals: Tensor::kept("totals", &[2, 2, 4]),
            probabilities: [outputs("HP probabilities"), outputs("LP probabilities")],
            network,
            parameters,
            round_norm,
            model: model.clone(),
            noise,
            budget: None,
        }
    }

    /// All of it.
    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let inputs = [&self.inputs.images, &self.inputs.labels];
        let arenas = [&self.weights, &self.values];
        let small = [&self.table, &self.levels, &self.zeros, &self.totals];
        let optional = [&self.noise, &self.inputs.targets].into_iter().flatten();
        let pairs = self.running.iter().chain(&self.probabilities);
        let all = inputs.into_iter().chain(arenas).chain(small);
        all.chain(optional).chain(pairs)
    }

    /// The same where images are mixed or labels smoothed.
    pub(crate) fn with_targets(mut self) -> Self {
        let labels = &self.inputs.labels;
        self.inputs.targets = Some(Tensor::kept("targets", &labels.shape));
        self
    }

    /// The same with other prices of bits, which [`Memory::write_spans`] must tell the device.
    pub(crate) fn with_prices(mut self, prices: Prices) -> Self {
        self.spans = self.parameters.spans(&prices);
        self.budget = prices.budget;
        self
    }

    /// Records that layers pay for no bits once they fit into their budget, if they have one.
    pub(crate) fn keep_budget(&self, plan: &mut Recording) {
        let Some(known) = &self.budget else {
            return;
        };
        let rows = known
            .weights
            .iter()
            .flat_map(|count| [*count as f32, 0.0, 0.0, 0.0]);
        let words: Vec<u32> = rows.map(f32::to_bits).collect();
        let counts = plan.constant_of("weights of layers", &[words.len() / 4, 4], &words);
        budget(plan, "quantise", &counts, known.bits, &self.levels);
    }

    /// Tells the quantiser's workgroups what they walk.
    pub(crate) fn write_spans(&self, gpu: &Gpu) {
        self.table.write(gpu, &self.spans.table());
    }

    /// Zeros for all outputs of the widest layer.
    pub(crate) fn zeros(&self) -> &Tensor {
        &self.zeros
    }

    /// Calls `record` with the places of all that is quantised.
    pub fn quantised(&self, record: impl FnOnce(&Quantised<'_>)) {
        record(&Quantised {
            quantiser: self.parameters.quantiser,
            spans: &self.spans,
            table: &self.table,
            parameters: &self.weights,
            quantisers: &self.parameters.quantisers_of(&self.weights),
            values: &self.values,
            levels: &self.levels,
        });
    }

    /// The noise of an auto-encoder, (batch, padded latent).
    pub fn noise(&self) -> Option<&Tensor> {
        self.noise.as_ref()
    }

    /// Records the quantiser's forward pass over all layers.
    pub fn quantise(&self, plan: &mut Recording) {
        self.quantised(|model| quantiser_forward(plan, "quantise", model));
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
    pub fn prepare(&self, plan: &mut Recording, noise: Counter) -> Batch {
        let input = self.network.prepare(plan, &self.inputs, self.model.input);
        let images = self.inputs.labels.shape[0];
        let outcomes = Tensor::transient("outcomes", &[2, images, 4]);
        let Some(tensor) = &self.noise else {
            let targets = self
                .inputs
                .targets
                .as_ref()
                .unwrap_or(&self.inputs.labels)
                .clone();
            return Batch {
                input,
                targets,
                outcomes,
            };
        };
        standard_normal(plan, "noise", noise, tensor);
        let images = &self.inputs.images;
        let output = self.network.output();
        let targets = if self.channels() == 4 {
            images.view(&[output[0], images.len() / output[0]])
        } else {
            let padded = self.network.targets(plan, &self.inputs, self.model.input);
            padded.view(&[output[0], padded.len() / output[0]])
        };
        Batch {
            input,
            targets,
            outcomes,
        }
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

    /// Records the forward pass of one network on what [`Memory::prepare`] made, and its loss.
    /// `network` is 0 for HP, 1 for LP; `lesson` says how the network learns from its targets. Returns the gradient
    /// of the logits too.
    pub fn judge(
        &self,
        plan: &mut Recording,
        (network, mode): (usize, Mode),
        batch: &Batch,
        teacher: Teacher<'_>,
        lesson: Lesson,
    ) -> (Pass, Tensor) {
        let weights = self.weights_of(network);
        let mut pass = self.network.forward(plan, &batch.input, weights, mode);
        let targets = match teacher {
            Teacher::Data => &batch.targets,
            Teacher::HighPrecision(_) => &self.probabilities[0],
        };
        let rows = targets.shape[0];
        let outcome = batch.outcomes.range(network..network + 1).view(&[rows, 4]);
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
            gaussian_kl(plan, &label, latent, operands, lesson.scale, made);
            let how = (likelihood, self.channels());
            let operands = [&logits, targets, &batch.targets, &divergence];
            image_loss(plan, &label, how, operands, lesson.scale, &outputs);
            pass.d_posterior = Some(d_posterior);
        } else {
            let operands = [&logits, targets, labels];
            let classes = self.network.classes();
            softmax_cross_entropy(plan, &label, classes, operands, lesson, &outputs);
        }
        (pass, d_logits)
    }

    /// Adds what [`Memory::judge`] made of these networks to their totals.
    pub fn count(&self, plan: &mut Recording, batch: &Batch, networks: Range<usize>) {
        let [outcomes, totals] = [&batch.outcomes, &self.totals].map(|t| t.range(networks.clone()));
        metrics(plan, "count", &outcomes, &totals);
    }
}
