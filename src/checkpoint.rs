//! Trained models and interrupted runs as one safetensors file, written all or nothing.
//!
//! Tensors, f32: of every convolution and dense layer `NODE.weight` (outputs, kernel height, kernel width, inputs
//! of one output), if it has one `NODE.bias` (outputs), and unless it stays in float `NODE.quantiser` (intercept,
//! slope); of every batch normalisation `NODE.scale` (gamma) and `NODE.bias` (beta), (channels) each. The same under
//! `first_moment.` and `second_moment.`; of every batch normalisation `NODE.running_hp` and `NODE.running_lp`
//! (2, channels), mean and variance; and `totals` (4, 4). The metadata key `gtc` holds a JSON text, see [`Header`],
//! with the whole graph. In version 1, which is still read, models were those of the program, and a normalisation's
//! tensors had the name of the layer before it.
//! A file of the weights alone has no moments and no totals, and may hold its numbers as f16; nothing
//! continues from it.

use std::collections::HashMap;

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::data::Seen;
use crate::foreign::other_format;
use crate::graph::{DataFacts, Description, INPUT, Model, ModelError};
use crate::levels::LevelRule;
use crate::model::{LayerValues, NormParameters, Parameters};
use crate::tensor::pad4;
use crate::train::{MAX_LATENT, Snapshot, TrainOptions};

