//! Why a model cannot be made or used.

use super::NAMES;

/// Why a model cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No model of the zoo has this name.
    #[error("unknown model '{name}'{hint}. Models: {}; or a file that ends in .toml", NAMES.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest name, as a sentence, or nothing.
        hint: String,
    },
    /// The images do not fit the model.
    #[error("model '{model}' takes images of {wanted}, not of {found}")]
    WrongInput {
        /// The model.
        model: String,
        /// What it takes.
        wanted: String,
        /// What was given.
        found: String,
    },
    /// The data have labels that the model has no output for.
    #[error(
        "model '{model}' tells {outputs} classes apart, and the data have {classes}. Give its last layer \
         outputs = \"data\", or {classes} outputs"
    )]
    WrongClasses {
        /// The model.
        model: String,
        /// Its outputs.
        outputs: usize,
        /// Classes of the data.
        classes: usize,
    },
    /// An image has a label beyond the classes of its data set.
    #[error("image {image} has label {label}, and there are {classes} classes, counted from 0")]
    WrongLabel {
        /// The image, counted from 0.
        image: usize,
        /// Its label.
        label: usize,
        /// The number of classes.
        classes: usize,
    },
    /// A node that does not fit what it reads, or whose settings make no sense.
    #[error("node '{node}' ({op}): {reason}")]
    Misfit {
        /// The node's name.
        node: String,
        /// Its operation.
        op: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A description that is not one.
    #[error("{0}")]
    Description(String),
}

impl ModelError {
    pub(crate) fn description(reason: impl Into<String>) -> Self {
        Self::Description(reason.into())
    }
}
