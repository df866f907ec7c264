//! The forward passes of a network, as recorded dispatches.

use std::ops::Range;

use super::LayerParameters;
use super::activation::Activation;
use super::network::{Inputs, Mode, Network, Op, Pass, Weights};
use crate::gpu::PlanBuilder;
use crate::layer::{
    ConvShape, Epilogue, NORM_STATISTICS, Windows, conv_forward, im2col, max_pool_forward,
    norm_combine, norm_forward, norm_range, norm_running, norm_statistics, reparameterise_forward,
    shifts, upsample_forward,
};
use crate::tensor::{Tensor, pad4};

impl Network {
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
            argmax: Vec::new(),
            d_posterior: None,
        };
        for (i, op) in self.ops.iter().enumerate().take(ops.end).skip(ops.start) {
            let x = pass.last().view(&op.input(), &self.parts);
            let label = format!("{name} x{}", i + 1);
            // What losses read is one tensor.
            let whole = i + 1 == ops.end || i + 1 == self.latent();
            let keep = mode == Mode::Train && op.has_argmax();
            let count = if keep { 2 } else { 1 };
            let outputs = Activation::several(&label, &op.output(), &self.parts, (count, whole));
            let mut outputs = outputs.into_iter();
            let (Some(y), argmax) = (outputs.next(), outputs.next()) else {
                unreachable!()
            };
            let statistics = match op {
                Op::Norm { parameters, .. } => {
                    let layer = &self.parameters.layers[*parameters];
                    Some(self.normalise(plan, layer, &x, weights, mode))
                }
                _ => None,
            };
            for (number, (x, y)) in x.parts().iter().zip(y.parts()).enumerate() {
                match op {
                    Op::Pool { shape, relu } => {
                        let label = format!("{name} pool");
                        let outputs = (y, argmax.as_ref().map(|argmax| argmax.part(number)));
                        max_pool_forward(plan, &label, &shape.of_images(x), x, outputs, *relu);
                    }
                    Op::Upsample { shape } => {
                        let label = format!("{name} upsample");
                        upsample_forward(plan, &label, &shape.of_images(x), x, y);
                    }
                    Op::Latent { size, .. } => {
                        if let Some(noise) = &self.noise {
                            let label = format!("{name} latent");
                            let inputs = [x, noise.part(number)];
                            reparameterise_forward(plan, &label, *size, inputs, y);
                        }
                    }
                    Op::Matrix {
                        shape,
                        shifts,
                        parameters,
                        relu,
                        pool,
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
                        let epilogue = match (pool, relu) {
                            (Some(_), _) => Epilogue::MaxPool {
                                argmax: argmax.as_ref().map(|argmax| argmax.part(number)),
                            },
                            (None, true) => Epilogue::Relu,
                            (None, false) => Epilogue::Linear,
                        };
                        conv_forward(plan, &label, product.windows(), operands, epilogue, y);
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
            pass.argmax.push(argmax);
        }
        pass
    }

    /// Rows of a range that is summed at once, what (splits, 2, channels) ranges are summed into, and that
    /// cut into the parts of the batch.
    pub(super) fn norm_partials(
        &self,
        rows: usize,
        channels: usize,
    ) -> (usize, Tensor, Vec<Tensor>) {
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
pub(super) struct Product {
    pub shape: ConvShape,
    shifts: Option<ConvShape>,
}

impl Product {
    /// That of an [`Op::Matrix`] with input x.
    pub fn of(shape: &ConvShape, shifts: Option<&ConvShape>, x: &Tensor) -> Self {
        let shifts = shifts.map(|shape| shape.of_images(x));
        Self {
            shape: shifts.map_or_else(|| shape.of_images(x), |shape| shape.as_rows()),
            shifts,
        }
    }

    pub fn windows(&self) -> Windows<'_> {
        let plain = Windows::Plain(&self.shape);
        self.shifts.as_ref().map_or(plain, Windows::Shifts)
    }
}

/// Consecutive ranges of a tensor, so long each.
pub(super) fn cut(tensor: &Tensor, lengths: impl Iterator<Item = usize>) -> Vec<Tensor> {
    let mut end = 0;
    let next = |length| {
        end += length;
        tensor.range(end - length..end)
    };
    lengths.map(next).collect()
}
