//! One model for one batch size.

use super::parameters::{MOST_POSITIONS, positions};
use super::parted_tensor::{PartedTensor, Parts, Storages};
use super::{LayerParameters, Model, Moments, Parameters, Shard};
use crate::gpu::Gpu;
use crate::graph::{INPUT, Value, fuse, geometry, separate};
use crate::op::ConvShape;
use crate::op::{Argmax, Binding, Kept, Layout, Recorder};
use crate::tensor::Tensor;

/// What a batch is uploaded into.
pub struct Inputs {
    /// (batch * height * width * channels), channels not padded.
    pub images: Tensor,
    /// (batch, padded classes), one-hot; zero rows are padding.
    pub labels: Tensor,
    /// What a classifier learns instead of the labels, laid out like them, where the two differ.
    pub targets: Option<Tensor>,
    /// Which shard of the batch they are.
    pub shard: Shard,
}

/// The buffers that one network, HP or LP, reads.
#[derive(Clone, Copy)]
pub struct NetworkArenas<'a> {
    /// HP or LP, for listings.
    pub name: &'a str,
    /// Weights, or their quantised values.
    pub weights: &'a Tensor,
    /// The arena of what both networks share in float: biases, gammas and betas, and weights of layers that are not
    /// quantised.
    pub floats: &'a Tensor,
    /// This network's arena of running statistics.
    pub running: &'a Tensor,
    /// Zeros, for layers without a bias.
    pub zeros: &'a Tensor,
    /// Whether factors of batch normalisations are rounded to powers of two.
    pub round_norm: bool,
    /// Where shards leave their moments, if the batch has several: the running statistics then follow all of them, see
    /// [`Network::join_norms`].
    pub moments: Option<Moments<'a>>,
}

impl<'a> NetworkArenas<'a> {
    /// The arena in which a layer finds its weights.
    pub(crate) fn arena_of(&self, layer: &LayerParameters) -> &'a Tensor {
        match layer.is_quantised() {
            true => self.weights,
            false => self.floats,
        }
    }
}

/// Where batch normalisations take their statistics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the batch; the running ones follow.
    Train,
    /// From the running ones.
    Test,
}

/// An operation of a network, with what the kernels of one node do at once.
pub(crate) struct Step {
    /// Name of its node, for listings.
    pub name: String,
    /// Its dispatches.
    pub recorder: Box<dyn Recorder>,
    /// What it reads.
    pub(super) inputs: Vec<Value>,
    /// What it gives.
    pub(super) output: Value,
    /// Of an operation that reads the images: which of the network's layouts.
    pub(super) layout: Option<usize>,
    /// Whether it applies the gradient of the ReLU that its first input came out of.
    pub(super) masks: bool,
    /// Whether its first input came out of a ReLU.
    pub(super) input_has_relu: bool,
    /// Whether its own ReLU's gradient is left to it.
    pub(super) masks_own: bool,
    /// Whether it samples the latent.
    pub(super) latent: bool,
}

/// A model for one batch size.
pub struct Network {
    pub(super) steps: Vec<Step>,
    /// How the images are laid out for those that read them.
    pub(super) layouts: Vec<(Layout, Vec<usize>)>,
    /// Stored shape of the output.
    output: Vec<usize>,
    classes: usize,
    pub(super) parts: Parts,
    pub(super) storages: Storages,
    /// Numbers of the largest activation of an image, and the positions, or lines of shifted copies, that
    /// kernels count of it at most.
    largest: [usize; 2],
    /// Numbers of an image as it comes.
    pixels: usize,
    /// Of each shard of this process, (batch, padded latent): what samples of the latent are made of.
    pub(super) noise: Vec<PartedTensor>,
    /// The output of each node, for those that only see what they read in another shape: that.
    pub(super) places: Vec<Value>,
}

/// What the forward pass of a network leaves for the backward pass. The recording that both are
/// recorded in decides where it lies.
pub struct Pass {
    /// By the number of the value; `None` of those that are never stored, because a kernel does several nodes at once.
    pub(super) values: Vec<Option<PartedTensor>>,
    /// How the images were laid out.
    pub(super) images: Vec<PartedTensor>,
    /// Which shard they are.
    pub(super) shard: Shard,
    /// What every step keeps for its backward pass.
    pub(super) kept: Vec<Kept>,
    /// The output.
    pub(super) output: Value,
    /// What the last step reads, for the judge.
    penultimate: Option<PartedTensor>,
    /// Of an auto-encoder, the posterior and what the divergence says of it: the backward pass adds to it.
    pub(super) posterior: Option<PartedTensor>,
    pub(crate) d_posterior: Option<Tensor>,
}

