//! A trained model as a file that others open: safetensors with PyTorch's names and layouts.

use crate::checkpoint::{Checkpoint, CheckpointError, NamedTensor, serialise, tensor};
use crate::levels::{LevelRule, rounded_factor};
use crate::model::{LayerParameters, Parameters};
use crate::op::NORM_EPSILON;

/// One of the two networks of a trained model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// HP: weights as they are.
    HighPrecision,
    /// LP: weights that are powers of two, and batch normalisations whose factor is one.
    LowPrecision,
}

/// The bytes of a file with one network, in the form that [`decode`](super::decode) reads and that `load_state_dict` takes
/// of a PyTorch module with the same names; `half`: as f16, running statistics apart.
///
/// # Errors
/// [`CheckpointError::NotFinite`], for numbers past f16's largest too.
pub fn encode(
    checkpoint: &Checkpoint,
    network: Network,
    half: bool,
) -> Result<Vec<u8>, CheckpointError> {
    let snapshot = &checkpoint.snapshot;
    let parameters = Parameters::new(&checkpoint.header.model()?);
    let arena = &snapshot.weights;
    let mut tensors: Vec<NamedTensor> = Vec::new();
    let mut push = |name: String, shape: Vec<usize>, half: bool, values: &[f32]| {
        tensors.push(tensor(name, shape, half, values)?);
        Ok::<_, CheckpointError>(())
    };
    for layer in &parameters.layers {
        let mut weights = layer.weight_values(arena);
        if network == Network::LowPrecision && layer.is_quantised() {
            let rule = LevelRule::new(layer.quantiser_values(arena));
            for w in &mut weights {
                *w = match rule.exponent(f64::from(*w)) {
                    Some(exponent) => (f64::from(exponent).exp2() as f32).copysign(*w),
                    None => 0.0,
                };
            }
        }
        let (shape, weights) = to_pytorch(layer, &weights);
        push(format!("{}.weight", layer.name), shape, half, &weights)?;
        if layer.has_bias() {
            let bias = layer.bias_values(arena);
            push(
                format!("{}.bias", layer.name),
                vec![bias.len()],
                half,
                &bias,
            )?;
        }
    }
    let exact = network == Network::HighPrecision || checkpoint.header.options.exact_norm;
    for norm in &parameters.norms {
        let [mut gamma, beta] = norm.values(arena);
        let running = &snapshot.running[usize::from(network == Network::LowPrecision)];
        let statistics = norm.running_values(running);
        let (mean, variance) = statistics.split_at(norm.channels);
        if !exact {
            for (gamma, variance) in gamma.iter_mut().zip(variance) {
                let deviation = (f64::from(*variance) + NORM_EPSILON).sqrt();
                *gamma = (rounded_factor(f64::from(*gamma) / deviation) * deviation) as f32;
            }
        }
        let parts = [
            ("weight", half, &gamma[..]),
            ("bias", half, &beta),
            ("running_mean", false, mean),
            ("running_var", false, variance),
        ];
        for (part, half, values) in parts {
            let name = format!("{}.{part}", norm.name);
            push(name, vec![norm.channels], half, values)?;
        }
    }
    // Libraries ask for this key.
    serialise(&tensors, "format", "pt".to_owned())
}

/// Weights (outputs, height, width, inputs) as PyTorch has them: (outputs, inputs, height, width), of dense layers with all
/// but the outputs in one.
fn to_pytorch(layer: &LayerParameters, ours: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let [outputs, height, width, inputs] = layer.shape;
    let pixels = height * width;
    let mut theirs = vec![0.0; ours.len()];
    for (i, weight) in ours.iter().enumerate() {
        let (input, rest) = (i % inputs, i / inputs);
        let (pixel, output) = (rest % pixels, rest / pixels);
        theirs[(output * inputs + input) * pixels + pixel] = *weight;
    }
    let shape = match layer.is_dense() {
        true => vec![outputs, inputs * pixels],
        false => vec![outputs, inputs, height, width],
    };
    (shape, theirs)
}
