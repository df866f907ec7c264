//! Reading packed files.

use safetensors::tensor::{Dtype, SafeTensors};

use super::file::{Header, KEY, LayerHeader, TABLE, checksum, unpack_codes};
use super::steps::Steps;
use super::{Activations, PACKED_VERSION, PackError, PackedLayer, PackedModel, fill_fused};
use crate::graph::{DataFacts, Model};
use crate::op::Packing;
use crate::train::MAX_LATENT;

/// The largest index of an exponent above the smallest of its layer.
const MOST_INDEX: u32 = 31;
/// The largest shift to the right or left.
const MOST_SHIFT: i32 = 31;

/// Reads a packed model from a file's bytes; `file` is its name for messages.
///
/// # Errors
/// [`PackError`] for anything that is not exactly what [`super::encode`] writes, and for sums that could
/// leave 32 bits.
pub fn decode(file: &str, data: &[u8]) -> Result<PackedModel, PackError> {
    let (source, text) = Source::open(file, data)?;
    let header = source.header(&text)?;
    let model = source.model_of(&header)?;
    let network = model.decoder().unwrap_or_else(|| model.clone());
    let known = layer_shapes(&network);
    if header.classes.len() != model.classes || header.layers.len() != known.len() {
        return Err(source.damaged(format!(
            "{} classes and {} layers, but {} has {} and {}",
            header.classes.len(),
            header.layers.len(),
            header.model,
            model.classes,
            known.len()
        )));
    }
    let activations = Activations::from_bits(header.activation_bits)
        .ok_or_else(|| source.damaged(format!("{}-bit activations", header.activation_bits)))?;
    let table = match header.decoder {
        Some(_) => &[][..],
        None => source.read(TABLE, Dtype::I16, &[model.input[2], 256])?,
    };
    let mut parts = vec![table];
    let mut layers = Vec::new();
    for (layer, known) in header.layers.iter().zip(&known) {
        let (layer, bytes) = source.layer(layer, known)?;
        layers.push(layer);
        parts.extend(bytes);
    }
    if checksum(&header, parts.into_iter()) != header.checksum {
        return Err(source.damaged("its checksum differs".to_owned()));
    }
    let table: Vec<i16> = table
        .chunks_exact(2)
        .map(|b| i16::from_le_bytes([b[0], b[1]]))
        .collect();
    if table
        .iter()
        .any(|v| i64::from(v.abs_diff(0)) > activations.most())
    {
        return Err(source.damaged("the table of inputs is out of range".to_owned()));
    }
    let units = source.units_of(&header, &network, &layers)?;
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
    packed
        .check_sums()
        .map_err(|e| source.damaged(e.to_string()))?;
    Ok(packed)
}

/// What a network says of a packed layer.
struct KnownLayer {
    name: String,
    shape: [usize; 4],
    /// Whether it gives plain sums.
    sums: bool,
}

/// Every packed layer of a network.
fn layer_shapes(network: &Model) -> Vec<KnownLayer> {
    let shapes = network.shapes();
    let steps = Steps::of(network);
    let layers = steps
        .steps
        .iter()
        .filter(|step| step.node.op.operation().packing() == Packing::Layer);
    let layer = |step: &super::steps::PackedStep<'_>| {
        let input = shapes[step.node.inputs[0]];
        let weights = step.node.op.operation().weights(input);
        KnownLayer {
            name: step.node.name.clone(),
            shape: weights.map_or([input.channels, 1, 1, 1], |weights| weights.shape),
            sums: steps.gives_sums(step),
        }
    };
    layers.map(layer).collect()
}

/// A file that is read.
struct Source<'d> {
    /// Its name, for messages.
    file: &'d str,
    tensors: SafeTensors<'d>,
}

impl<'d> Source<'d> {
    /// The tensors of a file, and its metadata of this program.
    fn open(file: &'d str, data: &'d [u8]) -> Result<(Self, String), PackError> {
        let damaged = |e: safetensors::SafeTensorError| PackError::Damaged {
            file: file.to_owned(),
            reason: e.to_string(),
        };
        let (_, metadata) = SafeTensors::read_metadata(data).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(data).map_err(damaged)?;
        let source = Self { file, tensors };
        let map = metadata.metadata().as_ref();
        match map.and_then(|map| map.get(KEY)) {
            Some(text) => Ok((source, text.clone())),
            None => Err(source.foreign("no metadata of a packed model in it".to_owned())),
        }
    }

    fn damaged(&self, reason: String) -> PackError {
        PackError::Damaged {
            file: self.file.to_owned(),
            reason,
        }
    }

    fn foreign(&self, reason: String) -> PackError {
        PackError::Foreign {
            file: self.file.to_owned(),
            reason,
        }
    }

    /// What the metadata say.
    fn header(&self, text: &str) -> Result<Header, PackError> {
        let unread = |e: serde_json::Error| self.damaged(format!("metadata: {e}"));
        let value: serde_json::Value = serde_json::from_str(text).map_err(unread)?;
        let version = value["version"]
            .as_u64()
            .ok_or_else(|| self.foreign("no version in the metadata".to_owned()))?;
        if version > u64::from(PACKED_VERSION) {
            return Err(PackError::Newer {
                file: self.file.to_owned(),
                found: version,
            });
        }
        serde_json::from_value(value).map_err(unread)
    }

