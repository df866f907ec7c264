//! Models are plain lists of layers; [`Parameters`] places what they learn, [`Network`] records
//! their forward and backward passes.

mod network;
mod parameters;

pub use network::{Inputs, Network, Weights};
pub(crate) use parameters::shapes;
pub use parameters::{LayerParameters, Parameters};

use crate::suggest::did_you_mean;

/// One layer of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Convolution with bias, then ReLU when asked.
    Conv {
        /// Its name in files and reports.
        name: &'static str,
        /// Output channels.
        outputs: usize,
        /// Side of the square kernel.
        kernel: usize,
        /// Pixels between windows.
        stride: usize,
        /// Zero pixels around the image.
        padding: usize,
        /// Whether a ReLU follows.
        relu: bool,
    },
    /// The largest of each square window.
    MaxPool {
        /// Its side.
        size: usize,
    },
    /// Every output from every input, with bias, then ReLU when asked.
    Dense {
        /// Its name in files and reports.
        name: &'static str,
        /// Outputs.
        outputs: usize,
        /// Whether a ReLU follows.
        relu: bool,
    },
}

/// A classifier: a list of layers from an image to one number a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// What the command line calls it.
    pub name: &'static str,
    /// (height, width, channels) of an image.
    pub input: [usize; 3],
    /// Outputs of the last layer.
    pub classes: usize,
    /// From input to output.
    pub layers: Vec<Layer>,
}

/// Why a model cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No model has this name.
    #[error("unknown model '{name}'{hint}. Models: {}", NAMES.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The nearest name, as a sentence, or nothing.
        hint: String,
    },
    /// The images do not fit the layers.
    #[error("model '{model}' takes images of {wanted}, not of {found}")]
    WrongInput {
        /// The model.
        model: &'static str,
        /// What it takes.
        wanted: String,
        /// What was given.
        found: String,
    },
}

/// The models of the command line.
pub const NAMES: [&str; 2] = ["lenet5", "lenet-small"];

impl Model {
    /// A model by its name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], with the nearest name.
    pub fn by_name(name: &str) -> Result<Self, ModelError> {
        match name {
            "lenet5" => Ok(lenet5()),
            "lenet-small" => Ok(lenet_small()),
            _ => Err(ModelError::Unknown {
                name: name.to_owned(),
                hint: did_you_mean(name, NAMES),
            }),
        }
    }

    /// Checks that images of this size can go in.
    ///
    /// # Errors
    /// [`ModelError::WrongInput`] with both sizes.
    pub fn check_input(&self, size: [usize; 3]) -> Result<(), ModelError> {
        let text = |[height, width, channels]: [usize; 3]| {
            format!("{height}x{width} pixels with {channels} channel(s)")
        };
        if size == self.input {
            return Ok(());
        }
        Err(ModelError::WrongInput {
            model: self.name,
            wanted: text(self.input),
            found: text(size),
        })
    }
}

const fn conv(name: &'static str, outputs: usize) -> Layer {
    Layer::Conv {
        name,
        outputs,
        kernel: 5,
        stride: 1,
        padding: 0,
        relu: true,
    }
}

const fn dense(name: &'static str, outputs: usize, relu: bool) -> Layer {
    Layer::Dense {
        name,
        outputs,
        relu,
    }
}

/// LeNet-5 as it is used since Caffe: 20 and 50 feature maps, 500 hidden units (after LeCun et
/// al. 1998).
pub fn lenet5() -> Model {
    Model {
        name: "lenet5",
        input: [28, 28, 1],
        classes: 10,
        layers: vec![
            conv("conv1", 20),
            Layer::MaxPool { size: 2 },
            conv("conv2", 50),
            Layer::MaxPool { size: 2 },
            dense("fc1", 500, true),
            dense("fc2", 10, false),
        ],
    }
}

/// A smaller LeNet: 6 and 10 feature maps, two hidden layers of 128.
pub fn lenet_small() -> Model {
    Model {
        name: "lenet-small",
        input: [28, 28, 1],
        classes: 10,
        layers: vec![
            conv("conv1", 6),
            Layer::MaxPool { size: 2 },
            conv("conv2", 10),
            Layer::MaxPool { size: 2 },
            dense("fc1", 128, true),
            dense("fc2", 128, true),
            dense("fc3", 10, false),
        ],
    }
}
