//! What inference with quantised weights costs: bits, zeros, and which operations are left, layer by layer. The same for
//! all quantisers, so that they can be compared; packed models count their own operations exactly
//! ([`crate::pack::PackedModel::operations`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::graph::{Model, Shape};
use crate::levels::sign_and_index_bits;
use crate::model::Parameters;

/// Bits of a weight that stays in float.
const FLOAT_BITS: f64 = 32.0;

/// One layer with weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerCosts {
    /// The layer.
    pub name: String,
    /// How many weights.
    pub weights: usize,
    /// Whether they are quantised.
    pub quantised: bool,
    /// Bits of a weight's code.
    pub code_bits: f64,
    /// Entropy of a weight's value in bits: what an ideal code of fixed statistics would take.
    pub entropy_bits: f64,
    /// Octaves from the smallest to the largest size of a weight that is not zero, rounded.
    pub span: u32,
    /// Weights that are zero.
    pub zeros: usize,
    /// Different values of weights.
    pub values: usize,
    /// Products of a weight and a number, for one image, those with zeros included.
    pub multiply_adds: u64,
    /// Multiplications by weights, for one image.
    pub weight_multiplications: u64,
    /// Multiplications of sums by a factor of the layer, for one image.
    pub scale_multiplications: u64,
    /// Additions and subtractions of sums, for one image.
    pub additions: u64,
    /// Shifts, for one image.
    pub shifts: u64,
}

/// What all layers cost together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Bits of codes, a weight.
    pub code_bits: f64,
    /// Bits of entropy, a weight.
    pub entropy_bits: f64,
    /// Part of the weights that are zero.
    pub zeros: f64,
    /// Multiplications by weights, for one image.
    pub weight_multiplications: u64,
    /// Multiplications by factors of layers, for one image.
    pub scale_multiplications: u64,
    /// Additions and subtractions, for one image.
    pub additions: u64,
    /// Shifts, for one image.
    pub shifts: u64,
}

/// The entropy of a distribution given by counts, in bits.
fn entropy(counts: impl Iterator<Item = usize>, total: usize) -> f64 {
    counts
        .map(|count| count as f64 / total.max(1) as f64)
        .map(|share| -share * share.log2())
        .sum()
}

/// The costs of every layer with weights. `float`: of the high-precision network, whose weights are as they are.
pub fn layers(model: &Model, arena: &[f32], float: bool) -> Vec<LayerCosts> {
    let parameters = Parameters::new(model);
    let shapes = model.shapes();
    let method = model.quantiser.method();
    let of_layer = |layer: &crate::model::LayerParameters| {
        let quantised = layer.is_quantised() && !float;
        let node = &model.graph.nodes[layer.node];
        let inputs: Vec<Shape> = node.inputs.iter().map(|value| shapes[*value]).collect();
        let output = shapes[layer.node + 1];
        let multiply_adds = node.op.operation().multiply_adds(&inputs, output);
        let weights = layer.weights();
        let mut costs = LayerCosts {
            name: layer.name.clone(),
            weights,
            quantised,
            code_bits: FLOAT_BITS,
            entropy_bits: FLOAT_BITS,
            span: 0,
            zeros: 0,
            values: weights,
            multiply_adds,
            weight_multiplications: multiply_adds,
            scale_multiplications: 0,
            additions: multiply_adds,
            shifts: 0,
        };
        if !quantised {
            return costs;
        }
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for value in parameters.quantised_values(layer, arena) {
            *counts.entry((value + 0.0).to_bits()).or_default() += 1;
        }
        costs.zeros = counts.get(&0.0f64.to_bits()).copied().unwrap_or(0);
        costs.values = counts.len();
        costs.entropy_bits = entropy(counts.values().copied(), weights);
        costs.code_bits = match &method {
            Some(method) => f64::from(method.bits()),
            None => f64::from(sign_and_index_bits(span_of(&counts) + 1)),
        };
        costs.span = span_of(&counts);
        // Weights that are zero are left out.
        let kept = multiply_adds as f64 * (1.0 - costs.zeros as f64 / weights.max(1) as f64);
        let kept = kept.round() as u64;
        let sizes = counts
            .keys()
            .map(|bits| bits & (u64::MAX >> 1))
            .filter(|bits| *bits != 0);
        let sizes = sizes.collect::<std::collections::BTreeSet<_>>().len();
        let digits = method.as_ref().map_or(Some(1), |method| method.digits());
        let factors = method.as_ref().map_or(0, |method| method.factors());
        costs.scale_multiplications = u64::from(factors) * output.len() as u64;
        costs.additions = kept * u64::from(digits.unwrap_or(1));
        costs.weight_multiplications = if digits.is_none() { kept } else { 0 };
        // A single size, or one for each factor, is shifted behind the sum, with what follows it.
        let shifted = digits.is_some() && sizes > factors.max(1) as usize;
        costs.shifts = if shifted { costs.additions } else { 0 };
        costs
    };
    parameters.layers.iter().map(of_layer).collect()
}

