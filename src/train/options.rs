//! Everything that decides what is learned, and how it changes in the course of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::data::Flip;
use crate::gpu::Storage;
use crate::graph::Model;
use crate::loss::{Lesson, Likelihood};
use crate::model::{LATENT, Storages};
use crate::optimiser::HALF_PRODUCTS;

/// What is minimised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Both networks: HP learns the labels and teaches LP.
    Gtc,
    /// LP alone learns the labels, straight through its quantiser: the ablation.
    Direct,
    /// HP alone: an ordinary float network.
    Float,
}

impl Objective {
    pub(crate) fn high_precision(self) -> bool {
        self != Self::Direct
    }

    pub(super) fn low_precision(self) -> bool {
        self != Self::Float
    }
}

/// How what flows through the networks is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits a number.
    #[default]
    Full,
    /// 16 bits for values between operations and for their gradients; weights, statistics and sums within kernels as they
    /// are. Those values take half the memory.
    Mixed,
    /// As [`Precision::Mixed`], and products of such values use cooperative matrices: operands of 16 bits, sums of 32. Weights lose bits
    /// for that; powers of two from 2^-14 to 2^15 are kept.
    Cooperative,
}

impl Precision {
    /// Whether a device must be opened for it, see [`GpuOptions::cooperative`](crate::gpu::GpuOptions::cooperative).
    pub fn needs_matrices(self) -> bool {
        self == Self::Cooperative
    }

    pub(super) fn is_full(&self) -> bool {
        *self == Self::Full
    }
}

/// How weights follow their gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimiser {
    /// Adam for everything. Its weight decay is decoupled, as in AdamW.
    #[serde(alias = "adamw")]
    Adam,
    /// Muon for the weights of convolutions over all channels, Adam for the rest.
    Muon,
    /// Stochastic gradient descent with Nesterov's momentum; Adam for intercepts and slopes alone.
    Sgd,
}

/// How the gradient of a quantised weight reaches the weight, past rounding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StraightThrough {
    /// By the chain rule with rounding left out: times s |Q| / (|w| + ε), which falls with the slope.
    Chain,
    /// As it is; and bits are paid by slopes alone, not by the weights in extreme exponents.
    Identity,
}

/// How the learning rate falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a cosine from the full rate to zero.
    Cosine,
    /// In a straight line to zero.
    Linear,
    /// Not at all.
    Constant,
}

/// Multiple of Adam's step size for intercepts and slopes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RateWord", into = "RateWord")]
pub enum QuantiserRate {
    /// This one.
    Times(f64),
    /// As large as a slope needs to fall from one to zero, and half as much more, while levels may move: it depends on the
    /// length of the run. Adam's steps have the size of its rate, whatever the gradient.
    Auto,
}

/// [`QuantiserRate`] in files: a number or "auto".
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum RateWord {
    Times(f64),
    Word(String),
}

impl TryFrom<RateWord> for QuantiserRate {
    type Error = String;

    fn try_from(word: RateWord) -> Result<Self, String> {
        match word {
            RateWord::Times(times) => Ok(Self::Times(times)),
            RateWord::Word(word) => word.parse(),
        }
    }
}

impl From<QuantiserRate> for RateWord {
    fn from(rate: QuantiserRate) -> Self {
        match rate {
            QuantiserRate::Times(times) => Self::Times(times),
            QuantiserRate::Auto => Self::Word("auto".to_owned()),
        }
    }
}

impl std::str::FromStr for QuantiserRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(times)) => Ok(Self::Times(times)),
            _ => Err(format!("'{text}' is neither a number nor auto")),
        }
    }
}

/// Most shards of a batch.
pub const MAX_SHARDS: usize = 4096;

/// For settings that files leave out unless they differ from the default.
fn is_one(shards: &usize) -> bool {
    *shards == 1
}

/// Largest latent that makes sense for small images.
pub const MAX_LATENT: usize = 1024;

/// Bits of a layer with every exponent of a float.
pub(super) const MAX_BITS: u32 = 9;

