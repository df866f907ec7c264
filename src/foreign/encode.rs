//! A trained model as a file that others open: safetensors with PyTorch's names and layouts.

use crate::checkpoint::{
    Checkpoint, CheckpointError, NamedTensor, check_finite, serialise, tensor,
};
use crate::levels::rounded_factor;
use crate::model::{LayerParameters, Parameters};
use crate::op::NORM_EPSILON;

/// One of the two networks of a trained model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightPrecision {
    /// HP: weights as they are.
    High,
    /// LP: weights that are powers of two, and batch normalisations whose factor is one.
    Low,
}

/// A tensor in PyTorch's layout: name, shape, numbers.
pub(crate) type Exported = (String, Vec<usize>, Vec<f32>);

/// The bytes of a file with one network, in the form that [`decode`](super::decode) reads and that `load_state_dict` takes
/// of a PyTorch module with the same names; `half`: as f16, running statistics apart.
///
/// # Errors
/// [`CheckpointError::NotFinite`], for numbers past f16's largest too.
pub fn encode(
    checkpoint: &Checkpoint,
    network: WeightPrecision,
    half: bool,
) -> Result<Vec<u8>, CheckpointError> {
    let tensors: Result<Vec<NamedTensor>, CheckpointError> = tensors(checkpoint, network)?
        .into_iter()
        .map(|(name, shape, values)| {
            let half = half && !name.ends_with("running_mean") && !name.ends_with("running_var");
            tensor(name, shape, half, &values)
        })
        .collect();
    // Libraries ask for this key.
    serialise(&tensors?, "format", "pt".to_owned())
}

/// What one network has learned, in PyTorch's names and layouts.
///
/// # Errors
/// [`CheckpointError::NotFinite`].
pub(crate) fn tensors(
    checkpoint: &Checkpoint,
    network: WeightPrecision,
) -> Result<Vec<Exported>, CheckpointError> {
    let snapshot = &checkpoint.snapshot;
    let parameters = Parameters::new(&checkpoint.header.model()?);
    let arena = &snapshot.weights;
    let mut tensors: Vec<Exported> = Vec::new();
    let mut push = |name: String, shape: Vec<usize>, values: Vec<f32>| {
        check_finite("the model", &name, &values)?;
        tensors.push((name, shape, values));
        Ok::<_, CheckpointError>(())
    };
    for layer in &parameters.layers {
        let mut weights = layer.weight_values(arena);
        if network == WeightPrecision::Low && layer.is_quantised() {
            let values = parameters.quantised_values(layer, arena);
            weights = values.into_iter().map(|w| w as f32).collect();
        }
        let (shape, weights) = to_pytorch(layer, &weights);
        push(format!("{}.weight", layer.name), shape, weights)?;
        if layer.has_bias() {
            let bias = layer.bias_values(arena);
            push(format!("{}.bias", layer.name), vec![bias.len()], bias)?;
        }
    }
    let exact = network == WeightPrecision::High || checkpoint.header.options.exact_norm;
    for norm in &parameters.norms {
        let [mut gamma, beta] = norm.values(arena);
        let running = &snapshot.running[usize::from(network == WeightPrecision::Low)];
        let mut mean = norm.running_values(running);
        let variance = mean.split_off(norm.channels);
        if !exact {
            for (gamma, variance) in gamma.iter_mut().zip(&variance) {
                let deviation = (f64::from(*variance) + NORM_EPSILON).sqrt();
                *gamma = (rounded_factor(f64::from(*gamma) / deviation) * deviation) as f32;
            }
        }
        let parts = [
            ("weight", gamma),
            ("bias", beta),
            ("running_mean", mean),
            ("running_var", variance),
        ];
        for (part, values) in parts {
            push(format!("{}.{part}", norm.name), vec![norm.channels], values)?;
        }
    }
    Ok(tensors)
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
