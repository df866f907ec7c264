//! Writing checkpoints, and other safetensors files.

use std::collections::HashMap;

use half::f16;
use safetensors::tensor::{Dtype, TensorView};

use super::{CHECKSUM, Checkpoint, CheckpointError, NETWORKS, PARTS, check_finite, checksum};
use crate::levels::LevelRule;
use crate::model::Parameters;

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The file's bytes: equal for equal checkpoints.
///
/// # Errors
/// [`CheckpointError::NotFinite`]: a diverged model is never written.
pub fn encode(checkpoint: &Checkpoint) -> Result<Vec<u8>, CheckpointError> {
    encode_as(checkpoint, false)
}

/// The bytes of a file of the weights alone, for use and not for going on; `half`: as f16, intercepts
/// and slopes apart, so rounded that weights keep their levels.
///
/// # Errors
/// [`CheckpointError::NotFinite`], for numbers past f16's largest too.
pub fn encode_weights(checkpoint: &Checkpoint, half: bool) -> Result<Vec<u8>, CheckpointError> {
    let mut checkpoint = checkpoint.clone();
    checkpoint.snapshot.keep_weights_alone();
    encode_as(&checkpoint, half)
}

fn encode_as(checkpoint: &Checkpoint, half: bool) -> Result<Vec<u8>, CheckpointError> {
    let Checkpoint { header, snapshot } = checkpoint;
    let parameters = Parameters::new(&header.model()?);
    let mut tensors: Vec<NamedTensor> = Vec::new();
    let mut push = |name: String, shape: Vec<usize>, half: bool, values: &[f32]| {
        tensors.push(tensor(name, shape, half, values)?);
        Ok::<_, CheckpointError>(())
    };
    let arenas = [
        &snapshot.weights,
        &snapshot.first_moment,
        &snapshot.second_moment,
    ];
    for (prefix, arena) in PARTS.iter().zip(arenas) {
        if arena.is_empty() {
            continue;
        }
        for layer in &parameters.layers {
            let name = |suffix| format!("{prefix}{}.{suffix}", layer.name);
            let mut weights = layer.weight_values(arena);
            if half && layer.is_quantised() && parameters.quantiser.is_gtc() {
                let rule = LevelRule::new(layer.quantiser_values(arena));
                for weight in &mut weights {
                    *weight = half_on_level(*weight, rule);
                }
            }
            push(name("weight"), layer.shape.to_vec(), half, &weights)?;
            if layer.has_bias() {
                let outputs = vec![layer.shape[0]];
                push(name("bias"), outputs, half, &layer.bias_values(arena))?;
            }
            if layer.is_quantised() {
                let quantiser = layer.quantiser_values(arena);
                push(name("quantiser"), vec![2], false, &quantiser)?;
            }
        }
        for norm in &parameters.norms {
            let name = |suffix| format!("{prefix}{}.{suffix}", norm.name);
            let [gamma, beta] = norm.values(arena);
            push(name("scale"), vec![norm.channels], half, &gamma)?;
            push(name("bias"), vec![norm.channels], half, &beta)?;
        }
    }
    for (network, arena) in NETWORKS.iter().zip(&snapshot.running) {
        for norm in &parameters.norms {
            let name = format!("{}.running_{network}", norm.name);
            let values = norm.running_values(arena);
            push(name, vec![2, norm.channels], false, &values)?;
        }
    }
    if !snapshot.totals.is_empty() {
        push("totals".to_owned(), vec![4, 4], false, &snapshot.totals)?;
    }
    let mut head = serde_json::to_value(header).map_err(|e| refused(&e))?;
    let bytes = tensors
        .iter()
        .map(|(name, _, _, data)| (name.as_str(), data.as_slice()));
    head[CHECKSUM] = checksum(bytes.collect()).into();
    serialise(&tensors, "gtc", head.to_string())
}

