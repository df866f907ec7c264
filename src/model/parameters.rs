//! Where everything that is learned lies, and how it starts.

use super::{Layer, Model};
use crate::layer::ConvShape;
use crate::quantiser::{INTERCEPT, SLOPE};
use crate::rng::Philox;
use crate::tensor::{ArenaLayout, Tensor, pad4};

/// The parameters of one convolution or dense layer.
#[derive(Clone, Debug)]
pub struct LayerParameters {
    /// The layer's name.
    pub name: &'static str,
    /// Logical shape of the weights: (outputs, kernel height, kernel width, inputs).
    pub shape: [usize; 4],
    /// Stored length of one output's weights, and of a row of inputs within it.
    stored_row: usize,
    stored_inputs: usize,
    weight: usize,
    bias: usize,
    quantiser: usize,
}

impl LayerParameters {
    /// Logical weights.
    pub fn weights(&self) -> usize {
        self.shape.iter().product()
    }

    /// Inputs of one output.
    pub fn fan_in(&self) -> usize {
        self.shape[1..].iter().product()
    }

    /// Stored floats of the weights, padding included.
    pub fn stored_weights(&self) -> usize {
        pad4(self.shape[0]) * self.stored_row
    }

    fn part(arena: &Tensor, offset: usize, shape: Vec<usize>) -> Tensor {
        Tensor {
            buffer: arena.buffer.clone(),
            offset: arena.offset + offset,
            shape,
        }
    }

    /// The stored weights within an arena: (padded outputs, stored length of a row).
    pub fn weight_of(&self, arena: &Tensor) -> Tensor {
        Self::part(
            arena,
            self.weight,
            vec![pad4(self.shape[0]), self.stored_row],
        )
    }

    /// The bias within an arena: (padded outputs).
    pub fn bias_of(&self, arena: &Tensor) -> Tensor {
        Self::part(arena, self.bias, vec![pad4(self.shape[0])])
    }

    /// Intercept and slope within an arena: (4).
    pub fn quantiser_of(&self, arena: &Tensor) -> Tensor {
        Self::part(arena, self.quantiser, vec![4])
    }

    /// Stored position of every logical weight, in logical order.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let [outputs, height, width, inputs] = self.shape;
        (0..outputs).flat_map(move |o| {
            (0..height * width).flat_map(move |tap| {
                let first = self.weight + o * self.stored_row + tap * self.stored_inputs;
                first..first + inputs
            })
        })
    }

    /// The logical weights out of a whole arena's floats.
    pub fn weight_values(&self, arena: &[f32]) -> Vec<f32> {
        self.places().map(|at| arena[at]).collect()
    }

    /// The logical bias out of a whole arena's floats.
    pub fn bias_values(&self, arena: &[f32]) -> Vec<f32> {
        arena[self.bias..self.bias + self.shape[0]].to_vec()
    }

    /// (intercept, slope) out of a whole arena's floats.
    pub fn quantiser_values(&self, arena: &[f32]) -> [f32; 2] {
        [arena[self.quantiser], arena[self.quantiser + 1]]
    }

    /// Puts logical weights, bias, intercept and slope into a whole arena's floats.
    pub fn place(&self, arena: &mut [f32], weights: &[f32], bias: &[f32], quantiser: &[f32]) {
        for (at, value) in self.places().zip(weights) {
            arena[at] = *value;
        }
        arena[self.bias..self.bias + bias.len()].copy_from_slice(bias);
        arena[self.quantiser..self.quantiser + quantiser.len()].copy_from_slice(quantiser);
    }
}

/// The layout of a model's arenas: weights and biases of each layer, then all quantisers.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Layers with parameters, in order.
    pub layers: Vec<LayerParameters>,
    /// Shared by the arenas of weights, gradients and moments.
    pub layout: ArenaLayout,
    /// First float of the quantisers.
    pub quantisers: usize,
}