    /// The bytes of a tensor of this type and shape.
    fn read(&self, name: &str, kind: Dtype, shape: &[usize]) -> Result<&'d [u8], PackError> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|_| self.damaged(format!("tensor '{name}' is missing")))?;
        if view.dtype() != kind || view.shape() != shape {
            return Err(self.damaged(format!(
                "tensor '{name}' is {:?} {:?}, not {kind:?} {shape:?}",
                view.dtype(),
                view.shape()
            )));
        }
        Ok(view.data())
    }

    /// A layer, and the bytes of its tensors.
    fn layer(
        &self,
        layer: &LayerHeader,
        known: &KnownLayer,
    ) -> Result<(PackedLayer, [&'d [u8]; 3]), PackError> {
        let KnownLayer { name, shape, sums } = known;
        if layer.name != *name || layer.shape != *shape || !(1..=7).contains(&layer.bits) {
            return Err(self.damaged(format!(
                "layer '{}' {:?} of {} bits stands where '{name}' {shape:?} should",
                layer.name, layer.shape, layer.bits
            )));
        }
        let part = |part: &str| format!("{name}.{part}");
        let outputs = [shape[0]];
        let count: usize = shape.iter().product();
        let words = (count * layer.bits as usize).div_ceil(32);
        let codes = self.read(&part("codes"), Dtype::U32, &[words])?;
        let bias = self.read(&part("bias"), Dtype::I32, &outputs)?;
        let shift = self.read(&part("shift"), Dtype::I8, &outputs)?;
        let bytes = [codes, bias, shift];
        let four = |bytes: &[u8]| [bytes[0], bytes[1], bytes[2], bytes[3]];
        let words = codes.chunks_exact(4);
        let words: Vec<u32> = words.map(|b| u32::from_le_bytes(four(b))).collect();
        let codes = unpack_codes(&words, count, layer.bits)
            .ok_or_else(|| self.damaged(format!("'{name}.codes' has bits past its end")))?;
        let index = (1u32 << (layer.bits - 1)) - 1;
        if codes.iter().any(|c| u32::from(*c) & index > MOST_INDEX) {
            return Err(self.damaged(format!("layer '{name}' has a code out of range")));
        }
        let shift: Vec<i32> = shift.iter().map(|b| i32::from(*b as i8)).collect();
        if shift.iter().any(|s| s.abs() > MOST_SHIFT) {
            return Err(self.damaged(format!("layer '{name}' has a shift out of range")));
        }
        let bias = bias.chunks_exact(4);
        let bias = bias.map(|b| i32::from_le_bytes(four(b))).collect();
        let layer = PackedLayer {
            name: name.clone(),
            shape: *shape,
            bits: layer.bits,
            zero: layer.zero,
            exponent_min: layer.exponent_min,
            codes,
            bias,
            shift,
            input_scale: layer.input_scale,
            output_scale: layer.output_scale,
            last: *sums,
        };
        Ok((layer, bytes))
    }

    /// The model that a header names, or describes since version 3.
    fn model_of(&self, header: &Header) -> Result<Model, PackError> {
        if header.graph.is_some() != (header.version > 2) {
            return Err(self.damaged(format!("a graph in format {}, or none", header.version)));
        }
        if let Some(description) = &header.graph {
            let facts = DataFacts {
                size: [0; 3],
                classes: header.classes.len(),
            };
            let model = description
                .model(Some(&facts))
                .map_err(|e| self.damaged(e.to_string()))?;
            let decoder = header
                .decoder
                .as_ref()
                .map(|decoder| (decoder.latent, decoder.likelihood));
            if header.model != model.name {
                return Err(self.damaged(format!(
                    "it says that it is of '{}', and its graph that it is of '{}'",
                    header.model, model.name
                )));
            }
            return match decoder == model.latent().zip(model.likelihood) {
                true => Ok(model),
                false => Err(self.damaged("its graph and its decoder differ".to_owned())),
            };
        }
        let model = Model::by_name(&header.model).map_err(|e| self.foreign(e.to_string()))?;
        match (&header.decoder, model.likelihood, header.version) {
            (None, None, 1) => Ok(model),
            (Some(decoder), Some(_), 2) if (1..=MAX_LATENT).contains(&decoder.latent) => {
                Ok(model.with_latent(decoder.latent, decoder.likelihood))
            }
            (Some(decoder), Some(_), 2) => {
                let latent = decoder.latent;
                Err(self.damaged(format!("a decoder of latents of {latent} numbers")))
            }
            (Some(_), None, _) => Err(self.damaged(format!("a decoder of {}", header.model))),
            (None, Some(_), _) => {
                let reason = format!("no latent and likelihood of a decoder of {}", header.model);
                Err(self.damaged(reason))
            }
            (_, _, version) => Err(self.damaged(format!("{} in format {version}", header.model))),
        }
    }

    /// The units of all values: as the file says, or before version 3 those of its layers.
    fn units_of(
        &self,
        header: &Header,
        network: &Model,
        layers: &[PackedLayer],
    ) -> Result<Vec<i32>, PackError> {
        let steps = Steps::of(network);
        let mut units = vec![0; steps.places.len()];
        units[0] = layers.first().map_or(0, |layer| layer.input_scale);
        if header.graph.is_some() {
            if header.units.len() != units.len()
                || header.units.iter().any(|unit| unit.unsigned_abs() > 64)
            {
                return Err(self.damaged("its units do not fit its graph".to_owned()));
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
                        return Err(self.damaged(format!(
                            "layer '{}' reads another unit than is given",
                            layer.name
                        )));
                    }
                    None => input,
                },
                Packing::OwnUnit => header.units.get(step.output).copied().unwrap_or(input),
                Packing::SameUnit | Packing::Limits { .. } | Packing::View => input,
                Packing::Boundary => {
                    let name = &step.node.name;
                    return Err(self.damaged(format!("node '{name}' has no form over integers")));
                }
            };
        }
        for (value, place) in steps.places.iter().enumerate() {
            units[value] = units[*place];
        }
        fill_fused(&mut units, &steps);
        Ok(units)
    }
}
