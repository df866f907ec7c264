//! The flags of `gtc train`, and what they make of a run's settings.

use std::path::{Path, PathBuf};

use crate::cli::config::{Config, PRESETS, overlay, preset_of, preset_on};
use crate::cli::data_args::PictureArgs;
use crate::cli::model_files::{find_model_alone, read_description};
use crate::cli::run_folder::DESCRIPTION;
use crate::cli::tuning::TuneWhen;
use crate::cli::{CliError, DeviceArgs};
use crate::data::Flip;
use crate::quantiser::Quantiser;
use crate::train::{Objective, Optimiser, QuantiserRate};

#[derive(clap::Args)]
pub(crate) struct TrainArgs {
    /// Name of a model, see `gtc models`, a description of your own that ends in .toml, or a network from ONNX or a trained model,
    /// whose weights begin anew [default: that of --from, else lenet5]
    #[arg(value_name = "MODEL")]
    model: Option<String>,
    /// Folder with one folder of pictures for each class, or with the files of MNIST, Fashion-MNIST,
    /// CIFAR-10 or CIFAR-100; or an archive (zip, tar, tar.gz) of either [default: the digits inside
    /// the program]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Learn from the first N training images only
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Passes over the data
    #[arg(long, value_name = "N")]
    epochs: Option<u32>,
    /// Images in a step
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Cut each batch into N shards, a power of two, which several processes can share: any number of them learns the same.
    /// Batch normalisations have statistics of a shard [default: as many as --ranks]
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Let batch normalisations have statistics of the whole batch though it has shards: better for shards of fewer than 16
    /// images, but ranks wait for each other in every layer
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    sync_norm: Option<bool>,
    /// Train on N processes, a power of two, which share the shards of each batch; mpirun starts them, and gtc must be built
    /// with --features mpi. A process that mpirun
    /// or srun has started needs no --ranks. A run may go on with another number
    #[arg(long, value_name = "N")]
    pub ranks: Option<usize>,
    /// How weights follow their gradients. adam: Adam for everything; with --weight-decay it is AdamW, and adamw is the same. muon: Muon
    /// (momentum whose matrices are made orthogonal) for the weights of convolutions, Adam for the rest. sgd: stochastic
    /// gradient descent with Nesterov's momentum of 0.9, Adam for intercepts and slopes
    #[arg(long, value_parser = ["adam", "adamw", "muon", "sgd"])]
    optimiser: Option<String>,
    /// full: 32 bits for every number. mixed, on GPUs: 16 bits for values between layers and for their gradients, which then
    /// take half the memory; weights, and sums within kernels, keep 32. cooperative: as mixed, and products of those use
    /// cooperative matrices ("tensor cores"), whose sums have 32 bits, on GPUs that have them (`gtc adapters`)
    #[arg(long, value_parser = ["full", "mixed", "cooperative"])]
    precision: Option<String>,
    /// Adam's step size, before --warm-up and --decay scale it
    #[arg(long, value_name = "X")]
    learning_rate: Option<f64>,
    /// Muon's step size, before --warm-up and --decay scale it; larger batches need a larger one
    #[arg(long, value_name = "X")]
    muon_rate: Option<f64>,
    /// Step size of sgd, before --warm-up and --decay scale it
    #[arg(long, value_name = "X")]
    sgd_rate: Option<f64>,
    /// Part of the run over which the step sizes rise from zero, 0 to 1
    #[arg(long, value_name = "X")]
    warm_up: Option<f64>,
    /// Multiple of the learning rate for each layer's intercept and slope; auto: as large as a slope needs to reach zero
    /// while levels may move
    #[arg(long, value_name = "X|auto")]
    quantiser_rate: Option<QuantiserRate>,
    /// Part of the run after which intercepts and slopes stay as they are, 0 to 1: weights then
    /// settle on levels that no longer move
    #[arg(long, value_name = "X")]
    freeze_levels: Option<f64>,
    /// Price of a layer's 2^bits: more makes fewer levels
    #[arg(long, value_name = "X")]
    lambda_bits: Option<f64>,
    /// Bits that each layer may keep: it pays for them only while it uses more than 2^(N-1) - 1 powers of two (N = 2: more
    /// than 2). 1: bits are always paid for. Layers may have their own, and those at the ends are also called first and last:
    /// 2,conv1=4,last=3
    #[arg(long, value_name = "N,LAYER=N,...", value_delimiter = ',')]
    target_bits: Option<Vec<String>>,
    /// Size of the packed file, such as 300kB or 1.2MB. While it fits no layer pays for bits; while it does not, their
    /// price rises
    #[arg(long, value_name = "SIZE")]
    target_size: Option<bytesize::ByteSize>,
    /// Part of the run over which the price of bits (--lambda-bits) rises from zero, 0 to 1
    #[arg(long, value_name = "X")]
    bits_ramp: Option<f64>,
    /// Weight of the low-precision network's distillation loss
    #[arg(long, value_name = "X")]
    lambda_distill: Option<f64>,
    /// Softens what low precision learns of high precision: both outputs are divided by it first. 1: as they are
    #[arg(long, value_name = "X")]
    temperature: Option<f64>,
    /// Part of low precision's loss that comes from the labels instead of high precision, 0 to 1; from the labels as they are,
    /// without --label-smoothing and --mix-up
    #[arg(long, value_name = "X")]
    lp_labels: Option<f64>,
    /// Weight of half the sum of the squared weights of quantised layers
    #[arg(long, value_name = "X")]
    lambda_l2: Option<f64>,
    /// A step draws each weight and bias to zero by its learning rate times this
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,
    /// Part of the run after which low precision joins, 0 to 0.99: before it high precision learns alone, in
    /// half the time
    #[arg(long, value_name = "X")]
    lp_start: Option<f64>,
    /// Draws each factor of a batch normalisation to the power of two that low precision rounds it to
    #[arg(long, value_name = "X")]
    lambda_norm: Option<f64>,
    /// How the learning rate falls
    #[arg(long, value_parser = ["cosine", "linear", "constant"])]
    decay: Option<String>,
    /// How low precision reads weights: gtc, or another method to compare it with (see `gtc compare --list`). Such a method
    /// learns from the labels alone, unless --objective gtc lets high precision teach it [default: gtc]
    #[arg(long, value_name = "METHOD[:BITS]")]
    quantiser: Option<Quantiser>,
    /// Keep the first and the last layer with weights in float, as most publications about other methods do
    #[arg(long)]
    pub float_ends: bool,
    /// How gradients of quantised weights reach the weights. chain: by the chain rule with rounding left out, which weakens as
    /// levels collapse; identity: as they are, and bits are paid by slopes alone
    #[arg(long, value_parser = ["chain", "identity"])]
    straight_through: Option<String>,
    /// As a slope falls, let the intercept follow, so that weights of the size that training begins with keep their exponent
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    centred_slopes: Option<bool>,
    /// gtc: both networks; direct: low precision alone; float: an ordinary network
    #[arg(long, value_parser = ["gtc", "direct", "float"])]
    objective: Option<String>,
    /// Move each training image at random by up to N pixels, up or down and left or right
    #[arg(long, value_name = "N")]
    shift: Option<u32>,
    /// Mirror training images, left to right: each with probability one half; or alternate: half of them in the first
    /// epoch, then in turns those that were not in the epoch before
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_parser = ["true", "false", "alternate"])]
    flip: Option<String>,
    /// Show a random part of each training image at its full size: at least this part of its area, 0.05
    /// to 1. 1: all of it
    #[arg(long, value_name = "X")]
    random_crop: Option<f64>,
    /// Blank a square of N pixels at a random place of each training image
    #[arg(long, value_name = "N")]
    cutout: Option<u32>,
    /// Change brightness, contrast and saturation of each training image by random factors of 1 - X to
    /// 1 + X
    #[arg(long, value_name = "X")]
    jitter: Option<f64>,
    /// Make each training image, and its label, a sum of itself and another one: shares come from a beta
    /// distribution with both parameters X, 0 to 1
    #[arg(long, value_name = "X")]
    mix_up: Option<f64>,
    /// Spread this part of each training label evenly over all classes
    #[arg(long, value_name = "X")]
    label_smoothing: Option<f64>,
    /// Part of the run after which training images are taken as they are, 0 to 1
    #[arg(long, value_name = "X")]
    augment_until: Option<f64>,
    /// none: training images as they are, whatever the preset says
    #[arg(long, value_parser = ["none"], conflicts_with_all = ["shift", "flip", "random_crop", "cutout", "jitter", "mix_up"])]
    augment: Option<String>,
    /// Let low precision's batch normalisations multiply by γ/σ as it is, not by a power of two
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    exact_norm: Option<bool>,
    /// Numbers of an auto-encoder's latent
    #[arg(long, value_name = "N")]
    pub latent: Option<usize>,
    /// How an auto-encoder's outputs become pixels: probabilities, or means of normal distributions
    #[arg(long, value_parser = ["bernoulli", "gaussian"])]
    pub likelihood: Option<String>,
    /// Part of the run over which the weight of an auto-encoder's KL term rises from zero, 0 to 1
    #[arg(long, value_name = "X")]
    pub kl_warmup: Option<f64>,
    /// Measured settings to start from; see below
    #[arg(long, value_parser = PRESETS)]
    preset: Option<String>,
    /// Start from the weights and levels of a trained model, such as a float one, instead of fresh
    /// ones: the folder of a run, a .safetensors file of this program or in PyTorch's layout, or an .onnx file. For data
    /// with other classes the last layer starts anew
    #[arg(long, value_name = "MODEL")]
    from: Option<PathBuf>,
    /// Decides initial weights and the order of the images
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Folder for everything the run makes [default: runs/MODEL-N]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Continue the run in this folder. --data says where its data are now; --epochs, rates, prices and most other
    /// settings may be changed from here on, which is written down in its config.toml
    #[arg(long, value_name = "DIR", conflicts_with_all = [
        "model", "limit", "batch_size", "shards", "sync_norm", "precision", "optimiser", "lp_start", "objective", "quantiser", "float_ends",
        "exact_norm", "latent", "likelihood", "preset", "from",
        "seed", "out", "config", "image_size", "resize", "test_fraction", "background", "skip_broken", "no_exif", "grey", "colour",
    ])]
    pub resume: Option<PathBuf>,
    /// TOML file with settings; flags override it
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    #[command(flatten)]
    pub device: DeviceArgs,
    /// When to try which tiles of the network's products are fastest on this device; they change no result, and what was tried is
    /// remembered (`gtc tune`, `gtc adapters`)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    pub tune: TuneWhen,
    /// Print the time of every kernel of one step before training
    #[arg(long)]
    pub profile: bool,
    #[command(flatten)]
    pub pictures: PictureArgs,
}

