//! The trait [`Recorder`], and what its passes read and write: [`Binding`], [`Forward`], [`Backward`].

use crate::graph::{Fused, Shape};
use crate::model::{LayerParameters, Mode, NormParameters, PartedTensor, Parts, Shard};
use crate::model::{NetworkArenas, Storages};
use crate::op::{ConvShape, PoolShape, Windows};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};
use crate::verify::Case;

/// Where an operation stands in a network for a batch.
#[derive(Clone, Debug)]
pub struct Binding<'a> {
    /// Images of the whole batch.
    pub batch: usize,
    /// Shapes of what it reads, for one image.
    pub inputs: Vec<Shape>,
    /// Shape of its output, for one image, before anything that is fused with it.
    pub output: Shape,
    /// Whether its first input is the input of the graph, whose channels are not padded.
    pub reads_images: bool,
    /// What its kernels do besides.
    pub fused: Fused,
    /// Its number among the nodes: decides random numbers.
    pub number: usize,
    /// Its weights, if it learns any.
    pub weights: Option<&'a LayerParameters>,
    /// Its gamma and beta, if it is a normalisation.
    pub norm: Option<&'a NormParameters>,
}

impl Binding<'_> {
    /// Shape of its first input.
    pub fn input(&self) -> Shape {
        self.inputs[0]
    }

    /// Stored shape of a value of the whole batch: (batch, rows, columns, padded channels).
    pub fn stored(&self, shape: Shape) -> Vec<usize> {
        let [height, width, channels] = shape.sides();
        vec![self.batch, height, width, pad4(channels)]
    }
}

/// How an operation reads the images, whose channels are uploaded without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Channels padded to multiples of four.
    Padded,
    /// A row for every window, see [`crate::op::im2col`].
    Rows(ConvShape),
    /// Shifted copies of every channel, see [`crate::op::shifts`].
    Shifts(ConvShape),
}

/// What a forward pass keeps of an operation for the backward pass, besides its input and output.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Of a max pool, which of each window won, see [`Argmax`].
    pub argmax: Option<PartedTensor>,
    /// Of a normalisation, see [`crate::op::NORM_STATISTICS`].
    pub statistics: Option<Tensor>,
}

/// What the forward pass of a max pool keeps for the backward pass, in the shape of its output: the number of each
/// window's largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argmax {
    /// Nothing.
    None,
    /// In the buffer of the output, numbers up to this.
    Beside(usize),
    /// In a buffer of its own.
    Apart,
}

/// What the forward pass of an operation reads and writes.
pub struct Forward<'a> {
    /// Micro-batches.
    pub parts: &'a Parts,
    /// How values are stored.
    pub storages: Storages,
    /// What the network, HP or LP, reads.
    pub weights: NetworkArenas<'a>,
    /// Where normalisations take their statistics from.
    pub mode: Mode,
    /// Name for listings.
    pub label: &'a str,
    /// Which shard of the batch this is.
    pub shard: Shard,
    /// Its inputs, in the shapes of [`Recorder::inputs`].
    pub x: Vec<PartedTensor>,
    /// Its output.
    pub y: PartedTensor,
    /// Where a max pool keeps which of each window won.
    pub argmax: Option<PartedTensor>,
    /// Whether the backward pass applies the gradient of the ReLU that its input came out of.
    pub masks: bool,
    /// (batch, padded latent): what samples of the latent are made of.
    pub noise: Option<&'a PartedTensor>,
}

/// What the backward pass of an operation reads and writes.
pub struct Backward<'a> {
    /// Micro-batches.
    pub parts: &'a Parts,
    /// How values and their gradients are stored.
    pub storages: Storages,
    /// What the network, HP or LP, reads.
    pub weights: NetworkArenas<'a>,
    /// Name for listings.
    pub label: &'a str,
    /// Which shard of the batch this is.
    pub shard: Shard,
    /// Its inputs, as in the forward pass.
    pub x: Vec<PartedTensor>,
    /// Its output.
    pub y: PartedTensor,
    /// The gradient of its output.
    pub d_y: PartedTensor,
    /// Whether another operation reads `d_y` too: then it may not be changed.
    pub d_y_shared: bool,
    /// What the forward pass kept.
    pub kept: &'a Kept,
    /// Which gradients of inputs are wanted: none of images.
    pub wanted: Vec<bool>,
    /// Whether the gradient of the first input has to pass the ReLU that the input came out of.
    pub masks: bool,
    /// Whether the first input came out of a ReLU, so that passing its gradient through that ReLU a second time
    /// changes nothing.
    pub input_has_relu: bool,
    /// Whether `d_y` still has to pass this operation's own ReLU.
    pub masks_own: bool,
    /// The arena of gradients of all that is learned.
    pub gradients: &'a Tensor,
    /// (batch, padded latent): what samples of the latent are made of.
    pub noise: Option<&'a PartedTensor>,
    /// Of the latent: the gradient of the posterior so far.
    pub d_posterior: Option<&'a Tensor>,
}

