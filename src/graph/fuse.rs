//! Fusion: a pass over a graph that lets the kernels of one operation do the work of those behind it.

use super::{Graph, Model, Node, Shape, Value};
use crate::op::{Binding, Fusible};

/// What the kernels of an operation do besides, as they store their results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fused {
    /// A ReLU.
    pub relu: bool,
    /// After the ReLU, the largest of each square of 2 x 2 pixels.
    pub pool: bool,
}

/// A node, with those behind it that its kernels also do.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The node.
    pub node: &'a Node,
    /// Its number.
    pub number: usize,
    /// What its kernels do besides.
    pub fused: Fused,
    /// The value that is left in the end.
    pub output: Value,
}

/// Every node by itself.
pub fn separate(model: &Model) -> Vec<Step<'_>> {
    let nodes = model.graph.nodes.iter().enumerate();
    let step = |(number, node)| Step {
        node,
        number,
        fused: Fused::default(),
        output: number + 1,
    };
    nodes.map(step).collect()
}

/// Joins a ReLU to the operation before it, and a max pool over squares to that, if the kernels of that
/// operation can do it and nobody else reads what lies between.
pub fn fuse<'a>(model: &'a Model, shapes: &[Shape], batch: usize) -> Vec<Step<'a>> {
    let graph = &model.graph;
    let readers = graph.readers();
    let mut done = vec![false; graph.nodes.len()];
    let mut steps = Vec::new();
    for mut step in separate(model) {
        if done[step.number] {
            continue;
        }
        let operation = step.node.op.operation();
        if let Some(next) = only_reader(graph, &readers, step.output)
            && operation.takes_relu()
            && fusible(graph, next) == Fusible::Relu
        {
            done[next] = true;
            (step.fused.relu, step.output) = (true, next + 1);
        }
        if let Some(next) = only_reader(graph, &readers, step.output)
            && step.fused.relu
            && fusible(graph, next) == Fusible::SquarePool
            && operation.takes_pool(&geometry(&step, shapes, batch))
        {
            done[next] = true;
            (step.fused.pool, step.output) = (true, next + 1);
        }
        steps.push(step);
    }
    steps
}

fn fusible(graph: &Graph, number: usize) -> Fusible {
    graph.nodes[number].op.operation().fusible()
}

/// The node that reads a value, if exactly one does and the value is not what the graph gives.
pub fn only_reader(graph: &Graph, readers: &[Vec<usize>], value: Value) -> Option<usize> {
    match readers[value][..] {
        [only] if value != graph.output() => Some(only),
        _ => None,
    }
}

/// Where a step stands, without its parameters.
pub fn geometry<'a>(step: &Step<'_>, shapes: &[Shape], batch: usize) -> Binding<'a> {
    let inputs = &step.node.inputs;
    Binding {
        batch,
        inputs: inputs.iter().map(|value| shapes[*value]).collect(),
        output: shapes[step.number + 1],
        reads_images: inputs.first() == Some(&super::INPUT),
        fused: step.fused,
        number: step.number,
        weights: None,
        norm: None,
    }
}