/// A path that a text file can hold.
fn in_words(path: PathBuf) -> Result<PathBuf, CliError> {
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(format!(
            "{}: a name that is not UTF-8, which the run's config.toml cannot hold. Rename it, or name a link to it",
            path.display()
        )
        .into()),
    }
}

impl TrainArgs {
    /// Defaults, then the preset, then the file, then the flags.
    pub fn resolve(&self) -> Result<Config, CliError> {
        let mut config = Config::default();
        let from_file = |config: &Config| match &self.config {
            Some(path) => overlay(config, path),
            None => Ok(config.clone()),
        };
        // The preset lies below the file, but the file may name the model that decides it.
        config.model = match &self.model {
            Some(model) => model.clone(),
            None => {
                let unnamed = Config {
                    model: String::new(),
                    ..config.clone()
                };
                let file = from_file(&unnamed)?;
                match (
                    file.model.is_empty(),
                    self.from.as_ref().or(file.from.as_ref()),
                ) {
                    (false, _) => self.described(file.model)?,
                    // Unless it is named, the model is that of the weights.
                    (true, Some(from)) => from.display().to_string(),
                    (true, None) => config.model,
                }
            }
        };
        let model = config.model.clone();
        let name = match &self.preset {
            Some(name) => name,
            None => preset_of(&config.model),
        };
        config.options = preset_on(name, &config.model);
        if self.has_other_bits() {
            config.options.layer_bits.clear();
        }
        config = from_file(&config)?;
        config.model = model;
        self.apply(&mut config)?;
        Ok(config)
    }

