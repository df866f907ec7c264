//! A network as data: a graph of operations, without any device.
//!
//! A [`Graph`] is a list of nodes in an order in which each comes after what it reads. Values are numbered:
//! value 0 is the input of the graph, value i + 1 is the output of node i. The output of the last node is the
//! output of the graph. [`Model`] adds what surrounds the operations: the name, the size and the scaling of
//! images, and for an auto-encoder the likelihood.
//!
//! Three ways lead to a model: [`Model::by_name`] (the zoo), [`Builder`] (Rust) and [`Description`] (TOML or
//! JSON). All end in the same checks: [`Model::check`].

mod build;
mod describe;
mod error;
mod fuse;
mod model;
mod scaling;
mod shape;
mod zoo;

pub use build::Builder;
pub(crate) use describe::MOST_NODES;
pub use describe::{DataFacts, Description, MOST_TEXT, NodeText, Sizes};
pub use error::ModelError;
pub use fuse::Fused;
pub(crate) use fuse::{fuse, geometry, only_reader, separate};
pub use model::Model;
pub use scaling::Scaling;
pub(crate) use shape::MOST_SIDE;
pub use shape::Shape;
pub use zoo::{
    LATENT, NAMES, lenet_small, lenet5, mobilenet, resnet18, resnet20, vae, vae_colour, vae_mlp,
    vgg_tiny, vgg7, vgg16,
};

use crate::op::Op;

/// The number of a value: 0 is the input of a graph, i + 1 the output of node i.
pub type Value = usize;

/// The input of a graph.
pub const INPUT: Value = 0;

/// One operation of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name: unique in the graph, used by files, reports and messages.
    pub name: String,
    /// What it does.
    pub op: Op,
    /// What it reads: values of smaller number than its own output.
    pub inputs: Vec<Value>,
}

/// Operations in an order in which each comes after what it reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The operations; node i gives value i + 1.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// The value that the graph gives: the output of its last node.
    pub fn output(&self) -> Value {
        self.nodes.len()
    }

    /// Who reads each value: the numbers of its nodes, once for every time that a node reads it.
    pub fn readers(&self) -> Vec<Vec<usize>> {
        let mut readers = vec![Vec::new(); self.nodes.len() + 1];
        for (number, node) in self.nodes.iter().enumerate() {
            for value in &node.inputs {
                readers[*value].push(number);
            }
        }
        readers
    }

    /// The shapes of all values for images of shape `input`.
    ///
    /// # Errors
    /// [`ModelError`] for a size that no image has, or naming the first node that does not fit what it reads.
    pub fn shapes(&self, input: Shape) -> Result<Vec<Shape>, ModelError> {
        let input = input.checked().map_err(|reason| {
            let reason = reason.replace("its output", "the size");
            ModelError::description(format!("the images of the model: {reason}"))
        })?;
        let mut shapes = vec![input];
        for node in &self.nodes {
            let read: Vec<Shape> = node.inputs.iter().map(|value| shapes[*value]).collect();
            let operation = node.op.operation();
            let shape = operation.check_arity(read.len());
            let shape = shape.and_then(|()| operation.shape(&read));
            let shape = shape.and_then(Shape::checked);
            shapes.push(shape.map_err(|reason| ModelError::Misfit {
                node: node.name.clone(),
                op: operation.word(),
                reason,
            })?);
        }
        Ok(shapes)
    }

    /// The value in whose memory each value lies: another one for those that only see it in another shape.
    pub fn places(&self) -> Vec<Value> {
        let mut places = vec![INPUT];
        for (number, node) in self.nodes.iter().enumerate() {
            places.push(match node.op.operation().is_view() {
                true => places[node.inputs[0]],
                false => number + 1,
            });
        }
        places
    }

    /// The number of the node that samples a latent, in the graph of an auto-encoder.
    pub fn latent(&self) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.op.operation().latent().is_some())
    }
}
