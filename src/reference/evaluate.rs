//! What a trained network makes of images, in plain loops and `f64`.

use super::trainer::quantised;
use super::trainer::{node_trace, wide};
use crate::foreign::WeightPrecision;
use crate::graph::{Model, geometry, separate};
use crate::model::{Mode, Parameters};
use crate::op::plain::{PlainForward, padded};
use crate::tensor::pad4;
use crate::train::TrainOptions;

/// The logits (batch, classes) of a classifier for images (batch, height, width, channels) whose pixels are scaled already.
/// `weights` and `running` are arenas as [`Parameters`] lays them out. The low-precision network rounds the factors of its
/// batch normalisations.
pub fn logits(
    model: &Model,
    network: WeightPrecision,
    [weights, running]: [&[f32]; 2],
    images: &[f64],
) -> Vec<f64> {
    let low = network == WeightPrecision::Low;
    let layout = Parameters::new(model);
    let shapes = model.shapes();
    let batch = images.len() / model.input.iter().product::<usize>();
    let schedule = TrainOptions::default().schedule(1, 1);
    let mut values: Vec<Vec<f64>> = vec![images.chunks(model.input[2]).flat_map(padded).collect()];
    for step in separate(model) {
        let bind = geometry(&step, &shapes, batch);
        let own = node_trace(&layout, weights, step.number, step.node.name.clone());
        let norm = layout.norm_of(step.number);
        let mut statistics = norm.map_or_else(Vec::new, |norm| wide(norm.running_values(running)));
        let inputs = &step.node.inputs;
        let mut values_of_weights = None;
        let made = step.node.op.operation().plain(&bind).forward(PlainForward {
            x: inputs.iter().map(|value| &values[*value][..]).collect(),
            weights: match own.quantiser {
                Some(learned) if low => {
                    &*values_of_weights.insert(quantised(model.quantiser, &own.weights, learned))
                }
                _ => &own.weights,
            },
            bias: &own.bias,
            norm: [&own.scale, &own.bias],
            running: &mut statistics,
            mode: Mode::Test,
            round: low,
            schedule: &schedule,
        });
        values.push(made.y);
    }
    let last = values.pop().unwrap_or_default();
    let rows = last.chunks(pad4(model.classes));
    rows.flat_map(|row| row[..model.classes].to_vec()).collect()
}
