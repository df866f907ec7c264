//! What testing and training share: tensors, and the networks recorded over them.

use std::ops::Range;

use crate::gpu::{Gpu, GpuError};
use crate::loss::{Lesson, LossOutputs, image_loss, metrics, softmax_cross_entropy};
use crate::model::{
    BitBudget, Images, Inputs, Mode, Model, Moments, Network, NetworkArenas, NormParameters,
    Parameters, Pass, Prices, Shard, Shards, Storages, check_positions,
};
use crate::op::{Counter, TEST_NOISE, TRAINING_NOISE, gaussian_kl, standard_normal};
use crate::quantiser::{Quantised, Spans, budget, quantiser_forward};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};

/// Memory that both testing and training use.
pub(crate) struct Memory {
    pub parameters: Parameters,
    /// Of each shard of this process; tests use the first.
    pub inputs: Vec<Inputs>,
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
    /// Of each shard, of HP and LP each: probabilities (batch, padded classes), or means of pixels (batch, stored
    /// pixels).
    pub probabilities: Vec<[Tensor; 2]>,
    pub network: Network,
    /// Whether LP's batch normalisations multiply by powers of two.
    round_norm: bool,
    model: Model,
    /// Of an auto-encoder, (batch, padded latent) of each shard.
    noise: Vec<Tensor>,
    /// How a batch is cut; all other sizes are those of a shard.
    pub shards: Shards,
    /// Where several shards leave what is joined in their order.
    joined: Option<Joined>,
    /// What all layers' weights may take.
    budget: Option<BitBudget>,
}

/// What several shards of a batch leave for the whole.
struct Joined {
    /// How the images of HP and LP came out, (2, images of the batch, 4).
    outcomes: Tensor,
    /// Moments of the batch normalisations of HP and LP, see [`crate::model::Moments`].
    moments: [Tensor; 2],
}

/// What a shard is made into before the networks run.
pub(crate) struct Batch {
    /// What the first layer reads.
    pub input: Images,
    /// Labels, or of an auto-encoder the images, laid out like its outputs.
    pub targets: Tensor,
    /// How the images of HP and LP came out: of each (images, 4).
    outcomes: [Tensor; 2],
    /// What they are parts of, (2, images of the whole batch, 4).
    all_outcomes: Tensor,
    shard: Shard,
}

