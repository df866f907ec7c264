//! Where everything that is learned lies, and how it starts.

use super::{Layer, Model};
use crate::gpu::GpuError;
use crate::layer::ConvShape;
use crate::quantiser::{INTERCEPT, LayerRanges, SLOPE, Spans};
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
    /// γ of a batch normalisation, which lies right before β, its bias.
    scale: Option<usize>,
    bias: usize,
    quantiser: usize,
    /// Running mean and variance, in an arena of their own.
    running: Option<usize>,
}

/// The logical numbers of one layer, for [`LayerParameters::place`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LayerValues<'a> {
    /// (outputs, kernel height, kernel width, inputs)
    pub weights: &'a [f32],
    /// γ (outputs), of a layer with batch normalisation
    pub scale: &'a [f32],
    /// Bias or β (outputs)
    pub bias: &'a [f32],
    /// Intercept and slope
    pub quantiser: &'a [f32],
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

    /// Whether a batch normalisation follows.
    pub fn has_norm(&self) -> bool {
        self.scale.is_some()
    }

    /// γ and β within an arena: (2, padded outputs).
    pub fn norm_of(&self, arena: &Tensor) -> Option<Tensor> {
        let shape = vec![2, pad4(self.shape[0])];
        self.scale.map(|at| Self::part(arena, at, shape))
    }

    /// Mean and variance within an arena of running statistics: (2, padded outputs).
    pub fn running_of(&self, arena: &Tensor) -> Option<Tensor> {
        let shape = vec![2, pad4(self.shape[0])];
        self.running.map(|at| Self::part(arena, at, shape))
    }

    /// Weights and the bias behind them within an arena; of a layer with batch normalisation the weights alone.
    pub fn product_of(&self, arena: &Tensor) -> Tensor {
        let bias = if self.has_norm() {
            0
        } else {
            pad4(self.shape[0])
        };
        Self::part(arena, self.weight, vec![self.stored_weights() + bias])
    }

    fn ranges(&self) -> LayerRanges {
        let end = self.weight + self.stored_weights();
        debug_assert_eq!(end, self.scale.unwrap_or(self.bias), "one behind the other");
        LayerRanges {
            weights: self.weight..end,
            shared: end..self.bias + pad4(self.shape[0]),
            normalised: self.has_norm(),
        }
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

    /// γ out of a whole arena's floats; empty without batch normalisation.
    pub fn scale_values(&self, arena: &[f32]) -> Vec<f32> {
        let values = |at| arena[at..at + self.shape[0]].to_vec();
        self.scale.map(values).unwrap_or_default()
    }

    /// Mean and variance (2, outputs) out of a whole arena of running statistics.
    pub fn running_values(&self, arena: &[f32]) -> Vec<f32> {
        let outputs = self.shape[0];
        let values = |at: usize| {
            let variance = at + pad4(outputs);
            [
                &arena[at..at + outputs],
                &arena[variance..variance + outputs],
            ]
            .concat()
        };
        self.running.map(values).unwrap_or_default()
    }

    /// Puts mean and variance (2, outputs) into a whole arena of running statistics.
    pub fn place_running(&self, arena: &mut [f32], values: &[f32]) {
        if let Some(at) = self.running {
            let (mean, variance) = values.split_at(self.shape[0]);
            arena[at..at + mean.len()].copy_from_slice(mean);
            let at = at + pad4(self.shape[0]);
            arena[at..at + variance.len()].copy_from_slice(variance);
        }
    }

    /// (intercept, slope) out of a whole arena's floats.
    pub fn quantiser_values(&self, arena: &[f32]) -> [f32; 2] {
        [arena[self.quantiser], arena[self.quantiser + 1]]
    }

    /// Puts logical numbers into a whole arena's floats.
    pub fn place(&self, arena: &mut [f32], values: &LayerValues<'_>) {
        for (at, value) in self.places().zip(values.weights) {
            arena[at] = *value;
        }
        let mut put = |at: usize, values: &[f32]| {
            arena[at..at + values.len()].copy_from_slice(values);
        };
        if let Some(at) = self.scale {
            put(at, values.scale);
        }
        put(self.bias, values.bias);
        put(self.quantiser, values.quantiser);
    }
}

/// The layout of a model's arenas: weights, γ and bias of each layer one behind the other, then all quantisers.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Layers with parameters, in order.
    pub layers: Vec<LayerParameters>,
    /// Shared by the arenas of weights, gradients and moments.
    pub layout: ArenaLayout,
    /// First float of the quantisers.
    pub quantisers: usize,
    /// The layout of the running statistics of batch normalisations; each network has its own.
    pub running: ArenaLayout,
}

