//! Where everything that is learned lies, and how it starts.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Model;
use crate::gpu::GpuError;
use crate::graph::{INPUT, Shape};
use crate::levels::LevelRule;
use crate::op::ConvShape;
use crate::optimiser::{Muon, MuonLayer, free_exponents};
use crate::quantiser::{INTERCEPT, LayerRanges, Quantiser, SLOPE, Spans, quantise_layer};
use crate::rng::Philox;
use crate::tensor::{ArenaLayout, Tensor, pad4};

/// Where the weights of one convolution or dense layer lie.
#[derive(Clone, Debug)]
pub struct LayerParameters {
    /// The layer's name.
    pub name: String,
    /// The number of its node.
    pub node: usize,
    /// Logical shape of the weights: (outputs, kernel height, kernel width, inputs that one output reads).
    pub shape: [usize; 4],
    /// Stored length of one output's weights.
    stored_row: usize,
    /// Stored length of the inputs of one tap within that.
    stored_inputs: usize,
    weight: usize,
    bias: Option<usize>,
    /// Intercept and slope; none of a layer that stays in float.
    quantiser: Option<usize>,
    /// Whether a batch normalisation follows, so that the size of its weights does not matter.
    normalised: bool,
    /// Whether they are one matrix of a convolution.
    whole: bool,
    /// Whether they are of a dense layer.
    dense: bool,
}

/// Where gamma, beta and the running statistics of one batch normalisation lie.
#[derive(Clone, Debug)]
pub struct NormParameters {
    /// The normalisation's name.
    pub name: String,
    /// The number of its node.
    pub node: usize,
    /// Channels.
    pub channels: usize,
    /// Gamma, with beta right behind it.
    scale: usize,
    /// Running mean and variance, in an arena of their own.
    running: usize,
}

/// The logical numbers of one layer: what [`LayerParameters::values`] takes out of an arena, and
/// [`LayerParameters::place`] puts into one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerValues {
    /// (outputs, kernel height, kernel width, inputs that one output reads)
    pub weights: Vec<f32>,
    /// (outputs), or empty for a layer without a bias
    pub bias: Vec<f32>,
    /// Intercept and slope, or empty for a layer that stays in float
    pub quantiser: Vec<f32>,
}

