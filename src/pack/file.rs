//! Packed models as files: safetensors, described to the bit in `docs/FORMAT.md`.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use super::steps::Steps;
use super::{Activations, PackedLayer, PackedModel};
use crate::data::Seen;
use crate::graph::{DataFacts, Description, Model};
use crate::loss::Likelihood;
use crate::op::Packing;
use crate::train::MAX_LATENT;

/// The version that [`encode`] writes. [`decode`] reads it and all before: version 1 holds a classifier of the
/// program, version 2 the decoder of an auto-encoder of the program; version 3 holds the graph itself.
pub const PACKED_VERSION: u32 = 3;

/// The metadata key that holds a [`Header`] as JSON.
pub const KEY: &str = "gtc_packed";
/// The tensor of [`PackedModel::table`].
const TABLE: &str = "input.table";

/// Why a model cannot be packed, or a file is not a usable packed model.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Normalisations that need multiplications.
    #[error(
        "this model was trained with --exact-norm: its normalisations multiply by numbers that are no \
         powers of two, so it cannot run on shifts. Train it without --exact-norm."
    )]
    ExactNorm,
    /// Weights that are no powers of two.
    #[error(
        "{quantiser} gives weights that are no powers of two, so that sums are multiplied by a factor: it cannot run on \
         shifts. Of the methods that gtc trains, gtc, binary-pot, deepshift and inq can be packed."
    )]
    Multiplies {
        /// How they are quantised.
        quantiser: crate::quantiser::Quantiser,
    },
    /// A layer that low precision reads as it is.
    #[error(
        "layer '{layer}' stays in float (quantise = false in the model's description), so it cannot run on shifts. \
         Train it with quantise = true."
    )]
    Float {
        /// The layer.
        layer: String,
    },
    /// Values that are added, joined or averaged in units too far apart.
    #[error(
        "node '{node}' joins values whose sizes are so far apart that their sum could leave 32 bits. Put a batch \
         normalisation before it."
    )]
    UnitsApart {
        /// The node.
        node: String,
    },
    /// A number that is added to sums and does not fit 32 bits in their unit.
    #[error(
        "layer '{layer}': {offset:.3e} is added to an output, so much more than its weights ever make of its inputs that \
         it does not fit 32 bits in their unit. Look at its bias, or at the statistics of the normalisation behind it; a \
         network from elsewhere may be read with other pixels than it was trained on (`gtc quantise --range`)."
    )]
    Offset {
        /// The layer.
        layer: String,
        /// The bias, or what a normalisation adds.
        offset: f64,
    },
    /// A sum that does not fit 32 bits.
    #[error(
        "layer '{layer}' has exponents {} to {}: with {activations}-bit activations its sums could leave \
         32 bits. Train with a larger --lambda-bits, so that its levels move together{}.",
        exponents.start(), exponents.end(),
        if *activations == 16 { ", or pack with --activations 8" } else { "" }
    )]
    Overflow {
        /// The layer.
        layer: String,
        /// Its smallest and largest exponent.
        exponents: RangeInclusive<i32>,
        /// Bits of its inputs.
        activations: u32,
    },
    /// The operating system refused.
    #[error("{file}: {reason}")]
    Io {
        /// The file.
        file: String,
        /// Its words.
        reason: String,
    },
    /// Not whole, or changed since it was written.
    #[error(
        "{file}: damaged ({reason}). If it was copied, copy it again; or pack the trained model again."
    )]
    Damaged {
        /// The file.
        file: String,
        /// What does not fit.
        reason: String,
    },
    /// A file of something else.
    #[error("{file}: not a packed model of gtc: {reason}")]
    Foreign {
        /// The file.
        file: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// Written by a later version.
    #[error(
        "{file}: packed in format {found}, this gtc reads up to {PACKED_VERSION}. Use a newer gtc."
    )]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        found: u64,
    },
}

/// What a packed file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    version: u32,
    /// CRC-32 of this header with a checksum of zero and of all tensors' bytes.
    checksum: u32,
    model: String,
    data: String,
    classes: Vec<String>,
    /// Later files of version 3: what training images look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<Seen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    decoder: Option<DecoderHeader>,
    /// Since version 3: the whole model, an auto-encoder with its encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    graph: Option<Description>,
    /// Since version 3: log2 of the unit of every value of what runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    units: Vec<i32>,
    activation_bits: u32,
    layers: Vec<LayerHeader>,
}