impl Pass {
    pub(super) fn new(values: usize, output: Value) -> Self {
        Self {
            values: vec![None; values],
            images: Vec::new(),
            shard: Shard::default(),
            kept: Vec::new(),
            output,
            penultimate: None,
            posterior: None,
            d_posterior: None,
        }
    }

    /// What the last step reads, for the judge; the forward pass has noted it.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn penultimate(&self) -> &PartedTensor {
        self.penultimate.as_ref().expect("a network has a step")
    }

    pub(super) fn note_last(&mut self, x: &PartedTensor) {
        self.penultimate = Some(x.clone());
    }

    /// The value of this number, if it is stored.
    pub(crate) fn value(&self, value: Value) -> Option<&PartedTensor> {
        self.values[value].as_ref()
    }

    /// (batch, padded classes): the outputs of a network, which always lie in one tensor.
    pub fn logits(&self) -> &Tensor {
        let output = self.values[self.output].as_ref();
        output
            .and_then(PartedTensor::tensor)
            .expect("outputs lie in one tensor")
    }
}

/// The largest batch of at most `wanted` images of which a device can keep every value, one at least.
pub fn whole_batch(gpu: &Gpu, model: &Model, wanted: usize) -> usize {
    whole_batch_within(gpu.part_bytes(), model, wanted)
}

fn whole_batch_within(bytes: u64, model: &Model, wanted: usize) -> usize {
    let images = Network::unfused(model, 1).images_at_once(bytes);
    wanted.min(images).max(1)
}

impl Network {
    /// The steps of a model for `batch` images.
    pub fn new(model: &Model, batch: usize) -> Self {
        Self::compile(model, batch, true)
    }

    /// The same with a step for every node.
    pub fn unfused(model: &Model, batch: usize) -> Self {
        Self::compile(model, batch, false)
    }

    fn compile(model: &Model, batch: usize, fused: bool) -> Self {
        let shapes = model.shapes();
        let parameters = Parameters::new(model);
        let places = model.graph.places();
        let mut layouts: Vec<(Layout, Vec<usize>)> = Vec::new();
        let mut steps: Vec<Step> = Vec::new();
        let parts = match fused {
            true => fuse(model, &shapes, batch),
            false => separate(model),
        };
        for step in parts {
            let inputs: Vec<Value> = step
                .node
                .inputs
                .iter()
                .map(|value| places[*value])
                .collect();
            let bind = Binding {
                weights: parameters.layer_of(step.number),
                norm: parameters.norm_of(step.number),
                reads_images: inputs.first() == Some(&INPUT),
                ..geometry(&step, &shapes, batch)
            };
            let operation = step.node.op.operation();
            let Some(recorder) = operation.recorder(&bind) else {
                continue;
            };
            let images = inputs.iter().position(|value| *value == INPUT);
            let layout = images.map(|input| {
                let wanted = (recorder.layout(), recorder.inputs()[input].clone());
                let known = layouts.iter().position(|known| *known == wanted);
                known.unwrap_or_else(|| {
                    layouts.push(wanted);
                    layouts.len() - 1
                })
            });
            steps.push(Step {
                name: step.node.name.clone(),
                recorder,
                inputs,
                output: step.output,
                layout,
                masks: false,
                input_has_relu: false,
                masks_own: false,
                latent: operation.latent().is_some(),
            });
        }
        share_masks(&mut steps);
        let size = |shape: &[usize]| shape.iter().product::<usize>() / batch;
        let outputs = |step: &Step| {
            let times = match step.recorder.keeps_argmax() {
                // Backward, the gradient before the pool over squares of 2 x 2; not where images are read.
                Argmax::Beside(_) if step.layout.is_none() => 4,
                Argmax::Beside(_) => 2,
                Argmax::None | Argmax::Apart => 1,
            };
            size(&step.recorder.output()) * times
        };
        let inputs = |step: &Step| step.recorder.inputs().iter().map(|shape| size(shape)).max();
        let numbers = steps
            .iter()
            .flat_map(|step| [inputs(step).unwrap_or(1), outputs(step)]);
        let lines = layouts.iter().map(|(layout, _)| match layout {
            Layout::Shifts(shape) => {
                let [_, copies, rows, _] = shape.shifts();
                copies * rows
            }
            Layout::Padded | Layout::Rows(_) => 1,
        });
        Self {
            largest: [
                numbers.max().unwrap_or(1),
                positions(model).max(lines.max().unwrap_or(1)),
            ],
            pixels: model.input.iter().product(),
            output: steps
                .last()
                .map(|step| step.recorder.output())
                .unwrap_or_default(),
            steps,
            layouts,
            classes: model.classes,
            parts: Parts::one(batch),
            storages: Storages::default(),
            noise: Vec::new(),
            places,
        }
    }