impl Backward<'_> {
    /// Room for the gradient of an input of this stored shape.
    pub fn room(&self, shape: &[usize]) -> PartedTensor {
        let label = format!("{} d_x", self.label);
        PartedTensor::transient(&label, shape, self.parts, self.storages.gradients)
    }
}

/// A gradient of one input.
pub enum Gradient {
    /// Nobody wants it.
    None,
    /// In memory of its own.
    Own(PartedTensor),
    /// In memory that other gradients share; nothing may change it.
    Shared(PartedTensor),
}

/// An operation with its geometry.
pub trait Recorder {
    /// Stored shapes, for the whole batch, in which it reads its inputs.
    fn inputs(&self) -> Vec<Vec<usize>>;

    /// Stored shape of its output, for the whole batch.
    fn output(&self) -> Vec<usize>;

    /// How it reads the images, if they are its input.
    fn layout(&self) -> Layout {
        Layout::Padded
    }

    /// What its forward pass keeps of windows.
    fn keeps_argmax(&self) -> Argmax {
        Argmax::None
    }

    /// Whether it ends in a ReLU whose gradient the operations that read its output may apply for it.
    fn ends_in_relu(&self) -> bool {
        false
    }

    /// Whether its backward pass may leave the gradient of its fused ReLU to others, see `share_masks` in `model/network.rs`;
    /// `false` is always right.
    fn has_relu(&self) -> bool {
        false
    }

    /// Whether it can apply the gradient of the ReLU that its first input came out of.
    fn can_mask(&self) -> bool {
        false
    }

    /// Records the forward pass; returns the statistics of a normalisation for [`Kept::statistics`]. An argmax goes to
    /// `at.argmax`.
    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor>;

    /// Records the backward pass: writes the gradients of what it learns into `at.gradients`, and returns a gradient for each input,
    /// [`Gradient::None`] where `at.wanted` is false. It may change `at.d_y` unless that is shared.
    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient>;

    /// [`Recorder::forward`] of several shards of a batch.
    fn forward_together(
        &self,
        recording: &mut Recording,
        at: &[Forward<'_>],
    ) -> Vec<Option<Tensor>> {
        at.iter().map(|at| self.forward(recording, at)).collect()
    }

    /// [`Recorder::backward`] of several shards of a batch.
    fn backward_together(
        &self,
        recording: &mut Recording,
        at: &[Backward<'_>],
    ) -> Vec<Vec<Gradient>> {
        at.iter().map(|at| self.backward(recording, at)).collect()
    }

    /// Records what a normalisation makes of the moments that all shards of a batch have left.
    fn join_norms(&self, _recording: &mut Recording, _label: &str, _weights: NetworkArenas<'_>) {}

    /// The matrix product that it is, if it is one, for benchmarks.
    fn product(&self) -> Option<MatrixProduct> {
        None
    }

    /// The cases of its kernels at this very geometry, for checks and benchmarks.
    fn cases(&self) -> Vec<Case>;
}

/// A matrix product with what its kernels do besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixProduct {
    /// Its geometry.
    pub shape: ConvShape,
    /// The convolution whose shifted copies of images it reads.
    pub shifts: Option<ConvShape>,
    /// The max pool that it applies as it stores its results.
    pub pool: Option<PoolShape>,
}

/// A matrix product for the images of a micro-batch.
pub struct Product {
    /// Its geometry.
    pub shape: ConvShape,
    shifts: Option<ConvShape>,
}

impl Product {
    /// The product of shape `shape` with input x, which may be shifted copies of the images of `shifts`.
    pub fn of(shape: &ConvShape, shifts: Option<&ConvShape>, x: &Tensor) -> Self {
        let shifts = shifts.map(|shape| shape.of_images(x));
        Self {
            shape: shifts.map_or_else(|| shape.of_images(x), |shape| shape.as_rows()),
            shifts,
        }
    }

    /// How it finds its inputs.
    pub fn windows(&self) -> Windows<'_> {
        let plain = Windows::Plain(&self.shape);
        self.shifts.as_ref().map_or(plain, Windows::Shifts)
    }
}

/// Consecutive ranges of a tensor of these lengths.
pub fn cut(tensor: &Tensor, lengths: impl Iterator<Item = usize>) -> Vec<Tensor> {
    let mut end = 0;
    let next = |length| {
        end += length;
        tensor.range(end - length..end)
    };
    lengths.map(next).collect()
}