/// Says that a file holds the decoder of an auto-encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DecoderHeader {
    latent: usize,
    likelihood: Likelihood,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LayerHeader {
    name: String,
    shape: [usize; 4],
    bits: u32,
    zero: bool,
    exponent_min: i32,
    input_scale: i32,
    output_scale: i32,
}

/// Codes side by side, the first in the lowest bits.
fn pack_codes(codes: &[u8], bits: u32) -> Vec<u32> {
    let mut words = vec![0u32; (codes.len() * bits as usize).div_ceil(32)];
    for (i, code) in codes.iter().enumerate() {
        let at = i * bits as usize;
        let wide = u64::from(*code) << (at % 32);
        words[at / 32] |= wide as u32;
        if wide >> 32 != 0 {
            words[at / 32 + 1] |= (wide >> 32) as u32;
        }
    }
    words
}

/// The inverse of [`pack_codes`]; `None` unless the words are as many as the codes need and
/// everything past the last code is zero.
fn unpack_codes(words: &[u32], count: usize, bits: u32) -> Option<Vec<u8>> {
    let codes: Vec<u8> = (0..count)
        .map(|i| {
            let at = i * bits as usize;
            let low = u64::from(*words.get(at / 32).unwrap_or(&0));
            let high = u64::from(*words.get(at / 32 + 1).unwrap_or(&0));
            (((high << 32 | low) >> (at % 32)) & ((1 << bits) - 1)) as u8
        })
        .collect();
    (pack_codes(&codes, bits) == words).then_some(codes)
}

fn checksum<'a>(header: &Header, tensors: impl Iterator<Item = &'a [u8]>) -> u32 {
    let mut crc = flate2::Crc::new();
    let blank = Header {
        checksum: 0,
        ..header.clone()
    };
    crc.update(&serde_json::to_vec(&blank).unwrap_or_default());
    for bytes in tensors {
        crc.update(bytes);
    }
    crc.sum()
}

