//! The settings of a run: defaults, then a preset, then a TOML file, then flags.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CliError;
use super::data_args::PictureArgs;
use super::model_files::find_model_alone;
use crate::data::Reading;
use crate::graph::Model;
use crate::model::{LayerParameters, Parameters};
use crate::quantiser::Quantiser;
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
    /// How low precision reads weights; absent for what the model says, which is GTC unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantiser: Option<Quantiser>,
    /// Whether the first and the last layer with weights stay in float.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub float_ends: bool,
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
    /// How pictures became images, if the data are a folder of pictures. Not in the checkpoint, which is the same for the
    /// same images wherever they come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// What was changed while the run was under way, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub change: Vec<Change>,
}

/// A setting that was changed when a run was continued.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Change {
    /// Steps that were done with the value before.
    pub step: u64,
    /// Name of the setting.
    pub setting: String,
    /// Its value before, absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<toml::Value>,
    /// Its value after, absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<toml::Value>,
}

/// Settings without which the state of a run has no meaning: they stay as they are until its end.
const FIXED: [&str; 11] = [
    "batch_size",
    "shards",
    "sync_norm",
    "precision",
    "optimiser",
    "objective",
    "lp_start",
    "exact_norm",
    "latent",
    "likelihood",
    "seed",
];

/// What differs between two sets of options.
///
/// # Errors
/// Names the first setting that must not differ within a run.
pub(crate) fn changes(
    step: u64,
    before: &TrainOptions,
    after: &TrainOptions,
) -> Result<Vec<Change>, CliError> {
    let found = differences(step, before, after)?;
    let mut settings = found
        .iter()
        .filter(|change| FIXED.contains(&change.setting.as_str()));
    if let Some(Change {
        setting, from, to, ..
    }) = settings.next()
    {
        let [from, to] = [from, to].map(shown);
        return Err(format!(
            "{setting} was {from} and cannot become {to}: what the run has learned so far stands on it. \
             Start a new run for that"
        )
        .into());
    }
    Ok(found)
}

/// Checks that a run in hand has the settings that the same flags mean today: presets change from version to version.
///
/// # Errors
/// Names the first setting that differs.
pub(crate) fn check_same(run: &TrainOptions, today: &TrainOptions) -> Result<(), CliError> {
    /// Taken from the model or from the number of ranks where no flag names them.
    const FOUND: [&str; 4] = ["latent", "likelihood", "shards", "sync_norm"];
    let mut found = differences(0, run, today)?.into_iter();
    match found.find(|change| !FOUND.contains(&change.setting.as_str())) {
        None => Ok(()),
        Some(Change {
            setting, from, to, ..
        }) => {
            let [from, to] = [from, to].map(|value| shown(&value));
            Err(format!("{setting} is {from} there and {to} by the same flags now").into())
        }
    }
}

/// What differs between two sets of options, by name.
fn differences(
    step: u64,
    before: &TrainOptions,
    after: &TrainOptions,
) -> Result<Vec<Change>, CliError> {
    let [before, after] = [before, after].map(toml::Table::try_from);
    let (before, after) = (before?, after?);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changes = names.into_iter().map(|name| {
        let [from, to] = [&before, &after].map(|table| table.get(name).cloned());
        Change {
            step,
            setting: name.clone(),
            from,
            to,
        }
    });
    Ok(changes.filter(|change| change.from != change.to).collect())
}

/// A value of a setting in words.
fn shown(value: &Option<toml::Value>) -> String {
    value
        .as_ref()
        .map_or("unset".to_owned(), |value| value.to_string())
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, to) = (shown(&self.from), shown(&self.to));
        write!(f, "{} {from} -> {to}", self.setting)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: "lenet5".to_owned(),
            data: None,
            quantiser: None,
            float_ends: false,
            limit: None,
            from: None,
            adapter: None,
            checked: false,
            path: None,
            pictures: PictureArgs::default(),
            options: TrainOptions::default(),
            reading: None,
            change: Vec::new(),
        }
    }
}

/// Names for `--preset`.
pub(crate) const PRESETS: [&str; 10] = [
    "digits",
    "mnist",
    "almost-binary",
    "cifar10",
    "cifar10-large",
    "cifar10-medium",
    "cifar10-tiny",
    "cifar10-late",
    "cifar10-depthwise",
    "vae",
];

