//! Reading checkpoints.

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors};

use super::{
    CHECKSUM, Checkpoint, CheckpointError, Header, NETWORKS, PARTS, VERSION, check_finite, checksum,
};
use crate::foreign::other_format;
use crate::graph::{INPUT, Model};
use crate::model::{LayerValues, NormParameters, Parameters};
use crate::tensor::pad4;
use crate::train::{MAX_LATENT, Snapshot};

/// Reads a checkpoint from a file's bytes; `file` is its name for messages.
///
/// # Errors
/// [`CheckpointError`] for anything that is not exactly what [`super::encode`] writes.
pub fn decode(file: &str, data: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let (source, text) = Source::open(file, data)?;
    let (header, written) = source.header(&text)?;
    let model = header.model()?;
    source.check_model(&header, &model)?;
    let parameters = Parameters::new(&model);
    let norm_names = norm_names(&header, &model, &parameters);
    let weights_alone = source.holds_weights_alone();
    let parts = if weights_alone { &PARTS[..1] } else { &PARTS };
    let arenas: Result<Vec<Vec<f32>>, CheckpointError> = parts
        .iter()
        .map(|prefix| source.arena(prefix, &parameters, &norm_names))
        .collect();
    let mut arenas = arenas?.into_iter();
    let running = source.running(&parameters, &norm_names)?;
    let totals = match weights_alone {
        true => Vec::new(),
        false => source.read("totals", &[4, 4])?,
    };
    // Last, because what is wrong with a single number says more. Files of older versions have none.
    if let Some(written) = written {
        source.check_sum(&written)?;
    }
    let mut next = || arenas.next().unwrap_or_default();
    Ok(Checkpoint {
        snapshot: Snapshot {
            step: header.step,
            weights: next(),
            first_moment: next(),
            second_moment: next(),
            running,
            totals,
        },
        header,
    })
}

/// The names that tensors of each batch normalisation begin with: before version 2 that of the layer before it.
fn norm_names(header: &Header, model: &Model, parameters: &Parameters) -> Vec<String> {
    let nodes = &model.graph.nodes;
    let name = |norm: &NormParameters| {
        let before = nodes[norm.node].inputs[0];
        match header.version > 1 || before == INPUT {
            true => norm.name.clone(),
            false => nodes[before - 1].name.clone(),
        }
    };
    parameters.norms.iter().map(name).collect()
}

/// A file that is read.
struct Source<'d> {
    /// Its name, for messages.
    file: &'d str,
    tensors: SafeTensors<'d>,
}

impl<'d> Source<'d> {
    /// The tensors of a file, and its metadata of this program.
    fn open(file: &'d str, data: &'d [u8]) -> Result<(Self, String), CheckpointError> {
        let damaged = |e: safetensors::SafeTensorError| match other_format(data) {
            Some(reason) => foreign(file, &reason),
            None => CheckpointError::Damaged {
                file: file.to_owned(),
                reason: e.to_string(),
            },
        };
        let (_, metadata) = SafeTensors::read_metadata(data).map_err(damaged)?;
        let tensors = SafeTensors::deserialize(data).map_err(damaged)?;
        let map = metadata.metadata().as_ref();
        let text = map.and_then(|map| map.get("gtc")).ok_or_else(|| {
            foreign(
                file,
                "a safetensors file of another program. If it holds a float network with PyTorch's layout, `gtc quantise` \
                 gives it levels and makes it one",
            )
        })?;
        Ok((Self { file, tensors }, text.clone()))
    }

    fn foreign(&self, reason: &str) -> CheckpointError {
        foreign(self.file, reason)
    }

    /// What the metadata say, and the checksum of the tensors as it was written.
    fn header(&self, text: &str) -> Result<(Header, Option<serde_json::Value>), CheckpointError> {
        let unread = |e: serde_json::Error| self.foreign(&format!("metadata: {e}"));
        let value: serde_json::Value = serde_json::from_str(text).map_err(unread)?;
        let version = value["version"]
            .as_u64()
            .ok_or_else(|| self.foreign("no version in the metadata"))?;
        if version > u64::from(VERSION) {
            return Err(CheckpointError::Newer {
                file: self.file.to_owned(),
                found: version,
            });
        }
        let written = value.get(CHECKSUM).cloned();
        let header: Header = serde_json::from_value(value).map_err(unread)?;
        if !(1..=MAX_LATENT).contains(&header.options.latent) {
            return Err(self.foreign(&format!("a latent of {}", header.options.latent)));
        }
        Ok((header, written))
    }