fn layer_tensors(layer: &PackedLayer) -> [(&'static str, Dtype, Vec<usize>, Vec<u8>); 3] {
    let words = pack_codes(&layer.codes, layer.bits);
    let wide = |v: &[i32]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let outputs = layer.shape[0];
    [
        (
            "codes",
            Dtype::U32,
            vec![words.len()],
            words.iter().flat_map(|w| w.to_le_bytes()).collect(),
        ),
        ("bias", Dtype::I32, vec![outputs], wide(&layer.bias)),
        (
            "shift",
            Dtype::I8,
            vec![outputs],
            layer.shift.iter().map(|s| *s as i8 as u8).collect(),
        ),
    ]
}

/// The file's bytes: equal for equal models.
///
/// # Errors
/// [`PackError::Foreign`] should the container refuse.
pub fn encode(model: &PackedModel) -> Result<Vec<u8>, PackError> {
    let foreign = |reason: String| PackError::Foreign {
        file: "the model".to_owned(),
        reason,
    };
    let decoder = match (model.model.latent(), model.model.likelihood) {
        (Some(latent), Some(likelihood)) => Some(DecoderHeader { latent, likelihood }),
        _ => None,
    };
    let mut tensors = Vec::new();
    if decoder.is_none() {
        let table = model.table.iter().flat_map(|v| v.to_le_bytes()).collect();
        let shape = vec![model.table.len() / 256, 256];
        tensors.push((TABLE.to_owned(), Dtype::I16, shape, table));
    }
    let mut layers = Vec::new();
    for layer in &model.layers {
        for (part, kind, shape, data) in layer_tensors(layer) {
            tensors.push((format!("{}.{part}", layer.name), kind, shape, data));
        }
        layers.push(LayerHeader {
            name: layer.name.clone(),
            shape: layer.shape,
            bits: layer.bits,
            zero: layer.zero,
            exponent_min: layer.exponent_min,
            input_scale: layer.input_scale,
            output_scale: layer.output_scale,
        });
    }
    let mut header = Header {
        version: PACKED_VERSION,
        checksum: 0,
        model: model.model.name.clone(),
        data: model.data.clone(),
        classes: model.classes.clone(),
        seen: model.seen,
        decoder,
        graph: Some(Description::of(&model.model)),
        units: model.units.clone(),
        activation_bits: model.activations.bits(),
        layers,
    };
    header.checksum = checksum(&header, tensors.iter().map(|t| t.3.as_slice()));
    let views: Result<Vec<_>, PackError> = tensors
        .iter()
        .map(|(name, kind, shape, data): &(_, _, _, Vec<u8>)| {
            let view = TensorView::new(*kind, shape.clone(), data);
            Ok((name.clone(), view.map_err(|e| foreign(e.to_string()))?))
        })
        .collect();
    let text = serde_json::to_string(&header).map_err(|e| foreign(e.to_string()))?;
    let metadata = HashMap::from([(KEY.to_owned(), text)]);
    safetensors::serialize(views?, Some(metadata)).map_err(|e| foreign(e.to_string()))
}

/// Whether bytes begin like a packed model: the key stands in the head of the file.
pub fn is_packed(data: &[u8]) -> bool {
    SafeTensors::read_metadata(data).is_ok_and(|(_, metadata)| {
        let map = metadata.metadata().as_ref();
        map.is_some_and(|map| map.contains_key(KEY))
    })
}

/// Reads a packed model from a file's bytes; `file` is its name for messages.
///
/// # Errors
/// [`PackError`] for anything that is not exactly what [`encode`] writes, and for sums that could
/// leave 32 bits.
pub fn decode(file: &str, data: &[u8]) -> Result<PackedModel, PackError> {
    let damaged = |reason: String| PackError::Damaged {
        file: file.to_owned(),
        reason,
    };
    let foreign = |reason: String| PackError::Foreign {
        file: file.to_owned(),
        reason,
    };
    let (_, metadata) = SafeTensors::read_metadata(data).map_err(|e| damaged(e.to_string()))?;
    let tensors = SafeTensors::deserialize(data).map_err(|e| damaged(e.to_string()))?;
    let text = metadata
        .metadata()
        .as_ref()
        .and_then(|map| map.get(KEY))
        .ok_or_else(|| foreign("no metadata of a packed model in it".to_owned()))?;
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|e| damaged(format!("metadata: {e}")))?;
    let version = value["version"]
        .as_u64()
        .ok_or_else(|| foreign("no version in the metadata".to_owned()))?;
    if version > u64::from(PACKED_VERSION) {
        return Err(PackError::Newer {
            file: file.to_owned(),
            found: version,
        });
    }
    let header: Header =
        serde_json::from_value(value).map_err(|e| damaged(format!("metadata: {e}")))?;
    let read = |name: &str, kind: Dtype, shape: &[usize]| -> Result<&[u8], PackError> {
        let view = tensors
            .tensor(name)
            .map_err(|_| damaged(format!("tensor '{name}' is missing")))?;
        if view.dtype() != kind || view.shape() != shape {
            return Err(damaged(format!(
                "tensor '{name}' is {:?} {:?}, not {kind:?} {shape:?}",
                view.dtype(),
                view.shape()
            )));
        }
        // The view borrows from `tensors`, its bytes from `data`.
        Ok(view.data())
    };
    let model = model_of(&header, &damaged, &foreign)?;
    let network = model.decoder().unwrap_or_else(|| model.clone());
    let known = layer_shapes(&network);
    if header.classes.len() != model.classes || header.layers.len() != known.len() {
        return Err(damaged(format!(
            "{} classes and {} layers, but {} has {} and {}",
            header.classes.len(),
            header.layers.len(),
            header.model,
            model.classes,
            known.len()
        )));
    }
    let activations = Activations::from_bits(header.activation_bits)
        .ok_or_else(|| damaged(format!("{}-bit activations", header.activation_bits)))?;
    let table = match header.decoder {
        Some(_) => &[][..],
        None => read(TABLE, Dtype::I16, &[model.input[2], 256])?,
    };
    let mut parts = vec![table];
    let mut layers = Vec::new();
    for (layer, (wanted, shape, sums)) in header.layers.iter().zip(&known) {
        if layer.name != *wanted || layer.shape != *shape || !(1..=7).contains(&layer.bits) {
            return Err(damaged(format!(
                "layer '{}' {:?} of {} bits stands where '{wanted}' {shape:?} should",
                layer.name, layer.shape, layer.bits
            )));
        }
        let name = |part: &str| format!("{}.{part}", layer.name);
        let outputs = [layer.shape[0]];
        let count: usize = shape.iter().product();
        let words = (count * layer.bits as usize).div_ceil(32);
        let codes = read(&name("codes"), Dtype::U32, &[words])?;
        let bias = read(&name("bias"), Dtype::I32, &outputs)?;
        let shift = read(&name("shift"), Dtype::I8, &outputs)?;
        parts.extend([codes, bias, shift]);
        let four = |bytes: &[u8]| [bytes[0], bytes[1], bytes[2], bytes[3]];
        let words: Vec<u32> = codes
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes(four(b)))
            .collect();
        let codes = unpack_codes(&words, count, layer.bits)
            .ok_or_else(|| damaged(format!("'{}.codes' has bits past its end", layer.name)))?;
        let highest = (1u32 << (layer.bits - 1)) - 1;
        let most_index = codes.iter().map(|c| u32::from(*c) & highest).max();
        if most_index > Some(31) {
            return Err(damaged(format!(
                "layer '{}' has a code out of range",
                layer.name
            )));
        }
        let shift: Vec<i32> = shift.iter().map(|b| i32::from(*b as i8)).collect();
        if shift.iter().any(|s| !(-31..=31).contains(s)) {
            return Err(damaged(format!(
                "layer '{}' has a shift out of range",
                layer.name
            )));
        }
        let packed = PackedLayer {
            name: layer.name.clone(),
            shape: layer.shape,
            bits: layer.bits,
            zero: layer.zero,
            exponent_min: layer.exponent_min,
            codes,
            bias: bias
                .chunks_exact(4)
                .map(|b| i32::from_le_bytes(four(b)))
                .collect(),
            shift,
            input_scale: layer.input_scale,
            output_scale: layer.output_scale,
            last: *sums,
        };
        layers.push(packed);
    }
    if checksum(&header, parts.into_iter()) != header.checksum {
        return Err(damaged("its checksum differs".to_owned()));
    }
    let table: Vec<i16> = table
        .chunks_exact(2)
        .map(|b| i16::from_le_bytes([b[0], b[1]]))
        .collect();
    if table
        .iter()
        .any(|v| i64::from(v.abs_diff(0)) > activations.most())
    {
        return Err(damaged("the table of inputs is out of range".to_owned()));
    }
    let units = units_of(&header, &network, &layers, &damaged)?;
    let packed = PackedModel {
        model,
        data: header.data,
        classes: header.classes,
        seen: header.seen,
        activations,
        table,
        layers,
        units,
    };
    packed.check_sums().map_err(|e| damaged(e.to_string()))?;
    Ok(packed)
}