/// What a network learns from.
#[derive(Clone, Copy)]
pub(crate) enum Teacher<'a> {
    /// Labels or images, and the prior.
    Data,
    /// What HP made of the shards.
    HighPrecision(&'a [Pass]),
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
        check_positions(model, 1)?;
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
        let noise: Vec<Tensor> = noise.into_iter().collect();
        for noise in &noise {
            network = network.with_noise(noise);
        }
        let outputs = match latent {
            Some(_) => network.output().iter().product::<usize>() / batch,
            None => width,
        };
        let probabilities = ["HP probabilities", "LP probabilities"];
        let running = ["HP running", "LP running"];
        let [weights, values] = parameters.layout.pair(["weights", "quantised"]);
        let spans = parameters.spans(&Prices::default());
        Self {
            inputs: vec![Inputs {
                images: Tensor::kept("images", &[pad4(batch * pixels)]),
                labels: rows("labels"),
                targets: None,
                shard: Shard::default(),
            }],
            weights,
            values,
            table: Tensor::kept("spans", &[spans.table().len() / 4, 4]),
            spans,
            levels: Tensor::kept("levels", &[parameters.quantised().count(), 3, 4]),
            running: Tensor::kept_pair(running, &[parameters.initial_running().len()]),
            zeros: Tensor::kept("zeros", &[widest.unwrap_or(4)]),
            totals: Tensor::kept("totals", &[2, 2, 4]),
            probabilities: vec![Tensor::kept_pair(probabilities, &[batch, outputs])],
            shards: Shards::one(),
            joined: None,
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
        let inputs = self.inputs.iter();
        let inputs = inputs.flat_map(|inputs| [&inputs.images, &inputs.labels]);
        let arenas = [&self.weights, &self.values];
        let small = [&self.table, &self.levels, &self.zeros, &self.totals];
        let targets = self.inputs.iter().flat_map(|inputs| &inputs.targets);
        let optional = self.noise.iter().chain(targets);
        let pairs = self
            .running
            .iter()
            .chain(self.probabilities.iter().flatten());
        let all = inputs.chain(arenas).chain(small);
        all.chain(optional).chain(pairs)
    }

    /// The same with activations and their gradients stored in these ways.
    pub(crate) fn with_storages(mut self, storages: Storages) -> Self {
        self.network = self.network.with_storages(storages);
        self
    }

    /// The same for training on a batch of several shards. `self` was laid out for one shard.
    pub(crate) fn with_shards(mut self, shards: Shards) -> Self {
        let like = |tensor: &Tensor| Tensor::kept(tensor.buffer.label(), &tensor.shape);
        let [images, labels] = [&self.inputs[0].images, &self.inputs[0].labels].map(like);
        for own in 1..shards.own.len() {
            self.inputs.push(Inputs {
                images: like(&images),
                labels: like(&labels),
                targets: None,
                shard: Shard::default(),
            });
            let [high, low] = &self.probabilities[0];
            let labels = [high, low].map(|tensor| tensor.buffer.label());
            let probabilities = Tensor::kept_pair(labels, &high.shape);
            self.probabilities.push(probabilities);
            if let Some(noise) = self.noise.first().map(like) {
                self.network = self.network.with_noise(&noise);
                self.noise.push(noise);
            }
            debug_assert_eq!(self.inputs.len(), own + 1);
        }
        for (own, number) in shards.own.clone().enumerate() {
            self.inputs[own].shard = Shard { number, own };
        }
        if !shards.is_one() {
            let batch = labels.shape[0] * shards.count;
            let moments = |label| {
                let floats = self.parameters.initial_running().len();
                Tensor::kept(label, &[shards.count * floats])
            };
            self.joined = Some(Joined {
                outcomes: Tensor::kept("outcomes", &[2, batch, 4]),
                moments: [moments("HP moments"), moments("LP moments")],
            });
        }
        self.shards = shards;
        self
    }

    /// The same where images are mixed or labels smoothed.
    pub(crate) fn with_targets(mut self) -> Self {
        for inputs in &mut self.inputs {
            inputs.targets = Some(Tensor::kept("targets", &inputs.labels.shape));
        }
        self
    }

    /// The same with other prices of bits, which [`Memory::write_spans`] must tell the device.
    pub(crate) fn with_prices(mut self, prices: Prices) -> Self {
        self.spans = self.parameters.spans(&prices);
        self.budget = prices.budget;
        self
    }

    /// Records that layers pay for no bits once they fit into their budget, if they have one.
    pub(crate) fn keep_budget(&self, recording: &mut Recording) {
        let Some(known) = &self.budget else {
            return;
        };
        let rows = known
            .weights
            .iter()
            .flat_map(|count| [*count as f32, 0.0, 0.0, 0.0]);
        let words: Vec<u32> = rows.map(f32::to_bits).collect();
        let counts = recording.constant_of("weights of layers", &[words.len() / 4, 4], &words);
        budget(recording, "quantise", &counts, known.bits, &self.levels);
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
        self.noise.first()
    }

    /// Records the quantiser's forward pass over all layers.
    pub fn quantise(&self, recording: &mut Recording) {
        self.quantised(|model| quantiser_forward(recording, "quantise", model));
    }

    /// What a network reads. 0 is HP, 1 is LP; they share biases.
    pub fn arenas_of(&self, network: usize) -> NetworkArenas<'_> {
        NetworkArenas {
            name: ["HP", "LP"][network],
            weights: [&self.weights, &self.values][network],
            floats: &self.weights,
            running: &self.running[network],
            zeros: &self.zeros,
            round_norm: network == 1 && self.round_norm,
            moments: self.joined.as_ref().map(|joined| Moments {
                arena: &joined.moments[network],
                shards: &self.shards,
            }),
        }
    }

    /// Records what both networks read of a batch in a test.
    pub fn prepare(&self, recording: &mut Recording) -> Batch {
        let images = self.inputs[0].labels.shape[0];
        let outcomes = Tensor::transient("outcomes", &[2, images, 4]);
        self.prepare_own(recording, (0, TEST_NOISE), outcomes, 0)
    }

    /// Records what both networks read of a shard of this process while training. Its noise is what it would be within the
    /// whole batch.
    pub fn prepare_shard(&self, recording: &mut Recording, own: usize) -> Batch {
        let Some(joined) = &self.joined else {
            let images = self.inputs[own].labels.shape[0];
            let outcomes = Tensor::transient("outcomes", &[2, images, 4]);
            return self.prepare_own(recording, (own, TRAINING_NOISE), outcomes, 0);
        };
        let number = self.inputs[own].shard.number;
        let first = self.noise.get(own).map_or(0, |noise| noise.texels());
        let noise = Counter {
            first: number as u32 * first,
            ..TRAINING_NOISE
        };
        self.prepare_own(recording, (own, noise), joined.outcomes.clone(), number)
    }

    /// The same, with outcomes in the place of this shard among all.
    fn prepare_own(
        &self,
        recording: &mut Recording,
        (own, noise): (usize, Counter),
        all_outcomes: Tensor,
        place: usize,
    ) -> Batch {
        let inputs = &self.inputs[own];
        let shard = inputs.shard;
        let input = self.network.prepare(recording, inputs, self.model.input);
        let images = inputs.labels.shape[0];
        let outcomes = [0, 1].map(|network| {
            let all = all_outcomes.range(network..network + 1);
            let rows = all.view(&[all.shape[1], 4]);
            rows.range(place * images..(place + 1) * images)
        });
        let Some(tensor) = self.noise.get(own) else {
            let targets = inputs.targets.as_ref().unwrap_or(&inputs.labels);
            return Batch {
                input,
                targets: targets.clone(),
                outcomes,
                all_outcomes,
                shard,
            };
        };
        standard_normal(recording, "noise", noise, tensor);
        let images = &inputs.images;
        let output = self.network.output();
        let sides = self.model.output_shape().sides();
        let targets = if sides[2].is_multiple_of(4) {
            images.view(&[output[0], images.len() / output[0]])
        } else {
            let padded = self.network.targets(recording, inputs, sides);
            padded.view(&[output[0], padded.len() / output[0]])
        };
        Batch {
            input,
            targets,
            outcomes,
            all_outcomes,
            shard,
        }
    }

    /// Numbers of a pixel in an auto-encoder's outputs: all of an image if it is one row, else its channels. Where they fill
    /// their texels, it is as good to count four.
    pub fn channels(&self) -> usize {
        match self.model.output_shape().channels {
            channels if channels.is_multiple_of(4) => 4,
            channels => channels,
        }
    }

    /// Records the forward pass of one network on what [`Memory::prepare`] made of some shards, step by step, and its
    /// losses. `network` is 0 for HP, 1 for LP; `lesson` says how the network learns from its targets. Returns the gradients
    /// of the logits too.
    pub fn judge(
        &self,
        recording: &mut Recording,
        (network, mode): (usize, Mode),
        batches: &[Batch],
        teacher: Teacher<'_>,
        lesson: Lesson,
    ) -> (Vec<Pass>, Vec<Tensor>) {
        let weights = self.arenas_of(network);
        let images: Vec<&Images> = batches.iter().map(|batch| &batch.input).collect();
        let mut passes = self
            .network
            .forward_together(recording, &images, weights, mode);
        let mut d_logits = Vec::new();
        for (number, (pass, batch)) in passes.iter_mut().zip(batches).enumerate() {
            let teacher = match teacher {
                Teacher::Data => None,
                Teacher::HighPrecision(passes) => Some(&passes[number]),
            };
            d_logits.push(self.lose(recording, network, (pass, batch), teacher, lesson));
        }
        (passes, d_logits)
    }

    /// Records the loss of a pass over a shard, and returns the gradient of the logits.
    fn lose(
        &self,
        recording: &mut Recording,
        network: usize,
        (pass, batch): (&mut Pass, &Batch),
        teacher: Option<&Pass>,
        lesson: Lesson,
    ) -> Tensor {
        let own = batch.shard.own;
        let targets = match teacher {
            None => &batch.targets,
            Some(_) => &self.probabilities[own][0],
        };
        let rows = targets.shape[0];
        let outcome = &batch.outcomes[network];
        let logits = pass.logits().view(&targets.shape);
        let d_logits = Tensor::transient("d_logits", &logits.shape);
        let outputs = LossOutputs {
            d_logits: &d_logits,
            probabilities: &self.probabilities[own][network],
            outcome,
        };
        let label = format!("{} loss", self.arenas_of(network).name);
        let labels = &self.inputs[own].labels;
        if let (Some(likelihood), Some(latent), Some(posterior)) = (
            self.model.likelihood,
            self.model.latent(),
            self.network.posterior(pass),
        ) {
            let d_posterior = Tensor::transient("d_posterior", &posterior.shape);
            let divergence = Tensor::transient("divergence", &[rows, 4]);
            let teacher = teacher.and_then(|pass| self.network.posterior(pass));
            let operands = (posterior, teacher, labels);
            let made = [&d_posterior, &divergence];
            gaussian_kl(recording, &label, latent, operands, lesson.scale, made);
            let how = (likelihood, self.channels());
            let operands = [&logits, targets, &batch.targets, &divergence];
            image_loss(recording, &label, how, operands, lesson.scale, &outputs);
            pass.d_posterior = Some(d_posterior);
        } else {
            let operands = [&logits, targets, labels];
            let classes = self.network.classes();
            softmax_cross_entropy(recording, &label, classes, operands, lesson, &outputs);
        }
        d_logits
    }

    /// What other processes have to know of the passes of these networks over the shards of this one.
    pub fn gathers(&self, networks: Range<usize>) -> Vec<Tensor> {
        let Some(joined) = &self.joined else {
            return Vec::new();
        };
        let mut gathers = Vec::new();
        for network in networks {
            let outcomes = joined.outcomes.range(network..network + 1);
            let count = self.shards.count;
            gathers.push(outcomes.view(&[count, outcomes.len() / count]));
            if !self.shards.sync_norm {
                let moments =
                    |norm: &NormParameters| norm.moments_of(&joined.moments[network], count);
                gathers.extend(self.parameters.norms.iter().map(moments));
            }
        }
        gathers
    }

    /// Records that running statistics of these networks follow all shards.
    pub fn join_norms(&self, recording: &mut Recording, networks: Range<usize>) {
        for network in networks {
            self.network.join_norms(recording, self.arenas_of(network));
        }
    }

    /// Adds what [`Memory::judge`] made of these networks to their totals.
    pub fn count(&self, recording: &mut Recording, batch: &Batch, networks: Range<usize>) {
        let [outcomes, totals] =
            [&batch.all_outcomes, &self.totals].map(|t| t.range(networks.clone()));
        metrics(recording, "count", &outcomes, &totals);
    }
}
