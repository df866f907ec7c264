//! The backward pass of a network, as recorded dispatches.

use super::network::{Network, NetworkArenas, Pass};
use super::parted_tensor::PartedTensor;
use crate::graph::{INPUT, Value};
use crate::op::add::add;
use crate::op::{Backward, Gradient};
use crate::recording::Recording;
use crate::tensor::Tensor;

/// The gradient of a value, so far.
#[derive(Clone)]
struct Sum {
    gradient: PartedTensor,
    /// Whether others read the same memory, so that nothing may change it.
    shared: bool,
}

impl Network {
    /// From the gradient of the logits to those of all weights, biases, γ and β, written to the arena
    /// `gradients`.
    pub fn backward(
        &self,
        recording: &mut Recording,
        pass: &Pass,
        weights: NetworkArenas<'_>,
        d_logits: &Tensor,
        gradients: &Tensor,
    ) {
        self.backward_together(recording, &[pass], weights, &[d_logits], &[gradients]);
    }

    /// The same for several shards, each with an arena of gradients of its own, step by step: none begins a step before
    /// all have come to it.
    pub fn backward_together(
        &self,
        recording: &mut Recording,
        passes: &[&Pass],
        weights: NetworkArenas<'_>,
        d_logits: &[&Tensor],
        gradients: &[&Tensor],
    ) {
        let parts = &self.parts;
        let start = |(pass, d_logits): (&&Pass, &&Tensor)| {
            let mut sums: Vec<Option<Sum>> = vec![None; self.places.len()];
            sums[pass.output] = Some(Sum {
                gradient: PartedTensor::whole(&d_logits.view(&self.output()), parts),
                shared: false,
            });
            sums
        };
        let mut all: Vec<Vec<Option<Sum>>> = passes.iter().zip(d_logits).map(start).collect();
        for (number, step) in self.steps.iter().enumerate().rev() {
            let label = format!("{} {}", weights.name, step.name);
            let mut ats = Vec::with_capacity(passes.len());
            for ((pass, sums), gradients) in passes.iter().zip(&mut all).zip(gradients) {
                let sum = sums[step.output].take();
                let sum =
                    sum.unwrap_or_else(|| panic!("nobody left a gradient for '{}'", step.name));
                let y = pass.values[step.output].clone();
                ats.push(Backward {
                    parts,
                    storages: self.storages,
                    weights,
                    label: &label,
                    shard: pass.shard,
                    x: self.inputs_of(step, pass),
                    y: y.unwrap_or_else(|| panic!("'{}' has no output", step.name)),
                    d_y: sum.gradient.view(&step.recorder.output(), parts),
                    d_y_shared: sum.shared,
                    kept: &pass.kept[number],
                    wanted: step.inputs.iter().map(|value| *value != INPUT).collect(),
                    masks: step.masks,
                    input_has_relu: step.input_has_relu,
                    masks_own: step.masks_own,
                    gradients,
                    noise: self.noise.get(pass.shard.own),
                    d_posterior: pass.d_posterior.as_ref(),
                });
            }
            let made = step.recorder.backward_together(recording, &ats);
            for (sums, made) in all.iter_mut().zip(made) {
                self.note(recording, &label, (&step.inputs, made), sums);
            }
        }
    }

    /// Adds the gradients that a step made of its inputs to what is known of theirs.
    fn note(
        &self,
        recording: &mut Recording,
        label: &str,
        (inputs, made): (&[Value], Vec<Gradient>),
        sums: &mut [Option<Sum>],
    ) {
        for (value, gradient) in inputs.iter().zip(made) {
            let new = match gradient {
                Gradient::None => continue,
                Gradient::Own(gradient) => Sum {
                    gradient,
                    shared: false,
                },
                Gradient::Shared(gradient) => Sum {
                    gradient,
                    shared: true,
                },
            };
            let known = sums[*value].take();
            sums[*value] = Some(match known {
                None => new,
                Some(known) => self.sum(recording, label, [&known.gradient, &new.gradient]),
            });
        }
    }

    /// Records the sum of two gradients of one value.
    fn sum(&self, recording: &mut Recording, label: &str, [a, b]: [&PartedTensor; 2]) -> Sum {
        let parts = a.parts().iter().zip(b.parts());
        let mut shape = a.part(0).shape.clone();
        let rows = a.parts().iter().map(|part| part.shape[0]).sum();
        shape[0] = rows;
        let label_of_sum = format!("{label} d_x");
        let storage = self.storages.gradients;
        let gradient = PartedTensor::transient(&label_of_sum, &shape, &self.parts, storage);
        for ((a, b), to) in parts.zip(gradient.parts()) {
            add(recording, label, [a, &b.view(&a.shape)], false, to);
        }
        Sum {
            gradient,
            shared: false,
        }
    }
}
