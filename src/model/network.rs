//! One model for one batch size: its passes as recorded dispatches.

use std::ops::Range;

use super::parameters::{shapes, uses_rows};
use super::{Layer, LayerParameters, Model, Parameters};
use crate::gpu::PlanBuilder;
use crate::layer::{
    ConvShape, NORM_STATISTICS, PoolShape, UpsampleShape, bias_backward, bias_splits,
    conv_backward_input, conv_backward_weight, conv_forward, im2col, max_pool_backward,
    max_pool_forward, norm_backward, norm_backward_sums, norm_combine, norm_forward,
    norm_gradients, norm_running, norm_splits, norm_statistics, relu_backward,
    reparameterise_backward, reparameterise_forward, sum_partials, upsample_backward,
    upsample_forward,
};
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
        parameters: usize,
        relu: bool,
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
    fn input(&self) -> Vec<usize> {
        match self {
            Op::Matrix { shape, .. } => shape.x().to_vec(),
            Op::Norm { shape, .. } => shape.to_vec(),
            Op::Pool { shape, .. } => shape.x().to_vec(),
            Op::Upsample { shape } => shape.x().to_vec(),
            Op::Latent { batch, size } => vec![*batch, pad4(2 * size)],
        }
    }

    /// Stored shape of what comes out.
    fn output(&self) -> Vec<usize> {
        match self {
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
    ops: Vec<Op>,
    parameters: Parameters,
    /// How the first layer's windows become rows, where they do.
    windows: Option<ConvShape>,
    classes: usize,
    /// (batch, padded latent): what samples of the latent are made of.
    noise: Option<Tensor>,
}

/// What the forward pass of a network leaves for the backward pass. The plan that both are
/// recorded in decides where it lies.
pub struct Pass {
    /// Input of each op, then the logits.
    activations: Vec<Tensor>,
    /// Statistics of each op that is a normalisation.
    statistics: Vec<Option<Tensor>>,
    /// Of an auto-encoder, what the divergence says of the posterior: the backward pass adds to it.
    pub(crate) d_posterior: Option<Tensor>,
}

impl Pass {
    /// What the last op reads.
    pub(crate) fn penultimate(&self) -> &Tensor {
        &self.activations[self.activations.len().saturating_sub(2)]
    }

    /// (batch, padded classes)
    pub fn logits(&self) -> &Tensor {
        &self.activations[self.activations.len() - 1]
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
                    let relu = matches!(ops.last(), Some(Op::Matrix { relu: true, .. }));
                    let shape = PoolShape {
                        batch,
                        input_height: shape.input_height,
                        input_width: shape.input_width,
                        channels: shape.input_channels,
                        size,
                    };
                    ops.push(Op::Pool { shape, relu });
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
            ops.push(Op::Matrix {
                shape,
                parameters,
                relu: relu && !norm,
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
        Self {
            ops,
            parameters: Parameters::new(model),
            windows,
            classes: model.classes,
            noise: None,
        }
    }

    /// Says where an auto-encoder finds the noise of its samples, (batch, padded latent).
    pub fn with_noise(mut self, noise: Tensor) -> Self {
        self.noise = Some(noise);
        self
    }

    /// The place of the latent among the ops: encoders end before it, decoders start after it.
    fn latent(&self) -> usize {
        let at = self
            .ops
            .iter()
            .position(|op| matches!(op, Op::Latent { .. }));
        at.unwrap_or(self.ops.len())
    }

    /// Means and log variances of a pass of an auto-encoder.
    pub fn posterior<'p>(&self, pass: &'p Pass) -> Option<&'p Tensor> {
        let at = self.latent();
        (at < self.ops.len()).then(|| &pass.activations[at])
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

    /// Lays out what both networks read of the batch, and returns it.
    pub fn prepare(&self, plan: &mut PlanBuilder<'_>, inputs: &Inputs) -> Tensor {
        match &self.windows {
            None => inputs.images.view(&self.ops[0].input()),
            Some(shape) if shape.rows_are_images() => inputs.images.view(&self.ops[0].input()),
            Some(shape) => {
                let rows = Tensor::transient("rows", &self.ops[0].input());
                im2col(plan, "input", shape, &inputs.images, &rows);
                rows
            }
        }
    }

    /// From what [`Network::prepare`] made to the logits.
    pub fn forward(
        &self,
        plan: &mut PlanBuilder<'_>,
        input: &Tensor,
        weights: Weights<'_>,
        mode: Mode,
    ) -> Pass {
        self.pass_through(plan, 0..self.ops.len(), input, weights, mode)
    }

    /// The encoder alone: from what [`Network::prepare`] made to the posterior.
    pub fn encode(
        &self,
        plan: &mut PlanBuilder<'_>,
        input: &Tensor,
        weights: Weights<'_>,
    ) -> Tensor {
        let ops = 0..self.latent();
        let pass = self.pass_through(plan, ops, input, weights, Mode::Test);
        pass.logits().clone()
    }

    /// The decoder alone: from latents (batch, padded latent) to the logits.
    pub fn decode(
        &self,
        plan: &mut PlanBuilder<'_>,
        latents: &Tensor,
        weights: Weights<'_>,
    ) -> Tensor {
        let ops = self.latent() + 1..self.ops.len();
        let pass = self.pass_through(plan, ops, latents, weights, Mode::Test);
        pass.logits().clone()
    }

    fn pass_through(
        &self,
        plan: &mut PlanBuilder<'_>,
        ops: Range<usize>,
        input: &Tensor,
        weights: Weights<'_>,
        mode: Mode,
    ) -> Pass {
        let name = weights.name;
        let mut pass = Pass {
            activations: vec![input.clone()],
            statistics: Vec::new(),
            d_posterior: None,
        };
        for (i, op) in self.ops.iter().enumerate().take(ops.end).skip(ops.start) {
            let x = pass.logits().view(&op.input());
            let y = Tensor::transient(&format!("{name} x{}", i + 1), &op.output());
            let mut statistics = None;
            match op {
                Op::Pool { shape, .. } => {
                    max_pool_forward(plan, &format!("{name} pool"), shape, &x, &y);
                }
                Op::Upsample { shape } => {
                    upsample_forward(plan, &format!("{name} upsample"), shape, &x, &y);
                }
                Op::Latent { size, .. } => {
                    if let Some(noise) = &self.noise {
                        let label = format!("{name} latent");
                        reparameterise_forward(plan, &label, *size, [&x, noise], &y);
                    }
                }
                Op::Matrix {
                    shape,
                    parameters,
                    relu,
                } => {
                    let layer = &self.parameters.layers[*parameters];
                    let w = layer.weight_of(weights.weights).view(&shape.w());
                    let bias = if layer.has_norm() {
                        weights.zeros.clone()
                    } else {
                        layer.bias_of(weights.biases)
                    };
                    let label = format!("{name} {}", layer.name);
                    conv_forward(plan, &label, shape, [&x, &w, &bias], *relu, &y);
                }
                Op::Norm {
                    parameters, relu, ..
                } => {
                    let layer = &self.parameters.layers[*parameters];
                    let found = normalise(plan, layer, &x, weights, mode);
                    let label = format!("{name} {}", layer.name);
                    norm_forward(plan, &label, [&x, &found], *relu, &y);
                    statistics = Some(found);
                }
            }
            pass.activations.push(y);
            pass.statistics.push(statistics);
        }
        pass
    }

    /// From the gradient of the logits to the gradients of all weights, written to the arena
    /// `d_weights`, and of all biases, γ and β, written or added to the arena `d_biases`.
    pub fn backward(
        &self,
        plan: &mut PlanBuilder<'_>,
        pass: &Pass,
        weights: Weights<'_>,
        d_logits: &Tensor,
        d_weights: &Tensor,
        (d_biases, accumulate): (&Tensor, bool),
    ) {
        let mut d_y = d_logits.clone();
        for (i, op) in self.ops.iter().enumerate().rev() {
            d_y = d_y.view(&op.output());
            let x = pass.activations[i].view(&op.input());
            let d_x = Tensor::transient(&format!("{} d_x{i}", weights.name), &op.input());
            match op {
                Op::Pool { shape, relu } => {
                    let label = format!("{} pool", weights.name);
                    max_pool_backward(plan, &label, shape, [&x, &d_y], *relu, &d_x);
                }
                Op::Upsample { shape } => {
                    let label = format!("{} upsample", weights.name);
                    upsample_backward(plan, &label, shape, &d_y, &d_x);
                }
                Op::Latent { size, .. } => {
                    if let (Some(noise), Some(d_posterior)) = (&self.noise, &pass.d_posterior) {
                        let label = format!("{} latent", weights.name);
                        let inputs = [&x, noise, &d_y];
                        reparameterise_backward(plan, &label, *size, inputs, d_posterior);
                        d_y = d_posterior.clone();
                        continue;
                    }
                }
                Op::Norm {
                    parameters, relu, ..
                } => {
                    let layer = &self.parameters.layers[*parameters];
                    let label = format!("{} {}", weights.name, layer.name);
                    if let (Some(statistics), Some(gradients)) =
                        (&pass.statistics[i], layer.norm_of(d_biases))
                    {
                        let splits = norm_splits(op.input()[0]);
                        let channels = op.input()[1];
                        let partial = Tensor::transient("partial", &[splits, 2, channels]);
                        let sums = Tensor::transient("sums", &[2, channels]);
                        let inputs = [&x, &d_y, statistics];
                        norm_backward_sums(plan, &label, inputs, *relu, splits, &partial);
                        let (inputs, outputs) = ([&partial, statistics], [&sums, &gradients]);
                        norm_gradients(plan, &label, inputs, splits, accumulate, outputs);
                        let inputs = [&x, &d_y, statistics, &sums];
                        norm_backward(plan, &label, inputs, *relu, &d_x);
                    }
                }
                Op::Matrix {
                    shape,
                    parameters,
                    relu,
                } => {
                    let layer = &self.parameters.layers[*parameters];
                    let label = format!("{} {}", weights.name, layer.name);
                    // Pools and products take the gradient of a ReLU before them along.
                    let along = matches!(
                        self.ops.get(i + 1),
                        Some(Op::Pool { .. } | Op::Matrix { .. })
                    );
                    if *relu && !along {
                        let y = pass.activations[i + 1].view(&op.output());
                        relu_backward(plan, &label, &y, &d_y);
                    }
                    let d_w = layer.weight_of(d_weights).view(&shape.w());
                    let mut sums = Vec::new();
                    sums.extend(weight_gradient(plan, &label, shape, [&d_y, &x], &d_w));
                    if !layer.has_norm() {
                        let d_bias = layer.bias_of(d_biases);
                        sums.extend(bias_gradient(plan, &label, &d_y, accumulate, &d_bias));
                    }
                    if i > 0 {
                        let w = layer.weight_of(weights.weights).view(&shape.w());
                        let relu = matches!(self.ops[i - 1], Op::Matrix { relu: true, .. });
                        conv_backward_input(plan, &label, shape, [&d_y, &w, &x], relu, &d_x);
                    }
                    // Last, so that all of a layer's results are mirrored at once.
                    for sum in sums {
                        sum_partials(plan, &label, &sum.partial, sum.accumulate, &sum.total);
                    }
                }
            }
            d_y = d_x;
        }
    }
}

/// Records the statistics (5, channels) that normalise x (rows, channels).
fn normalise(
    plan: &mut PlanBuilder<'_>,
    layer: &LayerParameters,
    x: &Tensor,
    weights: Weights<'_>,
    mode: Mode,
) -> Tensor {
    let label = format!("{} {}", weights.name, layer.name);
    let (rows, channels) = (x.shape[0], x.shape[1]);
    let statistics = Tensor::transient("statistics", &[NORM_STATISTICS, channels]);
    let (Some(parameters), Some(running)) = (
        layer.norm_of(weights.biases),
        layer.running_of(weights.running),
    ) else {
        return statistics;
    };
    let round = weights.round_norm;
    match mode {
        Mode::Test => norm_running(plan, &label, [&running, &parameters], round, &statistics),
        Mode::Train => {
            let splits = norm_splits(rows);
            let partial = Tensor::transient("partial", &[splits, 2, channels]);
            norm_statistics(plan, &label, x, splits, &partial);
            let (inputs, outputs) = ([&partial, &parameters], [&statistics, &running]);
            norm_combine(plan, &label, inputs, (rows, splits), round, outputs);
        }
    }
    statistics
}

/// A sum that is left to do: of `partial` (splits, total), perhaps on top of what `total` holds.
struct PartialSum {
    partial: Tensor,
    accumulate: bool,
    total: Tensor,
}

fn weight_gradient(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    shape: &ConvShape,
    operands: [&Tensor; 2],
    d_w: &Tensor,
) -> Option<PartialSum> {
    let splits = shape.weight_splits(plan.gpu().path());
    if splits == 1 {
        conv_backward_weight(plan, label, shape, operands, 1, d_w);
        return None;
    }
    let partial = Tensor::transient("partial", &[splits, d_w.len()]);
    conv_backward_weight(plan, label, shape, operands, splits, &partial);
    Some(PartialSum {
        partial,
        accumulate: false,
        total: d_w.clone(),
    })
}

fn bias_gradient(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    d_y: &Tensor,
    accumulate: bool,
    d_bias: &Tensor,
) -> Option<PartialSum> {
    let splits = bias_splits(d_y.len() / d_bias.len());
    if splits == 1 && !accumulate {
        bias_backward(plan, label, d_y, 1, d_bias);
        return None;
    }
    let partial = Tensor::transient("partial", &[splits, d_bias.len()]);
    bias_backward(plan, label, d_y, splits, &partial);
    Some(PartialSum {
        partial,
        accumulate,
        total: d_bias.clone(),
    })
}