/// The model that a header names, or describes since version 3.
fn model_of(
    header: &Header,
    damaged: &dyn Fn(String) -> PackError,
    foreign: &dyn Fn(String) -> PackError,
) -> Result<Model, PackError> {
    if header.graph.is_some() != (header.version > 2) {
        return Err(damaged(format!(
            "a graph in format {}, or none",
            header.version
        )));
    }
    if let Some(description) = &header.graph {
        let facts = DataFacts {
            size: [0; 3],
            classes: header.classes.len(),
        };
        let model = description
            .model(Some(&facts))
            .map_err(|e| damaged(e.to_string()))?;
        let decoder = header
            .decoder
            .as_ref()
            .map(|decoder| (decoder.latent, decoder.likelihood));
        if header.model != model.name {
            return Err(damaged(format!(
                "it says that it is of '{}', and its graph that it is of '{}'",
                header.model, model.name
            )));
        }
        return match decoder == model.latent().zip(model.likelihood) {
            true => Ok(model),
            false => Err(damaged("its graph and its decoder differ".to_owned())),
        };
    }
    let model = Model::by_name(&header.model).map_err(|e| foreign(e.to_string()))?;
    match (&header.decoder, model.likelihood, header.version) {
        (None, None, 1) => Ok(model),
        (Some(decoder), Some(_), 2) if (1..=MAX_LATENT).contains(&decoder.latent) => {
            Ok(model.with_latent(decoder.latent, decoder.likelihood))
        }
        (Some(decoder), Some(_), 2) => {
            let latent = decoder.latent;
            Err(damaged(format!("a decoder of latents of {latent} numbers")))
        }
        (Some(_), None, _) => Err(damaged(format!("a decoder of {}", header.model))),
        (None, Some(_), _) => {
            let reason = format!("no latent and likelihood of a decoder of {}", header.model);
            Err(damaged(reason))
        }
        (_, _, version) => Err(damaged(format!("{} in format {version}", header.model))),
    }
}

