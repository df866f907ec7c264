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

mod decode;
mod encode;

use safetensors::tensor::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::data::Seen;
use crate::graph::{DataFacts, Description, Model, ModelError};
#[cfg(feature = "cli")]
use crate::model::{LayerParameters, Parameters};
#[cfg(feature = "cli")]
use crate::quantiser::{INTERCEPT, SLOPE};
use crate::train::{Snapshot, TrainOptions};
pub use decode::decode;
pub(crate) use encode::{NamedTensor, serialise, tensor};
pub use encode::{encode, encode_weights};

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
    /// Whether HP and LP, in this order, may be used: HP if it was trained, LP if it was trained or `gtc quantise` fitted its
    /// levels. Absent in older files, which tell by steps and levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<[bool; 2]>,
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

#[cfg(feature = "cli")]
impl Checkpoint {
    /// Whether HP and LP may be used, see [`Header::learned`].
    pub(crate) fn learned(&self, model: &Model) -> [bool; 2] {
        let Header {
            learned,
            options,
            images,
            step,
            ..
        } = &self.header;
        if let Some(learned) = *learned {
            return learned;
        }
        // Older files do not say whether somebody gave layers levels: then intercepts and slopes are not what they began with.
        let total = (images / options.batch_size.max(1)) as u64 * u64::from(options.epochs);
        let parameters = Parameters::new(model);
        let touched = |layer: &LayerParameters| {
            layer.quantiser_values(&self.snapshot.weights) != [INTERCEPT, SLOPE]
        };
        let given = model.quantiser.is_gtc() && parameters.quantised().any(touched);
        let low = given || options.low_precision_at((*step).max(1), total);
        [options.objective.high_precision(), low]
    }

    /// Whether only floats have learned, and nothing gave layers levels since.
    pub(crate) fn has_no_levels(&self, model: &Model) -> bool {
        !self.learned(model)[1]
    }

    /// Gives batch normalisations of a network that did not learn the running statistics of the other one.
    pub(crate) fn share_statistics(&mut self, model: &Model) {
        let learned = self.learned(model);
        let [hp, lp] = &mut self.snapshot.running;
        match learned {
            [false, true] => hp.clone_from(lp),
            [true, false] => lp.clone_from(hp),
            _ => (),
        }
    }
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

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;
    use crate::model::LayerValues;
    use crate::quantiser::Quantiser;
    use crate::train::Objective;

    /// A checkpoint as older versions wrote it: of 10 epochs of 10 steps, LP from the middle on.
    fn older(model: &Model, objective: Objective, step: u64) -> Checkpoint {
        let parameters = Parameters::new(model);
        let running = parameters.initial_running();
        Checkpoint {
            header: Header {
                version: VERSION,
                model: model.name.clone(),
                graph: Some(Description::of(model)),
                data: "digits".to_owned(),
                classes: Vec::new(),
                images: 640,
                data_hash: None,
                seen: None,
                step,
                learned: None,
                options: TrainOptions {
                    objective,
                    epochs: 10,
                    batch_size: 64,
                    lp_start: 0.5,
                    ..TrainOptions::default()
                },
            },
            snapshot: Snapshot {
                step,
                weights: parameters.initial(1),
                first_moment: Vec::new(),
                second_moment: Vec::new(),
                running: [running.clone(), running],
                totals: Vec::new(),
            },
        }
    }

    #[test]
    fn older_files_tell_by_steps_and_levels_which_networks_learned() {
        let lenet = Model::by_name("lenet-small").unwrap();
        let others = [
            lenet.clone(),
            lenet.clone().with_float_ends(),
            lenet.clone().with_quantiser(Quantiser::all()[1]),
        ];
        for model in &others {
            let learned = |objective, step| older(model, objective, step).learned(model);
            assert_eq!(learned(Objective::Gtc, 30), [true, false]);
            assert_eq!(learned(Objective::Gtc, 60), [true, true]);
            assert_eq!(learned(Objective::Float, 60), [true, false]);
            assert_eq!(learned(Objective::Direct, 30), [false, true]);
        }
        let mut quantised = older(&lenet, Objective::Float, 60);
        let layer = &Parameters::new(&lenet).layers[0];
        let arena = &mut quantised.snapshot.weights;
        let values = LayerValues {
            quantiser: vec![0.5, 1.0],
            ..LayerValues::default()
        };
        layer.place(arena, &values);
        assert_eq!(quantised.learned(&lenet), [true, true]);
        // What a file says goes before what its numbers look like.
        quantised.header.learned = Some([true, false]);
        assert_eq!(quantised.learned(&lenet), [true, false]);
    }

    #[test]
    fn a_network_that_did_not_learn_gets_the_statistics_of_the_other() {
        let model = Model::by_name("vgg-tiny").unwrap();
        for (objective, from) in [(Objective::Direct, 1), (Objective::Float, 0)] {
            let mut checkpoint = older(&model, objective, 60);
            checkpoint.snapshot.running[from][0] = 3.0;
            checkpoint.share_statistics(&model);
            assert_eq!(checkpoint.snapshot.running[1 - from][0], 3.0);
        }
    }
}