fn part(arena: &Tensor, offset: usize, shape: Vec<usize>) -> Tensor {
    Tensor {
        buffer: arena.buffer.clone(),
        offset: arena.offset + offset,
        shape,
    }
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

    /// Whether outputs have a bias.
    pub fn has_bias(&self) -> bool {
        self.bias.is_some()
    }

    /// Whether the low-precision network reads its weights as powers of two.
    pub fn is_quantised(&self) -> bool {
        self.quantiser.is_some()
    }

    /// Whether they are one matrix of a convolution, which Muon can learn.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether they are of a convolution in groups of channels, such as a depthwise one.
    pub fn is_grouped(&self) -> bool {
        !self.whole && !self.dense
    }

    /// Whether they are of a dense layer, not of a convolution.
    pub fn is_dense(&self) -> bool {
        self.dense
    }

    /// The place of the stored weights within an arena.
    fn range(&self) -> Range<usize> {
        self.weight..self.weight + self.stored_weights()
    }

    /// The norm that Muon keeps the weights at. Where a normalisation follows, only the rate relative to it matters;
    /// elsewhere it is the one that [`Parameters::initial`] starts with.
    pub fn norm(&self) -> f64 {
        let variance = if self.normalised { 1.0 } else { 2.0 };
        (variance * self.shape[0] as f64).sqrt()
    }

    /// log2 of the usual size of the weights that [`Parameters::initial`] starts with: of normally distributed numbers
    /// x with deviation d the mean of log2 |x| is log2 d - (γ + ln 2) / (2 ln 2), γ = 0.5772 (Euler).
    pub fn centre(&self) -> f32 {
        const BELOW_DEVIATION: f64 = 0.916_404;
        let deviation = (2.0 / self.fan_in() as f64).sqrt();
        (deviation.log2() - BELOW_DEVIATION) as f32
    }

    /// Whether a batch normalisation follows.
    pub fn is_normalised(&self) -> bool {
        self.normalised
    }

    /// The stored weights within an arena: (padded outputs, stored length of a row).
    pub fn weight_of(&self, arena: &Tensor) -> Tensor {
        let shape = vec![pad4(self.shape[0]), self.stored_row];
        part(arena, self.weight, shape)
    }

    /// The bias within an arena: (padded outputs).
    pub fn bias_of(&self, arena: &Tensor) -> Option<Tensor> {
        let shape = vec![pad4(self.shape[0])];
        self.bias.map(|at| part(arena, at, shape))
    }

    /// Weights within an arena, and behind them the bias, if there is one.
    pub fn product_of(&self, arena: &Tensor) -> Tensor {
        let bias = self.bias.map_or(0, |_| pad4(self.shape[0]));
        part(arena, self.weight, vec![self.stored_weights() + bias])
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

    /// The same as `f64`.
    fn wide_weights(&self, arena: &[f32]) -> Vec<f64> {
        self.places().map(|at| f64::from(arena[at])).collect()
    }

    /// The logical bias out of a whole arena's floats; empty without one.
    pub fn bias_values(&self, arena: &[f32]) -> Vec<f32> {
        let values = |at: usize| arena[at..at + self.shape[0]].to_vec();
        self.bias.map(values).unwrap_or_default()
    }

    /// (intercept, slope) out of a whole arena's floats; of a layer that stays in float those that leave
    /// exponents as they are.
    pub fn quantiser_values(&self, arena: &[f32]) -> [f32; 2] {
        let values = |at: usize| [arena[at], arena[at + 1]];
        self.quantiser.map_or([0.0, SLOPE], values)
    }

    /// All logical numbers out of a whole arena's floats.
    pub fn values(&self, arena: &[f32]) -> LayerValues {
        let quantiser = |at: usize| arena[at..at + 2].to_vec();
        LayerValues {
            weights: self.weight_values(arena),
            bias: self.bias_values(arena),
            quantiser: self.quantiser.map(quantiser).unwrap_or_default(),
        }
    }

    /// Puts logical numbers into a whole arena's floats. What is empty stays as it is there; a bias or a quantiser
    /// that the layer does not have is left out.
    pub fn place(&self, arena: &mut [f32], values: &LayerValues) {
        for (at, value) in self.places().zip(&values.weights) {
            arena[at] = *value;
        }
        let mut put = |at: Option<usize>, values: &[f32]| {
            if let Some(at) = at {
                arena[at..at + values.len()].copy_from_slice(values);
            }
        };
        put(self.bias, &values.bias);
        put(self.quantiser, &values.quantiser);
    }
}

impl NormParameters {
    /// Gamma and beta within an arena: (2, padded channels).
    pub fn parameters_of(&self, arena: &Tensor) -> Tensor {
        part(arena, self.scale, vec![2, pad4(self.channels)])
    }

    /// Mean and variance within an arena of running statistics: (2, padded channels).
    pub fn running_of(&self, arena: &Tensor) -> Tensor {
        part(arena, self.running, vec![2, pad4(self.channels)])
    }

    /// What `shards` shards of a batch say of it, within an arena of as many times the floats of running statistics:
    /// (shards, 2, padded channels).
    pub fn moments_of(&self, arena: &Tensor, shards: usize) -> Tensor {
        let shape = vec![shards, 2, pad4(self.channels)];
        part(arena, shards * self.running, shape)
    }

    fn pair(&self, arena: &[f32], at: usize) -> [Vec<f32>; 2] {
        [at, at + pad4(self.channels)].map(|at| arena[at..at + self.channels].to_vec())
    }

    fn put_pair(&self, arena: &mut [f32], at: usize, values: [&[f32]; 2]) {
        for (at, values) in [at, at + pad4(self.channels)].into_iter().zip(values) {
            arena[at..at + values.len()].copy_from_slice(values);
        }
    }

    /// Gamma and beta out of a whole arena's floats.
    pub fn values(&self, arena: &[f32]) -> [Vec<f32>; 2] {
        self.pair(arena, self.scale)
    }

    /// Puts gamma and beta into a whole arena's floats.
    pub fn place(&self, arena: &mut [f32], gamma: &[f32], beta: &[f32]) {
        self.put_pair(arena, self.scale, [gamma, beta]);
    }

    /// Mean and variance (2, channels) out of a whole arena of running statistics.
    pub fn running_values(&self, arena: &[f32]) -> Vec<f32> {
        self.pair(arena, self.running).concat()
    }

    /// Puts mean and variance (2, channels) into a whole arena of running statistics.
    pub fn place_running(&self, arena: &mut [f32], values: &[f32]) {
        let (mean, variance) = values.split_at(self.channels);
        self.put_pair(arena, self.running, [mean, variance]);
    }
}

/// Layers of which only the slope pays for bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlopesPay {
    /// None.
    #[default]
    None,
    /// Those whose weights Muon learns.
    Matrices,
    /// All.
    All,
}

