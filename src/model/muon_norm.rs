//! Weights from elsewhere for Muon, which keeps weights at a norm.

use super::{Model, Parameters};

impl Parameters {
    /// Brings weights that Muon did not learn to the norm that it keeps them at. What low precision reads with GTC stays as it is,
    /// because intercepts make up for it: c + s log2 |f w| is c + s log2 f + s log2 |w|. Scales that other methods learned become f
    /// times as large, and with them what low precision reads; of methods whose values do not scale it changes. Where a normalisation follows, HP computes what it did, because its
    /// running statistics make up for it, too; elsewhere its sums are multiplied by f before the bias is added. Of a layer that low
    /// precision does not read by GTC's levels LP's statistics change as well, and its factor may be rounded to another power of two.
    pub(crate) fn bring_to_norm(
        &self,
        model: &Model,
        arena: &mut [f32],
        running: &mut [Vec<f32>; 2],
    ) {
        let readers = model.graph.readers();
        let method = self.quantiser.method();
        for layer in self.layers.iter().filter(|layer| layer.is_whole()) {
            let mut values = layer.values(arena);
            let squares: f64 = values.weights.iter().map(|w| f64::from(*w).powi(2)).sum();
            let factor = layer.norm() / squares.sqrt();
            if !factor.is_finite() {
                continue;
            }
            for weight in &mut values.weights {
                *weight = (f64::from(*weight) * factor) as f32;
            }
            // Whether what low precision reads becomes as much larger as the weights.
            let mut grows = !layer.is_quantised();
            match (&method, &mut values.quantiser[..]) {
                (None, [intercept, slope]) => *intercept -= *slope * factor.log2() as f32,
                (Some(method), [first, second]) => {
                    let learned = [*first, *second].map(f64::from);
                    if let Some(learned) = method.rescaled(learned, factor) {
                        [*first, *second] = learned.map(|v| v as f32);
                        grows = true;
                    }
                }
                _ => (),
            }
            layer.place(arena, &values);
            let [reader] = readers[layer.node + 1][..] else {
                continue;
            };
            let Some(norm) = self.norms.iter().find(|norm| norm.node == reader) else {
                continue;
            };
            let networks = if grows { 2 } else { 1 };
            for running in &mut running[..networks] {
                let mut statistics = norm.running_values(running);
                let (means, variances) = statistics.split_at_mut(norm.channels);
                for (channel, (mean, variance)) in means.iter_mut().zip(variances).enumerate() {
                    let offset = values.bias.get(channel).copied().map_or(0.0, f64::from);
                    *mean = (factor * (f64::from(*mean) - offset) + offset) as f32;
                    *variance = (factor * factor * f64::from(*variance)) as f32;
                }
                norm.place_running(running, &statistics);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::WeightPrecision;
    use crate::graph::Description;
    use crate::model::LayerValues;
    use crate::reference::logits;

    /// What Muon's norm does to weights from elsewhere changes neither network.
    #[test]
    fn weights_get_muons_norm_and_networks_stay() {
        let text = r#"
name = "small"
input = [6, 6, 2]
nodes = [
  { op = "conv", outputs = 8, kernel = 3, bias = true }, { op = "norm" }, { op = "relu" },
  { op = "conv", outputs = 4, kernel = 3, bias = false }, { op = "norm" }, { op = "relu" },
  { op = "dense", outputs = 10 },
]"#;
        let description = Description::from_toml(text).unwrap();
        let model = description.model(None).unwrap();
        let parameters = Parameters::new(&model);
        let mut arena = parameters.initial(3);
        // As a quantised network comes: weights of another size, levels of their own, biases.
        for (number, layer) in parameters.layers.iter().enumerate() {
            let values = LayerValues {
                weights: layer
                    .weight_values(&arena)
                    .iter()
                    .map(|w| 5.3 * w)
                    .collect(),
                bias: vec![0.3; layer.shape[0]],
                quantiser: vec![0.2 + number as f32, 0.7],
            };
            layer.place(&mut arena, &values);
        }
        let mut running = [parameters.initial_running(), parameters.initial_running()];
        for running in &mut running {
            for norm in &parameters.norms {
                let values: Vec<f32> = (0..2 * norm.channels)
                    .map(|i| 0.5 + 0.1 * i as f32)
                    .collect();
                norm.place_running(running, &values);
            }
        }
        let images: Vec<f64> = (0..6 * 6 * 2 * 3)
            .map(|i| f64::from(i % 17) / 17.0)
            .collect();
        let of = |arena: &[f32], running: &[Vec<f32>; 2]| {
            [WeightPrecision::High, WeightPrecision::Low]
                .into_iter()
                .zip(running)
                .flat_map(|(network, running)| logits(&model, network, [arena, running], &images))
                .collect::<Vec<f64>>()
        };
        let before = of(&arena, &running);
        parameters.bring_to_norm(&model, &mut arena, &mut running);
        let first = &parameters.layers[0];
        let squares: f64 = first
            .weight_values(&arena)
            .iter()
            .map(|w| f64::from(w * w))
            .sum();
        assert!((squares.sqrt() - first.norm()).abs() < 1e-4);
        for (before, after) in before.iter().zip(of(&arena, &running)) {
            assert!(
                (before - after).abs() < 1e-3 * before.abs().max(1.0),
                "{before} {after}"
            );
        }
    }
}