impl Parameters {
    /// Places everything a model learns.
    pub fn new(model: &Model) -> Self {
        let mut layout = ArenaLayout::default();
        let mut layers = Vec::new();
        for (number, (layer, shape)) in shapes(model, 1).into_iter().enumerate() {
            let name = match layer {
                Layer::Conv { name, .. } | Layer::Dense { name, .. } => *name,
                Layer::MaxPool { .. } => continue,
            };
            let logical = [
                shape.output_channels,
                shape.kernel_height,
                shape.kernel_width,
                shape.input_channels,
            ];
            let window: usize = logical[1..].iter().product();
            let (stored_row, stored_inputs) = if number == 0 && uses_rows(&shape) {
                (pad4(window), logical[3])
            } else {
                let inputs = pad4(logical[3]);
                (logical[1] * logical[2] * inputs, inputs)
            };
            layers.push(LayerParameters {
                name,
                shape: logical,
                stored_row,
                stored_inputs,
                weight: layout.reserve(&[pad4(logical[0]), stored_row]),
                bias: layout.reserve(&[pad4(logical[0])]),
                quantiser: 0,
            });
        }
        let quantisers = layout.len();
        for layer in &mut layers {
            layer.quantiser = layout.reserve(&[4]);
        }
        Self {
            layers,
            layout,
            quantisers,
        }
    }

    /// Fresh parameters of a seed: weights normal with variance 2 / fan-in (He et al. 2015),
    /// biases zero, intercepts and slopes as SPEC section 1 starts them.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut arena = vec![0.0; pad4(self.layout.len())];
        for (number, layer) in self.layers.iter().enumerate() {
            let mut rng = Philox::new(seed, number as u64);
            let deviation = (2.0 / layer.fan_in() as f64).sqrt();
            let weights: Vec<f32> = (0..layer.weights())
                .map(|_| (deviation * rng.normal()) as f32)
                .collect();
            layer.place(&mut arena, &weights, &[], &[INTERCEPT, SLOPE]);
        }
        arena
    }

    /// Logical weights of all layers.
    pub fn weights(&self) -> usize {
        self.layers.iter().map(LayerParameters::weights).sum()
    }
}

/// Whether a model's first layer runs on rows of windows (see `im2col`): images are uploaded
/// without padding, and one or three channels would waste most of a texel.
pub(super) fn uses_rows(shape: &ConvShape) -> bool {
    !shape.input_channels.is_multiple_of(4) && shape.kernel_height * shape.kernel_width > 1
}

/// Every layer with its geometry; of a pooling layer only the input side means anything.
pub(crate) fn shapes(model: &Model, batch: usize) -> Vec<(&Layer, ConvShape)> {
    let [mut height, mut width, mut channels] = model.input;
    let mut result = Vec::new();
    for layer in &model.layers {
        let shape = match *layer {
            Layer::Conv {
                outputs,
                kernel,
                stride,
                padding,
                ..
            } => ConvShape {
                batch,
                input_height: height,
                input_width: width,
                input_channels: channels,
                output_channels: outputs,
                kernel_height: kernel,
                kernel_width: kernel,
                stride,
                padding,
            },
            Layer::MaxPool { size } => ConvShape {
                batch,
                input_height: height,
                input_width: width,
                input_channels: channels,
                output_channels: channels,
                kernel_height: size,
                kernel_width: size,
                stride: size,
                padding: 0,
            },
            // The kernel covers the whole image, so the weights keep its geometry.
            Layer::Dense { outputs, .. } => ConvShape {
                batch,
                input_height: height,
                input_width: width,
                input_channels: channels,
                output_channels: outputs,
                kernel_height: height,
                kernel_width: width,
                stride: 1,
                padding: 0,
            },
        };
        (height, width, channels) = (
            shape.output_height(),
            shape.output_width(),
            shape.output_channels,
        );
        result.push((layer, shape));
    }
    result
}