    /// Works through a batch in parts where a whole one would have tensors larger than a binding of the
    /// device, or more positions than kernels count exactly.
    pub fn in_parts_for(self, gpu: &Gpu) -> Self {
        self.in_parts_of(gpu.part_bytes())
    }

    /// The same for bindings of so many bytes.
    pub(crate) fn in_parts_of(mut self, bytes: u64) -> Self {
        let most = self.images_at_once(bytes);
        self.parts = Parts::of(self.parts.batch(), most, self.pixels);
        self
    }

    /// Images of which no value exceeds a binding of so many bytes, nor the positions that kernels count exactly; 0 if one image
    /// does.
    fn images_at_once(&self, bytes: u64) -> usize {
        let [numbers, positions] = self.largest;
        let images = (bytes / 4) as usize / numbers;
        images.min(MOST_POSITIONS / positions)
    }

    /// Stores values and gradients in these ways.
    pub(crate) fn with_storages(mut self, storages: Storages) -> Self {
        self.storages = storages;
        self
    }

    /// How many parts a batch is worked through in.
    pub fn parts(&self) -> usize {
        self.parts.ranges().len()
    }

    /// Says where an auto-encoder finds the noise of its samples, (batch, padded latent); of several shards, of the next.
    pub fn with_noise(mut self, noise: &Tensor) -> Self {
        self.noise.push(PartedTensor::whole(noise, &self.parts));
        self
    }

    /// The place of the latent among the steps: encoders end before it, decoders start after it.
    pub(super) fn latent(&self) -> usize {
        let at = self.steps.iter().position(|step| step.latent);
        at.unwrap_or(self.steps.len())
    }

    /// Means and log variances of a pass of an auto-encoder.
    pub fn posterior<'p>(&self, pass: &'p Pass) -> Option<&'p Tensor> {
        pass.posterior.as_ref().and_then(PartedTensor::tensor)
    }

    /// Stored shape of what the last step gives.
    pub fn output(&self) -> Vec<usize> {
        self.output.clone()
    }

    /// What is done, in order.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Outputs that mean something.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Where the value of a node lies: another value, if the node only sees that in another shape.
    pub(crate) fn place(&self, value: Value) -> Value {
        self.places[value]
    }
}

/// Decides who applies the gradient of each ReLU that an operation ends in: those that read its output if all of
/// them can, else the operation itself.
fn share_masks(steps: &mut [Step]) {
    for number in 0..steps.len() {
        if !steps[number].recorder.has_relu() {
            continue;
        }
        let output = steps[number].output;
        let readers: Vec<usize> = (number + 1..steps.len())
            .filter(|next| steps[*next].inputs.contains(&output))
            .collect();
        let ends = steps[number].recorder.ends_in_relu();
        let can =
            |next: &usize| steps[*next].inputs == [output] && steps[*next].recorder.can_mask();
        let shared = ends && !readers.is_empty() && readers.iter().all(can);
        steps[number].masks_own = ends && !shared;
        for next in readers {
            let step = &mut steps[next];
            step.input_has_relu = step.inputs[0] == output;
            step.masks = shared;
        }
    }
}

/// The images as a convolution over single pixels lays them out: with padded channels.
pub(super) fn padded(batch: usize, [height, width, channels]: [usize; 3]) -> ConvShape {
    ConvShape {
        input_height: height,
        input_width: width,
        ..ConvShape::dense(batch, channels, channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;
    use crate::op::{Conv, Dense, GlobalAveragePool};

    #[test]
    fn large_images_make_small_batches() {
        let model = |side: usize| {
            let mut net = Builder::new("large", [side, side, 4]);
            net.then("conv", Conv::new(8, 3).padding(1));
            net.then("means", GlobalAveragePool {});
            net.then("fc", Dense::new(2));
            net.build().unwrap_or_else(|e| panic!("{e}"))
        };
        let batch = |side, bytes| whole_batch_within(bytes, &model(side), 100);
        assert_eq!(batch(32, 1 << 27), 100);
        // 224 x 224 x 8 floats of 83 images take 127.1 MiB, and 4.16 of 4.19 million positions.
        assert_eq!(batch(224, 1 << 27), 83);
        assert_eq!(batch(224, 1 << 30), 83);
        assert_eq!(batch(224, 1 << 26), 41);
        assert_eq!(batch(2048, 1 << 30), 1);
    }
}
