//! What a layer's weights became: decided on the CPU, in f64, the same everywhere.

use serde::{Deserialize, Serialize};

use crate::levels::ExponentRange;
use crate::model::Parameters;
use crate::quantiser::Quantiser;

/// One layer of a trained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// The layer.
    pub name: String,
    /// (outputs, kernel height, kernel width, inputs)
    pub shape: Vec<usize>,
    /// How many weights.
    pub weights: usize,
    /// How they are quantised.
    #[serde(default, skip_serializing_if = "Quantiser::is_gtc")]
    pub quantiser: Quantiser,
    /// 1 + ⌈log2(largest exponent - smallest + 1)⌉, the paper's Eq. 10; of another method the bits of its codes
    pub bits: u32,
    /// The values that occur, ascending.
    pub levels: Vec<f64>,
    /// Smallest exponent in use; of levels that are no powers of two the nearest.
    pub exponent_min: i32,
    /// Largest exponent in use.
    pub exponent_max: i32,
    /// Weights that quantise to zero.
    pub zeros: usize,
    /// c, or the first number that another method learns
    pub intercept: f32,
    /// s, or the second number that another method learns
    pub slope: f32,
    /// Weights in each exponent from `exponent_min` to `exponent_max`: (negative, positive).
    pub histogram: Vec<(usize, usize)>,
}

/// Reports on every layer of an arena of weights that low precision reads quantised.
pub fn inspect(parameters: &Parameters, arena: &[f32]) -> Vec<LayerReport> {
    let method = parameters.quantiser.method();
    parameters
        .quantised()
        .map(|layer| {
            let [intercept, slope] = layer.quantiser_values(arena);
            let values = parameters.quantised_values(layer, arena);
            let exponent = |value: f64| value.abs().log2().round() as i32;
            let others = || values.iter().filter(|value| **value != 0.0);
            let range = ExponentRange {
                low: others().map(|v| exponent(*v)).min().unwrap_or(0),
                top: others().map(|v| exponent(*v)).max().unwrap_or(0),
            };
            let mut histogram = vec![(0, 0); range.count() as usize];
            for value in others() {
                let (negative, positive) = &mut histogram[(exponent(*value) - range.low) as usize];
                *(if *value < 0.0 { negative } else { positive }) += 1;
            }
            let mut levels = values.clone();
            levels.sort_by(f64::total_cmp);
            levels.dedup();
            LayerReport {
                name: layer.name.to_owned(),
                shape: layer.shape.to_vec(),
                weights: values.len(),
                quantiser: parameters.quantiser,
                bits: method.as_ref().map_or(range.bits(), |method| method.bits()),
                levels,
                exponent_min: range.low,
                exponent_max: range.top,
                zeros: values.len() - others().count(),
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