    /// The model that a config names. A run keeps its network beside its config: that is it if the program has no model of this
    /// name, or if the description of this name is gone.
    fn described(&self, name: String) -> Result<String, CliError> {
        let beside = self
            .config
            .as_ref()
            .map(|path| path.with_file_name(DESCRIPTION));
        let Some(beside) = beside.filter(|beside| beside.is_file()) else {
            return Ok(name);
        };
        let is_there = match name.ends_with(".toml") {
            true => Path::new(&name).exists(),
            false => find_model_alone(&name).is_ok() || read_description(&beside)?.name != name,
        };
        match is_there {
            true => Ok(name),
            false => Ok(beside.display().to_string()),
        }
    }

    /// Whether a preset's bits of single layers do not fit what the flags ask for: bits or a size for the whole network, other
    /// quantised layers, or another way to quantise.
    fn has_other_bits(&self) -> bool {
        let mut bits = self.target_bits.iter().flatten();
        bits.any(|part| !part.contains('='))
            || self.target_size.is_some()
            || self.float_ends
            || self.quantiser.is_some_and(|quantiser| !quantiser.is_gtc())
    }

    /// Puts what the flags say into the configuration of a run that goes on.
    pub fn change(&self, config: &mut Config) -> Result<(), CliError> {
        let preset = preset_on(preset_of(&config.model), &config.model);
        if self.has_other_bits() && config.options.layer_bits == preset.layer_bits {
            config.options.layer_bits.clear();
        }
        self.apply(config)
    }

