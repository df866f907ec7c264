//! Operations: everything about one of them lies in its folder here, and its kernels in the folder of
//! the same name in `shaders/`.
//!
//! A folder holds `mod.rs` or `operation.rs` (the settings, the rule of shapes, what is recorded), `plain.rs` (the
//! operation in `f64`), `reference.rs` (plain functions that define the kernels, with the names of the kernels)
//! and `cases.rs` (calls of the kernels with known answers).
//!
//! [`Op`] is the table of all operations. [`Op::operation`] and [`Op::from_table`] are the only places that
//! list them: whatever walks over a graph asks an operation through the trait [`Operation`] and does not know
//! which one it is.

pub mod activation;
pub mod add;
pub mod average_pool;
pub mod concat;
pub mod conv;
mod dense;
pub mod dropout;
mod flatten;
pub mod group_conv;
mod group_shape;
pub mod integers;
mod latent;
pub mod max_pool;
pub mod norm;
mod operation;
mod packed_windows;
mod pair;
pub mod plain;
mod record;
mod requantise;
mod reshape;
mod upsample;
pub mod window_max_pool;
mod window_shape;

pub use activation::relu_backward;
pub use activation::{
    Activate, Activation, Kind as ActivationKind, activation_backward, activation_forward,
};
pub use add::{Add, add};
pub use average_pool::{
    AveragePool, GlobalAveragePool, average_pool_backward, average_pool_forward,
};
pub use concat::{Concat, channels, concat};
pub use conv::{
    Arithmetic, CodeShape, Conv, ConvShape, Epilogue, OutputGradient, Sharing, Windows,
    conv_backward_input, conv_backward_weight, conv_forward, im2col, packed_bytes, packed_conv,
    packed_im2col, shifts, sum_partials,
};
pub use dense::Dense;
pub use dropout::{Dropout, dropout};
pub use flatten::Flatten;
pub use group_conv::{group_conv_backward_input, group_conv_backward_weight, group_conv_forward};
pub use group_shape::GroupShape;
pub use latent::{
    Counter, Latent, TEST_NOISE, TRAINING_NOISE, gaussian_kl, philox, reparameterise_backward,
    reparameterise_forward, standard_normal,
};
pub use max_pool::{MaxPool, PoolShape, max_pool_forward, max_unpool, packed_max_pool};
pub use norm::{
    NORM_EPSILON, NORM_MOMENTUM, NORM_STATISTICS, Norm, norm_backward, norm_backward_sums,
    norm_combine, norm_forward, norm_gradients, norm_range, norm_running, norm_statistics,
};
pub use operation::{Fusible, Operation, Packing, WeightShape};
pub use pair::Pair;
pub use record::{Backward, Binding, Forward, Gradient, Kept, Layout, MatrixProduct, Recorder};
pub use reshape::Reshape;
pub use upsample::{Upsample, UpsampleShape, packed_upsample, upsample_backward, upsample_forward};
pub use window_max_pool::{window_max_pool_backward, window_max_pool_forward};
pub use window_shape::WindowShape;

use serde::{Deserialize, Serialize};

use crate::suggest::did_you_mean;
use crate::verify::Case;

/// An offset for results that nobody reads: kernels leave them out.
const NOWHERE: u32 = u32::MAX;

/// An operation with its settings: the table of all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Convolution, also grouped and depthwise.
    Conv(Conv),
    /// Every output from every input.
    Dense(Dense),
    /// Batch normalisation.
    Norm(Norm),
    /// ReLU, ReLU6 or leaky ReLU.
    Activation(Activation),
    /// The largest of each window.
    MaxPool(MaxPool),
    /// The mean of each window.
    AveragePool(AveragePool),
    /// The mean of every channel.
    GlobalAveragePool(GlobalAveragePool),
    /// Sum of values of one shape.
    Add(Add),
    /// Channels of several values side by side.
    Concat(Concat),
    /// Every number as a square of equal numbers.
    Upsample(Upsample),
    /// An image as one row of numbers.
    Flatten(Flatten),
    /// A row of numbers as an image.
    Reshape(Reshape),
    /// Numbers that are zero at random while training.
    Dropout(Dropout),
    /// Samples of normal distributions.
    Latent(Latent),
}