impl Parameters {
    /// Places everything a model learns.
    pub fn new(model: &Model) -> Self {
        let mut layout = ArenaLayout::default();
        let mut running = ArenaLayout::default();
        let mut layers = Vec::new();
        for (number, (layer, shape)) in shapes(model, 1).into_iter().enumerate() {
            let (name, norm) = match layer {
                Layer::Conv { name, norm, .. } | Layer::Dense { name, norm, .. } => (*name, *norm),
                Layer::MaxPool { .. }
                | Layer::Upsample { .. }
                | Layer::Reshape { .. }
                | Layer::Latent { .. } => continue,
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
                scale: norm.then(|| layout.reserve(&[pad4(logical[0])])),
                bias: layout.reserve(&[pad4(logical[0])]),
                quantiser: 0,
                running: norm.then(|| running.reserve(&[2, pad4(logical[0])])),
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
            running,
        }
    }

    /// Fresh parameters of a seed: weights normal with variance 2 / fan-in (He et al. 2015),
    /// γ one, biases zero, intercepts and slopes as SPEC section 1 starts them.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut arena = vec![0.0; pad4(self.layout.len())];
        for (number, layer) in self.layers.iter().enumerate() {
            let rng = Philox::new(seed, number as u64);
            let deviation = (2.0 / layer.fan_in() as f64).sqrt();
            let mut weights = vec![0.0; layer.weights()];
            rng.fill_normal(&mut weights, deviation);
            let values = LayerValues {
                weights: &weights,
                scale: &vec![1.0; layer.shape[0]],
                bias: &[],
                quantiser: &[INTERCEPT, SLOPE],
            };
            layer.place(&mut arena, &values);
        }
        arena
    }

    /// Running statistics before the first batch: means zero, variances one.
    pub fn initial_running(&self) -> Vec<f32> {
        let mut arena = vec![0.0; self.running.len().max(4)];
        for layer in &self.layers {
            let outputs = layer.shape[0];
            layer.place_running(
                &mut arena,
                &[vec![0.0; outputs], vec![1.0; outputs]].concat(),
            );
        }
        arena
    }

    /// Intercepts and slopes within an arena: (layers, 4).
    pub fn quantisers_of(&self, arena: &Tensor) -> Tensor {
        LayerParameters::part(arena, self.quantisers, vec![self.layers.len(), 4])
    }

    /// How the quantiser's workgroups share an arena.
    pub fn spans(&self) -> Spans {
        let ranges: Vec<_> = self.layers.iter().map(LayerParameters::ranges).collect();
        Spans::new(&ranges)
    }

    /// Logical weights of all layers.
    pub fn weights(&self) -> usize {
        self.layers.iter().map(LayerParameters::weights).sum()
    }
}

/// Whether a model's first layer runs on rows of windows (see `im2col`): images are uploaded
/// without padding, and one or three channels would waste most of a texel.
pub(crate) fn uses_rows(shape: &ConvShape) -> bool {
    !shape.input_channels.is_multiple_of(4) && shape.kernel_height * shape.kernel_width > 1
}

/// The most images x rows x columns of a layer: what kernels divide exactly, see
/// `shaders/shared/divide.wgsl`.
pub(crate) const MOST_POSITIONS: usize = 1 << 22;

/// Rows x columns of an image in the layer that has most.
pub(crate) fn positions(model: &Model) -> usize {
    let sides = |s: &ConvShape| {
        let outputs = s.output_height() * s.output_width();
        (s.input_height * s.input_width).max(outputs)
    };
    let most = shapes(model, 1).iter().map(|(_, shape)| sides(shape)).max();
    most.unwrap_or(1)
}

/// Refuses a batch whose positions kernels cannot count.
pub(crate) fn check_positions(model: &Model, batch: usize) -> Result<(), GpuError> {
    let (positions, limit) = (positions(model) * batch, MOST_POSITIONS);
    if positions > limit {
        return Err(GpuError::TooManyPositions { positions, limit });
    }
    Ok(())
}

/// Every layer with its geometry; of a layer without weights only the input side means anything.
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
                padding: [padding, padding],
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
                padding: [0, 0],
            },
            Layer::Upsample { .. } | Layer::Reshape { .. } | Layer::Latent { .. } => ConvShape {
                batch,
                input_height: height,
                input_width: width,
                input_channels: channels,
                output_channels: channels,
                kernel_height: 1,
                kernel_width: 1,
                stride: 1,
                padding: [0, 0],
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
                padding: [0, 0],
            },
        };
        (height, width, channels) = match *layer {
            Layer::Upsample { size } => (height * size, width * size, channels),
            Layer::Latent { size } => (1, 1, size),
            Layer::Reshape {
                height: rows,
                width: columns,
            } => (rows, columns, height * width * channels / (rows * columns)),
            Layer::Conv { .. } | Layer::MaxPool { .. } | Layer::Dense { .. } => (
                shape.output_height(),
                shape.output_width(),
                shape.output_channels,
            ),
        };
        result.push((layer, shape));
    }
    result
}