/// How layers pay for their bits.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    /// Of which layers only the slope pays, not the weights in extreme exponents.
    pub slopes_pay: SlopesPay,
    /// Target bits of layers that have their own.
    pub bits: BTreeMap<String, u32>,
    /// While all layers together fit in, none pays.
    pub budget: Option<BitBudget>,
}

/// A number of bits for the weights of all layers together.
#[derive(Clone, Debug)]
pub struct BitBudget {
    /// Bits.
    pub bits: f32,
    /// Weights of each quantised layer.
    pub weights: Vec<usize>,
}

/// The layout of a model's arenas: weights and biases of all layers, one behind the other, then gammas and betas, then
/// intercepts and slopes.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// Layers with weights, in the order of the graph.
    pub layers: Vec<LayerParameters>,
    /// Batch normalisations, in the order of the graph.
    pub norms: Vec<NormParameters>,
    /// Shared by the arenas of weights, gradients and moments.
    pub layout: ArenaLayout,
    /// First float of gammas and betas: before it lie weights and biases.
    pub scales: usize,
    /// First float of the quantisers.
    pub quantisers: usize,
    /// The layout of the running statistics of batch normalisations; each network has its own.
    pub running: ArenaLayout,
    /// How the low-precision network reads weights.
    pub quantiser: Quantiser,
}

impl Parameters {
    /// Places everything a model learns.
    pub fn new(model: &Model) -> Self {
        let shapes = model.shapes();
        let mut parameters = Self {
            layers: Vec::new(),
            norms: Vec::new(),
            layout: ArenaLayout::default(),
            scales: 0,
            quantisers: 0,
            running: ArenaLayout::default(),
            quantiser: model.quantiser,
        };
        let (readers, places) = (model.graph.readers(), model.graph.places());
        for (number, node) in model.graph.nodes.iter().enumerate() {
            let input = shapes[node.inputs[0]];
            let operation = node.op.operation();
            if operation.weights(input).is_some() {
                let normalised = match readers[number + 1][..] {
                    [next] => model.graph.nodes[next]
                        .op
                        .operation()
                        .normalises(shapes[number + 1])
                        .is_some(),
                    _ => false,
                };
                let images = places[node.inputs[0]] == INPUT;
                parameters.add_layer(number, node, (input, images), normalised);
            }
            if let Some(channels) = operation.normalises(input) {
                parameters.add_norm(number, node.name.clone(), channels);
            }
        }
        parameters.scales = parameters.layout.len();
        for norm in &mut parameters.norms {
            norm.scale = parameters.layout.reserve(&[2, pad4(norm.channels)]);
        }
        parameters.quantisers = parameters.layout.len();
        for layer in &mut parameters.layers {
            if layer.quantiser.is_some() {
                layer.quantiser = Some(parameters.layout.reserve(&[4]));
            }
        }
        parameters
    }