    /// Flags that were given and change nothing with these settings.
    pub fn idle_flags(&self, config: &Config) -> Vec<&'static str> {
        let options = &config.options;
        let by = |optimiser| options.optimiser == optimiser;
        let is_float = options.objective == Objective::Float;
        let both = options.objective == Objective::Gtc;
        let flags = [
            ("--muon-rate", self.muon_rate.is_some(), by(Optimiser::Muon)),
            ("--sgd-rate", self.sgd_rate.is_some(), by(Optimiser::Sgd)),
            ("--lp-start", self.lp_start.is_some(), both),
            ("--lambda-distill", self.lambda_distill.is_some(), both),
            ("--temperature", self.temperature.is_some(), both),
            ("--lp-labels", self.lp_labels.is_some(), both),
            ("--lambda-bits", self.lambda_bits.is_some(), !is_float),
            ("--target-bits", self.target_bits.is_some(), !is_float),
            ("--bits-ramp", self.bits_ramp.is_some(), !is_float),
            ("--freeze-levels", self.freeze_levels.is_some(), !is_float),
            ("--quantiser-rate", self.quantiser_rate.is_some(), !is_float),
            (
                "--straight-through",
                self.straight_through.is_some(),
                !is_float,
            ),
            ("--centred-slopes", self.centred_slopes.is_some(), !is_float),
        ];
        let idle = flags.into_iter().filter(|(_, given, used)| *given && !used);
        idle.map(|(flag, ..)| flag).collect()
    }

    /// Makes as many shards as there are ranks, unless anything else was asked for.
    pub fn share_among(&self, ranks: usize, config: &mut Config) {
        if self.shards.is_none() && config.options.shards == 1 && ranks.is_power_of_two() {
            config.options.shards = ranks;
        }
    }

    /// Puts what the flags say into a configuration.
    fn apply(&self, config: &mut Config) -> Result<(), CliError> {
        fn set<T: Clone>(target: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                *target = value.clone();
            }
        }
        fn set_word<T: serde::de::DeserializeOwned>(
            target: &mut T,
            value: &Option<String>,
        ) -> Result<(), CliError> {
            if let Some(value) = value {
                *target = serde_json::from_value(value.as_str().into())?;
            }
            Ok(())
        }
        let options = &mut config.options;
        set(&mut options.epochs, &self.epochs);
        set(&mut options.batch_size, &self.batch_size);
        set(&mut options.shards, &self.shards);
        set(&mut options.sync_norm, &self.sync_norm);
        set(&mut options.learning_rate, &self.learning_rate);
        set(&mut options.muon_rate, &self.muon_rate);
        set(&mut options.sgd_rate, &self.sgd_rate);
        set(&mut options.warm_up, &self.warm_up);
        set_word(&mut options.precision, &self.precision)?;
        set_word(&mut options.optimiser, &self.optimiser)?;
        set(&mut options.quantiser_rate, &self.quantiser_rate);
        set(&mut options.freeze_levels, &self.freeze_levels);
        set(&mut options.lambda_bits, &self.lambda_bits);
        for part in self.target_bits.iter().flatten() {
            let bits = |text: &str| {
                let bad = |_| format!("--target-bits {part}: '{text}' is no number of bits");
                text.trim().parse().map_err(bad)
            };
            match part.split_once('=') {
                Some((layer, text)) => {
                    options
                        .layer_bits
                        .insert(layer.trim().to_owned(), bits(text)?);
                }
                None => options.target_bits = bits(part)?,
            }
        }
        set(
            &mut options.target_size,
            &self.target_size.map(|size| size.as_u64()),
        );
        set(&mut options.bits_ramp, &self.bits_ramp);
        set(&mut options.lambda_distill, &self.lambda_distill);
        set(&mut options.temperature, &self.temperature);
        set(&mut options.lp_labels, &self.lp_labels);
        set(&mut options.lambda_l2, &self.lambda_l2);
        set(&mut options.weight_decay, &self.weight_decay);
        set(&mut options.lp_start, &self.lp_start);
        set(&mut options.lambda_norm, &self.lambda_norm);
        set(&mut options.shift, &self.shift);
        set_word(&mut options.flip, &self.flip)?;
        set(&mut options.random_crop, &self.random_crop);
        set(&mut options.cutout, &self.cutout);
        set(&mut options.jitter, &self.jitter);
        set(&mut options.mix_up, &self.mix_up);
        set(&mut options.label_smoothing, &self.label_smoothing);
        set(&mut options.augment_until, &self.augment_until);
        if self.augment.is_some() {
            (options.shift, options.flip) = (0, Flip::Never);
            (options.random_crop, options.cutout) = (1.0, 0);
            (options.jitter, options.mix_up) = (0.0, 0.0);
        }
        set(&mut options.exact_norm, &self.exact_norm);
        set(&mut options.latent, &self.latent);
        set(&mut options.kl_warmup, &self.kl_warmup);
        set_word(&mut options.likelihood, &self.likelihood)?;
        set(&mut options.seed, &self.seed);
        set_word(&mut options.decay, &self.decay)?;
        match self.quantiser {
            Some(quantiser) if !quantiser.is_gtc() => options.objective = Objective::Direct,
            // What another quantiser brought goes with it.
            Some(_) if config.quantiser.is_some_and(|old| !old.is_gtc()) => {
                options.objective = Objective::Gtc;
            }
            _ => {}
        }
        set(&mut options.centred_slopes, &self.centred_slopes);
        set_word(&mut options.straight_through, &self.straight_through)?;
        set_word(&mut options.objective, &self.objective)?;
        set(&mut config.model, &self.model);
        fn set_some<T: Clone>(target: &mut Option<T>, value: &Option<T>) {
            if value.is_some() {
                target.clone_from(value);
            }
        }
        set_some(&mut config.data, &self.data);
        if let Some(data) = &config.data {
            // Whole, so that the run goes on from any folder.
            config.data = Some(in_words(std::path::absolute(data)?)?);
        }
        config.pictures = self.pictures.or(&config.pictures);
        set_some(&mut config.quantiser, &self.quantiser);
        config.float_ends |= self.float_ends;
        set_some(&mut config.limit, &self.limit);
        if let Some(from) = &self.from {
            config.from = Some(in_words(from.clone())?);
        }
        set_some(&mut config.adapter, &self.device.adapter);
        config.checked |= self.device.checked;
        set_some(&mut config.path, &self.device.path);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        train: TrainArgs,
    }

    fn layer_bits(flags: &str) -> Vec<(String, u32)> {
        let line = Line::try_parse_from(format!("train {flags}").split(' ')).unwrap();
        let config = line.train.resolve().unwrap();
        config.options.layer_bits.into_iter().collect()
    }

    #[test]
    fn bits_for_all_layers_begin_anew_and_bits_of_one_stand_beside_a_presets() {
        assert_eq!(layer_bits("vgg16").len(), 9);
        let own = layer_bits("vgg16 --target-bits fc=3,2");
        assert_eq!(own, [("fc".to_owned(), 3)]);
        assert_eq!(layer_bits("vgg16 --target-bits conv5_1=2").len(), 10);
        let kept = layer_bits("vgg16 --quantiser gtc --target-bits conv1_1=3");
        assert!(kept.contains(&("conv1_1".to_owned(), 3)));
        for other in [
            "--target-bits 2",
            "--quantiser lsq:2",
            "--float-ends",
            "--target-size 2MB",
        ] {
            assert_eq!(layer_bits(&format!("vgg16 {other}")), [], "{other}");
        }
    }

    #[test]
    fn flags_keep_the_bits_of_single_layers_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "[layer_bits]\nconv1_1 = 2").unwrap();
        let own = layer_bits(&format!(
            "vgg16 --target-bits 2 --config {}",
            path.display()
        ));
        assert_eq!(own, [("conv1_1".to_owned(), 2)]);
    }
}