    /// Checks that a header is of the model that it describes.
    fn check_model(&self, header: &Header, model: &Model) -> Result<(), CheckpointError> {
        if header.graph.is_some() && header.model != model.name {
            return Err(self.foreign(&format!(
                "it says that it is of '{}', and its graph that it is of '{}'",
                header.model, model.name
            )));
        }
        if header.classes.len() != model.classes {
            return Err(self.foreign(&format!("{} class names", header.classes.len())));
        }
        Ok(())
    }

    /// Whether nothing continues from the file.
    fn holds_weights_alone(&self) -> bool {
        // A node may be named like a part: its own tensors have one dot, those of a part two.
        let of_part = |name: &str, part: &str| {
            let rest = name.strip_prefix(part);
            rest.is_some_and(|rest| rest.contains('.'))
        };
        let more =
            |name: &&str| *name == "totals" || PARTS[1..].iter().any(|part| of_part(name, part));
        !self.tensors.names().iter().any(more)
    }

    /// The finite numbers of a tensor of this shape.
    fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CheckpointError> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|_| self.foreign(&format!("tensor '{name}' is missing")))?;
        let (dtype, found) = (view.dtype(), view.shape());
        if !matches!(dtype, Dtype::F32 | Dtype::F16) || found != shape {
            return Err(self.foreign(&format!(
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
        check_finite(self.file, name, &values)?;
        Ok(values)
    }

    /// One of [`PARTS`] of all layers and normalisations.
    fn arena(
        &self,
        part: &str,
        parameters: &Parameters,
        norm_names: &[String],
    ) -> Result<Vec<f32>, CheckpointError> {
        let mut arena = vec![0.0; pad4(parameters.layout.len())];
        for layer in &parameters.layers {
            let name = |suffix| format!("{part}{}.{suffix}", layer.name);
            let mut values = LayerValues {
                weights: self.read(&name("weight"), &layer.shape)?,
                ..LayerValues::default()
            };
            if layer.has_bias() {
                values.bias = self.read(&name("bias"), &[layer.shape[0]])?;
            }
            if layer.is_quantised() {
                values.quantiser = self.read(&name("quantiser"), &[2])?;
            }
            layer.place(&mut arena, &values);
        }
        for (norm, of_norm) in parameters.norms.iter().zip(norm_names) {
            let name = |suffix| format!("{part}{of_norm}.{suffix}");
            let gamma = self.read(&name("scale"), &[norm.channels])?;
            let beta = self.read(&name("bias"), &[norm.channels])?;
            norm.place(&mut arena, &gamma, &beta);
        }
        Ok(arena)
    }

    /// The running statistics of both networks.
    fn running(
        &self,
        parameters: &Parameters,
        norm_names: &[String],
    ) -> Result<[Vec<f32>; 2], CheckpointError> {
        let mut running = [parameters.initial_running(), parameters.initial_running()];
        for (network, arena) in NETWORKS.iter().zip(&mut running) {
            for (norm, of_norm) in parameters.norms.iter().zip(norm_names) {
                let name = format!("{of_norm}.running_{network}");
                let statistics = self.read(&name, &[2, norm.channels])?;
                if let Some(variance) = statistics[norm.channels..].iter().find(|v| **v < 0.0) {
                    return Err(self.foreign(&format!(
                        "tensor '{name}' holds {variance}, and no variance is negative"
                    )));
                }
                norm.place_running(arena, &statistics);
            }
        }
        Ok(running)
    }

    /// Checks the tensors against their checksum.
    fn check_sum(&self, written: &serde_json::Value) -> Result<(), CheckpointError> {
        let tensors = self.tensors.tensors();
        let found = tensors
            .iter()
            .map(|(name, view)| (name.as_str(), view.data()));
        if written.as_u64() == Some(checksum(found.collect()).into()) {
            return Ok(());
        }
        Err(CheckpointError::Damaged {
            file: self.file.to_owned(),
            reason: format!(
                "its numbers are not those that were written, by their checksum (whoever changed them on purpose removes \
                 '{CHECKSUM}' from the metadata)"
            ),
        })
    }
}

fn foreign(file: &str, reason: &str) -> CheckpointError {
    CheckpointError::Foreign {
        file: file.to_owned(),
        reason: format!("not a checkpoint of gtc: {reason}"),
    }
}
