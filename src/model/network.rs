//! One model for one batch size: its activations in memory, its passes as recorded dispatches.

use super::parameters::{shapes, uses_rows};
use super::{Layer, LayerParameters, Model, Parameters};
use crate::gpu::{Gpu, GpuError, PlanBuilder};
use crate::layer::{
    ConvShape, PoolShape, bias_backward, bias_splits, conv_backward_input, conv_backward_weight,
    conv_forward, im2col, max_pool_backward, max_pool_forward, relu_backward, sum_partials,
};
use crate::tensor::{Tensor, pad4};

/// What a batch is uploaded into.
pub struct Inputs {
    /// (batch * height * width * channels), channels not padded.
    pub images: Tensor,
    /// (batch, padded classes), one-hot; zero rows are padding.
    pub labels: Tensor,
}

/// Which arenas one pass reads weights from and writes gradients to.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// Weights, or their quantised values.
    pub weights: &'a Tensor,
    /// The arena of the biases, shared by both networks.
    pub biases: &'a Tensor,
}

enum Op {
    /// `parameters` indexes [`Parameters::layers`].
    Matrix {
        shape: ConvShape,
        parameters: usize,
        relu: bool,
    },
    Pool {
        shape: PoolShape,
        /// Whether its input came out of a ReLU, whose gradient it then takes along.
        relu: bool,
    },
}

/// Activations and scratch of one batch size. Both networks of a step use them in turn.
pub struct Network {
    ops: Vec<Op>,
    parameters: Parameters,
    /// Input of each op, then the logits.
    activations: Vec<Tensor>,
    /// Gradients of the same, where anything asks for them.
    gradients: Vec<Option<Tensor>>,
    rows: Option<(ConvShape, Tensor)>,
    partial: Tensor,
    classes: usize,
}

impl Network {
    /// Allocates everything a batch needs; `training` adds the gradients.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] when a tensor exceeds one binding.
    pub fn new(gpu: &Gpu, model: &Model, batch: usize, training: bool) -> Result<Self, GpuError> {
        let parameters = Parameters::new(model);
        let mut ops = Vec::new();
        let mut rows = None;
        let mut activations = Vec::new();
        let mut names = 0;
        let mut after_relu = false;
        for (layer, shape) in shapes(model, batch) {
            let first = ops.is_empty();
            let (op, input) = match layer {
                Layer::MaxPool { size } => {
                    let shape = PoolShape {
                        batch,
                        input_height: shape.input_height,
                        input_width: shape.input_width,
                        channels: shape.input_channels,
                        size: *size,
                    };
                    let relu = std::mem::take(&mut after_relu);
                    (Op::Pool { shape, relu }, shape.x().to_vec())
                }
                Layer::Conv { relu, .. } | Layer::Dense { relu, .. } => {
                    let shape = if first && uses_rows(&shape) {
                        let laid_out = shape.as_rows();
                        let tensor = Tensor::new(gpu, "rows", &laid_out.x())?;
                        rows = Some((shape, tensor));
                        laid_out
                    } else if matches!(layer, Layer::Dense { .. }) {
                        let inputs =
                            shape.input_height * shape.input_width * pad4(shape.input_channels);
                        ConvShape::dense(batch, inputs, shape.output_channels)
                    } else {
                        shape
                    };
                    let parameters = names;
                    names += 1;
                    after_relu = *relu;
                    let relu = *relu;
                    (
                        Op::Matrix {
                            shape,
                            parameters,
                            relu,
                        },
                        shape.x().to_vec(),
                    )
                }
            };
            activations.push(match &rows {
                Some((_, tensor)) if first => tensor.clone(),
                _ => Tensor::new(gpu, &format!("x{}", ops.len()), &input)?,
            });
            ops.push(op);
        }
        let width = pad4(model.classes);
        activations.push(Tensor::new(gpu, "logits", &[batch, width])?);
        let mut gradients: Vec<Option<Tensor>> = vec![None; activations.len()];
        if training {
            for (i, activation) in activations.iter().enumerate().skip(1) {
                gradients[i] = Some(Tensor::new(gpu, &format!("d_x{i}"), &activation.shape)?);
            }
        }
        let partial = ops.iter().map(|op| match op {
            Op::Matrix { shape, .. } if training => {
                let [outputs, height, width, inputs] = shape.w();
                let splits = shape.weight_splits(gpu.path());
                let y = shape.y();
                let bias = bias_splits(y[0] * y[1] * y[2]) * outputs;
                (splits * outputs * height * width * inputs).max(bias)
            }
            _ => 4,
        });
        let partial = Tensor::new(gpu, "partial", &[partial.max().unwrap_or(4)])?;
        Ok(Self {
            ops,
            parameters,
            activations,
            gradients,
            rows,
            partial,
            classes: model.classes,
        })
    }

    /// (batch, padded classes)
    pub fn logits(&self) -> &Tensor {
        &self.activations[self.ops.len()]
    }

