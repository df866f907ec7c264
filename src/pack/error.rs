//! What can be wrong with a packed model, or with a model that is to become one.

use std::ops::RangeInclusive;

use super::PACKED_VERSION;

/// Why a model cannot be packed, or a file is not a usable packed model.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Normalisations that need multiplications.
    #[error(
        "this model was trained with --exact-norm: its normalisations multiply by numbers that are no \
         powers of two, so it cannot run on shifts. Train it without --exact-norm."
    )]
    ExactNorm,
    /// Weights that are no powers of two.
    #[error(
        "{quantiser} gives weights that are no powers of two, so that sums are multiplied by a factor: it cannot run on \
         shifts. Of the methods that gtc trains, gtc, binary-pot, deepshift and inq can be packed."
    )]
    Multiplies {
        /// How they are quantised.
        quantiser: crate::quantiser::Quantiser,
    },
    /// A layer that low precision reads as it is.
    #[error(
        "layer '{layer}' stays in float (quantise = false in the model's description), so it cannot run on shifts. \
         Train it with quantise = true."
    )]
    Float {
        /// The layer.
        layer: String,
    },
    /// An operation that has no form over integers.
    #[error("node '{node}' ({word}) has no form over integers, so this model cannot be packed")]
    NoIntegers {
        /// The node.
        node: String,
        /// Its operation's word in descriptions.
        word: &'static str,
    },
    /// Values that are added, joined or averaged in units too far apart.
    #[error(
        "node '{node}' joins values whose sizes are so far apart that their sum could leave 32 bits. Put a batch \
         normalisation before it."
    )]
    UnitsApart {
        /// The node.
        node: String,
    },
    /// A number that is added to sums and does not fit 32 bits in their unit.
    #[error(
        "layer '{layer}': {offset:.3e} is added to an output, so much more than its weights ever make of its inputs that \
         it does not fit 32 bits in their unit. Look at its bias, or at the statistics of the normalisation behind it; a \
         network from elsewhere may be read with other pixels than it was trained on (`gtc quantise --range`)."
    )]
    Offset {
        /// The layer.
        layer: String,
        /// The bias, or what a normalisation adds.
        offset: f64,
    },
    /// A sum that does not fit 32 bits.
    #[error(
        "layer '{layer}' has exponents {} to {}: with {activations}-bit activations its sums could leave \
         32 bits. Train with a larger --lambda-bits, so that its levels move together{}.",
        exponents.start(), exponents.end(),
        if *activations == 16 { ", or pack with --activations 8" } else { "" }
    )]
    Overflow {
        /// The layer.
        layer: String,
        /// Its smallest and largest exponent.
        exponents: RangeInclusive<i32>,
        /// Bits of its inputs.
        activations: u32,
    },
    /// The operating system refused.
    #[error("{file}: {reason}")]
    Io {
        /// The file.
        file: String,
        /// Its words.
        reason: String,
    },
    /// Not whole, or changed since it was written.
    #[error(
        "{file}: damaged ({reason}). If it was copied, copy it again; or pack the trained model again."
    )]
    Damaged {
        /// The file.
        file: String,
        /// What does not fit.
        reason: String,
    },
    /// A file of something else.
    #[error("{file}: not a packed model of gtc: {reason}")]
    Foreign {
        /// The file.
        file: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// Written by a later version.
    #[error(
        "{file}: packed in format {found}, this gtc reads up to {PACKED_VERSION}. Use a newer gtc."
    )]
    Newer {
        /// The file.
        file: String,
        /// Its version.
        found: u64,
    },
}
