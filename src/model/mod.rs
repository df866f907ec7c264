//! Models are plain lists of layers; [`Parameters`] places what they learn, [`Network`] records
//! their forward and backward passes.

mod activation;
mod backward;
mod forward;
mod network;
mod parameters;

pub use activation::{Activation, Parts};
pub(crate) use network::Op;
pub use network::{Inputs, Mode, Network, Pass, Weights};
pub use parameters::{LayerParameters, LayerValues, Parameters};
pub(crate) use parameters::{check_positions, shapes, uses_rows};

use crate::loss::Likelihood;
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
    /// Every number as a square of equal numbers.
    Upsample {
        /// Its side.
        size: usize,
    },
    /// The numbers of a dense layer seen as an image, whose channels are a multiple of four.
    Reshape {
        /// Pixels.
        height: usize,
        /// Pixels.
        width: usize,
    },
    /// Samples of normal distributions, whose means and log variances the layer before gives
    /// (Kingma, Welling 2013).
    Latent {
        /// Numbers of a sample: half as many as the layer before gives.
        size: usize,
    },
}

impl Layer {
    /// Whether it multiplies by weights: a convolution or a dense layer.
    pub fn has_weights(&self) -> bool {
        matches!(self, Self::Conv { .. } | Self::Dense { .. })
    }
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

/// A list of layers: a classifier, from an image to one number a class, or a variational
/// auto-encoder, from an image to one like it.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// What the command line calls it.
    pub name: &'static str,
    /// (height, width, channels) of an image.
    pub input: [usize; 3],
    /// What is done to its pixels, 0 to 1, first.
    pub scaling: Scaling,
    /// Outputs of the last layer of a classifier; of an auto-encoder, classes of its images, which
    /// it does not use.
    pub classes: usize,
    /// Of an auto-encoder: how its outputs become pixels.
    pub likelihood: Option<Likelihood>,
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
pub const NAMES: [&str; 8] = [
    "lenet5",
    "lenet-small",
    "vgg16",
    "vgg7",
    "vgg-tiny",
    "vae-mlp",
    "vae",
    "vae-colour",
];

/// Numbers of a latent unless something else is asked for.
pub const LATENT: usize = 20;

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
            "vae-mlp" => Ok(vae_mlp()),
            "vae" => Ok(vae()),
            "vae-colour" => Ok(vae_colour()),
            _ => Err(ModelError::Unknown {
                name: name.to_owned(),
                hint: did_you_mean(name, NAMES),
            }),
        }
    }

    /// Numbers of a latent; none of a classifier.
    pub fn latent(&self) -> Option<usize> {
        self.layers.iter().find_map(|layer| match layer {
            Layer::Latent { size } => Some(*size),
            _ => None,
        })
    }

    /// The place of the latent among the layers of an auto-encoder.
    fn latent_place(&self) -> Option<usize> {
        let mut layers = self.layers.iter();
        layers.position(|layer| matches!(layer, Layer::Latent { .. }))
    }

    /// Layers with weights before the latent; none of a classifier.
    pub fn encoder_weights(&self) -> usize {
        let encoder = &self.layers[..self.latent_place().unwrap_or(0)];
        encoder.iter().filter(|layer| layer.has_weights()).count()
    }

    /// The layers of an auto-encoder after its latent as a model of their own, which takes latents
    /// (1, 1, numbers); `None` for a classifier.
    pub fn decoder(&self) -> Option<Self> {
        let at = self.latent_place()?;
        Some(Self {
            input: [1, 1, self.latent()?],
            layers: self.layers[at + 1..].to_vec(),
            ..self.clone()
        })
    }

    /// The same auto-encoder with latents of `latent` numbers and another likelihood; a classifier
    /// stays as it is.
    pub fn with_latent(mut self, latent: usize, likelihood: Likelihood) -> Self {
        let Some(at) = self.latent_place() else {
            return self;
        };
        self.likelihood = Some(likelihood);
        self.layers[at] = Layer::Latent { size: latent };
        if let Some(Layer::Dense { outputs, .. }) = self.layers[..at].last_mut() {
            *outputs = 2 * latent;
        }
        self
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
        likelihood: None,
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
        likelihood: None,
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
        likelihood: None,
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

fn auto_encoder(name: &'static str, input: [usize; 3], layers: Vec<Layer>) -> Model {
    Model {
        name,
        input,
        scaling: Scaling::NONE,
        classes: 10,
        likelihood: Some(Likelihood::Bernoulli),
        layers,
    }
}

/// The auto-encoder of Kingma and Welling (2013) for 28 x 28 grey pixels: 784, 400, 20 and back.
pub fn vae_mlp() -> Model {
    auto_encoder(
        "vae-mlp",
        [28, 28, 1],
        vec![
            dense("encode1", 400, true),
            dense("posterior", 2 * LATENT, false),
            Layer::Latent { size: LATENT },
            dense("decode1", 400, true),
            dense("pixels", 784, false),
        ],
    )
}

/// Halves an image: 4x4, every second pixel.
const fn halve(name: &'static str, outputs: usize) -> Layer {
    Layer::Conv {
        name,
        outputs,
        kernel: 4,
        stride: 2,
        padding: 1,
        norm: false,
        relu: true,
    }
}

/// 3x3, same size.
const fn same(name: &'static str, outputs: usize, relu: bool) -> Layer {
    Layer::Conv {
        name,
        outputs,
        kernel: 3,
        stride: 1,
        padding: 1,
        norm: false,
        relu,
    }
}

fn convolutional(name: &'static str, input: [usize; 3]) -> Model {
    let [height, width, channels] = input;
    let (height, width) = (height / 4, width / 4);
    auto_encoder(
        name,
        input,
        vec![
            halve("encode1", 32),
            halve("encode2", 64),
            dense("encode3", 256, true),
            dense("posterior", 2 * LATENT, false),
            Layer::Latent { size: LATENT },
            dense("decode1", 256, true),
            dense("decode2", height * width * 64, true),
            Layer::Reshape { height, width },
            Layer::Upsample { size: 2 },
            same("decode3", 32, true),
            Layer::Upsample { size: 2 },
            same("pixels", channels, false),
        ],
    )
}

/// A convolutional auto-encoder for 28 x 28 grey pixels.
pub fn vae() -> Model {
    convolutional("vae", [28, 28, 1])
}

/// The same for 32 x 32 pixels in colour.
pub fn vae_colour() -> Model {
    convolutional("vae-colour", [32, 32, 3])
}
