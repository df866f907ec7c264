//! The whole trainer in plain loops and `f64`, for networks small enough to wait for: what
//! [`crate::train::Trainer`] must do, step by step.

use super::{
    adam, bias_backward, conv_backward_input, conv_backward_weight, conv_forward, levels,
    levels_backward, max_pool_backward, max_pool_forward, norm_backward, norm_backward_sums,
    norm_combine, norm_forward, norm_gradients, norm_statistics, quantiser_backward,
    quantiser_forward, relu_backward, softmax_cross_entropy,
};
use crate::layer::{ConvShape, PoolShape};
use crate::model::{Layer, Model, Parameters, shapes};
use crate::tensor::pad4;
use crate::train::{Objective, TrainOptions};

/// Weights, bias, intercept and slope of a layer, or anything parallel to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerTrace {
    /// Logical weights (outputs, kernel height, kernel width, inputs).
    pub weights: Vec<f64>,
    /// γ (outputs) of a layer with batch normalisation, else empty.
    pub scale: Vec<f64>,
    /// (outputs)
    pub bias: Vec<f64>,
    /// Intercept and slope.
    pub quantiser: [f64; 2],
}

/// What one step came to.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTrace {
    /// Mean cross entropy of HP with the labels, before the step; zero where it does not learn.
    pub hp_loss: f64,
    /// Mean cross entropy of LP with HP's probabilities, or where HP does not learn with the labels, before the step.
    pub lp_loss: f64,
    /// Sum of 2^bits, before the step.
    pub bit_loss: f64,
    /// Gradients of everything.
    pub gradients: Vec<LayerTrace>,
    /// Everything after the step.
    pub parameters: Vec<LayerTrace>,
    /// Running mean and variance (2, outputs) of HP's and LP's layers after the step; empty without
    /// batch normalisation.
    pub running: [Vec<Vec<f64>>; 2],
}

enum Op {
    Matrix {
        shape: ConvShape,
        relu: bool,
    },
    /// Belongs to the matrix before it; the stored channels.
    Norm {
        channels: usize,
        relu: bool,
    },
    Pool(PoolShape),
}

/// What a forward pass leaves.
struct Pass {
    /// The input of every op, then the logits.
    activations: Vec<Vec<f64>>,
    /// Of every op that is a normalisation.
    statistics: Vec<Vec<f64>>,
}

impl Pass {
    fn logits(&self) -> &[f64] {
        &self.activations[self.activations.len() - 1]
    }
}

/// Trains HP and LP together (objective `gtc`).
pub struct PlainTrainer {
    ops: Vec<Op>,
    classes: usize,
    options: TrainOptions,
    total_steps: u64,
    step: u64,
    parameters: Vec<LayerTrace>,
    running: [Vec<Vec<f64>>; 2],
    first: Vec<LayerTrace>,
    second: Vec<LayerTrace>,
}

/// Stored weights of a layer out of logical ones: channels padded with zeros.
fn store(shape: &ConvShape, logical: &[f64]) -> Vec<f64> {
    let [_, height, width, stored_inputs] = shape.w();
    let taps = height * width;
    let mut stored = vec![0.0; shape.w().iter().product()];
    for (i, value) in logical.iter().enumerate() {
        let (row, input) = (i / shape.input_channels, i % shape.input_channels);
        let (output, tap) = (row / taps, row % taps);
        stored[(output * taps + tap) * stored_inputs + input] = *value;
    }
    stored
}

/// The inverse of [`store`].
fn unstore(shape: &ConvShape, stored: &[f64]) -> Vec<f64> {
    let [_, height, width, stored_inputs] = shape.w();
    let rows = shape.output_channels * height * width;
    (0..rows * shape.input_channels)
        .map(|i| stored[i / shape.input_channels * stored_inputs + i % shape.input_channels])
        .collect()
}

fn padded(values: &[f64]) -> Vec<f64> {
    let mut padded = values.to_vec();
    padded.resize(pad4(values.len()), 0.0);
    padded
}