    /// Gradient of the logits, for the loss to write.
    pub fn d_logits(&self) -> Option<&Tensor> {
        self.gradients[self.ops.len()].as_ref()
    }

    /// Outputs that mean something.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Lays out what both networks read of the batch.
    pub fn prepare(&self, plan: &mut PlanBuilder<'_>, inputs: &Inputs) {
        if let Some((shape, rows)) = &self.rows {
            im2col(plan, "input", shape, &inputs.images, rows);
        }
    }

    fn input<'a>(&'a self, inputs: &'a Inputs, op: usize) -> &'a Tensor {
        if op == 0 && self.rows.is_none() {
            &inputs.images
        } else {
            &self.activations[op]
        }
    }

    fn layer(&self, op: usize) -> Option<(&ConvShape, &LayerParameters, bool)> {
        match &self.ops[op] {
            Op::Matrix {
                shape,
                parameters,
                relu,
            } => Some((shape, &self.parameters.layers[*parameters], *relu)),
            Op::Pool { .. } => None,
        }
    }

    /// Logits from the inputs. `network` is HP or LP, for the listing.
    pub fn forward(
        &self,
        plan: &mut PlanBuilder<'_>,
        network: &str,
        inputs: &Inputs,
        weights: Weights<'_>,
    ) {
        for op in 0..self.ops.len() {
            let x = self.input(inputs, op);
            let y = self.output(op);
            match &self.ops[op] {
                Op::Pool { shape, .. } => {
                    max_pool_forward(plan, &format!("{network} pool"), shape, x, &y);
                }
                Op::Matrix {
                    shape,
                    parameters,
                    relu,
                } => {
                    let layer = &self.parameters.layers[*parameters];
                    let w = layer.weight_of(weights.weights).view(&shape.w());
                    let bias = layer.bias_of(weights.biases);
                    let label = format!("{network} {}", layer.name);
                    conv_forward(plan, &label, shape, [x, &w, &bias], *relu, &y);
                }
            }
        }
    }

    /// The output of an op in that op's own shape; the next one may see it flattened.
    fn output(&self, op: usize) -> Tensor {
        self.shaped(op, &self.activations[op + 1])
    }

    fn shaped(&self, op: usize, tensor: &Tensor) -> Tensor {
        match &self.ops[op] {
            Op::Pool { shape, .. } => tensor.view(&shape.y()),
            Op::Matrix { shape, .. } => tensor.view(&shape.y()),
        }
    }

    /// From the gradient of the logits to the gradients of all weights, written to the arena
    /// `d_weights`, and of all biases, written or added to the arena `d_biases`.
    pub fn backward(
        &self,
        plan: &mut PlanBuilder<'_>,
        network: &str,
        inputs: &Inputs,
        weights: Weights<'_>,
        d_weights: &Tensor,
        (d_biases, accumulate): (&Tensor, bool),
    ) {
        for op in (0..self.ops.len()).rev() {
            let Some(d_y) = &self.gradients[op + 1] else {
                continue;
            };
            let d_y = self.shaped(op, d_y);
            let x = self.input(inputs, op);
            let d_x = self.gradients[op].as_ref();
            if let (Op::Pool { shape, relu }, Some(d_x)) = (&self.ops[op], d_x) {
                let label = format!("{network} pool");
                max_pool_backward(plan, &label, shape, [x, &d_y], *relu, d_x);
            }
            let Some((shape, layer, relu)) = self.layer(op) else {
                continue;
            };
            let label = format!("{network} {}", layer.name);
            let pooled = matches!(self.ops.get(op + 1), Some(Op::Pool { .. }));
            if relu && !pooled {
                relu_backward(plan, &label, &self.output(op), &d_y);
            }
            let d_w = layer.weight_of(d_weights).view(&shape.w());
            let splits = shape.weight_splits(plan.gpu().path());
            if splits == 1 {
                conv_backward_weight(plan, &label, shape, [&d_y, x], 1, &d_w);
            } else {
                let partial = self.partial_of(splits * d_w.len());
                conv_backward_weight(plan, &label, shape, [&d_y, x], splits, &partial);
                sum_partials(plan, &label, &partial, splits, false, &d_w);
            }
            let bias = layer.bias_of(d_biases);
            let [batch, height, width, _] = shape.y();
            let splits = bias_splits(batch * height * width);
            let partial = self.partial_of(splits * bias.len());
            bias_backward(plan, &label, &d_y, splits, &partial);
            sum_partials(plan, &label, &partial, splits, accumulate, &bias);
            if let Some(d_x) = d_x {
                let w = layer.weight_of(weights.weights).view(&shape.w());
                let d_x = d_x.view(&shape.x());
                conv_backward_input(plan, &label, shape, [&d_y, &w], &d_x);
            }
        }
    }

    fn partial_of(&self, floats: usize) -> Tensor {
        Tensor {
            shape: vec![floats],
            ..self.partial.clone()
        }
    }
}
