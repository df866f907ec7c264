//! The forward passes of a network, as recorded dispatches.

use std::ops::Range;

use super::Shard;
use super::network::{Inputs, Mode, Network, NetworkArenas, Pass, Step, padded};
use super::parted_tensor::PartedTensor;
use crate::gpu::Storage;
use crate::graph::Value;
use crate::op::{Argmax, Forward, Kept, Layout};
use crate::op::{ConvShape, im2col, shifts};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};

/// The images of a batch as the operations that read them want them.
#[derive(Clone)]
pub struct Images {
    layouts: Vec<PartedTensor>,
    /// Which shard of the batch they are.
    shard: Shard,
}

/// Up to this every whole number has a binary16 of its own. Values are stored as they are, see [`super::Storages::halves`].
const MOST_OF_HALVES: usize = 2048;

/// Where the outputs of operations lie.
#[derive(Clone, Copy)]
enum Memory {
    /// In the working memory of the plan.
    Transient,
    /// Each in a buffer of its own, so that it can be read when the plan has run.
    Kept,
}

/// What a pass begins with.
enum Start<'a> {
    Images(&'a Images),
    /// The value of a step in the middle of the network.
    Middle(Option<(Value, PartedTensor)>),
}

impl Network {
    /// Lays out what both networks read of the batch, and returns it.
    pub fn prepare(&self, recording: &mut Recording, inputs: &Inputs, image: [usize; 3]) -> Images {
        let lay_out = |(layout, shape): &(Layout, Vec<usize>)| {
            let as_they_are = match layout {
                Layout::Padded => image[2].is_multiple_of(4),
                Layout::Rows(shape) | Layout::Shifts(shape) => shape.rows_are_images(),
            };
            if as_they_are {
                return PartedTensor::whole(&inputs.images.view(shape), &self.parts);
            }
            let storage = Storage::Float;
            let rows = PartedTensor::transient("windows", shape, &self.parts, storage);
            let (record, geometry): (LayOut, ConvShape) = match layout {
                Layout::Padded => (im2col, padded(self.parts.batch(), image)),
                Layout::Rows(shape) => (im2col, *shape),
                Layout::Shifts(shape) => (shifts, *shape),
            };
            self.lay_out(
                recording,
                ("input", record),
                &geometry,
                &inputs.images,
                &rows,
            );
            rows
        };
        Images {
            layouts: self.layouts.iter().map(lay_out).collect(),
            shard: inputs.shard,
        }
    }

    /// The images as outputs are laid out, (batch, height, width, padded channels); `image`: the sides of an output.
    pub fn targets(&self, recording: &mut Recording, inputs: &Inputs, image: [usize; 3]) -> Tensor {
        let shape = padded(self.parts.batch(), image);
        let targets = Tensor::transient("padded images", &self.output());
        let rows = PartedTensor::whole(&targets, &self.parts);
        self.lay_out(recording, ("images", im2col), &shape, &inputs.images, &rows);
        targets
    }

    /// Records what makes windows of images, for every part.
    fn lay_out(
        &self,
        recording: &mut Recording,
        (label, record): (&str, LayOut),
        shape: &ConvShape,
        images: &Tensor,
        rows: &PartedTensor,
    ) {
        let image = shape.input_height * shape.input_width * shape.input_channels;
        for (range, rows) in self.parts.ranges().iter().zip(rows.parts()) {
            let images = Tensor {
                offset: images.offset + range.start * image,
                shape: vec![pad4(range.len() * image)],
                ..images.clone()
            };
            let shape = ConvShape {
                batch: range.len(),
                ..*shape
            };
            record(recording, label, &shape, &images, rows);
        }
    }

    /// From what [`Network::prepare`] made to the logits.
    pub fn forward(
        &self,
        recording: &mut Recording,
        images: &Images,
        weights: NetworkArenas<'_>,
        mode: Mode,
    ) -> Pass {
        let mut passes = self.forward_together(recording, &[images], weights, mode);
        passes.remove(0)
    }

    /// The same for several shards, step by step: none begins a step before all have come to it.
    pub fn forward_together(
        &self,
        recording: &mut Recording,
        images: &[&Images],
        weights: NetworkArenas<'_>,
        mode: Mode,
    ) -> Vec<Pass> {
        let starts: Vec<Start<'_>> = images.iter().map(|images| Start::Images(images)).collect();
        let all = (0..self.steps.len(), Memory::Transient);
        self.pass_through(recording, all, &starts, weights, mode)
    }

    /// The same with every value in a buffer of its own, see `Pass::value`.
    pub fn forward_keeping(
        &self,
        recording: &mut Recording,
        images: &Images,
        weights: NetworkArenas<'_>,
    ) -> Pass {
        let all = (0..self.steps.len(), Memory::Kept);
        let starts = [Start::Images(images)];
        self.pass_through(recording, all, &starts, weights, Mode::Test)
            .remove(0)
    }

    /// The encoder alone: from what [`Network::prepare`] made to the posterior.
    pub fn encode(
        &self,
        recording: &mut Recording,
        images: &Images,
        weights: NetworkArenas<'_>,
    ) -> Tensor {
        let encoder = (0..self.latent(), Memory::Transient);
        let starts = [Start::Images(images)];
        let passes = self.pass_through(recording, encoder, &starts, weights, Mode::Test);
        passes[0].logits().clone()
    }