/// Named settings that were measured; the README shows with what result.
pub(crate) fn preset(name: &str) -> TrainOptions {
    match name {
        "mnist" => TrainOptions::mnist(),
        "almost-binary" => TrainOptions::almost_binary(),
        "cifar10" => TrainOptions::cifar10(),
        "cifar10-tiny" => TrainOptions::cifar10_tiny(),
        "cifar10-large" => TrainOptions::cifar10_large(),
        "cifar10-medium" => TrainOptions::cifar10_medium(),
        "cifar10-late" => TrainOptions::cifar10_late(),
        "cifar10-depthwise" => TrainOptions::cifar10_depthwise(),
        "vae" => TrainOptions::auto_encoder(),
        _ => TrainOptions::digits(),
    }
}

/// The bits that layers of VGG-16 may keep with the preset `cifar10-large`, which lets all others pay until they have one:
/// layers that hold few of the weights, and the last one.
const BITS_OF_VGG16: [(&str, u32); 9] = [
    ("conv1_1", 4),
    ("conv1_2", 3),
    ("conv2_1", 3),
    ("conv2_2", 3),
    ("conv3_1", 3),
    ("conv3_2", 2),
    ("conv3_3", 2),
    ("conv4_1", 2),
    ("last", 4),
];

/// [`preset`] for a model: VGG-16, by the names of its layers, also gets bits of single ones.
pub(crate) fn preset_on(name: &str, model: &str) -> TrainOptions {
    let mut options = preset(name);
    // Whoever reads the model next says what is wrong with it.
    if name == "cifar10-large"
        && let Ok(model) = find_model_alone(model)
        && model.quantiser.is_gtc()
    {
        let bits = BITS_OF_VGG16.map(|(layer, bits)| (layer.to_owned(), bits));
        let parameters = Parameters::new(&model);
        let last = parameters.layers.last();
        let has = |name: &str| match name {
            "last" => last.is_some_and(LayerParameters::is_quantised),
            name => parameters.quantised().any(|layer| layer.name == name),
        };
        if bits.iter().all(|(layer, _)| has(layer)) {
            options.layer_bits = bits.into();
        }
    }
    options
}

/// The preset of a model when none is named. It goes by what the model is, so that a description trains like the model
/// that it describes.
pub(crate) fn preset_of(model: &str) -> &'static str {
    match find_model_alone(model) {
        Ok(model) => preset_for(&model),
        // Whoever reads the model next says what is wrong with it.
        Err(_) => "digits",
    }
}

fn preset_for(model: &Model) -> &'static str {
    /// Layers with weights, of a network that counts as deep.
    const DEEP: usize = 17;
    /// Weights of a network that has some to spare.
    const AMPLE: usize = 1_000_000;
    /// Weights of one that wants a GPU.
    const LARGE: usize = 10_000_000;
    let parameters = Parameters::new(model);
    if model.likelihood.is_some() {
        "vae"
    } else if model.input[2] == 1 {
        "digits"
    } else if parameters.layers.iter().any(LayerParameters::is_grouped) {
        "cifar10-depthwise"
    } else if parameters.layers.len() >= DEEP {
        "cifar10-late"
    } else if parameters.weights() >= LARGE {
        "cifar10-large"
    } else if parameters.weights() >= AMPLE {
        "cifar10-medium"
    } else {
        "cifar10-tiny"
    }
}

/// The settings of every preset, for `--help`: all of the first, of others what differs from it.
pub(crate) fn defaults() -> String {
    let mut text = String::from(
        "Presets, with settings as in a config file. Without --preset, networks over colour images use cifar10-depthwise if \
         they have convolutions in groups, else cifar10-late if they have 17 layers or more, else cifar10-large from ten million weights on, cifar10-medium from a million on and cifar10-tiny \
         below; auto-encoders use vae, others digits. Each is digits but for what stands beside it. With cifar10-large vgg16 also has bits of its own for nine layers.\n",
    );
    let table = |name: &str| toml::Table::try_from(preset(name)).unwrap_or_default();
    let first = table(PRESETS[0]);
    for name in PRESETS {
        let differs = |(key, value): &(String, toml::Value)| {
            name == PRESETS[0] || first.get(key) != Some(value)
        };
        let settings = table(name).into_iter().filter(differs);
        let settings: Vec<String> = settings
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        text += &listed(name, &settings);
    }
    text
}

