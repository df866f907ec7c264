//! Float networks that other programs wrote: ONNX, and safetensors files in PyTorch's layout.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use super::model_files::{find_model_alone, read_description};
use super::output::say_error;
use super::{CliError, packed_already};
use crate::checkpoint::{self, Checkpoint, Header};
use crate::foreign::{self, ForeignModel, Pixels, Tensors};
use crate::graph::{Description, Scaling};
use crate::onnx;
use crate::pack;
use crate::train::{Objective, Snapshot, TrainOptions};

/// What is done to pixels before the network reads them. Without these options it is what the model says.
#[derive(clap::Args)]
#[command(next_help_heading = "Pixels of a model from elsewhere")]
pub(crate) struct ScalingArgs {
    /// Subtracted from pixels of 0 to 1: one number, or one for each of red, green and blue
    #[arg(
        long,
        value_name = "X[,X,X]",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    mean: Option<Vec<f32>>,
    /// What pixels are divided by after that
    #[arg(
        long,
        value_name = "X[,X,X]",
        value_delimiter = ',',
        visible_alias = "std"
    )]
    deviation: Option<Vec<f32>>,
    /// The numbers that black and white become, instead: -1..1, 0..255, 0..1
    #[arg(long, value_name = "A..B", allow_hyphen_values = true, conflicts_with_all = ["mean", "deviation"])]
    range: Option<String>,
}

impl ScalingArgs {
    /// The scaling that was asked for.
    pub fn scaling(&self) -> Result<Option<Scaling>, CliError> {
        if let Some(text) = &self.range {
            let ends = text.split_once("..").and_then(|(low, high)| {
                let number = |text: &str| text.trim().parse::<f32>().ok();
                Some((number(low)?, number(high)?))
            });
            return match ends.and_then(|(low, high)| Scaling::to_range(low, high)) {
                Some(scaling) => Ok(Some(scaling)),
                None => Err(format!(
                    "--range {text}: two numbers, the smaller first, such as -1..1"
                )
                .into()),
            };
        }
        if self.mean.is_none() && self.deviation.is_none() {
            return Ok(None);
        }
        let three = |flag: &str, numbers: &Option<Vec<f32>>, usual: f32| match numbers.as_deref() {
            None => Ok([usual; 3]),
            Some([one]) => Ok([*one; 3]),
            Some([red, green, blue]) => Ok([*red, *green, *blue]),
            Some(other) => Err(format!(
                "--{flag}: {} numbers; one or three are needed",
                other.len()
            )),
        };
        let scaling = Scaling {
            mean: three("mean", &self.mean, 0.0)?,
            deviation: three("deviation", &self.deviation, 1.0)?,
        };
        match scaling.is_usable() {
            true => Ok(Some(scaling)),
            false => {
                Err("--mean and --deviation: finite numbers, and deviations above zero".into())
            }
        }
    }
}

/// How a model reads pixels, in words.
pub(crate) fn scaling_text(scaling: &Scaling) -> String {
    match *scaling {
        Scaling::NONE => "as numbers from 0 to 1".to_owned(),
        Scaling { mean, deviation } => {
            format!("as (pixel - mean) / deviation, with mean {mean:?} and deviation {deviation:?}")
        }
    }
}

/// Whether bytes look like an ONNX model: a message that begins with the version of the format and a text.
fn is_onnx(path: &Path, data: &[u8]) -> bool {
    let named = path.extension().is_some_and(|suffix| suffix == "onnx");
    named || data.len() > 4 && data[0] == 0x08 && data[1] < 32 && data[2] == 0x12
}

/// Whether a file is an ONNX model.
pub(crate) fn is_onnx_file(path: &Path) -> bool {
    path.is_file() && std::fs::read(path).is_ok_and(|data| is_onnx(path, &data))
}

/// Whether a path names a trained model of this program.
pub(crate) fn is_own(path: &Path) -> bool {
    path.join("model.safetensors").exists()
        || std::fs::read(path)
            .is_ok_and(|data| checkpoint::is_checkpoint(&data) || pack::is_packed(&data))
}