/// Everything that decides what is learned, given the data and the adapter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainOptions {
    /// Passes over the data.
    pub epochs: u32,
    /// Images in a step.
    pub batch_size: usize,
    /// Shards that each batch is cut into, a power of two. Each is worked through alone, with statistics of its own in batch
    /// normalisations, and their gradients are added along one tree: so any number of processes that share them learn
    /// the same.
    #[serde(skip_serializing_if = "is_one")]
    pub shards: usize,
    /// Whether batch normalisations of all shards use the statistics of the whole batch.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sync_norm: bool,
    /// How what flows through the networks is stored.
    #[serde(skip_serializing_if = "Precision::is_full")]
    pub precision: Precision,
    /// How weights follow their gradients.
    pub optimiser: Optimiser,
    /// Adam's step size at the start.
    pub learning_rate: f64,
    /// Muon's step size at the start.
    pub muon_rate: f64,
    /// Step size of stochastic gradient descent at the start.
    pub sgd_rate: f64,
    /// Part of the run over which the step sizes rise from zero.
    pub warm_up: f64,
    /// Multiple of the learning rate for intercepts and slopes.
    pub quantiser_rate: QuantiserRate,
    /// Part of the run after which intercepts and slopes stay as they are.
    pub freeze_levels: f64,
    /// Weight of the bit loss once the ramp is over.
    pub lambda_bits: f64,
    /// Bits that each layer may keep: it pays for them only while one exponent more would need more. 1: it always
    /// pays.
    pub target_bits: u32,
    /// The same of single layers, by name; `first` and `last` are those at the ends.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub layer_bits: BTreeMap<String, u32>,
    /// Bytes that the packed file may have: no layer pays for bits while it fits, and while it does not the price doubles
    /// every twentieth of the run once the ramp of λ_bits is over. 0: any number.
    pub target_size: u64,
    /// Part of the run over which λ_bits rises linearly from zero.
    pub bits_ramp: f64,
    /// Weight of the distillation loss.
    pub lambda_distill: f64,
    /// Temperature that softens what LP learns of HP; 1: it stays as it is.
    pub temperature: f64,
    /// Part of LP's loss that comes from the labels instead of HP.
    pub lp_labels: f64,
    /// Weight of ½Σ‖w‖².
    pub lambda_l2: f64,
    /// A step draws each weight and bias of convolutions and dense layers to zero by its learning rate times this.
    pub weight_decay: f64,
    /// Part of the run after which LP joins; before it HP learns alone, in half the time.
    pub lp_start: f64,
    /// Weight of ½Σ(γ - γ')², where γ' is what LP's rounded factor γ'/σ stands for, once the ramp of
    /// λ_bits is over: batch normalisations that both networks agree on.
    pub lambda_norm: f64,
    /// How the learning rate falls.
    pub decay: Decay,
    /// How gradients of quantised weights reach the weights.
    pub straight_through: StraightThrough,
    /// Whether intercepts follow slopes: as a slope falls, weights of the size that training begins with keep their exponent
    /// instead of growing to one.
    pub centred_slopes: bool,
    /// What is minimised.
    pub objective: Objective,
    /// Largest random shift of a training image, in pixels, up or down and left or right.
    pub shift: u32,
    /// Which training images are mirrored, left to right.
    pub flip: Flip,
    /// Smallest part of a training image's area that a random crop shows, scaled to the full size; 1: none
    /// is cropped.
    pub random_crop: f64,
    /// Side of a square that is blanked at a random place of a training image, in pixels; 0: none.
    pub cutout: u32,
    /// How far brightness, contrast and saturation of a training image change at random: each by a
    /// factor of 1 - `jitter` to 1 + `jitter`.
    pub jitter: f64,
    /// Each training image becomes a sum of itself and another one, with shares of a beta distribution with both
    /// parameters equal to this, and so does its label; 0: none does.
    pub mix_up: f64,
    /// Part of each training label that is spread evenly over all classes.
    pub label_smoothing: f64,
    /// Part of the run after which training images are taken as they are; labels stay smoothed.
    pub augment_until: f64,
    /// Whether LP's batch normalisations multiply by γ/σ as it is, not by the nearest power of two.
    pub exact_norm: bool,
    /// Numbers of an auto-encoder's latent.
    pub latent: usize,
    /// How an auto-encoder's outputs become pixels.
    pub likelihood: Likelihood,
    /// Part of the run over which the weight of an auto-encoder's KL(q || N(0, 1)) rises linearly
    /// to one.
    pub kl_warmup: f64,
    /// Decides initial weights, the order of the images and noise.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            epochs: 8,
            batch_size: 64,
            shards: 1,
            sync_norm: false,
            precision: Precision::Full,
            optimiser: Optimiser::Adam,
            learning_rate: 2e-3,
            muon_rate: 0.06,
            sgd_rate: 0.05,
            warm_up: 0.0,
            quantiser_rate: QuantiserRate::Times(5.0),
            freeze_levels: 0.8,
            lambda_bits: 1e-2,
            target_bits: 1,
            layer_bits: BTreeMap::new(),
            target_size: 0,
            bits_ramp: 0.5,
            lambda_distill: 1.0,
            temperature: 1.0,
            lp_labels: 0.0,
            lambda_l2: 0.0,
            weight_decay: 0.0,
            lp_start: 0.0,
            lambda_norm: 0.0,
            decay: Decay::Cosine,
            straight_through: StraightThrough::Chain,
            centred_slopes: false,
            objective: Objective::Gtc,
            shift: 0,
            flip: Flip::Never,
            random_crop: 1.0,
            cutout: 0,
            jitter: 0.0,
            mix_up: 0.0,
            label_smoothing: 0.0,
            augment_until: 1.0,
            exact_norm: false,
            latent: LATENT,
            likelihood: Likelihood::Bernoulli,
            kl_warmup: 0.0,
            seed: 1,
        }
    }
}