/// Name and shape of every packed layer of a network, and whether it gives plain sums.
fn layer_shapes(network: &Model) -> Vec<(String, [usize; 4], bool)> {
    let shapes = network.shapes();
    let steps = Steps::of(network);
    let layers = steps
        .steps
        .iter()
        .filter(|step| step.node.op.operation().packing() == Packing::Layer);
    let layer = |step: &super::steps::PackedStep<'_>| {
        let input = shapes[step.node.inputs[0]];
        let weights = step.node.op.operation().weights(input);
        let shape = weights.map_or([input.channels, 1, 1, 1], |weights| weights.shape);
        (step.node.name.clone(), shape, steps.gives_sums(step))
    };
    layers.map(layer).collect()
}

/// The units of all values: as the file says, or before version 3 those of its layers.
fn units_of(
    header: &Header,
    network: &Model,
    layers: &[PackedLayer],
    damaged: &dyn Fn(String) -> PackError,
) -> Result<Vec<i32>, PackError> {
    let steps = Steps::of(network);
    let mut units = vec![0; steps.places.len()];
    units[0] = layers.first().map_or(0, |layer| layer.input_scale);
    if header.graph.is_some() {
        if header.units.len() != units.len()
            || header.units.iter().any(|unit| unit.unsigned_abs() > 64)
        {
            return Err(damaged("its units do not fit its graph".to_owned()));
        }
        units[0] = header.units[0];
    }
    let mut layers = layers.iter();
    for step in &steps.steps {
        let input = units[step.inputs[0]];
        units[step.output] = match step.node.op.operation().packing() {
            Packing::Layer => match layers.next() {
                Some(layer) if layer.input_scale == input => layer.output_scale,
                Some(layer) => {
                    return Err(damaged(format!(
                        "layer '{}' reads another unit than is given",
                        layer.name
                    )));
                }
                None => input,
            },
            Packing::OwnUnit => header.units.get(step.output).copied().unwrap_or(input),
            Packing::SameUnit | Packing::Limits { .. } | Packing::View | Packing::Boundary => input,
        };
    }
    for (value, place) in steps.places.iter().enumerate() {
        units[value] = units[*place];
    }
    super::fill_fused(&mut units, &steps);
    Ok(units)
}

/// Reads a packed file.
///
/// # Errors
/// [`PackError`], naming the file.
#[cfg(not(target_arch = "wasm32"))]
pub fn load(path: &std::path::Path) -> Result<PackedModel, PackError> {
    let file = path.display().to_string();
    let data = std::fs::read(path).map_err(|error| PackError::Io {
        file: file.clone(),
        reason: error.to_string(),
    })?;
    decode(&file, &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_every_width_survive() {
        for bits in 1..=8 {
            for count in [0, 1, 31, 32, 33, 1000] {
                let codes: Vec<u8> = (0..count).map(|i| (i * 37 % (1 << bits)) as u8).collect();
                let words = pack_codes(&codes, bits);
                assert_eq!(words.len(), (count as usize * bits as usize).div_ceil(32));
                assert_eq!(unpack_codes(&words, count as usize, bits), Some(codes));
            }
        }
        assert_eq!(unpack_codes(&[4], 1, 2), None, "a bit past the last code");
    }
}
