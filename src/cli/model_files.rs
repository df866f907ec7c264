//! Models by name, or out of a file: a description, a network from ONNX, or a trained model.

use std::path::Path;

use super::output::say_error;
use super::{AnyModel, CliError, elsewhere, load_any, quoted};
use crate::foreign::Tensors;
use crate::graph::{DataFacts, Description, MOST_TEXT, Model};
use crate::pack::PackedModel;

/// What stands in for a data set that is not given: 10 classes of 32 x 32 pixels in colour.
pub(crate) const ASSUMED: DataFacts = DataFacts {
    size: [32, 32, 3],
    classes: 10,
};

/// Where a model is said to be.
enum Place<'n> {
    /// Among those of the program.
    Name(&'n str),
    /// A description.
    Text(&'n Path),
    /// A network from ONNX.
    Onnx(&'n Path),
    /// A trained model: a run's folder, or its file.
    Trained(&'n Path),
}

impl<'n> Place<'n> {
    fn of(name: &'n str) -> Self {
        let path = Path::new(name);
        match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("toml") => Self::Text(path),
            Some("onnx") => Self::Onnx(path),
            Some("safetensors") => Self::Trained(path),
            _ if path.join("model.safetensors").exists() || Tensors::is_index(path) => {
                Self::Trained(path)
            }
            _ => Self::Name(name),
        }
    }

    /// The model in a file, which knows its size and its classes.
    fn whole(&self) -> Result<Option<Model>, CliError> {
        Ok(match self {
            Self::Name(_) | Self::Text(_) => None,
            Self::Onnx(path) => Some(elsewhere::from_onnx(path)?.model),
            Self::Trained(path) => {
                let (checkpoint, _) = elsewhere::read_float(path, None, None)?;
                Some(checkpoint.header.model()?)
            }
        })
    }
}

/// A packed model: the file itself, or the one in the folder of a run. `why` says what needs it.
///
/// # Errors
/// If the model is not packed yet.
pub(crate) fn packed_of(path: &Path, why: &str) -> Result<PackedModel, CliError> {
    let in_folder = path.join("model.gtc");
    let file = match in_folder.is_file() {
        true => &in_folder,
        false => path,
    };
    match load_any(file)? {
        AnyModel::Packed(packed) => {
            let changed = |name: &str| path.join(name).metadata()?.modified();
            let times = (changed("model.gtc"), changed("model.safetensors"));
            if let (Ok(packed), Ok(trained)) = times
                && packed < trained
            {
                let word = quoted(path);
                say_error!(
                    "note: the weights of {word} are newer than its model.gtc, which is what is used. If it has learned since then, pack it again: \
                     gtc pack {word}"
                );
            }
            Ok(*packed)
        }
        AnyModel::Trained(_) => Err(format!(
            "{}: not packed yet, and {why}. Pack it first: gtc pack {}",
            path.display(),
            quoted(path)
        )
        .into()),
    }
}

/// Whether a model is named by a file and not by its own name.
pub(crate) fn is_file(name: &str) -> bool {
    !matches!(Place::of(name), Place::Name(_))
}

/// A model by its name, described in a file that ends in `.toml`, from ONNX, or that of a trained model; `facts` are those
/// of the data set. A network from a file gets as many outputs as there are classes.
pub(crate) fn find_model(name: &str, facts: Option<&DataFacts>) -> Result<Model, CliError> {
    let place = Place::of(name);
    if let Some(model) = place.whole()? {
        let Some(facts) =
            facts.filter(|facts| model.likelihood.is_none() && facts.classes != model.classes)
        else {
            return Ok(model);
        };
        let outputs = model.classes;
        return model.with_classes(facts.classes).ok_or_else(|| {
            format!(
                "{name}: it tells {outputs} classes apart and the data have {}, and its end is no single layer that could \
                 have other outputs",
                facts.classes
            )
            .into()
        });
    }
    match (place, facts) {
        (Place::Text(path), _) => Ok(read_description(path)?
            .model(facts)
            .map_err(|e| format!("{name}: {e}"))?),
        (_, Some(facts)) => Ok(Model::for_data(name, facts)?),
        (_, None) => Ok(Model::by_name(name)?),
    }
}

/// A model without a data set; one that takes its sizes from data gets those that `gtc models check` assumes.
pub(crate) fn find_model_alone(name: &str) -> Result<Model, CliError> {
    let needs_data = match Place::of(name) {
        Place::Text(path) => read_description(path)?.needs_data(),
        _ => false,
    };
    find_model(name, needs_data.then_some(&ASSUMED))
}

/// The size of images that a model was made for, if it does not take that of its data: pictures of other sizes are
/// brought to it.
pub(crate) fn input_of(name: &str) -> Result<Option<[usize; 3]>, CliError> {
    match Place::of(name) {
        Place::Text(path) => Ok(read_description(path)?.known_input()),
        Place::Name(name) => Ok(Some(Model::by_name(name)?.input)),
        place => Ok(place.whole()?.map(|model| model.input)),
    }
}

/// Reads the description of a model.
pub(crate) fn read_description(path: &Path) -> Result<Description, CliError> {
    let shown = path.display();
    let length = std::fs::metadata(path)
        .map_err(|e| format!("{shown}: {e}"))?
        .len();
    if length > MOST_TEXT as u64 {
        return Err(format!(
            "{shown}: a description of {length} bytes: at most {MOST_TEXT} are read"
        )
        .into());
    }
    let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}"))?;
    Ok(Description::from_toml(&text).map_err(|e| format!("{shown}: {e}"))?)
}