impl TrainOptions {
    /// [`TrainOptions::layer_bits`] by the names of `layers`, which are all that are quantised, in order: unless a layer is
    /// called so, `first` and `last` are the ends of the network.
    pub fn bits_of_layers(&self, layers: &[&str]) -> BTreeMap<String, u32> {
        let named = |name: &str| match name {
            name if layers.contains(&name) => name.to_owned(),
            "first" => layers.first().map_or(name, |first| *first).to_owned(),
            "last" => layers.last().map_or(name, |last| *last).to_owned(),
            other => other.to_owned(),
        };
        let bits = self.layer_bits.iter();
        bits.map(|(name, bits)| (named(name), *bits)).collect()
    }

    /// Checks that so many processes can share the shards.
    ///
    /// # Errors
    /// [`TrainError::BadOption`] with what to do.
    pub fn check_ranks(&self, ranks: usize) -> Result<(), TrainError> {
        let remedy = if !ranks.is_power_of_two() {
            let near = 1 << ranks.max(1).ilog2();
            format!("it must be a power of two, such as {near}, because shards are added in pairs")
        } else if ranks > self.shards {
            format!(
                "more than the shards of a batch, of which this run has {0}: use at most {0}, or begin a run with --shards {ranks}",
                self.shards
            )
        } else {
            return Ok(());
        };
        Err(TrainError::BadOption {
            option: "ranks",
            value: ranks.to_string(),
            remedy,
        })
    }

    /// Images of a shard.
    pub fn shard_size(&self) -> usize {
        self.batch_size / self.shards
    }

    /// How what flows through the networks is stored.
    pub(crate) fn storages(&self, model: &Model) -> Storages {
        match self.precision {
            Precision::Full => Storages::default(),
            Precision::Mixed | Precision::Cooperative => {
                Storages::halves(self.batch_size, model.likelihood)
            }
        }
    }

    /// How Muon's products are stored.
    pub(crate) fn product_storage(&self) -> Storage {
        match self.precision {
            Precision::Full | Precision::Mixed => Storage::Float,
            Precision::Cooperative => HALF_PRODUCTS,
        }
    }

    /// How LP learns from HP.
    pub fn distillation(&self) -> Lesson {
        Lesson {
            scale: self.lambda_distill as f32 / self.batch_size as f32,
            temperature: self.temperature as f32,
            label_share: self.lp_labels as f32,
        }
    }
}
