//! What a packed model does, one operation after the other.

use super::PackedModel;
use crate::graph::{Model, Node, Shape, Value, only_reader, separate};
use crate::op::Packing;
use crate::op::integers::{IntegerBinding, Integers};

/// An operation of a packed model, with what it does at once: a convolution takes along the batch normalisation and
/// the ReLU behind it.
#[derive(Clone, Debug)]
pub struct PackedStep<'a> {
    /// The operation's node.
    pub node: &'a Node,
    /// The number of its node.
    pub number: usize,
    /// The number of the node of the batch normalisation that its biases and shifts include.
    pub norm: Option<usize>,
    /// `Some` if a ReLU follows: outputs below zero become zero, and those above the inner number, if there is one, become that.
    pub limits: Option<Option<f64>>,
    /// What it reads.
    pub inputs: Vec<Value>,
    /// What it gives.
    pub output: Value,
}

/// The steps of a graph, and for each value the one in whose memory it lies: nodes that only see numbers in another
/// shape are left out.
pub struct Steps<'a> {
    /// The steps, in the order in which they run.
    pub steps: Vec<PackedStep<'a>>,
    /// The value that holds the integers of every value: of a view that of what it reads.
    pub places: Vec<Value>,
}

impl<'a> Steps<'a> {
    /// The steps of a model without a latent.
    pub fn of(model: &'a Model) -> Self {
        let graph = &model.graph;
        let readers = graph.readers();
        let mut places: Vec<Value> = (0..=graph.nodes.len()).collect();
        let mut done = vec![false; graph.nodes.len()];
        let mut steps = Vec::new();
        for node in separate(model) {
            let (number, operation) = (node.number, node.node.op.operation());
            if done[number] {
                continue;
            }
            let inputs: Vec<Value> = node
                .node
                .inputs
                .iter()
                .map(|value| places[*value])
                .collect();
            if operation.packing() == Packing::View {
                places[number + 1] = inputs[0];
                continue;
            }
            let mut step = PackedStep {
                node: node.node,
                number,
                norm: None,
                limits: None,
                inputs,
                output: number + 1,
            };
            let weighted = operation.weights(Shape::row(1)).is_some();
            if let Some(next) = only_reader(graph, &readers, step.output)
                && weighted
                && graph.nodes[next]
                    .op
                    .operation()
                    .normalises(Shape::row(1))
                    .is_some()
            {
                done[next] = true;
                (step.norm, step.output) = (Some(next), next + 1);
            }
            if let Packing::Limits { ceiling } = operation.packing() {
                step.limits = Some(ceiling);
            } else if let Some(next) = only_reader(graph, &readers, step.output)
                && operation.takes_limits()
                && let Packing::Limits { ceiling } = graph.nodes[next].op.operation().packing()
            {
                done[next] = true;
                (step.limits, step.output) = (Some(ceiling), next + 1);
            }
            steps.push(step);
        }
        Self { steps, places }
    }

    /// Whether a step is the last one and gives plain sums: its outputs are then not limited.
    pub fn gives_sums(&self, step: &PackedStep<'_>) -> bool {
        let last = self
            .steps
            .last()
            .is_some_and(|last| last.output == step.output);
        let weighted = step.node.op.operation().weights(Shape::row(1)).is_some();
        last && weighted && step.norm.is_none()
    }
}

/// The smallest and the largest output of a step whose unit is 2^unit.
pub fn limits(step: &PackedStep<'_>, unit: i32, most: i64, sums: bool) -> [i32; 2] {
    let most = if sums { i32::MAX } else { most as i32 };
    let low = if sums { i32::MIN } else { -most };
    match step.limits {
        None => [low, most],
        Some(None) => [0, most],
        Some(Some(ceiling)) => {
            let ceiling = (ceiling / f64::from(unit).exp2()).round();
            [0, ceiling.clamp(1.0, f64::from(most)) as i32]
        }
    }
}

/// Steps with their integers, for a batch.
pub struct BoundStep<'a> {
    /// The step.
    pub step: PackedStep<'a>,
    /// Its layer's number among [`PackedModel::layers`], if it has one.
    pub layer: Option<usize>,
    /// Its shapes, for one image: what it reads, and what it gives.
    pub inputs: Vec<Shape>,
    /// What it gives, for one image.
    pub output: Shape,
    /// Its integers.
    pub integers: Box<dyn Integers>,
    /// The smallest and the largest output.
    pub limits: [i32; 2],
}

/// Binds every step of a model's network to its units and layers. `network` is [`PackedModel::network`].
pub fn bind<'a>(model: &PackedModel, network: &'a Model, batch: usize) -> Vec<BoundStep<'a>> {
    let shapes = network.shapes();
    let all = Steps::of(network);
    let mut layers = 0;
    let mut bound = Vec::new();
    for step in &all.steps {
        let operation = step.node.op.operation();
        let layer = (operation.packing() == Packing::Layer).then_some(layers);
        layers += usize::from(layer.is_some());
        let unit = model.units[step.output];
        let inputs: Vec<Shape> = step
            .node
            .inputs
            .iter()
            .map(|value| shapes[*value])
            .collect();
        let limits = limits(step, unit, model.most(), all.gives_sums(step));
        let output = shapes[step.number + 1];
        let at = IntegerBinding {
            batch,
            inputs: inputs.clone(),
            output,
            units: step
                .inputs
                .iter()
                .map(|value| model.units[*value])
                .collect(),
            unit,
            limits,
            layer: layer.map(|layer| &model.layers[layer]),
        };
        if let Some(integers) = operation.integers(&at) {
            bound.push(BoundStep {
                step: step.clone(),
                layer,
                inputs,
                output,
                integers,
                limits,
            });
        }
    }
    bound
}