impl Op {
    /// The words of all operations, as descriptions spell them.
    pub const WORDS: [&'static str; 14] = [
        "conv",
        "dense",
        "norm",
        "activation",
        "max-pool",
        "average-pool",
        "global-average-pool",
        "add",
        "concat",
        "upsample",
        "flatten",
        "reshape",
        "dropout",
        "latent",
    ];

    /// What walkers over graphs ask.
    pub fn operation(&self) -> &dyn Operation {
        match self {
            Self::Conv(op) => op,
            Self::Dense(op) => op,
            Self::Norm(op) => op,
            Self::Activation(op) => op,
            Self::MaxPool(op) => op,
            Self::AveragePool(op) => op,
            Self::GlobalAveragePool(op) => op,
            Self::Add(op) => op,
            Self::Concat(op) => op,
            Self::Upsample(op) => op,
            Self::Flatten(op) => op,
            Self::Reshape(op) => op,
            Self::Dropout(op) => op,
            Self::Latent(op) => op,
        }
    }

    /// Reads an operation from its word and its settings.
    ///
    /// # Errors
    /// A sentence for a person, with the nearest word for a mistyped operation or setting.
    pub fn from_table(word: &str, settings: toml::Table) -> Result<Self, String> {
        // The three activations people know by their own names.
        let (word, settings) = activation::expand(word, settings);
        if !Self::WORDS.contains(&word.as_str()) {
            let words = Self::WORDS.iter().chain(activation::WORDS).copied();
            let all: Vec<&str> = words.clone().collect();
            return Err(format!(
                "unknown operation '{word}'{}. Operations: {}",
                did_you_mean(&word, words),
                all.join(", ")
            ));
        }
        let parse = |mut table: toml::Table| -> Result<Self, toml::de::Error> {
            table.insert("op".to_owned(), word.clone().into());
            table.try_into()
        };
        parse(settings.clone()).map_err(|error| {
            // The parser does not say which setting it could not read: the first that it refuses even alone.
            let alone = |(key, value): &(&String, &toml::Value)| {
                let table = toml::Table::from_iter([((*key).clone(), (*value).clone())]);
                let refused =
                    |error: toml::de::Error| !error.message().starts_with("missing field");
                parse(table).is_err_and(refused)
            };
            operation::explain(&word, settings.iter().find(alone), error.message())
        })
    }

    /// The word and the settings that are not as by default: the inverse of [`Op::from_table`].
    pub fn to_table(&self) -> (String, toml::Table) {
        let mut table = toml::Table::try_from(self).unwrap_or_default();
        table.remove("op");
        activation::contract(self.operation().word(), table)
    }
}

/// Lets settings stand for the operation.
macro_rules! settings {
    ($($settings:ident => $op:ident),*) => {
        $(impl From<$settings> for Op {
            fn from(settings: $settings) -> Self {
                Self::$op(settings)
            }
        })*
    };
}

settings!(
    Conv => Conv, Dense => Dense, Norm => Norm, Activation => Activation, MaxPool => MaxPool,
    AveragePool => AveragePool, GlobalAveragePool => GlobalAveragePool, Add => Add, Concat => Concat,
    Upsample => Upsample, Flatten => Flatten, Reshape => Reshape, Dropout => Dropout, Latent => Latent
);

impl From<ActivationKind> for Op {
    fn from(kind: ActivationKind) -> Self {
        Self::Activation(Activation { kind, shift: None })
    }
}

/// The cases of the kernels of all operations.
pub(crate) fn cases() -> Vec<Case> {
    let mut all = conv::cases::cases();
    all.extend(norm::cases::cases());
    all.extend(add::cases::cases());
    all.extend(activation::cases::cases());
    all.extend(average_pool::cases::cases());
    all.extend(window_max_pool::cases::cases());
    all.extend(group_conv::cases::cases());
    all.extend(concat::cases::cases());
    all.extend(dropout::cases::cases());
    all.extend(add::packed_cases::cases());
    all.extend(activation::packed_cases::cases());
    all.extend(average_pool::packed_cases::cases());
    all.extend(window_max_pool::packed_cases::cases());
    all.extend(concat::packed_cases::cases());
    all.extend(group_conv::packed_cases::cases());
    all
}