/// The nearest number of 16 bits that becomes the same power of two. Training leaves many weights at the edge between two
/// levels, where rounding alone would move half of them to the other one.
fn half_on_level(weight: f32, rule: LevelRule) -> f32 {
    let nearest = f16::from_f32(weight);
    let exponent = |number: f16| rule.exponent(number.to_f64());
    let wanted = rule.exponent(f64::from(weight));
    // The bits of a number count its size, whatever its sign.
    let bits = match nearest.to_f32().abs() > weight.abs() {
        true => nearest.to_bits().wrapping_sub(1),
        false => nearest.to_bits().wrapping_add(1),
    };
    let beyond = f16::from_bits(bits);
    let moves = exponent(nearest) != wanted && exponent(beyond) == wanted;
    if moves { beyond } else { nearest }.to_f32()
}

/// A tensor for a file: name, shape, type, bytes.
pub(crate) type NamedTensor = (String, Vec<usize>, Dtype, Vec<u8>);

/// The bytes of a safetensors file with these tensors and one key in its metadata: one, so that no map decides an order and
/// equal models are equal files.
pub(crate) fn serialise(
    tensors: &[NamedTensor],
    key: &str,
    text: String,
) -> Result<Vec<u8>, CheckpointError> {
    let views: Result<Vec<_>, CheckpointError> = tensors
        .iter()
        .map(|(name, shape, dtype, data)| {
            let view = TensorView::new(*dtype, shape.clone(), data);
            Ok((name.clone(), view.map_err(|e| refused(&e))?))
        })
        .collect();
    let metadata = HashMap::from([(key.to_owned(), text)]);
    safetensors::serialize(views?, Some(metadata)).map_err(|e| refused(&e))
}

/// Why a model could not become a file.
fn refused(reason: &dyn std::fmt::Display) -> CheckpointError {
    CheckpointError::Foreign {
        file: "the model".to_owned(),
        reason: reason.to_string(),
    }
}

/// A name, a shape and numbers as a tensor of a file, of f16 or f32.
///
/// # Errors
/// [`CheckpointError::NotFinite`], for numbers past f16's largest too.
pub(crate) fn tensor(
    name: String,
    shape: Vec<usize>,
    half: bool,
    values: &[f32],
) -> Result<NamedTensor, CheckpointError> {
    check_finite("the model", &name, values)?;
    if !half {
        return Ok((name, shape, Dtype::F32, bytes(values)));
    }
    let halves: Vec<f16> = values.iter().map(|v| f16::from_f32(*v)).collect();
    let back: Vec<f32> = halves.iter().map(|v| v.to_f32()).collect();
    check_finite("the model as f16", &name, &back)?;
    let bytes = halves.iter().flat_map(|v| v.to_le_bytes()).collect();
    Ok((name, shape, Dtype::F16, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_weights_at_an_edge_keep_their_level() {
        let rule = LevelRule::new([0.0, 1.0]);
        // Between 2^-3 and 2^-2 the edge is 2^-2.5, between two halves.
        let edge = 0.5f32.powf(2.5);
        let mut moved = 0;
        for step in -2000i32..2000 {
            for sign in [1.0, -1.0] {
                let weight = sign * f32::from_bits((edge.to_bits() as i32 + step) as u32);
                let kept = half_on_level(weight, rule);
                assert_eq!(f16::from_f32(kept).to_f32(), kept, "a number of 16 bits");
                assert_eq!(
                    rule.exponent(kept.into()),
                    rule.exponent(weight.into()),
                    "{weight} became {kept}"
                );
                assert!((kept - weight).abs() <= weight.abs() / 1024.0);
                moved += usize::from(kept != f16::from_f32(weight).to_f32());
            }
        }
        assert!(moved > 0, "rounding alone would have moved some");
        assert_eq!(half_on_level(0.0, rule), 0.0);
        assert_eq!(half_on_level(0.25, rule), 0.25);
    }
}
