//! The settings of a run: defaults, then a preset, then a TOML file, then flags.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::data_args::PictureArgs;
use super::{CliError, read_description};
use crate::suggest::did_you_mean;
use crate::train::TrainOptions;

/// What `config.toml` of a run folder holds, and what `--config` may set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Name of the model.
    pub model: String,
    /// Folder of the data; absent for the digits inside the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// How many of the training images are used, from the first on; absent for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Model whose weights the run starts from; absent for fresh ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Adapter, by number or part of its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<String>,
    /// Whether shader checks stay on.
    pub checked: bool,
    /// Form of the kernels; absent for that of the adapter's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<crate::gpu::Path>,
    /// How a folder of pictures is read.
    #[serde(flatten)]
    pub pictures: PictureArgs,
    /// How to train.
    #[serde(flatten)]
    pub options: TrainOptions,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: "lenet5".to_owned(),
            data: None,
            limit: None,
            from: None,
            adapter: None,
            checked: false,
            path: None,
            pictures: PictureArgs::default(),
            options: TrainOptions::default(),
        }
    }
}

/// Names for `--preset`.
pub(crate) const PRESETS: [&str; 6] = [
    "digits",
    "mnist",
    "almost-binary",
    "cifar10",
    "cifar10-tiny",
    "vae",
];

/// Named settings that were measured; the README shows with what result.
pub(crate) fn preset(name: &str) -> TrainOptions {
    match name {
        "mnist" => TrainOptions::mnist(),
        "almost-binary" => TrainOptions::almost_binary(),
        "cifar10" => TrainOptions::cifar10(),
        "cifar10-tiny" => TrainOptions::cifar10_tiny(),
        "vae" => TrainOptions::auto_encoder(),
        _ => TrainOptions::default(),
    }
}

/// The preset of a model when none is named; of a description, that of the nearest kind of model.
pub(crate) fn preset_of(model: &str) -> &'static str {
    if model.ends_with(".toml") {
        return match read_description(Path::new(model)) {
            Ok(description) if description.likelihood.is_some() => "vae",
            Ok(description)
                if description
                    .known_input()
                    .is_none_or(|[.., channels]| channels > 1) =>
            {
                "cifar10-tiny"
            }
            _ => "digits",
        };
    }
    let small_networks = ["vgg-tiny", "resnet20", "resnet18"];
    if small_networks.contains(&model) || model.starts_with("mobilenet") {
        "cifar10-tiny"
    } else if model.starts_with("vgg") {
        "cifar10"
    } else if model.starts_with("vae") {
        "vae"
    } else {
        "digits"
    }
}

/// The settings of every preset, for `--help`.
pub(crate) fn defaults() -> String {
    let table = |name: &str| toml::Table::try_from(preset(name)).unwrap_or_default();
    let presets = PRESETS.map(table);
    let mut text = String::from(
        "Presets, with settings as in a config file. Without --preset, vgg-tiny, residual networks, mobilenet and \
         descriptions over colour images use cifar10-tiny, other VGG models cifar10, auto-encoders vae, others digits.\n",
    );
    let row = |key: &str, values: [String; PRESETS.len()]| {
        let values = values.map(|v| format!("{v:14}")).concat();
        format!("  {key:16} {}\n", values.trim_end())
    };
    text += &row("", PRESETS.map(str::to_owned));
    for key in presets[0].keys() {
        text += &row(key, presets.each_ref().map(|p| p[key].to_string()));
    }
    text
}

/// Lays the keys of a TOML file over a configuration.
pub(crate) fn overlay(config: &Config, path: &Path) -> Result<Config, CliError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}"))?;
    let given: toml::Table = text.parse().map_err(|e| format!("{shown}: {e}"))?;
    let mut all = toml::Table::try_from(config)?;
    let mut known: Vec<String> = all.keys().cloned().collect();
    known.extend(["data", "limit", "from", "adapter", "path"].map(str::to_owned));
    known.extend(PictureArgs::NAMES.map(str::to_owned));
    for (key, value) in given {
        if !known.contains(&key) {
            let hint = did_you_mean(&key, known.iter().map(String::as_str));
            known.sort();
            let keys = known.join(", ");
            return Err(format!("{shown}: unknown key '{key}'{hint}. Keys: {keys}").into());
        }
        all.insert(key, value);
    }
    all.try_into()
        .map_err(|e: toml::de::Error| format!("{shown}: {}", e.message()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_over(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, text).unwrap();
        overlay(&Config::default(), &path).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_changes_what_it_names_and_nothing_else() {
        let config = laid_over("epochs = 3\nobjective = \"float\"").unwrap();
        assert_eq!(config.options.epochs, 3);
        assert_eq!(config.model, "lenet5");
        assert_eq!(config.options.seed, TrainOptions::default().seed);
    }

    #[test]
    fn mistakes_are_named_with_the_nearest_key() {
        let error = laid_over("learning_rat = 0.1").unwrap_err();
        assert!(error.contains("did you mean 'learning_rate'"), "{error}");
        let error = laid_over("epochs = \"many\"").unwrap_err();
        assert!(
            error.contains("c.toml") && error.contains("many"),
            "{error}"
        );
    }

    #[test]
    fn a_written_configuration_reads_back_the_same() {
        let config = Config {
            data: Some("mnist".into()),
            ..Config::default()
        };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
    }
}
