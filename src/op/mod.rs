//! Operations: everything about one of them lies in its folder here, and its kernels in the folder of
//! the same name in `shaders/`.
//!
//! A folder holds `mod.rs` or `operation.rs` (the settings, the rule of shapes, what is recorded), `plain.rs` (the
//! operation in `f64`), `reference.rs` (plain functions that define the kernels, with the names of the kernels)
//! and `cases.rs` (calls of the kernels with known answers).
//!
//! The table in this file is the only place that lists the operations: whatever walks over a graph asks an operation through the trait
//! [`Operation`] and does not know which one it is. ARCHITECTURE.md names the two exceptions.

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
pub mod latent;
pub mod max_pool;
pub mod norm;
mod operation;
mod packed_windows;
mod pair;
pub mod plain;
mod record;
mod requantise;
mod reshape;
pub mod upsample;
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
    Arithmetic, CodeShape, Conv, ConvShape, Epilogue, OutputGradient, Sharing, SumEpilogue,
    Windows, conv_backward_input, conv_backward_weight, conv_forward, im2col, packed_bytes,
    packed_conv, packed_im2col, shifts, sum_partials, sum_partials_then,
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
    norm_combine, norm_forward, norm_gradients, norm_pool_backward, norm_pool_backward_sums,
    norm_pool_forward, norm_range, norm_running, norm_shard, norm_statistics,
};
pub use operation::{Fusible, Operation, Packing, WeightShape};
pub use pair::Pair;
pub use record::{
    Argmax, Backward, Binding, Forward, Gradient, Kept, Layout, MatrixProduct, Recorder,
};
pub use reshape::Reshape;
pub use upsample::{Upsample, UpsampleShape, packed_upsample, upsample_backward, upsample_forward};
pub use window_max_pool::{window_max_pool_backward, window_max_pool_forward};
pub use window_shape::WindowShape;

use serde::{Deserialize, Serialize};

use crate::gpu::Kernel;
use crate::suggest::did_you_mean;
use crate::verify::Case;

/// An offset for results that nobody reads: kernels leave them out.
const NOWHERE: u32 = u32::MAX;

/// What the folder of an operation adds to the lists of all kernels and of all cases.
pub(crate) struct Folder {
    /// Its kernels.
    pub kernels: &'static [&'static Kernel],
    /// Calls of them with known answers.
    pub cases: &'static [fn() -> Vec<Case>],
}

impl Folder {
    /// Of an operation that runs on the kernels of others, or none.
    const EMPTY: Self = Self {
        kernels: &[],
        cases: &[],
    };
}

/// Makes of a line for each operation everything that lists them: [`Op`], its words, its `match`, [`FOLDERS`].
macro_rules! operations {
    ($($module:ident: $($op:ident $word:literal $doc:literal),*;)+) => {
        /// An operation with its settings.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "op")]
        pub enum Op {
            $($(
                #[doc = $doc]
                #[serde(rename = $word)]
                $op($op),
            )*)+
        }

        impl Op {
            /// The words of all operations, as descriptions spell them.
            pub const WORDS: &[&str] = &[$($($word,)*)+];

            /// What walkers over graphs ask.
            pub fn operation(&self) -> &dyn Operation {
                match self {
                    $($(Self::$op(op) => op,)*)+
                }
            }
        }

        $($(
            impl From<$op> for Op {
                fn from(settings: $op) -> Self {
                    Self::$op(settings)
                }
            }
        )*)+

        /// All folders, in the order of the table.
        const FOLDERS: &[Folder] = &[$($module::FOLDER),+];
    };
}

// The table of all operations: folder, then settings, word and meaning of each operation in it. Two folders hold kernels
// alone, which conv and max-pool use.
operations! {
    conv: Conv "conv" "Convolution, also grouped and depthwise.";
    dense: Dense "dense" "Every output from every input.";
    norm: Norm "norm" "Batch normalisation.";
    activation: Activation "activation" "ReLU, ReLU6 or leaky ReLU.";
    max_pool: MaxPool "max-pool" "The largest of each window.";
    average_pool:
        AveragePool "average-pool" "The mean of each window.",
        GlobalAveragePool "global-average-pool" "The mean of every channel.";
    add: Add "add" "Sum of values of one shape.";
    concat: Concat "concat" "Channels of several values side by side.";
    upsample: Upsample "upsample" "Every number as a square of equal numbers.";
    flatten: Flatten "flatten" "An image as one row of numbers.";
    reshape: Reshape "reshape" "A row of numbers as an image.";
    dropout: Dropout "dropout" "Numbers that are zero at random while training.";
    latent: Latent "latent" "Samples of normal distributions.";
    group_conv: ;
    window_max_pool: ;
}

impl Op {
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

impl From<ActivationKind> for Op {
    fn from(kind: ActivationKind) -> Self {
        Self::Activation(Activation { kind, shift: None })
    }
}

/// The kernels of all operations.
pub(crate) fn kernels() -> Vec<&'static Kernel> {
    FOLDERS
        .iter()
        .flat_map(|folder| folder.kernels)
        .copied()
        .collect()
}

/// The cases of the kernels of all operations.
pub(crate) fn cases() -> Vec<Case> {
    let lists = FOLDERS.iter().flat_map(|folder| folder.cases);
    lists.flat_map(|cases| cases()).collect()
}
