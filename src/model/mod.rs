//! Models are plain lists of layers; [`Parameters`] places what they learn, [`Network`] records
//! their forward and backward passes.

mod network;
mod parameters;

pub(crate) use network::Op;
pub use network::{Inputs, Mode, Network, Pass, Weights};
pub use parameters::{LayerParameters, LayerValues, Parameters};
pub(crate) use parameters::{shapes, uses_rows};

use crate::suggest::did_you_mean;

/// One layer of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Convolution with bias or batch normalisation, then ReLU when asked.
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
        /// Whether a batch normalisation follows, whose β takes the place of the bias.
        norm: bool,
        /// Whether a ReLU follows.
        relu: bool,
    },
    /// The largest of each square window.
    MaxPool {
        /// Its side.
        size: usize,
    },
    /// Every output from every input, with bias or batch normalisation, then ReLU when asked.
    Dense {
        /// Its name in files and reports.
        name: &'static str,
        /// Outputs.
        outputs: usize,
        /// As of a convolution.
        norm: bool,
        /// Whether a ReLU follows.
        relu: bool,
    },
}

/// Per-channel normalisation of pixels: (pixel - mean) / deviation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scaling {
    /// Subtracted; channels past the third do not occur.
    pub mean: [f32; 3],
    /// Divided by.
    pub deviation: [f32; 3],
}

impl Scaling {
    /// Pixels as they are.
    pub const NONE: Self = Self {
        mean: [0.0; 3],
        deviation: [1.0; 3],
    };
    /// To mean zero and deviation one over CIFAR-10's training images.
    pub const CIFAR10: Self = Self {
        mean: [0.491_40, 0.482_16, 0.446_53],
        deviation: [0.247_03, 0.243_49, 0.261_59],
    };

    /// Bytes (pixels, channels) as the networks take them.
    pub fn apply(&self, image: &[u8], channels: usize) -> Vec<f32> {
        let each = image.iter().enumerate();
        each.map(|(i, byte)| {
            let channel = (i % channels).min(2);
            (f32::from(*byte) / 255.0 - self.mean[channel]) / self.deviation[channel]
        })
        .collect()
    }
}

/// A classifier: a list of layers from an image to one number a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What the command line calls it.
    pub name: &'static str,
    /// (height, width, channels) of an image.
    pub input: [usize; 3],
    /// What is done to its pixels, 0 to 1, first.
    pub scaling: Scaling,
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
pub const NAMES: [&str; 5] = ["lenet5", "lenet-small", "vgg16", "vgg7", "vgg-tiny"];

impl Model {
    /// A model by its name.
    ///
    /// # Errors
    /// [`ModelError::Unknown`], with the nearest name.
    pub fn by_name(name: &str) -> Result<Self, ModelError> {
        match name {
            "lenet5" => Ok(lenet5()),
            "lenet-small" => Ok(lenet_small()),
            "vgg16" => Ok(vgg16()),
            "vgg7" => Ok(vgg7()),
            "vgg-tiny" => Ok(vgg_tiny()),
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
        norm: false,
        relu: true,
    }
}

/// 3x3, same size, batch normalisation, ReLU: the brick of VGG.
const fn brick(name: &'static str, outputs: usize) -> Layer {
    Layer::Conv {
        name,
        outputs,
        kernel: 3,
        stride: 1,
        padding: 1,
        norm: true,
        relu: true,
    }
}

const fn dense(name: &'static str, outputs: usize, relu: bool) -> Layer {
    Layer::Dense {
        name,
        outputs,
        norm: false,
        relu,
    }
}

/// LeNet-5 as it is used since Caffe: 20 and 50 feature maps, 500 hidden units (after LeCun et
/// al. 1998).
pub fn lenet5() -> Model {
    Model {
        name: "lenet5",
        input: [28, 28, 1],
        scaling: Scaling::NONE,
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
        scaling: Scaling::NONE,
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

fn cifar10(name: &'static str, layers: Vec<Layer>) -> Model {
    Model {
        name,
        input: [32, 32, 3],
        scaling: Scaling::CIFAR10,
        classes: 10,
        layers,
    }
}

/// VGG-16 for 32x32 images: thirteen convolutions with batch normalisation and one dense layer
/// (Simonyan, Zisserman 2015, configuration D, with the head that CIFAR-10 needs).
pub fn vgg16() -> Model {
    let pool = || Layer::MaxPool { size: 2 };
    cifar10(
        "vgg16",
        vec![
            brick("conv1_1", 64),
            brick("conv1_2", 64),
            pool(),
            brick("conv2_1", 128),
            brick("conv2_2", 128),
            pool(),
            brick("conv3_1", 256),
            brick("conv3_2", 256),
            brick("conv3_3", 256),
            pool(),
            brick("conv4_1", 512),
            brick("conv4_2", 512),
            brick("conv4_3", 512),
            pool(),
            brick("conv5_1", 512),
            brick("conv5_2", 512),
            brick("conv5_3", 512),
            pool(),
            dense("fc", 10, false),
        ],
    )
}

/// Six convolutions and a dense head of 512, half as wide as the VGG-7 of Ternary Weight Networks
/// (Li et al. 2016).
pub fn vgg7() -> Model {
    let pool = || Layer::MaxPool { size: 2 };
    cifar10(
        "vgg7",
        vec![
            brick("conv1_1", 64),
            brick("conv1_2", 64),
            pool(),
            brick("conv2_1", 128),
            brick("conv2_2", 128),
            pool(),
            brick("conv3_1", 256),
            brick("conv3_2", 256),
            pool(),
            Layer::Dense {
                name: "fc1",
                outputs: 512,
                norm: true,
                relu: true,
            },
            dense("fc2", 10, false),
        ],
    )
}

/// A VGG that a CPU can train in minutes: four convolutions, 8 million multiply-adds an image.
pub fn vgg_tiny() -> Model {
    let pool = || Layer::MaxPool { size: 2 };
    cifar10(
        "vgg-tiny",
        vec![
            brick("conv1", 24),
            pool(),
            brick("conv2", 48),
            pool(),
            brick("conv3_1", 96),
            brick("conv3_2", 96),
            pool(),
            dense("fc", 10, false),
        ],
    )
}