/// Octaves from the smallest size to the largest.
fn span_of(counts: &BTreeMap<u64, usize>) -> u32 {
    let exponents = counts
        .keys()
        .map(|bits| f64::from_bits(*bits))
        .filter(|value| *value != 0.0)
        .map(|value| value.abs().log2().round() as i32);
    let (low, top) = exponents.fold((i32::MAX, i32::MIN), |(low, top), e| {
        (low.min(e), top.max(e))
    });
    if low > top { 0 } else { low.abs_diff(top) }
}

/// All layers together.
pub fn total(layers: &[LayerCosts]) -> Costs {
    let weights: usize = layers.iter().map(|layer| layer.weights).sum();
    let mean = |part: &dyn Fn(&LayerCosts) -> f64| {
        let sum: f64 = layers.iter().map(|l| part(l) * l.weights as f64).sum();
        sum / weights.max(1) as f64
    };
    let sum = |part: &dyn Fn(&LayerCosts) -> u64| layers.iter().map(part).sum();
    Costs {
        code_bits: mean(&|l| l.code_bits),
        entropy_bits: mean(&|l| l.entropy_bits),
        zeros: layers.iter().map(|l| l.zeros).sum::<usize>() as f64 / weights.max(1) as f64,
        weight_multiplications: sum(&|l| l.weight_multiplications),
        scale_multiplications: sum(&|l| l.scale_multiplications),
        additions: sum(&|l| l.additions),
        shifts: sum(&|l| l.shifts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Builder;
    use crate::op::{Conv, Dense};
    use crate::quantiser::Quantiser;

    /// A convolution of 3 x 3 over 4 x 4 pixels without padding, 2 outputs, and a dense layer of 3 outputs.
    fn model(quantiser: Quantiser) -> Model {
        let mut net = Builder::new("small", [4, 4, 1]);
        net.then("conv", Conv::new(2, 3));
        net.then("fc", Dense::new(3));
        net.build().unwrap().with_quantiser(quantiser)
    }

    fn costs(quantiser: Quantiser, change: impl Fn(usize) -> f32) -> Vec<LayerCosts> {
        let model = model(quantiser);
        let parameters = Parameters::new(&model);
        let mut arena = parameters.initial(1);
        for layer in &parameters.layers {
            let weights: Vec<f32> = (0..layer.weights()).map(&change).collect();
            let values = crate::model::LayerValues {
                weights,
                ..Default::default()
            };
            layer.place(&mut arena, &values);
        }
        parameters.start_quantisers(&mut arena);
        layers(&model, &arena, false)
    }

    #[test]
    fn binary_weights_leave_additions_and_a_factor_behind_each_sum() {
        let found = costs(Quantiser::Binary, |i| if i % 2 == 0 { 0.3 } else { -0.1 });
        // 4 places x 2 outputs x 9 weights; 8 numbers x 3 outputs.
        assert_eq!([found[0].multiply_adds, found[1].multiply_adds], [72, 24]);
        assert_eq!((found[0].additions, found[0].shifts), (72, 0));
        assert_eq!(found[0].scale_multiplications, 8);
        assert_eq!((found[0].code_bits, found[0].entropy_bits), (1.0, 1.0));
        let shifted = costs(Quantiser::BinaryPowerOfTwo, |_| 0.3);
        assert_eq!(total(&shifted).scale_multiplications, 0);
        assert_eq!(shifted[0].entropy_bits, 0.0);
    }

    #[test]
    fn zeros_are_left_out() {
        // One of three weights is zero: 0.5 and 0.6 lie beyond 0.7 times the mean, 0.01 does not.
        let found = costs(Quantiser::Twn, |i| [0.5, 0.01, -0.6][i % 3]);
        assert_eq!((found[0].zeros, found[0].additions), (6, 48));
        let third = 3.0f64.log2();
        assert!((found[0].entropy_bits - third).abs() < 1e-12);
        let shifted = costs(Quantiser::PowersOfTwo(3), |i| [0.9, 0.4, -0.3][i % 3]);
        assert_eq!(
            (shifted[0].shifts, shifted[0].scale_multiplications),
            (72, 8)
        );
        let apart = costs(Quantiser::Ttq, |i| [0.5, 0.01, -0.6][i % 3]);
        assert_eq!((apart[0].shifts, apart[0].scale_multiplications), (0, 16));
        let multiplied = costs(Quantiser::Lsq(4), |i| [0.5, 0.0, -0.6][i % 3]);
        assert_eq!(multiplied[0].weight_multiplications, 48);
    }

    #[test]
    fn gtc_counts_exponents_from_the_smallest_to_the_largest() {
        let found = costs(Quantiser::Gtc, |i| [0.5, -0.125][i % 2]);
        assert_eq!((found[0].code_bits, found[0].values), (3.0, 2));
        assert_eq!((found[0].shifts, found[0].scale_multiplications), (72, 0));
    }
}
