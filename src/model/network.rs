//! One model for one batch size.

use super::activation::{Activation, Parts};
use super::parameters::{MOST_POSITIONS, positions, shapes, uses_rows};
use super::{Layer, LayerParameters, Model, Parameters};
use crate::gpu::Gpu;
use crate::layer::{ConvShape, PoolShape, UpsampleShape};
use crate::tensor::{Tensor, pad4};

/// What a batch is uploaded into.
pub struct Inputs {
    /// (batch * height * width * channels), channels not padded.
    pub images: Tensor,
    /// (batch, padded classes), one-hot; zero rows are padding.
    pub labels: Tensor,
}

/// What one network, HP or LP, reads.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// HP or LP, for listings.
    pub name: &'a str,
    /// Weights, or their quantised values.
    pub weights: &'a Tensor,
    /// The arena of biases, γ and β, shared by both networks.
    pub biases: &'a Tensor,
    /// This network's arena of running statistics.
    pub running: &'a Tensor,
    /// Zeros, for layers without a bias.
    pub zeros: &'a Tensor,
    /// Whether factors of batch normalisations are rounded to powers of two.
    pub round_norm: bool,
}

/// Where batch normalisations take their statistics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// From the batch; the running ones follow.
    Train,
    /// From the running ones.
    Test,
}

pub(crate) enum Op {
    /// `parameters` indexes [`Parameters::layers`].
    Matrix {
        shape: ConvShape,
        /// The convolution that it is, where it reads what `shifts` made of the images.
        shifts: Option<ConvShape>,
        parameters: usize,
        relu: bool,
        /// The max pool behind the ReLU, where the product's kernels do it too.
        pool: Option<PoolShape>,
    },
    Norm {
        /// (rows, padded channels)
        shape: [usize; 2],
        parameters: usize,
        relu: bool,
    },
    Pool {
        shape: PoolShape,
        /// Whether its input came out of a ReLU, whose gradient it then takes along.
        relu: bool,
    },
    Upsample {
        shape: UpsampleShape,
    },
    Latent {
        batch: usize,
        size: usize,
    },
}

impl Op {
    /// Stored shape of what goes in.
    pub(super) fn input(&self) -> Vec<usize> {
        match self {
            Op::Matrix {
                shifts: Some(shape),
                ..
            } => shape.shifts().to_vec(),
            Op::Matrix { shape, .. } => shape.x().to_vec(),
            Op::Norm { shape, .. } => shape.to_vec(),
            Op::Pool { shape, .. } => shape.x().to_vec(),
            Op::Upsample { shape } => shape.x().to_vec(),
            Op::Latent { batch, size } => vec![*batch, pad4(2 * size)],
        }
    }

    /// Whether kernels of this product can do a max pool behind it: one of squares of 2 x 2 of a ReLU's outputs
    /// no window of which reaches across an edge.
    fn takes_along(&self, next: &PoolShape) -> bool {
        let Op::Matrix {
            shape,
            shifts,
            relu: true,
            pool: None,
            ..
        } = self
        else {
            return false;
        };
        let whole = [shape.batch, shape.output_height(), shape.output_width()];
        let images = whole == [next.batch, next.input_height, next.input_width];
        next.size == 2 && (shifts.is_some() || images && shape.is_inside())
    }

    /// Whether there is a max pool, which keeps what went through it.
    pub(super) fn has_argmax(&self) -> bool {
        matches!(self, Op::Pool { .. } | Op::Matrix { pool: Some(_), .. })
    }

    /// Whether all it gives came out of a ReLU.
    pub(super) fn has_relu(&self) -> bool {
        matches!(self, Op::Matrix { relu: true, .. })
    }

    /// Whether it ends in a ReLU, whose gradient the following op takes along.
    pub(super) fn ends_in_relu(&self) -> bool {
        matches!(
            self,
            Op::Matrix {
                relu: true,
                pool: None,
                ..
            }
        )
    }

    /// Stored shape of what comes out.
    pub(super) fn output(&self) -> Vec<usize> {
        match self {
            Op::Matrix {
                pool: Some(pool), ..
            } => pool.y().to_vec(),
            Op::Matrix { shape, .. } => shape.y().to_vec(),
            Op::Norm { shape, .. } => shape.to_vec(),
            Op::Pool { shape, .. } => shape.y().to_vec(),
            Op::Upsample { shape } => shape.y().to_vec(),
            Op::Latent { batch, size } => vec![*batch, pad4(*size)],
        }
    }
}

/// A model for one batch size.
pub struct Network {
    pub(super) ops: Vec<Op>,
    pub(super) parameters: Parameters,
    /// How the first layer's windows become rows, where they do.
    pub(super) windows: Option<ConvShape>,
    classes: usize,
    pub(super) parts: Parts,
    /// Numbers of the largest activation of an image, and the positions, or lines of shifted copies, that
    /// kernels count of it at most.
    largest: [usize; 2],
    /// (batch, padded latent): what samples of the latent are made of.
    pub(super) noise: Option<Activation>,
}

/// What the forward pass of a network leaves for the backward pass. The plan that both are
/// recorded in decides where it lies.
pub struct Pass {
    /// Input of each op, then the logits.
    pub(super) activations: Vec<Activation>,
    /// Statistics of each op that is a normalisation.
    pub(super) statistics: Vec<Option<Tensor>>,
    /// What went through the max pool of each op that has one.
    pub(super) argmax: Vec<Option<Activation>>,
    /// Of an auto-encoder, what the divergence says of the posterior: the backward pass adds to it.
    pub(crate) d_posterior: Option<Tensor>,
}