    fn add_layer(
        &mut self,
        number: usize,
        node: &crate::graph::Node,
        (input, images): (Shape, bool),
        normalised: bool,
    ) {
        let Some(weights) = node.op.operation().weights(input) else {
            return;
        };
        let [outputs, height, width, inputs] = weights.shape;
        let images = images && reads_rows(input.channels, height * width);
        let (stored_row, stored_inputs) = match images || weights.rows {
            true => (pad4(height * width * inputs), inputs),
            false => (height * width * pad4(inputs), pad4(inputs)),
        };
        let stored = pad4(outputs);
        self.layers.push(LayerParameters {
            name: node.name.clone(),
            node: number,
            shape: weights.shape,
            stored_row,
            stored_inputs,
            weight: self.layout.reserve(&[stored, stored_row]),
            bias: weights.bias.then(|| self.layout.reserve(&[stored])),
            quantiser: weights.quantise.then_some(0),
            normalised,
            whole: weights.whole,
            dense: !weights.whole && !weights.rows,
        });
    }

    fn add_norm(&mut self, number: usize, name: String, channels: usize) {
        let stored = pad4(channels);
        self.norms.push(NormParameters {
            name,
            node: number,
            channels,
            scale: 0,
            running: self.running.reserve(&[2, stored]),
        });
    }

    /// The weights of a node.
    pub fn layer_of(&self, node: usize) -> Option<&LayerParameters> {
        self.layers.iter().find(|layer| layer.node == node)
    }

    /// The gamma and beta of a node.
    pub fn norm_of(&self, node: usize) -> Option<&NormParameters> {
        self.norms.iter().find(|norm| norm.node == node)
    }

    /// Layers whose weights the low-precision network reads as powers of two.
    pub fn quantised(&self) -> impl Iterator<Item = &LayerParameters> {
        self.layers.iter().filter(|layer| layer.is_quantised())
    }

    /// Fresh parameters of a seed: weights normal with variance 2 / fan-in (He et al. 2015),
    /// gammas one, biases and betas zero, intercepts and slopes as the quantiser starts them.
    pub fn initial(&self, seed: u64) -> Vec<f32> {
        let mut arena = vec![0.0; pad4(self.layout.len())];
        for (number, layer) in self.layers.iter().enumerate() {
            let rng = Philox::new(seed, number as u64);
            let deviation = (2.0 / layer.fan_in() as f64).sqrt();
            let mut weights = vec![0.0; layer.weights()];
            rng.fill_normal(&mut weights, deviation);
            let values = LayerValues {
                weights,
                ..LayerValues::default()
            };
            layer.place(&mut arena, &values);
        }
        self.start_quantisers(&mut arena);
        for norm in &self.norms {
            norm.place(&mut arena, &vec![1.0; norm.channels], &[]);
        }
        arena
    }

    /// Puts what layers learn besides their weights where the quantiser starts it for these weights.
    pub fn start_quantisers(&self, arena: &mut [f32]) {
        let method = self.quantiser.method();
        for layer in &self.layers {
            let Some(at) = layer.quantiser else {
                continue;
            };
            let start = match &method {
                None => [INTERCEPT, SLOPE],
                Some(method) => method.start(&layer.wide_weights(arena)).map(|v| v as f32),
            };
            arena[at..at + 2].copy_from_slice(&start);
        }
    }

    /// Puts the centres of slopes where the optimiser finds them, behind every intercept and slope. They are no part of what
    /// is learned, and files do not hold them.
    pub(crate) fn put_centres(&self, arena: &mut [f32], centred: bool) {
        let centred = centred && self.quantiser.is_gtc();
        for layer in &self.layers {
            if let Some(at) = layer.quantiser {
                arena[at + 2] = if centred { layer.centre() } else { 0.0 };
            }
        }
    }

