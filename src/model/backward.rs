//! The backward pass of a network, as recorded dispatches.

use super::activation::Activation;
use super::network::{Network, Pass, Weights};
use crate::graph::INPUT;
use crate::op::add::add;
use crate::op::{Backward, Gradient};
use crate::recording::Recording;
use crate::tensor::Tensor;

/// The gradient of a value, so far.
#[derive(Clone)]
struct Sum {
    gradient: Activation,
    /// Whether others read the same memory, so that nothing may change it.
    shared: bool,
}

impl Network {
    /// From the gradient of the logits to those of all weights, biases, γ and β, written to the arena
    /// `gradients`.
    pub fn backward(
        &self,
        plan: &mut Recording,
        pass: &Pass,
        weights: Weights<'_>,
        d_logits: &Tensor,
        gradients: &Tensor,
    ) {
        let parts = &self.parts;
        let mut sums: Vec<Option<Sum>> = vec![None; self.places.len()];
        sums[pass.output] = Some(Sum {
            gradient: Activation::whole(&d_logits.view(&self.output()), parts),
            shared: false,
        });
        for (number, step) in self.steps.iter().enumerate().rev() {
            let sum = sums[step.output].take();
            let sum = sum.unwrap_or_else(|| panic!("nobody left a gradient for '{}'", step.name));
            let y = pass.values[step.output].clone();
            let label = format!("{} {}", weights.name, step.name);
            let at = Backward {
                parts,
                weights,
                label: &label,
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
                noise: self.noise.as_ref(),
                d_posterior: pass.d_posterior.as_ref(),
            };
            let made = step.recorder.backward(plan, &at);
            for (value, gradient) in step.inputs.iter().zip(made) {
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
                    Some(known) => self.sum(plan, &label, [&known.gradient, &new.gradient]),
                });
            }
        }
    }

    /// Records the sum of two gradients of one value.
    fn sum(&self, plan: &mut Recording, label: &str, [a, b]: [&Activation; 2]) -> Sum {
        let parts = a.parts().iter().zip(b.parts());
        let mut shape = a.part(0).shape.clone();
        let rows = a.parts().iter().map(|part| part.shape[0]).sum();
        shape[0] = rows;
        let gradient = Activation::transient(&format!("{label} d_x"), &shape, &self.parts);
        for ((a, b), to) in parts.zip(gradient.parts()) {
            add(plan, label, [a, &b.view(&a.shape)], false, to);
        }
        Sum {
            gradient,
            shared: false,
        }
    }
}