impl Pass {
    /// What the last op reads.
    pub(crate) fn penultimate(&self) -> &Activation {
        &self.activations[self.activations.len().saturating_sub(2)]
    }

    pub(super) fn last(&self) -> &Activation {
        &self.activations[self.activations.len() - 1]
    }

    /// (batch, padded classes)
    ///
    /// # Panics
    /// Never: the outputs of a network lie in one tensor.
    pub fn logits(&self) -> &Tensor {
        self.last().tensor().expect("outputs lie in one tensor")
    }
}

impl Network {
    /// The ops of a model for `batch` images.
    pub fn new(model: &Model, batch: usize) -> Self {
        let mut ops: Vec<Op> = Vec::new();
        let mut windows = None;
        let mut parameters = 0;
        for (layer, shape) in shapes(model, batch) {
            let (norm, relu) = match *layer {
                Layer::MaxPool { size } => {
                    let shape = PoolShape {
                        batch,
                        input_height: shape.input_height,
                        input_width: shape.input_width,
                        channels: shape.input_channels,
                        size,
                    };
                    let relu = ops.last().is_some_and(Op::ends_in_relu);
                    let taken = ops.last_mut().filter(|op| op.takes_along(&shape));
                    match taken {
                        Some(Op::Matrix { pool, .. }) => *pool = Some(shape),
                        _ => ops.push(Op::Pool { shape, relu }),
                    }
                    continue;
                }
                Layer::Upsample { size } => {
                    let shape = UpsampleShape {
                        batch,
                        input_height: shape.input_height,
                        input_width: shape.input_width,
                        channels: shape.input_channels,
                        size,
                    };
                    ops.push(Op::Upsample { shape });
                    continue;
                }
                Layer::Latent { size } => {
                    ops.push(Op::Latent { batch, size });
                    continue;
                }
                // The same numbers in the same places.
                Layer::Reshape { .. } => continue,
                Layer::Conv { norm, relu, .. } | Layer::Dense { norm, relu, .. } => (norm, relu),
            };
            let shape = if ops.is_empty() && uses_rows(&shape) {
                windows = Some(shape);
                shape.as_rows()
            } else if matches!(layer, Layer::Dense { .. }) {
                let inputs = shape.input_height * shape.input_width * pad4(shape.input_channels);
                ConvShape::dense(batch, inputs, shape.output_channels)
            } else {
                shape
            };
            let first = windows.filter(|_| ops.is_empty());
            ops.push(Op::Matrix {
                shape,
                shifts: first.filter(ConvShape::has_shifts),
                parameters,
                relu: relu && !norm,
                pool: None,
            });
            if norm {
                let [batch, height, width, channels] = shape.y();
                ops.push(Op::Norm {
                    shape: [batch * height * width, channels],
                    parameters,
                    relu,
                });
            }
            parameters += 1;
        }
        let size = |shape: Vec<usize>| shape.iter().product::<usize>() / batch;
        // What went through a max pool lies in the buffer of its results.
        let outputs = |op: &Op| size(op.output()) * if op.has_argmax() { 2 } else { 1 };
        let numbers = ops.iter().flat_map(|op| [size(op.input()), outputs(op)]);
        let lines = windows.filter(ConvShape::has_shifts).map(|shape| {
            let [_, copies, rows, _] = shape.shifts();
            copies * rows
        });
        Self {
            largest: [
                numbers.max().unwrap_or(1),
                positions(model).max(lines.unwrap_or(1)),
            ],
            ops,
            parameters: Parameters::new(model),
            windows,
            classes: model.classes,
            parts: Parts::one(batch),
            noise: None,
        }
    }

    /// Works through a batch in parts where a whole one would have tensors larger than a binding of the
    /// device, or more positions than kernels count exactly.
    pub fn in_parts_for(mut self, gpu: &Gpu) -> Self {
        let [numbers, positions] = self.largest;
        let images = (gpu.part_bytes() / 4) as usize / numbers;
        self.parts = Parts::of(self.parts.batch(), images.min(MOST_POSITIONS / positions));
        self
    }

    /// How many parts a batch is worked through in.
    pub fn parts(&self) -> usize {
        self.parts.ranges().len()
    }

    /// Says where an auto-encoder finds the noise of its samples, (batch, padded latent).
    pub fn with_noise(mut self, noise: &Tensor) -> Self {
        self.noise = Some(Activation::whole(noise, &self.parts));
        self
    }

    /// The place of the latent among the ops: encoders end before it, decoders start after it.
    pub(super) fn latent(&self) -> usize {
        let at = self
            .ops
            .iter()
            .position(|op| matches!(op, Op::Latent { .. }));
        at.unwrap_or(self.ops.len())
    }

    /// Means and log variances of a pass of an auto-encoder.
    pub fn posterior<'p>(&self, pass: &'p Pass) -> Option<&'p Tensor> {
        let at = self.latent();
        let posterior = pass.activations.get(at)?;
        (at < self.ops.len()).then(|| posterior.tensor()).flatten()
    }

    /// Stored shape of what the last op gives.
    pub fn output(&self) -> Vec<usize> {
        self.ops.last().map(Op::output).unwrap_or_default()
    }

    /// What is done, in order, with the layer it belongs to; none for pooling.
    pub(crate) fn ops(&self) -> impl Iterator<Item = (&Op, Option<&LayerParameters>)> {
        self.ops.iter().map(|op| match op {
            Op::Matrix { parameters, .. } | Op::Norm { parameters, .. } => {
                (op, Some(&self.parameters.layers[*parameters]))
            }
            Op::Pool { .. } | Op::Upsample { .. } | Op::Latent { .. } => (op, None),
        })
    }

    /// Outputs that mean something.
    pub fn classes(&self) -> usize {
        self.classes
    }
}