/// Version of what [`encode`] writes. [`decode`] reads it and all before.
pub const VERSION: u32 = 2;

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`]
    pub version: u32,
    /// Name of the model.
    pub model: String,
    /// Since version 2: the model itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<Description>,
    /// Name of the data set it learned from.
    pub data: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Training images in that data set.
    pub images: usize,
    /// A hash of those images and their labels, absent in older files: by it a run knows its data wherever they lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_hash: Option<String>,
    /// What those images look like on the whole, absent in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    /// Steps done.
    pub step: u64,
    /// How it was and will be trained.
    pub options: TrainOptions,
}

impl Header {
    /// The model the file is of.
    ///
    /// # Errors
    /// [`ModelError`] for a description that does not fit together; before version 2 [`ModelError::Unknown`] for a
    /// name that this program does not know.
    pub fn model(&self) -> Result<Model, ModelError> {
        if let Some(description) = &self.graph {
            let facts = DataFacts {
                size: [0; 3],
                classes: self.classes.len(),
            };
            return description.model(Some(&facts));
        }
        let options = &self.options;
        Ok(Model::by_name(&self.model)?.with_latent(options.latent, options.likelihood))
    }
}

/// A model with all its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Names and options.
    pub header: Header,
    /// Numbers.
    pub snapshot: Snapshot,
}

/// Why a file is not a usable checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("{file}: {reason}")]
    Io {
        /// The file.
        file: String,
        /// Its words.
        reason: String,
    },
    /// Not a safetensors file, or not a whole one.
    #[error(
        "{file}: not a whole safetensors file ({reason}). If it was copied or fetched, the copy may be cut short: compare \
         its size with that of the file it came from."
    )]
    Damaged {
        /// The file.
        file: String,
        /// The parser's words.
        reason: String,
    },
    /// A safetensors file of something else.
    #[error("{file}: {reason}")]
    Foreign {
        /// The file.
        file: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// Written by a later version.
    #[error("{file}: written in format {found}, this gtc reads up to {VERSION}. Use a newer gtc.")]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        found: u64,
    },
    /// Of another model than asked for.
    #[error("{file}: holds model '{found}', not '{wanted}'")]
    OtherModel {
        /// The file.
        file: String,
        /// Its model.
        found: String,
        /// The model asked for.
        wanted: String,
    },
    /// NaN or infinity in what should be numbers.
    #[error(
        "{file}: tensor '{tensor}' holds {value} at {at}, which no network can use: its training diverged, or the file is \
         damaged. Use an earlier checkpoint."
    )]
    NotFinite {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// NaN or infinity.
        value: f32,
        /// Its index.
        at: usize,
    },
    /// A model this version does not know.
    #[error(transparent)]
    Model(#[from] ModelError),
}

const PARTS: [&str; 3] = ["", "first_moment.", "second_moment."];
const NETWORKS: [&str; 2] = ["hp", "lp"];

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

/// Key of the [`checksum`] in the metadata.
const CHECKSUM: &str = "checksum";

/// CRC-32 of the names and the bytes of all tensors, in the order of their names.
fn checksum(mut tensors: Vec<(&str, &[u8])>) -> u32 {
    tensors.sort_unstable();
    let mut crc = flate2::Crc::new();
    for (name, data) in tensors {
        crc.update(name.as_bytes());
        crc.update(data);
    }
    crc.sum()
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

pub(crate) fn check_finite(
    file: &str,
    tensor: &str,
    values: &[f32],
) -> Result<(), CheckpointError> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(CheckpointError::NotFinite {
            file: file.to_owned(),
            tensor: tensor.to_owned(),
            value: values[at],
            at,
        }),
    }
}

/// Whether bytes begin like a checkpoint: the key stands in the head of the file.
pub fn is_checkpoint(data: &[u8]) -> bool {
    SafeTensors::read_metadata(data).is_ok_and(|(_, metadata)| {
        let map = metadata.metadata().as_ref();
        map.is_some_and(|map| map.contains_key("gtc"))
    })
}

/// Reads a checkpoint from a file's bytes; `file` is its name for messages.
///
/// # Errors
/// [`CheckpointError`] for anything that is not exactly what [`encode`] writes.
pub fn decode(file: &str, data: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let foreign = |reason: String| CheckpointError::Foreign {
        file: file.to_owned(),
        reason: format!("not a checkpoint of gtc: {reason}"),
    };
    let damaged = |e: safetensors::SafeTensorError| match other_format(data) {
        Some(reason) => foreign(reason),
        None => CheckpointError::Damaged {
            file: file.to_owned(),
            reason: e.to_string(),
        },
    };
    let (_, metadata) = SafeTensors::read_metadata(data).map_err(damaged)?;
    let tensors = SafeTensors::deserialize(data).map_err(damaged)?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|map| map.get("gtc"))
        .ok_or_else(|| {
            foreign(
                "a safetensors file of another program. If it holds a float network with PyTorch's layout, \
                 `gtc quantise` gives it levels and makes it one"
                    .to_owned(),
            )
        })?;
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| foreign(format!("metadata: {e}")))?;
    let version = value["version"]
        .as_u64()
        .ok_or_else(|| foreign("no version in the metadata".to_owned()))?;
    if version > u64::from(VERSION) {
        return Err(CheckpointError::Newer {
            file: file.to_owned(),
            found: version,
        });
    }
    let written = value.get(CHECKSUM).cloned();
    let header: Header =
        serde_json::from_value(value).map_err(|e| foreign(format!("metadata: {e}")))?;
    if !(1..=MAX_LATENT).contains(&header.options.latent) {
        return Err(foreign(format!("a latent of {}", header.options.latent)));
    }
    let model = header.model()?;
    if header.graph.is_some() && header.model != model.name {
        return Err(foreign(format!(
            "it says that it is of '{}', and its graph that it is of '{}'",
            header.model, model.name
        )));
    }
    if header.classes.len() != model.classes {
        return Err(foreign(format!("{} class names", header.classes.len())));
    }
    let parameters = Parameters::new(&model);
    let norm_name = |norm: &NormParameters| {
        let before = model.graph.nodes[norm.node].inputs[0];
        match header.version > 1 || before == INPUT {
            true => norm.name.clone(),
            false => model.graph.nodes[before - 1].name.clone(),
        }
    };
    let read = |name: &str, shape: &[usize]| -> Result<Vec<f32>, CheckpointError> {
        let view = tensors
            .tensor(name)
            .map_err(|_| foreign(format!("tensor '{name}' is missing")))?;
        let (dtype, found) = (view.dtype(), view.shape());
        if !matches!(dtype, Dtype::F32 | Dtype::F16) || found != shape {
            return Err(foreign(format!(
                "tensor '{name}' is {dtype:?} {found:?}, not F32 {shape:?}"
            )));
        }
        let values: Vec<f32> = match dtype {
            Dtype::F16 => {
                let halves = view.data().chunks_exact(2);
                let halves = halves.map(|h| f16::from_le_bytes([h[0], h[1]]).to_f32());
                halves.collect()
            }
            _ => {
                let words = view.data().chunks_exact(4);
                let words = words.map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]]));
                words.collect()
            }
        };
        check_finite(file, name, &values)?;
        Ok(values)
    };
    let names = tensors.names();
    // A node may be named like a part: its own tensors have one dot, those of a part two.
    let of_part = |name: &str, part: &str| {
        let rest = name.strip_prefix(part);
        rest.is_some_and(|rest| rest.contains('.'))
    };
    let rest = |name: &&str| *name == "totals" || PARTS[1..].iter().any(|part| of_part(name, part));
    let weights_alone = !names.iter().any(rest);
    let parts = if weights_alone { &PARTS[..1] } else { &PARTS };
    let mut arenas = Vec::new();
    for prefix in parts {
        let mut arena = vec![0.0; pad4(parameters.layout.len())];
        for layer in &parameters.layers {
            let name = |suffix| format!("{prefix}{}.{suffix}", layer.name);
            let weights = read(&name("weight"), &layer.shape)?;
            let bias = match layer.has_bias() {
                true => read(&name("bias"), &[layer.shape[0]])?,
                false => Vec::new(),
            };
            let quantiser = match layer.is_quantised() {
                true => read(&name("quantiser"), &[2])?,
                false => Vec::new(),
            };
            let values = LayerValues {
                weights: &weights,
                bias: &bias,
                quantiser: &quantiser,
            };
            layer.place(&mut arena, &values);
        }
        for norm in &parameters.norms {
            let name = |suffix| format!("{prefix}{}.{suffix}", norm_name(norm));
            let gamma = read(&name("scale"), &[norm.channels])?;
            let beta = read(&name("bias"), &[norm.channels])?;
            norm.place(&mut arena, &gamma, &beta);
        }
        arenas.push(arena);
    }
    let mut running = [parameters.initial_running(), parameters.initial_running()];
    for (network, arena) in NETWORKS.iter().zip(&mut running) {
        for norm in &parameters.norms {
            let name = format!("{}.running_{network}", norm_name(norm));
            let statistics = read(&name, &[2, norm.channels])?;
            if let Some(variance) = statistics[norm.channels..].iter().find(|v| **v < 0.0) {
                let reason =
                    format!("tensor '{name}' holds {variance}, and no variance is negative");
                return Err(foreign(reason));
            }
            norm.place_running(arena, &statistics);
        }
    }
    let mut arenas = arenas.into_iter();
    let mut next = || arenas.next().unwrap_or_default();
    // Last, because what is wrong with a single number says more. Files of older versions have none.
    if let Some(written) = written {
        let tensors = tensors.tensors();
        let found = tensors
            .iter()
            .map(|(name, view)| (name.as_str(), view.data()));
        if written.as_u64() != Some(checksum(found.collect()).into()) {
            return Err(CheckpointError::Damaged {
                file: file.to_owned(),
                reason: format!(
                    "its numbers are not those that were written, by their checksum (whoever changed them on purpose removes \
                     '{CHECKSUM}' from the metadata)"
                ),
            });
        }
    }
    Ok(Checkpoint {
        snapshot: Snapshot {
            step: header.step,
            weights: next(),
            first_moment: next(),
            second_moment: next(),
            running,
            totals: match weights_alone {
                true => Vec::new(),
                false => read("totals", &[4, 4])?,
            },
        },
        header,
    })
}

/// Reads a checkpoint file, or `model.safetensors` of a run folder.
///
/// # Errors
/// [`CheckpointError`], naming the file.
#[cfg(not(target_arch = "wasm32"))]
pub fn load(path: &std::path::Path) -> Result<Checkpoint, CheckpointError> {
    let path = if path.is_dir() {
        path.join("model.safetensors")
    } else {
        path.to_owned()
    };
    let file = path.display().to_string();
    let data = std::fs::read(&path).map_err(|error| CheckpointError::Io {
        file: file.clone(),
        reason: error.to_string(),
    })?;
    decode(&file, &data)
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
