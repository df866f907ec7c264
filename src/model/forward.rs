//! The forward passes of a network, as recorded dispatches.

use std::ops::Range;

use super::activation::Activation;
use super::network::{Inputs, Mode, Network, Pass, Step, Weights, padded};
use crate::graph::Value;
use crate::op::{ConvShape, im2col, shifts};
use crate::op::{Forward, Kept, Layout};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};

/// The images of a batch as the operations that read them want them.
#[derive(Clone)]
pub struct Images(Vec<Activation>);

/// Where the outputs of operations lie.
#[derive(Clone, Copy)]
enum Memory {
    /// In the working memory of the plan.
    Transient,
    /// Each in a buffer of its own, so that it can be read when the plan has run.
    Kept,
}

/// A stretch of a network.
struct Stretch<'a> {
    /// Which steps.
    steps: Range<usize>,
    /// The images, if it begins with them.
    images: &'a [Activation],
    /// The value that it begins with otherwise.
    start: Option<(Value, Activation)>,
    memory: Memory,
}

impl Network {
    /// Lays out what both networks read of the batch, and returns it.
    pub fn prepare(&self, plan: &mut Recording, inputs: &Inputs, image: [usize; 3]) -> Images {
        let lay_out = |(layout, shape): &(Layout, Vec<usize>)| {
            let as_they_are = match layout {
                Layout::Padded => image[2].is_multiple_of(4),
                Layout::Rows(shape) | Layout::Shifts(shape) => shape.rows_are_images(),
            };
            if as_they_are {
                return Activation::whole(&inputs.images.view(shape), &self.parts);
            }
            let rows = Activation::transient("windows", shape, &self.parts);
            let (record, geometry): (LayOut, ConvShape) = match layout {
                Layout::Padded => (im2col, padded(self.parts.batch(), image)),
                Layout::Rows(shape) => (im2col, *shape),
                Layout::Shifts(shape) => (shifts, *shape),
            };
            self.lay_out(plan, ("input", record), &geometry, &inputs.images, &rows);
            rows
        };
        Images(self.layouts.iter().map(lay_out).collect())
    }

    /// The images as outputs are laid out, (batch, height, width, padded channels).
    pub fn targets(&self, plan: &mut Recording, inputs: &Inputs, image: [usize; 3]) -> Tensor {
        let shape = padded(self.parts.batch(), image);
        let targets = Tensor::transient("padded images", &self.output());
        let rows = Activation::whole(&targets, &self.parts);
        self.lay_out(plan, ("images", im2col), &shape, &inputs.images, &rows);
        targets
    }

    /// Records what makes windows of images, for every part.
    fn lay_out(
        &self,
        plan: &mut Recording,
        (label, record): (&str, LayOut),
        shape: &ConvShape,
        images: &Tensor,
        rows: &Activation,
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
            record(plan, label, &shape, &images, rows);
        }
    }

    /// From what [`Network::prepare`] made to the logits.
    pub fn forward(
        &self,
        plan: &mut Recording,
        images: &Images,
        weights: Weights<'_>,
        mode: Mode,
    ) -> Pass {
        let stretch = Stretch {
            steps: 0..self.steps.len(),
            images: &images.0,
            start: None,
            memory: Memory::Transient,
        };
        self.pass_through(plan, stretch, weights, mode)
    }

    /// The same with every value in a buffer of its own, see `Pass::value`.
    pub fn forward_keeping(
        &self,
        plan: &mut Recording,
        images: &Images,
        weights: Weights<'_>,
    ) -> Pass {
        let stretch = Stretch {
            steps: 0..self.steps.len(),
            images: &images.0,
            start: None,
            memory: Memory::Kept,
        };
        self.pass_through(plan, stretch, weights, Mode::Test)
    }

    /// The encoder alone: from what [`Network::prepare`] made to the posterior.
    pub fn encode(&self, plan: &mut Recording, images: &Images, weights: Weights<'_>) -> Tensor {
        let stretch = Stretch {
            steps: 0..self.latent(),
            images: &images.0,
            start: None,
            memory: Memory::Transient,
        };
        let pass = self.pass_through(plan, stretch, weights, Mode::Test);
        pass.logits().clone()
    }

    /// The decoder alone: from latents (batch, padded latent) to the logits.
    pub fn decode(&self, plan: &mut Recording, latents: &Tensor, weights: Weights<'_>) -> Tensor {
        let pass = self.decode_in(plan, latents, weights, Memory::Transient);
        pass.logits().clone()
    }

    /// The same with every value in a buffer of its own, see `Pass::value`.
    pub fn decode_keeping(
        &self,
        plan: &mut Recording,
        latents: &Tensor,
        weights: Weights<'_>,
    ) -> Pass {
        let memory = Memory::Kept;
        self.decode_in(plan, latents, weights, memory)
    }

    fn decode_in(
        &self,
        plan: &mut Recording,
        latents: &Tensor,
        weights: Weights<'_>,
        memory: Memory,
    ) -> Pass {
        let at = self.latent();
        let latents = Activation::whole(latents, &self.parts);
        let stretch = Stretch {
            steps: at + 1..self.steps.len(),
            images: &[],
            start: self.steps.get(at).map(|step| (step.output, latents)),
            memory,
        };
        self.pass_through(plan, stretch, weights, Mode::Test)
    }

    fn pass_through(
        &self,
        plan: &mut Recording,
        stretch: Stretch<'_>,
        weights: Weights<'_>,
        mode: Mode,
    ) -> Pass {
        let end = stretch.steps.end;
        let output = self.steps[end - 1].output;
        let mut pass = Pass::new(self.places.len(), output);
        pass.images = stretch.images.to_vec();
        pass.kept = vec![Kept::default(); self.steps.len()];
        if let Some((value, activation)) = stretch.start {
            pass.values[value] = Some(activation);
        }
        for number in stretch.steps {
            let step = &self.steps[number];
            let x = self.inputs_of(step, &pass);
            if step.latent {
                pass.posterior = Some(x[0].clone());
            }
            if number + 1 == end {
                pass.note_last(&x[0]);
            }
            // What losses read is one tensor.
            let whole = number + 1 == end || number + 1 == self.latent();
            let keep = mode == Mode::Train && step.recorder.keeps_argmax();
            let label = format!("{} {}", weights.name, step.name);
            let (y, argmax) = match stretch.memory {
                Memory::Transient => {
                    let shape = step.recorder.output();
                    let wanted = (1 + usize::from(keep), whole);
                    let outputs = Activation::several(&label, &shape, &self.parts, wanted);
                    let mut outputs = outputs.into_iter();
                    (outputs.next(), outputs.next())
                }
                Memory::Kept => {
                    let tensor = Tensor::kept(&label, &step.recorder.output());
                    (Some(Activation::whole(&tensor, &self.parts)), None)
                }
            };
            let y = y.expect("one output at least was asked for");
            let at = Forward {
                parts: &self.parts,
                weights,
                mode,
                label: &label,
                x,
                y: y.clone(),
                argmax: argmax.clone(),
                masks: step.masks,
                noise: self.noise.as_ref(),
            };
            let statistics = step.recorder.forward(plan, &at);
            pass.kept[number] = Kept { argmax, statistics };
            pass.values[step.output] = Some(y);
        }
        pass
    }

    /// What a step reads, in the shapes in which it reads it.
    pub(super) fn inputs_of(&self, step: &Step, pass: &Pass) -> Vec<Activation> {
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
