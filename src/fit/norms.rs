//! Factors of batch normalisations that are powers of two already, so that the low-precision network has nothing to round.
//!
//! A channel in front of a normalisation may have any scale: its weights times a, its mean times a and its deviation times a
//! give the same outputs, and the factor γ / σ becomes 1 / a of what it was. So each channel takes the a from 1/√2 to √2 that
//! makes its factor a power of two. Rounding the factor instead would change the channel by as much.

use crate::model::{LayerValues, Model, Parameters};
use crate::op::NORM_EPSILON;

/// Scales channels in place, in the arena of weights and in that of running statistics. What the high-precision network
/// computes does not change. Channels whose factor is zero stay as they are.
pub fn align_norms(model: &Model, arena: &mut [f32], running: &mut [f32]) {
    let parameters = Parameters::new(model);
    for norm in &parameters.norms {
        let before = model.graph.nodes[norm.node].inputs[0];
        let layer = parameters
            .layers
            .iter()
            .find(|layer| layer.node + 1 == before);
        // The layer must have no other reader.
        let Some(layer) = layer.filter(|layer| layer.is_normalised() && layer.is_quantised())
        else {
            continue;
        };
        let [gamma, _] = norm.values(arena);
        let mut statistics = norm.running_values(running);
        let (means, variances) = statistics.split_at_mut(norm.channels);
        let mut values = layer.values(arena);
        let LayerValues { weights, bias, .. } = &mut values;
        let each = weights.len() / norm.channels;
        for (channel, row) in weights.chunks_mut(each).enumerate() {
            let deviation = (f64::from(variances[channel]) + NORM_EPSILON).sqrt();
            let factor = f64::from(gamma[channel]).abs() / deviation;
            if factor == 0.0 || !factor.is_finite() {
                continue;
            }
            let scale = factor / factor.log2().round().exp2();
            let variance = (deviation * scale).powi(2) - NORM_EPSILON;
            if variance < 0.0 {
                continue;
            }
            let times = |value: &mut f32| *value = (f64::from(*value) * scale) as f32;
            row.iter_mut().for_each(times);
            times(&mut means[channel]);
            bias.get_mut(channel).map(times);
            variances[channel] = variance as f32;
        }
        layer.place(arena, &values);
        norm.place_running(running, &statistics);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::WeightPrecision;
    use crate::graph::Builder;
    use crate::op::{Activation, Conv, Dense, GlobalAveragePool, Norm};
    use crate::reference::logits;
    use crate::rng::Philox;

    #[test]
    fn factors_become_powers_of_two_and_outputs_stay() {
        let mut net = Builder::new("net", [4, 4, 3]);
        net.then("conv", Conv::new(6, 3).padding(1));
        net.then("norm", Norm {});
        net.then("", Activation::RELU);
        net.then("", GlobalAveragePool {});
        net.then("fc", Dense::new(3));
        let model = net.build().unwrap();
        let parameters = Parameters::new(&model);
        let mut arena = parameters.initial(4);
        let mut running = parameters.initial_running();
        let mut rng = Philox::new(4, 1);
        let mut numbers = || (0..6).map(|_| rng.normal() as f32).collect::<Vec<f32>>();
        let norm = &parameters.norms[0];
        // One channel gives a constant.
        let gamma: Vec<f32> = [&[0.0], &numbers()[1..]].concat();
        norm.place(&mut arena, &gamma, &numbers());
        let variance: Vec<f32> = numbers().iter().map(|v| v * v + 0.1).collect();
        norm.place_running(&mut running, &[numbers(), variance].concat());
        let images: Vec<f64> = (0..96)
            .map(|i| f64::from((37 * i + 11) % 101) / 101.0)
            .collect();
        let of = |arena: &[f32], running: &[f32]| {
            logits(&model, WeightPrecision::High, [arena, running], &images)
        };
        let before = of(&arena, &running);
        align_norms(&model, &mut arena, &mut running);
        for (before, after) in before.iter().zip(of(&arena, &running)) {
            assert!((before - after).abs() < 1e-5, "{before} {after}");
        }
        let [gamma, _] = norm.values(&arena);
        let variances = norm.running_values(&running).split_off(6);
        for (gamma, variance) in gamma.iter().zip(variances).skip(1) {
            let factor = f64::from(gamma.abs()) / (f64::from(variance) + NORM_EPSILON).sqrt();
            let exponent = factor.log2();
            assert!((exponent - exponent.round()).abs() < 1e-5, "{factor}");
        }
    }
}