/// A name and what belongs to it, in lines that fit a terminal.
fn listed(name: &str, items: &[String]) -> String {
    const INDENT: usize = 20;
    const WIDTH: usize = 98;
    let mut text = String::new();
    let mut line = format!("  {name:18}");
    for (number, item) in items.iter().enumerate() {
        let item = match number + 1 < items.len() {
            true => format!("{item}, "),
            false => item.clone(),
        };
        if line.len() + item.trim_end().len() > WIDTH {
            text += line.trim_end();
            text.push('\n');
            line = " ".repeat(INDENT);
        }
        line += &item;
    }
    text + line.trim_end() + "\n"
}

/// Lays the keys of a TOML file over a configuration.
pub(crate) fn overlay(config: &Config, path: &Path) -> Result<Config, CliError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: {e}"))?;
    let given: toml::Table = text.parse().map_err(|e| format!("{shown}: {e}"))?;
    let mut all = toml::Table::try_from(config)?;
    let mut known: Vec<String> = all.keys().cloned().collect();
    known.extend(
        [
            "data",
            "quantiser",
            "limit",
            "from",
            "adapter",
            "path",
            "layer_bits",
            "float_ends",
            "precision",
            "shards",
            "sync_norm",
        ]
        .map(str::to_owned),
    );
    known.extend(PictureArgs::NAMES.map(str::to_owned));
    // Other quantisers than GTC's learn from the labels, unless the file says how.
    let quantiser = given.get("quantiser").and_then(toml::Value::as_str);
    let quantiser = quantiser.and_then(|word| word.parse::<Quantiser>().ok());
    if quantiser.is_some_and(|quantiser| !quantiser.is_gtc()) {
        all.insert("objective".to_owned(), "direct".into());
        // Layers choose their bits with GTC alone.
        all.remove("layer_bits");
    }
    // A preset's bits of single layers are meant beside its bits of all, and keep a file from becoming smaller.
    let float_ends = given.get("float_ends").and_then(toml::Value::as_bool);
    if given.contains_key("target_bits")
        || given.contains_key("target_size")
        || float_ends == Some(true)
    {
        all.remove("layer_bits");
    }
    let base = toml::Table::try_from(config)?;
    for (key, value) in given {
        // What was found out or happened in the run that the file is of is not what the next one is to do.
        if key == "change" || key == "reading" {
            continue;
        }
        if !known.contains(&key) {
            let hint = did_you_mean(&key, known.iter().map(String::as_str));
            known.sort();
            let keys = known.join(", ");
            return Err(format!("{shown}: unknown key '{key}'{hint}. Keys: {keys}").into());
        }
        // The parser does not say which key it could not read.
        let mut alone = base.clone();
        alone.insert(key.clone(), value.clone());
        if let Err(error) = alone.try_into::<Config>() {
            return Err(format!("{shown}: {key}: {}", error.message()).into());
        }
        all.insert(key, value);
    }
    all.try_into()
        .map_err(|e: toml::de::Error| format!("{shown}: {}", e.message()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Objective;

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
        let config = laid_over("precision = \"mixed\"\nfloat_ends = true").unwrap();
        assert!(config.float_ends);
        assert_eq!(config.options.precision, crate::train::Precision::Mixed);
    }

    #[test]
    fn a_value_of_another_type_is_refused_by_its_key() {
        for (text, key) in [
            ("seed = 3\nepochs = \"three\"", "epochs"),
            ("flip = 2.5", "flip"),
            ("layer_bits = 3", "layer_bits"),
            ("quantiser = \"lsq:99\"", "quantiser"),
        ] {
            let error = laid_over(text).unwrap_err();
            assert!(error.contains(&format!("c.toml: {key}: ")), "{error}");
        }
    }

    #[test]
    fn a_quantiser_in_a_file_learns_from_the_labels() {
        let objective = |text: &str| laid_over(text).unwrap().options.objective;
        assert_eq!(objective("quantiser = \"lsq:2\""), Objective::Direct);
        let both = "objective = \"gtc\"\nquantiser = \"lsq:2\"";
        assert_eq!(objective(both), Objective::Gtc);
        assert_eq!(objective("quantiser = \"gtc\""), Objective::Gtc);
    }

    #[test]
    fn a_description_is_trained_with_the_preset_of_its_model() {
        let folder = tempfile::tempdir().unwrap();
        for (name, preset) in [
            ("lenet5", "digits"),
            ("lenet-small", "digits"),
            ("vgg16", "cifar10-large"),
            ("vgg7", "cifar10-medium"),
            ("vgg-tiny", "cifar10-tiny"),
            ("resnet20", "cifar10-late"),
            ("resnet18", "cifar10-late"),
            ("mobilenet", "cifar10-depthwise"),
            ("mobilenet-0.5", "cifar10-depthwise"),
            ("vae-mlp", "vae"),
            ("vae", "vae"),
            ("vae-colour", "vae"),
        ] {
            assert_eq!(preset_of(name), preset, "{name}");
            let path = folder.path().join("mine.toml");
            let model = Model::by_name(name).unwrap();
            std::fs::write(&path, model.to_toml()).unwrap();
            assert_eq!(preset_of(&path.display().to_string()), preset, "{name}");
        }
        assert_eq!(preset_of("no such model"), "digits");
    }

    #[test]
    fn a_preset_has_bits_for_the_layers_of_vgg16_alone() {
        let folder = tempfile::tempdir().unwrap();
        let described = |name: &str, model: &Model| {
            let path = folder.path().join(name);
            std::fs::write(&path, model.to_toml()).unwrap();
            path.display().to_string()
        };
        let bits = |model: &str| preset_on("cifar10-large", model).layer_bits.len();
        assert_eq!(bits("vgg16"), BITS_OF_VGG16.len());
        assert_eq!(preset_on("cifar10-tiny", "vgg16").layer_bits.len(), 0);
        assert_eq!(bits("resnet18"), 0);
        assert_eq!(bits("no such model"), 0);
        let vgg16 = Model::by_name("vgg16").unwrap();
        assert_eq!(bits(&described("same.toml", &vgg16)), BITS_OF_VGG16.len());
        let ends = vgg16.clone().with_float_ends();
        assert_eq!(bits(&described("ends.toml", &ends)), 0);
        let other = vgg16.with_quantiser("lsq:2".parse().unwrap());
        assert_eq!(bits(&described("other.toml", &other)), 0);
    }

    #[test]
    fn bits_for_all_layers_in_a_file_begin_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        let before = Config {
            options: preset_on("cifar10-large", "vgg16"),
            ..Config::default()
        };
        let layer_bits = |text: &str| {
            std::fs::write(&path, text).unwrap();
            overlay(&before, &path).unwrap().options.layer_bits
        };
        assert_eq!(layer_bits("epochs = 3").len(), 9);
        assert_eq!(layer_bits("target_bits = 2").len(), 0);
        assert_eq!(layer_bits("target_size = 2000000").len(), 0);
        assert_eq!(layer_bits("quantiser = \"lsq:2\"").len(), 0);
        let own = layer_bits("target_bits = 2\n[layer_bits]\nfc = 3");
        assert_eq!(own, [("fc".to_owned(), 3)].into());
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
    fn a_run_may_change_what_its_state_does_not_stand_on() {
        let before = TrainOptions::default();
        let longer = TrainOptions {
            epochs: 20,
            ..before.clone()
        };
        let found = changes(7, &before, &longer).unwrap();
        let texts: Vec<String> = found.iter().map(Change::to_string).collect();
        assert_eq!(texts, ["epochs 8 -> 20"]);
        let config = Config {
            options: longer,
            change: found,
            ..Config::default()
        };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
        // The file begins another run without its history.
        assert!(laid_over(&text).unwrap().change.is_empty());
        let other = TrainOptions {
            seed: 2,
            ..before.clone()
        };
        let error = changes(7, &before, &other).unwrap_err().to_string();
        assert!(error.contains("seed was 1"), "{error}");
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
