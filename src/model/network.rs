//! One model for one batch size: its passes as recorded dispatches.

use std::ops::Range;

use super::activation::{Activation, Parts};
use super::parameters::{MOST_POSITIONS, positions, shapes, uses_rows};
use super::{Layer, LayerParameters, Model, Parameters};
use crate::gpu::{Gpu, PlanBuilder};
use crate::layer::{
    ConvShape, NORM_STATISTICS, PoolShape, UpsampleShape, Windows, conv_backward_input,
    conv_backward_weight, conv_forward, im2col, max_pool_backward, max_pool_forward, norm_backward,
    norm_backward_sums, norm_combine, norm_forward, norm_gradients, norm_range, norm_running,
    norm_statistics, relu_backward, reparameterise_backward, reparameterise_forward, shifts,
    sum_partials, upsample_backward, upsample_forward,
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
        /// The convolution that it is, where it reads what `shifts` made of the images.
        shifts: Option<ConvShape>,
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
    parts: Parts,
    /// Numbers of the largest activation of an image, and its positions in the layer that has most.
    largest: [usize; 2],
    /// (batch, padded latent): what samples of the latent are made of.
    noise: Option<Tensor>,
}

/// What the forward pass of a network leaves for the backward pass. The plan that both are
/// recorded in decides where it lies.
pub struct Pass {
    /// Input of each op, then the logits.
    activations: Vec<Activation>,
    /// Statistics of each op that is a normalisation.
    statistics: Vec<Option<Tensor>>,
    /// Of an auto-encoder, what the divergence says of the posterior: the backward pass adds to it.
    pub(crate) d_posterior: Option<Tensor>,
}

impl Pass {
    /// What the last op reads.
    pub(crate) fn penultimate(&self) -> &Activation {
        &self.activations[self.activations.len().saturating_sub(2)]
    }