    /// Q(w) of a layer in logical order, decided in `f64`; of one that stays in float its weights.
    pub fn quantised_values(&self, layer: &LayerParameters, arena: &[f32]) -> Vec<f64> {
        let weights = layer.wide_weights(arena);
        if !layer.is_quantised() {
            return weights;
        }
        let learned = layer.quantiser_values(arena);
        match self.quantiser.method() {
            Some(method) => quantise_layer(&*method, &weights, learned.map(f64::from)),
            None => {
                let rule = LevelRule::new(learned);
                weights.iter().map(|w| rule.value(*w)).collect()
            }
        }
    }

    /// Running statistics before the first batch: means zero, variances one.
    pub fn initial_running(&self) -> Vec<f32> {
        let mut arena = vec![0.0; self.running.len().max(4)];
        for norm in &self.norms {
            let (mean, variance) = (vec![0.0; norm.channels], vec![1.0; norm.channels]);
            norm.place_running(&mut arena, &[mean, variance].concat());
        }
        arena
    }

    /// Intercepts and slopes within an arena: (quantised layers, 4).
    pub fn quantisers_of(&self, arena: &Tensor) -> Tensor {
        part(arena, self.quantisers, vec![self.quantised().count(), 4])
    }

    /// The matrices that Muon learns: those of convolutions over all channels.
    pub fn muon(&self) -> Muon {
        let matrices = self.layers.iter().filter(|layer| layer.whole);
        let matrix = |layer: &LayerParameters| MuonLayer {
            weights: layer.range(),
            rows: pad4(layer.shape[0]),
            norm: layer.norm(),
        };
        Muon {
            layers: matrices.map(matrix).collect(),
        }
    }

    /// How the quantiser's workgroups share an arena: the weights of quantised layers, and what lies between,
    /// before and behind them, which both networks share.
    pub fn spans(&self, prices: &Prices) -> Spans {
        let layers: Vec<LayerRanges> = self
            .quantised()
            .map(|layer| LayerRanges {
                weights: layer.range(),
                normalised: layer.normalised,
                slope_pays: match prices.slopes_pay {
                    SlopesPay::None => false,
                    SlopesPay::Matrices => layer.whole,
                    SlopesPay::All => true,
                },
                free_exponents: prices
                    .bits
                    .get(&layer.name)
                    .map(|bits| free_exponents(*bits)),
            })
            .collect();
        let starts = layers
            .iter()
            .map(|layer| layer.weights.start)
            .chain([self.quantisers]);
        let ends = [0]
            .into_iter()
            .chain(layers.iter().map(|layer| layer.weights.end));
        let shared: Vec<_> = ends.zip(starts).map(|(end, start)| end..start).collect();
        let spans = Spans::new(&layers, &shared);
        match self.quantiser {
            Quantiser::Gtc => spans,
            _ => spans.counting(self.quantised().map(LayerParameters::weights)),
        }
    }

    /// Logical weights of all layers.
    pub fn weights(&self) -> usize {
        self.layers.iter().map(LayerParameters::weights).sum()
    }
}

/// Whether a layer that reads the images runs on rows of windows (see `im2col`): images are uploaded
/// without padding, and one or three channels would waste most of a vec4.
fn reads_rows(channels: usize, taps: usize) -> bool {
    !channels.is_multiple_of(4) && taps > 1
}

/// The same for a layer of this geometry.
pub(crate) fn uses_rows(shape: &ConvShape) -> bool {
    reads_rows(
        shape.input_channels,
        shape.kernel_height * shape.kernel_width,
    )
}

/// The most images x rows x columns of a layer: what kernels divide exactly, see
/// `shaders/shared/divide.wgsl`.
pub(crate) const MOST_POSITIONS: usize = 1 << 22;

/// Rows x columns of an image in the value that has most.
pub(crate) fn positions(model: &Model) -> usize {
    let most = model.shapes().iter().map(Shape::pixels).max();
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
