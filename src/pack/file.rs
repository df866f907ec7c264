//! Packed models as files: safetensors, described to the bit in `docs/FORMAT.md`.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

#[cfg(not(target_arch = "wasm32"))]
use super::decode;
use super::{PackError, PackedLayer, PackedModel};
use crate::data::Seen;
use crate::graph::Description;
use crate::loss::Likelihood;

/// The version that [`encode`] writes. [`super::decode`] reads it and all before: version 1 holds a classifier of the
/// program, version 2 the decoder of an auto-encoder of the program; version 3 holds the graph itself.
pub const PACKED_VERSION: u32 = 3;

/// The metadata key that holds a [`Header`] as JSON.
pub const KEY: &str = "gtc_packed";
/// The tensor of [`PackedModel::table`].
pub(super) const TABLE: &str = "input.table";

/// What a packed file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Header {
    pub version: u32,
    /// CRC-32 of this header with a checksum of zero and of all tensors' bytes.
    pub checksum: u32,
    pub model: String,
    pub data: String,
    pub classes: Vec<String>,
    /// Later files of version 3: what training images look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<DecoderHeader>,
    /// Since version 3: the whole model, an auto-encoder with its encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<Description>,
    /// Since version 3: log2 of the unit of every value of what runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<i32>,
    pub activation_bits: u32,
    pub layers: Vec<LayerHeader>,
}

/// Says that a file holds the decoder of an auto-encoder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DecoderHeader {
    pub latent: usize,
    pub likelihood: Likelihood,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerHeader {
    pub name: String,
    pub shape: [usize; 4],
    pub bits: u32,
    pub zero: bool,
    pub exponent_min: i32,
    pub input_scale: i32,
    pub output_scale: i32,
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
pub(super) fn unpack_codes(words: &[u32], count: usize, bits: u32) -> Option<Vec<u8>> {
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

pub(super) fn checksum<'a>(header: &Header, tensors: impl Iterator<Item = &'a [u8]>) -> u32 {
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
