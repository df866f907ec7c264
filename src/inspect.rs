//! What a layer's weights became: decided on the CPU, in f64, the same everywhere.

use serde::{Deserialize, Serialize};

use crate::levels::LevelRule;
use crate::model::Parameters;

/// One layer of a trained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// The layer.
    pub name: String,
    /// (outputs, kernel height, kernel width, inputs)
    pub shape: Vec<usize>,
    /// How many weights.
    pub weights: usize,
    /// 1 + ⌈log2(largest exponent - smallest + 1)⌉, the paper's Eq. 10
    pub bits: u32,
    /// The values that occur, ascending.
    pub levels: Vec<f64>,
    /// Smallest exponent in use.
    pub exponent_min: i32,
    /// Largest exponent in use.
    pub exponent_max: i32,
    /// Weights that quantise to zero.
    pub zeros: usize,
    /// c
    pub intercept: f32,
    /// s
    pub slope: f32,
    /// Weights in each exponent from `exponent_min` to `exponent_max`: (negative, positive).
    pub histogram: Vec<(usize, usize)>,
}

/// Reports on every layer of an arena of weights that low precision reads as powers of two.
pub fn inspect(parameters: &Parameters, arena: &[f32]) -> Vec<LayerReport> {
    parameters
        .quantised()
        .map(|layer| {
            let [intercept, slope] = layer.quantiser_values(arena);
            let rule = LevelRule::new([intercept, slope]);
            let weights: Vec<f64> = layer
                .weight_values(arena)
                .iter()
                .map(|w| f64::from(*w))
                .collect();
            let range = rule.range(weights.iter().copied());
            let (low, top) = (range.low, range.top);
            let mut histogram = vec![(0, 0); range.count() as usize];
            let mut zeros = 0;
            for w in &weights {
                match rule.exponent(*w) {
                    None => zeros += 1,
                    Some(e) if *w < 0.0 => histogram[(e - low) as usize].0 += 1,
                    Some(e) => histogram[(e - low) as usize].1 += 1,
                }
            }
            let size = |i: usize| f64::from(low + i as i32).exp2();
            let negative = (0..histogram.len()).rev().filter(|i| histogram[*i].0 > 0);
            let positive = (0..histogram.len()).filter(|i| histogram[*i].1 > 0);
            let mut values: Vec<f64> = negative.map(|i| -size(i)).collect();
            values.extend((zeros > 0).then_some(0.0));
            values.extend(positive.map(size));
            LayerReport {
                name: layer.name.to_owned(),
                shape: layer.shape.to_vec(),
                weights: weights.len(),
                bits: range.bits(),
                levels: values,
                exponent_min: low,
                exponent_max: top,
                zeros,
                intercept,
                slope,
                histogram,
            }
        })
        .collect()
}

/// Mean of the layers' bits.
pub fn mean_bits(layers: &[LayerReport]) -> f64 {
    layers.iter().map(|l| f64::from(l.bits)).sum::<f64>() / layers.len().max(1) as f64
}

/// Mean of the layers' bits, each counted as often as it has weights.
pub fn weighted_bits(layers: &[LayerReport]) -> f64 {
    let weights: usize = layers.iter().map(|l| l.weights).sum();
    let bits: f64 = layers
        .iter()
        .map(|l| f64::from(l.bits) * l.weights as f64)
        .sum();
    bits / weights.max(1) as f64
}