    /// The decoder alone: from latents (batch, padded latent) to the logits.
    pub fn decode(
        &self,
        recording: &mut Recording,
        latents: &Tensor,
        weights: NetworkArenas<'_>,
    ) -> Tensor {
        let pass = self.decode_in(recording, latents, weights, Memory::Transient);
        pass.logits().clone()
    }

    /// The same with every value in a buffer of its own, see `Pass::value`.
    pub fn decode_keeping(
        &self,
        recording: &mut Recording,
        latents: &Tensor,
        weights: NetworkArenas<'_>,
    ) -> Pass {
        let memory = Memory::Kept;
        self.decode_in(recording, latents, weights, memory)
    }

    fn decode_in(
        &self,
        recording: &mut Recording,
        latents: &Tensor,
        weights: NetworkArenas<'_>,
        memory: Memory,
    ) -> Pass {
        let at = self.latent();
        let latents = PartedTensor::whole(latents, &self.parts);
        let decoder = (at + 1..self.steps.len(), memory);
        let start = self.steps.get(at).map(|step| (step.output, latents));
        let starts = [Start::Middle(start)];
        self.pass_through(recording, decoder, &starts, weights, Mode::Test)
            .remove(0)
    }

    /// Records some steps for several shards, step by step.
    fn pass_through(
        &self,
        recording: &mut Recording,
        (steps, memory): (Range<usize>, Memory),
        starts: &[Start<'_>],
        weights: NetworkArenas<'_>,
        mode: Mode,
    ) -> Vec<Pass> {
        let end = steps.end;
        let output = self.steps[end - 1].output;
        let begin = |start: &Start<'_>| {
            let mut pass = Pass::new(self.places.len(), output);
            pass.kept = vec![Kept::default(); self.steps.len()];
            match start {
                Start::Images(images) => {
                    pass.images = images.layouts.clone();
                    pass.shard = images.shard;
                }
                Start::Middle(Some((value, activation))) => {
                    pass.values[*value] = Some(activation.clone());
                }
                Start::Middle(None) => {}
            }
            pass
        };
        let mut passes: Vec<Pass> = starts.iter().map(begin).collect();
        for number in steps {
            let step = &self.steps[number];
            // What losses read is one tensor.
            let whole = number + 1 == end || number + 1 == self.latent();
            let keep = match mode {
                Mode::Train => step.recorder.keeps_argmax(),
                Mode::Test => Argmax::None,
            };
            let storages = self.storages;
            let storage = match keep {
                _ if whole => Storage::Float,
                Argmax::Beside(most) if most > MOST_OF_HALVES => Storage::Float,
                _ => storages.values,
            };
            let label = format!("{} {}", weights.name, step.name);
            let mut ats = Vec::with_capacity(passes.len());
            for pass in &mut passes {
                let x = self.inputs_of(step, pass);
                if step.latent {
                    pass.posterior = Some(x[0].clone());
                }
                if number + 1 == end {
                    pass.note_last(&x[0]);
                }
                let (y, argmax) = match memory {
                    Memory::Transient => {
                        let shape = step.recorder.output();
                        let several = |count, storage| {
                            let wanted = (count, whole);
                            PartedTensor::several(&label, &shape, &self.parts, wanted, storage)
                        };
                        let beside = usize::from(matches!(keep, Argmax::Beside(_)));
                        let mut outputs = several(1 + beside, storage);
                        if keep == Argmax::Apart {
                            outputs.extend(several(1, Storage::Float));
                        }
                        let mut outputs = outputs.into_iter();
                        (outputs.next(), outputs.next())
                    }
                    Memory::Kept => {
                        let tensor = Tensor::kept(&label, &step.recorder.output());
                        (Some(PartedTensor::whole(&tensor, &self.parts)), None)
                    }
                };
                ats.push(Forward {
                    parts: &self.parts,
                    storages,
                    weights,
                    mode,
                    label: &label,
                    shard: pass.shard,
                    x,
                    y: y.expect("one output at least was asked for"),
                    argmax,
                    masks: step.masks,
                    noise: self.noise.get(pass.shard.own),
                });
            }
            let statistics = step.recorder.forward_together(recording, &ats);
            for ((pass, at), statistics) in passes.iter_mut().zip(ats).zip(statistics) {
                let argmax = at.argmax;
                pass.kept[number] = Kept { argmax, statistics };
                pass.values[step.output] = Some(at.y);
            }
        }
        passes
    }

    /// Records that running statistics follow the moments of all shards, joined in their order; nothing where they have
    /// followed those of the whole batch already.
    pub fn join_norms(&self, recording: &mut Recording, weights: NetworkArenas<'_>) {
        for step in &self.steps {
            let label = format!("{} {}", weights.name, step.name);
            step.recorder.join_norms(recording, &label, weights);
        }
    }

    /// What a step reads, in the shapes in which it reads it.
    pub(super) fn inputs_of(&self, step: &Step, pass: &Pass) -> Vec<PartedTensor> {
        let shapes = step.recorder.inputs();
        let pairs = step.inputs.iter().zip(&shapes);
        let read = |(value, shape): (&Value, &Vec<usize>)| {
            let images = step.layout.filter(|_| *value == crate::graph::INPUT);
            let found = match images {
                Some(layout) => pass.images.get(layout),
                None => pass.values[*value].as_ref(),
            };
            let found = found.unwrap_or_else(|| {
                panic!("'{}' reads value {value}, which is not there", step.name)
            });
            found.view(shape, &self.parts)
        };
        pairs.map(read).collect()
    }
}

/// A kernel that makes windows of images.
type LayOut = fn(&mut Recording, &str, &ConvShape, &Tensor, &Tensor);