/// Reads a network from ONNX, with the files beside it that hold its weights.
pub(crate) fn from_onnx(path: &Path) -> Result<ForeignModel, CliError> {
    let shown = path.display();
    let data = std::fs::read(path).map_err(|e| format!("{shown}: {e}"))?;
    if let Some(reason) = foreign::other_format(&data).filter(|_| !is_onnx(path, &data)) {
        return Err(format!("{shown}: {reason}").into());
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut read: HashMap<String, Rc<Vec<u8>>> = HashMap::new();
    let mut outside = |location: &str| {
        if let Some(bytes) = read.get(location) {
            return Ok(bytes.clone());
        }
        let bytes = std::fs::read(path.with_file_name(location)).map_err(|e| {
            format!("{e}. Keep the two files together, or export with external_data=False")
        })?;
        let bytes = Rc::new(bytes);
        read.insert(location.to_owned(), bytes.clone());
        Ok(bytes)
    };
    onnx::import(&name, &data, &mut outside).map_err(|e| format!("{shown}: {e}").into())
}

/// What [`read_float`] reads, after printing what a person should know of how it was read.
pub(crate) fn read_float_aloud(
    path: &Path,
    described: Option<&str>,
    scaling: Option<Scaling>,
) -> Result<Checkpoint, CliError> {
    let (checkpoint, notes) = read_float(path, described, scaling)?;
    for note in notes {
        say_error!("note: {}: {note}", path.display());
    }
    Ok(checkpoint)
}

/// A float model of any kind: this program's, which knows what it is; from ONNX, which does too; or in PyTorch's layout, for
/// which `described` names the model, unless one of the program fits.
pub(crate) fn read_float(
    path: &Path,
    described: Option<&str>,
    scaling: Option<Scaling>,
) -> Result<(Checkpoint, Vec<String>), CliError> {
    let file = path.display().to_string();
    let own = |checkpoint: Checkpoint| match described.is_some() || scaling.is_some() {
        true if checkpoint.header.data.is_empty() => Err(format!(
            "{file}: imported already; --model, --mean, --deviation and --range are said when it is: gtc import THE_FILE_IT_CAME_FROM \
             --range 0..255 -o {file}"
        )),
        true => Err(format!(
            "{file}: a model of this program, which knows what it is and how it reads pixels; --model, --mean, \
             --deviation and --range are for models from elsewhere"
        )),
        false => Ok((checkpoint, Vec::new())),
    };
    if path.join("model.safetensors").exists() {
        return Ok(own(checkpoint::load(path)?)?);
    }
    let shards = path.is_dir() || file.ends_with(".index.json");
    let mut found = if shards {
        named(Tensors::open(path)?, described)?
    } else {
        let bytes = std::fs::read(path).map_err(|e| format!("{file}: {e}"))?;
        if checkpoint::is_checkpoint(&bytes) {
            return Ok(own(checkpoint::decode(&file, &bytes)?)?);
        }
        if pack::is_packed(&bytes) {
            let packed = pack::decode(&file, &bytes)?;
            let reason = "has levels already, and no float weights to fit other levels to";
            return Err(packed_already(path, &packed, reason).into());
        }
        match is_onnx(path, &bytes) {
            true if described.is_some() => {
                return Err(format!(
                    "{file}: an ONNX model says itself what it is; leave --model away"
                )
                .into());
            }
            true => from_onnx(path)?,
            false => named(Tensors::new(&file, &bytes)?, described)?,
        }
    };
    let notes = std::mem::take(&mut found.notes);
    if let Some(first) = scaling {
        let own = found.model.scaling;
        found.model.scaling = match found.pixels {
            Pixels::Nothing => first,
            Pixels::Floats => own.after(&first),
            Pixels::Bytes => {
                return Err(format!(
                    "{file}: its input is bytes, 0 to 255, so that nothing is to be said of its pixels; leave --mean, --deviation \
                     and --range away"
                )
                .into());
            }
        };
        if !found.model.scaling.is_usable() {
            return Err(format!(
                "{file}: with what it does to its pixels itself, --mean, --deviation or --range give no usable numbers"
            )
            .into());
        }
    }
    Ok((checkpoint_of(found), notes))
}

/// Tensors by the model that they are of.
fn named(tensors: Tensors, described: Option<&str>) -> Result<ForeignModel, CliError> {
    let wanted = described.map(find_model_alone).transpose()?;
    let assumes = match described {
        Some(name) if name.ends_with(".toml") => read_description(Path::new(name))?.needs_data(),
        _ => false,
    };
    let found = foreign::decode(tensors, wanted.as_ref());
    if let (true, Some(name)) = (assumes, described) {
        let assumed = format!(
            "{name} takes sizes from a data set (\"data\"), and 10 classes of 32 x 32 pixels in colour were assumed. Write the numbers \
             there instead; `gtc models show RUN` prints those of a run"
        );
        return found.map_err(|error| format!("{error}. {assumed}").into());
    }
    Ok(found?)
}

/// A model from elsewhere as one of this program that has not learned from any data here.
pub(crate) fn checkpoint_of(found: ForeignModel) -> Checkpoint {
    Checkpoint {
        header: Header {
            version: checkpoint::VERSION,
            model: found.model.name.clone(),
            graph: Some(Description::of(&found.model)),
            data: String::new(),
            classes: (0..found.model.classes)
                .map(|class| class.to_string())
                .collect(),
            images: 0,
            data_hash: None,
            seen: None,
            step: 0,
            learned: Some([true, false]),
            options: TrainOptions {
                objective: Objective::Float,
                ..TrainOptions::default()
            },
        },
        snapshot: Snapshot {
            step: 0,
            weights: found.weights,
            first_moment: Vec::new(),
            second_moment: Vec::new(),
            running: [found.running.clone(), found.running],
            totals: Vec::new(),
        },
    }
}
