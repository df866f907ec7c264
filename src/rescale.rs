//! Weights of any scale made into weights of an ordinary one, without a change to what the network computes.
//!
//! Where a batch normalisation follows, or only ReLUs and pools lie between a layer and the next, the scale of a layer's
//! weights is free: a network from elsewhere may hold it at any power of ten. Levels are powers of two, and the quantiser has a
//! size below which a weight is zero ([`EPSILON`](crate::quantiser::EPSILON)). So every free layer is brought to weights whose
//! largest is one, and what reads its outputs is brought back: networks that compute the same get the same levels.

use crate::graph::{INPUT, Value};
use crate::model::{Model, Parameters};
use crate::op::NORM_EPSILON;

/// Largest factor by which values are moved: products stay far from a float's limits.
const MOST: f64 = 1e18;

/// Largest weights of layers as networks are usually trained.
const ORDINARY: std::ops::RangeInclusive<f32> = 1e-3..=1e3;

/// Rescales the weights, biases, gammas and running statistics of a float network in place.
pub fn rescale(model: &Model, arena: &mut [f32], running: &mut [f32]) {
    let parameters = Parameters::new(model);
    let free = free_values(model, &parameters);
    // What each value is multiplied by.
    let mut scales = vec![1.0; model.graph.nodes.len() + 1];
    for (number, node) in model.graph.nodes.iter().enumerate() {
        let before = scales[node.inputs[0]];
        let output = number + 1;
        scales[output] = if let Some(layer) = layer_of(&parameters, number) {
            let layer = &parameters.layers[layer];
            let mut values = layer.values(arena);
            let largest = values
                .weights
                .iter()
                .fold(0.0f32, |most, w| most.max(w.abs()));
            // Outputs are as the weights and the inputs together.
            let after = match free[output] && largest > 0.0 && largest.is_finite() {
                true => (before / f64::from(largest)).clamp(1.0 / MOST, MOST),
                false => 1.0,
            };
            let own = after / before;
            values.weights.iter_mut().for_each(|w| *w = times(*w, own));
            values.bias.iter_mut().for_each(|b| *b = times(*b, after));
            layer.place(arena, &values);
            after
        } else if let Some(norm) = norm_of(&parameters, number) {
            let norm = &parameters.norms[norm];
            let [mut gamma, beta] = norm.values(arena);
            let mut statistics = norm.running_values(running);
            let (means, variances) = statistics.split_at_mut(norm.channels);
            for channel in 0..norm.channels {
                let deviation = |variance: f32| (f64::from(variance) + NORM_EPSILON).sqrt();
                let old = deviation(variances[channel]);
                means[channel] = times(means[channel], before);
                variances[channel] = times(variances[channel], before * before);
                let factor = deviation(variances[channel]) / old / before;
                gamma[channel] = (f64::from(gamma[channel]) * factor) as f32;
            }
            if before != 1.0 {
                norm.place(arena, &gamma, &beta);
                norm.place_running(running, &statistics);
            }
            1.0
        } else if node.op.operation().keeps_scale() {
            before
        } else {
            1.0
        };
    }
}

/// Whether a layer whose scale is free has weights of a size that no training begins with.
pub fn is_far_off(model: &Model, arena: &[f32]) -> bool {
    let parameters = Parameters::new(model);
    let free = free_values(model, &parameters);
    parameters.layers.iter().any(|layer| {
        let largest = |most: f32, w: f32| most.max(w.abs());
        let largest = layer.weight_values(arena).into_iter().fold(0.0, largest);
        free[layer.node + 1] && largest > 0.0 && !ORDINARY.contains(&largest)
    })
}

/// Whether everything that reads a value, behind what keeps its scale, is a layer or a normalisation.
fn free_values(model: &Model, parameters: &Parameters) -> Vec<bool> {
    let readers = |value: Value| {
        let nodes = model.graph.nodes.iter().enumerate();
        nodes.filter(move |(_, node)| node.inputs.contains(&value))
    };
    let mut free = vec![false; model.graph.nodes.len() + 1];
    for value in (INPUT + 1..model.graph.output()).rev() {
        free[value] = readers(value).all(|(number, node)| {
            let absorbs =
                layer_of(parameters, number).is_some() || norm_of(parameters, number).is_some();
            absorbs || (node.op.operation().keeps_scale() && free[number + 1])
        });
    }
    free
}

fn layer_of(parameters: &Parameters, node: usize) -> Option<usize> {
    parameters.layers.iter().position(|l| l.node == node)
}

fn norm_of(parameters: &Parameters, node: usize) -> Option<usize> {
    parameters.norms.iter().position(|n| n.node == node)
}

fn times(value: f32, factor: f64) -> f32 {
    (f64::from(value) * factor) as f32
}