impl PlainTrainer {
    /// Starts from the same parameters as the engine does with these options.
    pub fn new(model: &Model, options: TrainOptions, total_steps: u64) -> Self {
        let layout = Parameters::new(model);
        let arena = layout.initial(options.seed);
        let wide = |v: Vec<f32>| v.into_iter().map(f64::from).collect::<Vec<f64>>();
        let parameters: Vec<LayerTrace> = layout
            .layers
            .iter()
            .map(|layer| LayerTrace {
                weights: wide(layer.weight_values(&arena)),
                scale: wide(layer.scale_values(&arena)),
                bias: wide(layer.bias_values(&arena)),
                quantiser: layer.quantiser_values(&arena).map(f64::from),
            })
            .collect();
        let zero: Vec<LayerTrace> = parameters
            .iter()
            .map(|p| LayerTrace {
                weights: vec![0.0; p.weights.len()],
                scale: vec![0.0; p.scale.len()],
                bias: vec![0.0; p.bias.len()],
                quantiser: [0.0; 2],
            })
            .collect();
        let mut ops = Vec::new();
        for (layer, shape) in shapes(model, options.batch_size) {
            match layer {
                Layer::MaxPool { size } => ops.push(Op::Pool(PoolShape {
                    batch: shape.batch,
                    input_height: shape.input_height,
                    input_width: shape.input_width,
                    channels: shape.input_channels,
                    size: *size,
                })),
                Layer::Upsample { .. } | Layer::Reshape { .. } | Layer::Latent { .. } => {
                    unimplemented!("the plain trainer has classifiers only")
                }
                Layer::Conv { norm, relu, .. } | Layer::Dense { norm, relu, .. } => {
                    let (norm, relu) = (*norm, *relu);
                    ops.push(Op::Matrix {
                        shape,
                        relu: relu && !norm,
                    });
                    if norm {
                        let channels = shape.y()[3];
                        ops.push(Op::Norm { channels, relu });
                    }
                }
            }
        }
        let start = layout.initial_running();
        let running: Vec<Vec<f64>> = layout
            .layers
            .iter()
            .map(|layer| wide(layer.running_values(&start)))
            .collect();
        Self {
            ops,
            classes: model.classes,
            options,
            total_steps,
            step: 0,
            parameters,
            running: [running.clone(), running],
            first: zero.clone(),
            second: zero,
        }
    }

    /// `network` is 0 for HP, 1 for LP.
    fn forward(&mut self, network: usize, x: &[f64], weights: &[Vec<f64>]) -> Pass {
        let mut pass = Pass {
            activations: vec![x.to_vec()],
            statistics: Vec::new(),
        };
        let mut layers = 0;
        for i in 0..self.ops.len() {
            let x = pass.logits();
            let mut statistics = Vec::new();
            let y = match &self.ops[i] {
                Op::Pool(shape) => max_pool_forward(shape, x),
                Op::Matrix { shape, relu } => {
                    let w = store(shape, &weights[layers]);
                    let p = &self.parameters[layers];
                    let bias = match p.scale.is_empty() {
                        true => padded(&p.bias),
                        false => vec![0.0; pad4(p.bias.len())],
                    };
                    layers += 1;
                    conv_forward(shape, x, &w, &bias, *relu)
                }
                Op::Norm { channels, relu } => {
                    let layer = layers - 1;
                    let round = network == 1 && !self.options.exact_norm;
                    let sizes = (x.len() / channels, 1);
                    let partial = norm_statistics(x, *channels, 1);
                    let running = &mut self.running[network][layer];
                    let outputs = running.len() / 2;
                    let before: Vec<f64> = running.chunks(outputs).flat_map(padded).collect();
                    let p = &self.parameters[layer];
                    let parameters = [padded(&p.scale), padded(&p.bias)].concat();
                    let [found, moved] = norm_combine(&partial, &parameters, sizes, round, &before);
                    *running = moved
                        .chunks(*channels)
                        .flat_map(|row| row[..outputs].to_vec())
                        .collect();
                    let y = norm_forward(x, &found, *relu);
                    statistics = found;
                    y
                }
            };
            pass.activations.push(y);
            pass.statistics.push(statistics);
        }
        pass
    }

    /// Gradients of the weights, scales and biases of every layer.
    fn backward(
        &self,
        pass: &Pass,
        weights: &[Vec<f64>],
        d_logits: Vec<f64>,
        lambda_norm: f64,
    ) -> Vec<[Vec<f64>; 3]> {
        let mut gradients = vec![<[Vec<f64>; 3]>::default(); weights.len()];
        let mut d_y = d_logits;
        let mut layer = weights.len();
        for (i, op) in self.ops.iter().enumerate().rev() {
            let x = &pass.activations[i];
            d_y = match op {
                Op::Pool(shape) => max_pool_backward(shape, x, &d_y, false),
                Op::Norm { channels, relu } => {
                    let statistics = &pass.statistics[i];
                    let partial = norm_backward_sums(x, &d_y, statistics, *relu, 1);
                    let [sums, d] = norm_gradients(&partial, statistics, lambda_norm);
                    let outputs = self.parameters[layer - 1].bias.len();
                    gradients[layer - 1][1] = d[..outputs].to_vec();
                    gradients[layer - 1][2] = d[*channels..channels + outputs].to_vec();
                    norm_backward(x, &d_y, statistics, &sums, *relu)
                }
                Op::Matrix { shape, relu } => {
                    layer -= 1;
                    if *relu {
                        d_y = relu_backward(&pass.activations[i + 1], &d_y);
                    }
                    gradients[layer][0] = unstore(shape, &conv_backward_weight(shape, &d_y, x));
                    if self.parameters[layer].scale.is_empty() {
                        let mut d_bias = bias_backward(&d_y, shape.y()[3]);
                        d_bias.truncate(shape.output_channels);
                        gradients[layer][2] = d_bias;
                    }
                    conv_backward_input(shape, &d_y, &store(shape, &weights[layer]))
                }
            };
        }
        gradients
    }

