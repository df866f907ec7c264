//! A packed network as a list of steps, in words that know nothing of devices.

use crate::graph::{INPUT, Shape, Value};
use crate::op::integers::Form;
use crate::pack::{Operations, PackedLayer, PackedModel, bind};

/// Why a network is not written for another machine.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The network has a property that the target cannot have.
    #[error("layer '{layer}': {reason}")]
    Layer {
        /// Name of the node.
        layer: String,
        /// What stands in the way, and what to do.
        reason: String,
    },
    /// A name that the target does not take.
    #[error("{0}")]
    Name(String),
}

/// A value that a step reads, in the shape in which it reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The value: [`INPUT`] or what some step before gives.
    pub value: Value,
    /// For one image. Flattened values are read as one pixel, in the order row, column, channel.
    pub shape: Shape,
}

/// One operation with what it does at once.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// Name of its node.
    pub name: &'a str,
    /// The operation's word, as in descriptions of models.
    pub word: &'static str,
    /// What it reads.
    pub reads: Vec<Read>,
    /// The value it gives.
    pub gives: Value,
    /// The shape of that value, for one image.
    pub shape: Shape,
    /// What it does.
    pub form: Form,
    /// Codes, biases and shifts of a [`Form::Product`].
    pub layer: Option<&'a PackedLayer>,
    /// The smallest and the largest output.
    pub limits: [i32; 2],
    /// The largest size that a sum on the way can reach.
    pub bound: i128,
    /// What it takes for one image.
    pub operations: Operations,
}

/// A packed network, step by step.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// The network.
    pub model: &'a PackedModel,
    /// The shape of [`INPUT`].
    pub input: Shape,
    /// In order; the last one gives the output.
    pub steps: Vec<Step<'a>>,
}

impl<'a> Program<'a> {
    /// The steps of a packed model. `network` is [`PackedModel::network`].
    ///
    /// # Errors
    /// [`ExportError::Layer`] for a network that does nothing.
    pub fn new(
        model: &'a PackedModel,
        network: &'a crate::graph::Model,
    ) -> Result<Self, ExportError> {
        let steps = bind(model, network, 1).into_iter().map(|bound| {
            let values = bound.step.inputs.iter().zip(&bound.inputs);
            Step {
                name: &bound.step.node.name,
                word: bound.step.node.op.operation().word(),
                reads: values
                    .map(|(value, shape)| Read {
                        value: *value,
                        shape: *shape,
                    })
                    .collect(),
                gives: bound.step.output,
                shape: bound.output,
                form: bound.integers.form(),
                layer: bound.layer.map(|layer| &model.layers[layer]),
                limits: bound.limits,
                bound: bound.integers.bound(model.most()),
                operations: bound.integers.operations(),
            }
        });
        let program = Self {
            model,
            input: Shape::image(network.input),
            steps: steps.collect(),
        };
        if program.steps.is_empty() {
            return Err(ExportError::Layer {
                layer: network.name.clone(),
                reason: "the network only passes its input on".to_owned(),
            });
        }
        Ok(program)
    }

    /// The shape of the output, for one image.
    pub fn output(&self) -> Shape {
        self.steps.last().map_or(self.input, |step| step.shape)
    }

    /// The shape in which a value is made.
    pub fn shape_of(&self, value: Value) -> Shape {
        let made = self.steps.iter().find(|step| step.gives == value);
        match made {
            Some(step) => step.shape,
            None => {
                debug_assert_eq!(value, INPUT);
                self.input
            }
        }
    }

    /// The last step that reads a value.
    pub fn last_use(&self, value: Value) -> Option<usize> {
        let reads = |step: &Step<'_>| step.reads.iter().any(|read| read.value == value);
        self.steps.iter().rposition(reads)
    }
}