    fn last(&self) -> &Activation {
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
            let first = windows.filter(|_| ops.is_empty());
            ops.push(Op::Matrix {
                shape,
                shifts: first.filter(ConvShape::has_shifts),
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
        let numbers = ops.iter().flat_map(|op| [op.input(), op.output()]);
        let numbers = numbers.map(|shape| shape.iter().product::<usize>() / batch);
        Self {
            largest: [numbers.max().unwrap_or(1), positions(model)],
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

    /// Lays out what both networks read of the batch, and returns it.
    pub fn prepare(&self, plan: &mut PlanBuilder<'_>, inputs: &Inputs) -> Activation {
        let rows = self.ops[0].input();
        let Some(shape) = self.windows.filter(|shape| !shape.rows_are_images()) else {
            return Activation::whole(&inputs.images.view(&rows), &self.parts);
        };
        let rows = Activation::transient("windows", &rows, &self.parts);
        let record = if shape.has_shifts() { shifts } else { im2col };
        self.lay_out(plan, ("input", record), &shape, &inputs.images, &rows);
        rows
    }

    /// The images as outputs are laid out, (batch, height, width, padded channels).
    pub fn targets(
        &self,
        plan: &mut PlanBuilder<'_>,
        inputs: &Inputs,
        [height, width, channels]: [usize; 3],
    ) -> Tensor {
        let shape = ConvShape {
            input_height: height,
            input_width: width,
            ..ConvShape::dense(self.parts.batch(), channels, channels)
        };
        let padded = Tensor::transient("padded images", &self.output());
        let rows = Activation::whole(&padded, &self.parts);
        self.lay_out(plan, ("images", im2col), &shape, &inputs.images, &rows);
        padded
    }

    /// Records what makes windows of images, for every part.
    fn lay_out(
        &self,
        plan: &mut PlanBuilder<'_>,
        (label, record): (&str, LayOut),
        shape: &ConvShape,
        images: &Tensor,
        rows: &Activation,
    ) {
        let image = shape.input_height * shape.input_width * shape.input_channels;
        for (range, rows) in self.parts.ranges().iter().zip(rows.parts()) {
            let images = Tensor {
                offset: images.offset + range.start * image,
                shape: vec![pad4(range.len() * image)],
                ..images.clone()
            };
            let shape = ConvShape {
                batch: range.len(),
                ..*shape
            };
            record(plan, label, &shape, &images, rows);
        }
    }

    /// From what [`Network::prepare`] made to the logits.
    pub fn forward(
        &self,
        plan: &mut PlanBuilder<'_>,
        input: &Activation,
        weights: Weights<'_>,
        mode: Mode,
    ) -> Pass {
        self.pass_through(plan, 0..self.ops.len(), input, weights, mode)
    }

    /// The encoder alone: from what [`Network::prepare`] made to the posterior.
    pub fn encode(
        &self,
        plan: &mut PlanBuilder<'_>,
        input: &Activation,
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
        let latents = Activation::whole(latents, &self.parts);
        let pass = self.pass_through(plan, ops, &latents, weights, Mode::Test);
        pass.logits().clone()
    }

    fn pass_through(
        &self,
        plan: &mut PlanBuilder<'_>,
        ops: Range<usize>,
        input: &Activation,
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
            let x = pass.last().view(&op.input(), &self.parts);
            let label = format!("{name} x{}", i + 1);
            // What losses read is one tensor.
            let y = if i + 1 == ops.end || i + 1 == self.latent() {
                Activation::whole(&Tensor::transient(&label, &op.output()), &self.parts)
            } else {
                Activation::transient(&label, &op.output(), &self.parts)
            };
            let statistics = match op {
                Op::Norm { parameters, .. } => {
                    let layer = &self.parameters.layers[*parameters];
                    Some(self.normalise(plan, layer, &x, weights, mode))
                }
                _ => None,
            };
            for ((x, y), range) in x.parts().iter().zip(y.parts()).zip(self.parts.ranges()) {
                match op {
                    Op::Pool { shape, .. } => {
                        let shape = PoolShape {
                            batch: range.len(),
                            ..*shape
                        };
                        max_pool_forward(plan, &format!("{name} pool"), &shape, x, y);
                    }
                    Op::Upsample { shape } => {
                        let shape = UpsampleShape {
                            batch: range.len(),
                            ..*shape
                        };
                        upsample_forward(plan, &format!("{name} upsample"), &shape, x, y);
                    }
                    Op::Latent { size, .. } => {
                        if let Some(noise) = &self.noise {
                            let label = format!("{name} latent");
                            let noise = noise.range(range.clone());
                            reparameterise_forward(plan, &label, *size, [x, &noise], y);
                        }
                    }
                    Op::Matrix {
                        shape,
                        shifts,
                        parameters,
                        relu,
                    } => {
                        let layer = &self.parameters.layers[*parameters];
                        let product = Product::of(shape, shifts.as_ref(), x);
                        let w = layer.weight_of(weights.weights).view(&shape.w());
                        let bias = if layer.has_norm() {
                            weights.zeros.clone()
                        } else {
                            layer.bias_of(weights.biases)
                        };
                        let label = format!("{name} {}", layer.name);
                        let operands = [x, &w, &bias];
                        conv_forward(plan, &label, product.windows(), operands, *relu, y);
                    }
                    Op::Norm {
                        parameters, relu, ..
                    } => {
                        if let Some(statistics) = &statistics {
                            let layer = &self.parameters.layers[*parameters];
                            let label = format!("{name} {}", layer.name);
                            norm_forward(plan, &label, [x, statistics], *relu, y);
                        }
                    }
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
        let parts = &self.parts;
        let mut d_y = Activation::whole(&d_logits.view(&self.output()), parts);
        for (i, op) in self.ops.iter().enumerate().rev() {
            d_y = d_y.view(&op.output(), parts);
            let x = pass.activations[i].view(&op.input(), parts);
            let d_x = match (op, &pass.d_posterior) {
                (Op::Latent { .. }, Some(d_posterior)) => Activation::whole(d_posterior, parts),
                _ => {
                    let label = format!("{} d_x{i}", weights.name);
                    Activation::transient(&label, &op.input(), parts)
                }
            };
            let pieces = x.parts().iter().zip(d_y.parts()).zip(d_x.parts());
            let pieces: Vec<Piece<'_>> = pieces
                .zip(parts.ranges())
                .map(|(((x, d_y), d_x), range)| Piece {
                    x,
                    d_y,
                    d_x,
                    range: range.clone(),
                })
                .collect();
            match op {
                Op::Pool { shape, relu } => {
                    let label = format!("{} pool", weights.name);
                    for piece in &pieces {
                        let shape = PoolShape {
                            batch: piece.range.len(),
                            ..*shape
                        };
                        let inputs = [piece.x, piece.d_y];
                        max_pool_backward(plan, &label, &shape, inputs, *relu, piece.d_x);
                    }
                }
                Op::Upsample { shape } => {
                    let label = format!("{} upsample", weights.name);
                    for piece in &pieces {
                        let shape = UpsampleShape {
                            batch: piece.range.len(),
                            ..*shape
                        };
                        upsample_backward(plan, &label, &shape, piece.d_y, piece.d_x);
                    }
                }
                Op::Latent { size, .. } => {
                    let label = format!("{} latent", weights.name);
                    for (piece, noise) in pieces.iter().zip(self.noise.iter().cycle()) {
                        let noise = noise.range(piece.range.clone());
                        let inputs = [piece.x, &noise, piece.d_y];
                        reparameterise_backward(plan, &label, *size, inputs, piece.d_x);
                    }
                }
                Op::Norm {
                    parameters, relu, ..
                } => {
                    let layer = &self.parameters.layers[*parameters];
                    if let (Some(statistics), Some(gradients)) =
                        (&pass.statistics[i], layer.norm_of(d_biases))
                    {
                        let label = format!("{} {}", weights.name, layer.name);
                        let [rows, channels] = [op.input()[0], op.input()[1]];
                        let (range, partial, cuts) = self.norm_partials(rows, channels);
                        for (piece, partial) in pieces.iter().zip(cuts) {
                            let inputs = [piece.x, piece.d_y, statistics];
                            norm_backward_sums(plan, &label, inputs, *relu, range, &partial);
                        }
                        let splits = partial.shape[0];
                        let sums = Tensor::transient("sums", &[2, channels]);
                        let (inputs, outputs) = ([&partial, statistics], [&sums, &gradients]);
                        norm_gradients(plan, &label, inputs, splits, accumulate, outputs);
                        for piece in &pieces {
                            let inputs = [piece.x, piece.d_y, statistics, &sums];
                            norm_backward(plan, &label, inputs, *relu, rows, piece.d_x);
                        }
                    }
                }
                Op::Matrix {
                    shape,
                    shifts,
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
                        let y = pass.activations[i + 1].view(&op.output(), parts);
                        for (y, piece) in y.parts().iter().zip(&pieces) {
                            relu_backward(plan, &label, y, piece.d_y);
                        }
                    }
                    let arenas = (d_weights, d_biases, accumulate);
                    let products = pieces.iter().map(|piece| {
                        let product = Product::of(shape, shifts.as_ref(), piece.x);
                        (product, [piece.d_y, piece.x])
                    });
                    let products: Vec<_> = products.collect();
                    let sums = weight_gradient(plan, &label, &products, layer, arenas);
                    if i > 0 {
                        let w = layer.weight_of(weights.weights).view(&shape.w());
                        let relu = matches!(self.ops[i - 1], Op::Matrix { relu: true, .. });
                        for piece in &pieces {
                            let shape = shape.of_images(piece.x);
                            let inputs = [piece.d_y, &w, piece.x];
                            conv_backward_input(plan, &label, &shape, inputs, relu, piece.d_x);
                        }
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

    /// Rows of a range that is summed at once, what (splits, 2, channels) ranges are summed into, and that
    /// cut into the parts of the batch.
    fn norm_partials(&self, rows: usize, channels: usize) -> (usize, Tensor, Vec<Tensor>) {
        let range = norm_range(rows, self.parts.rows(rows));
        let partial = Tensor::transient("partial", &[rows.div_ceil(range), 2, channels]);
        let of_image = rows / self.parts.batch();
        let parts = self.parts.ranges().iter();
        let lengths = parts.map(|part| (part.len() * of_image).div_ceil(range));
        let cuts = cut(&partial, lengths);
        (range, partial, cuts)
    }

    /// Records the statistics (5, channels) that normalise x (rows, channels).
    fn normalise(
        &self,
        plan: &mut PlanBuilder<'_>,
        layer: &LayerParameters,
        x: &Activation,
        weights: Weights<'_>,
        mode: Mode,
    ) -> Tensor {
        let label = format!("{} {}", weights.name, layer.name);
        let channels = x.part(0).shape[1];
        let rows = x.parts().iter().map(|x| x.shape[0]).sum();
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
                let (range, partial, cuts) = self.norm_partials(rows, channels);
                for (x, partial) in x.parts().iter().zip(cuts) {
                    norm_statistics(plan, &label, x, range, &partial);
                }
                let (inputs, outputs) = ([&partial, &parameters], [&statistics, &running]);
                norm_combine(plan, &label, inputs, (rows, range), round, outputs);
            }
        }
        statistics
    }
}

/// A layer that makes windows of images.
type LayOut = fn(&mut PlanBuilder<'_>, &str, &ConvShape, &Tensor, &Tensor);

/// A product for the images of a part.
struct Product {
    shape: ConvShape,
    shifts: Option<ConvShape>,
}

impl Product {
    /// That of an [`Op::Matrix`] with input x.
    fn of(shape: &ConvShape, shifts: Option<&ConvShape>, x: &Tensor) -> Self {
        let shifts = shifts.map(|shape| shape.of_images(x));
        Self {
            shape: shifts.map_or_else(|| shape.of_images(x), |shape| shape.as_rows()),
            shifts,
        }
    }

    fn windows(&self) -> Windows<'_> {
        let plain = Windows::Plain(&self.shape);
        self.shifts.as_ref().map_or(plain, Windows::Shifts)
    }
}

/// What a backward pass reads and writes for the images in `range`.
struct Piece<'a> {
    x: &'a Tensor,
    d_y: &'a Tensor,
    d_x: &'a Tensor,
    range: Range<usize>,
}

/// Consecutive ranges of a tensor, so long each.
fn cut(tensor: &Tensor, lengths: impl Iterator<Item = usize>) -> Vec<Tensor> {
    let mut end = 0;
    let next = |length| {
        end += length;
        tensor.range(end - length..end)
    };
    lengths.map(next).collect()
}

/// A sum that is left to do: of `partial` (splits, total), perhaps on top of what `total` holds.
struct PartialSum {
    partial: Tensor,
    accumulate: bool,
    total: Tensor,
}

/// The gradients of a layer's weights and bias, and what is left to be summed. `accumulate` is about the
/// bias.
fn weight_gradient(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    products: &[(Product, [&Tensor; 2])],
    layer: &LayerParameters,
    (d_weights, d_biases, accumulate): (&Tensor, &Tensor, bool),
) -> Vec<PartialSum> {
    let path = plan.gpu().path();
    let splits_of = |product: &Product| product.shape.weight_splits(path);
    let splits: usize = products.iter().map(|(product, _)| splits_of(product)).sum();
    let (d_w, d_bias) = (layer.weight_of(d_weights), layer.bias_of(d_biases));
    let [weights, biases] = [d_w.len(), if layer.has_norm() { 0 } else { d_bias.len() }];
    let (partial, partial_bias) = match splits {
        // The arena of the weights has a place for the bias too.
        1 => (
            d_w.view(&[1, weights]),
            layer.bias_of(d_weights).view(&[1, d_bias.len()]),
        ),
        _ => {
            let both = Tensor::transient("partial", &[splits * (weights + biases)]);
            let parts = [0..splits * weights, splits * weights..both.len()];
            let [partial, bias] = parts.map(|range| both.range(range));
            (
                partial.view(&[splits, weights]),
                bias.view(&[splits, biases]),
            )
        }
    };
    let lengths = || products.iter().map(|(product, _)| splits_of(product));
    let cuts = cut(&partial, lengths())
        .into_iter()
        .zip(cut(&partial_bias, lengths()));
    for ((product, operands), (partial, bias)) in products.iter().zip(cuts) {
        let (windows, splits) = (product.windows(), splits_of(product));
        let outputs = (&partial, (biases > 0).then_some(&bias));
        conv_backward_weight(plan, label, windows, *operands, splits, outputs);
    }
    let mut sums = Vec::new();
    if splits > 1 {
        sums.push(PartialSum {
            partial,
            accumulate: false,
            total: d_w,
        });
    }
    let in_place = splits == 1 && !accumulate && d_weights.buffer.same(&d_biases.buffer);
    if biases > 0 && !in_place {
        sums.push(PartialSum {
            partial: partial_bias,
            accumulate,
            total: d_bias,
        });
    }
    sums
}