    /// One step on a batch: images (batch, height, width, channels) of 0 to 1, and their labels.
    pub fn train_step(&mut self, images: &[f64], labels: &[u16]) -> StepTrace {
        let batch = self.options.batch_size;
        let channels = images.len() / batch / self.pixels();
        let x: Vec<f64> = images.chunks(channels).flat_map(padded).collect();
        let width = pad4(self.classes);
        let mut one_hot = vec![0.0; batch * width];
        for (row, label) in labels.iter().enumerate() {
            one_hot[row * width + usize::from(*label)] = 1.0;
        }
        let scale = 1.0 / batch as f64;
        let weights: Vec<Vec<f64>> = self.parameters.iter().map(|p| p.weights.clone()).collect();
        let values: Vec<Vec<f64>> = self
            .parameters
            .iter()
            .map(|p| quantiser_forward(&p.weights, p.quantiser[0], p.quantiser[1]))
            .collect();
        let classes = self.classes;
        let loss = |logits: &[f64], targets: &[f64], scale: f64| {
            softmax_cross_entropy(logits, targets, &one_hot, width, classes, scale)
        };
        let mean = |outcome: &[f64]| outcome.iter().step_by(4).sum::<f64>() * scale;

        self.step += 1;
        let schedule = self.options.schedule(self.step, self.total_steps);
        let lambda_norm = f64::from(schedule.lambda_norm);
        let mut hp = None;
        if self.options.objective != Objective::Direct {
            let pass = self.forward(0, &x, &weights);
            let found = loss(pass.logits(), &one_hot, scale);
            let gradients = self.backward(&pass, &weights, found.d_logits, lambda_norm);
            hp = Some((gradients, found.probabilities, mean(&found.outcome)));
        }
        let lp = self.forward(1, &x, &values);
        let lp_loss = match &hp {
            Some((_, probabilities, _)) => {
                let distill = self.options.lambda_distill * scale;
                loss(lp.logits(), probabilities, distill)
            }
            None => loss(lp.logits(), &one_hot, scale),
        };
        let lp_gradients = self.backward(&lp, &values, lp_loss.d_logits, lambda_norm);
        let (hp_gradients, hp_loss) = match hp {
            Some((gradients, _, loss)) => (gradients, loss),
            None => {
                let nothing = |part: &Vec<f64>| vec![0.0; part.len()];
                let layers = lp_gradients.iter();
                (
                    layers.map(|parts| parts.each_ref().map(nothing)).collect(),
                    0.0,
                )
            }
        };

        let mut bit_loss = 0.0;
        let mut gradients = Vec::new();
        for (i, p) in self.parameters.iter().enumerate() {
            let found = levels(&p.weights, p.quantiser[0], p.quantiser[1]);
            bit_loss += found.bit_loss;
            let lambda_bits = found.lambda_bits(&schedule);
            let (weights, sums) = quantiser_backward(
                &p.weights,
                p.quantiser,
                &lp_gradients[i][0],
                &hp_gradients[i][0],
                [lambda_bits, self.options.lambda_l2],
            );
            let both = |part: usize| -> Vec<f64> {
                let pairs = hp_gradients[i][part].iter().zip(&lp_gradients[i][part]);
                pairs.map(|(a, b)| a + b).collect()
            };
            gradients.push(LayerTrace {
                weights,
                scale: both(1),
                bias: both(2),
                quantiser: levels_backward(sums, &found, lambda_bits, !p.scale.is_empty()),
            });
        }
        for (i, g) in gradients.iter().enumerate() {
            let (p, m, v) = (
                &mut self.parameters[i],
                &mut self.first[i],
                &mut self.second[i],
            );
            let rate = f64::from(schedule.quantiser_rate);
            for (g, p, m, v, rate) in [
                (
                    &g.weights[..],
                    &mut p.weights[..],
                    &mut m.weights[..],
                    &mut v.weights[..],
                    1.0,
                ),
                (&g.scale, &mut p.scale, &mut m.scale, &mut v.scale, 1.0),
                (&g.bias, &mut p.bias, &mut m.bias, &mut v.bias, 1.0),
                (
                    &g.quantiser,
                    &mut p.quantiser,
                    &mut m.quantiser,
                    &mut v.quantiser,
                    rate,
                ),
            ] {
                let [new, first, second] = adam(g, [p, m, v], &schedule, |_| rate);
                p.copy_from_slice(&new);
                m.copy_from_slice(&first);
                v.copy_from_slice(&second);
            }
        }
        StepTrace {
            hp_loss,
            lp_loss: mean(&lp_loss.outcome),
            bit_loss,
            gradients,
            parameters: self.parameters.clone(),
            running: self.running.clone(),
        }
    }

    fn pixels(&self) -> usize {
        match &self.ops[0] {
            Op::Matrix { shape, .. } => shape.input_height * shape.input_width,
            Op::Pool(shape) => shape.input_height * shape.input_width,
            Op::Norm { .. } => unreachable!("a normalisation follows a layer"),
        }
    }
}
