//! The plain loops of single operations: how near they come to kinks, and their gradients by finite differences.

use gtc::graph::{Fused, Model, Node, Shape};
use gtc::model::{Mode, Parameters};
use gtc::op::plain::{Plain, PlainBackward, PlainForward, PlainOutput, padded};
use gtc::op::{ActivationKind, Binding, Op};
use gtc::optimiser::Schedule;
use gtc::reference::quantiser_forward;
use gtc::rng::Philox;
use gtc::tensor::pad4;
use gtc::train::TrainOptions;

/// A node with its plain loops and what it learns.
struct Placed<'m> {
    node: &'m Node,
    plain: Box<dyn Plain>,
    /// Of HP and of LP.
    weights: [Vec<f64>; 2],
    bias: Vec<f64>,
    scale: Vec<f64>,
    running: Vec<f64>,
}

/// Walks forward over a graph, in both networks, with the parameters a trainer starts from.
pub struct PlainWalk<'m> {
    nodes: Vec<Placed<'m>>,
    channels: usize,
    schedule: Schedule,
}

/// Where a node stands, without parameters.
fn binding(model: &Model, shapes: &[Shape], number: usize, batch: usize) -> Binding<'static> {
    let inputs = &model.graph.nodes[number].inputs;
    Binding {
        batch,
        inputs: inputs.iter().map(|value| shapes[*value]).collect(),
        output: shapes[number + 1],
        reads_images: false,
        fused: Fused::default(),
        number,
        weights: None,
        norm: None,
    }
}

impl<'m> PlainWalk<'m> {
    pub fn new(model: &'m Model, options: &TrainOptions) -> Self {
        let layout = Parameters::new(model);
        let (arena, start) = (layout.initial(options.seed), layout.initial_running());
        let wide = |v: Vec<f32>| v.into_iter().map(f64::from).collect::<Vec<f64>>();
        let shapes = model.graph.shapes(model.input_shape()).unwrap();
        let place = |(number, node): (usize, &'m Node)| {
            let (layer, norm) = (layout.layer_of(number), layout.norm_of(number));
            let hp = wide(layer.map(|l| l.weight_values(&arena)).unwrap_or_default());
            let lp = match layer.filter(|layer| layer.is_quantised()) {
                Some(layer) => {
                    let [intercept, slope] = layer.quantiser_values(&arena).map(f64::from);
                    quantiser_forward(&hp, intercept, slope)
                }
                None => hp.clone(),
            };
            let [scale, beta] = norm.map(|norm| norm.values(&arena)).unwrap_or_default();
            let bias = layer.map_or(beta, |layer| layer.bias_values(&arena));
            let running = norm.map(|norm| norm.running_values(&start));
            Placed {
                node,
                plain: node.op.operation().plain(&binding(
                    model,
                    &shapes,
                    number,
                    options.batch_size,
                )),
                weights: [hp, lp],
                bias: wide(bias),
                scale: wide(scale),
                running: wide(running.unwrap_or_default()),
            }
        };
        Self {
            nodes: model.graph.nodes.iter().enumerate().map(place).collect(),
            channels: model.input[2],
            schedule: options.schedule(1, 1),
        }
    }

    /// Whether no number of either network lies so near to a kink of an activation, and no two numbers of a max
    /// pool so near to each other, that a change by `part` of the largest number could matter. Numbers that lie
    /// exactly there, such as zeros behind a ReLU, are no danger: they lie there in `f32` too.
    pub fn keeps_away_from_kinks(&mut self, images: &[f64], part: f64) -> bool {
        (0..2).all(|network| self.network_keeps_away(network, images, part))
    }

    fn network_keeps_away(&mut self, network: usize, images: &[f64], part: f64) -> bool {
        let mut values: Vec<Vec<f64>> =
            vec![images.chunks(self.channels).flat_map(padded).collect()];
        for placed in &mut self.nodes {
            let x: Vec<&[f64]> = placed.node.inputs.iter().map(|v| &values[*v][..]).collect();
            let made = placed.forward(network, x.clone(), &self.schedule);
            if !placed.is_clear(network, x[0], &made, part, &self.schedule) {
                return false;
            }
            values.push(made.y);
        }
        true
    }
}

impl Placed<'_> {
    fn forward(&self, network: usize, x: Vec<&[f64]>, schedule: &Schedule) -> PlainOutput {
        self.plain.forward(PlainForward {
            x,
            weights: &self.weights[network],
            bias: &self.bias,
            norm: [&self.scale, &self.bias],
            mode: Mode::Train,
            running: &mut self.running.clone(),
            round: network == 1,
            schedule,
        })
    }

    fn is_clear(
        &self,
        network: usize,
        x: &[f64],
        made: &PlainOutput,
        part: f64,
        schedule: &Schedule,
    ) -> bool {
        let near = part * x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        match &self.node.op {
            Op::Activation(activation) => {
                let kinks = match activation.kind {
                    ActivationKind::Relu6 => &[0.0, 6.0][..],
                    ActivationKind::Relu | ActivationKind::LeakyRelu => &[0.0],
                };
                let danger = |v: &f64| {
                    let danger = |kink: &f64| v != kink && (v - kink).abs() < near;
                    kinks.iter().any(danger)
                };
                !x.iter().any(danger)
            }
            // Numbers that move a little, equal ones by the same: the same ones win.
            Op::MaxPool(_) => (1..=3u64).all(|salt| {
                let moved: Vec<f64> = x.iter().map(|v| v + near * noise_of(*v, salt)).collect();
                self.forward(network, vec![&moved], schedule).kept == made.kept
            }),
            _ => true,
        }
    }
}

/// From -1 to 1, always the same for a number.
fn noise_of(value: f64, salt: u64) -> f64 {
    let mut rng = Philox::new(value.to_bits(), salt);
    2.0 * rng.uniform() - 1.0
}

/// Where the numbers of an image lie among those that are stored: padding stays zero.
fn real(shape: Shape, batch: usize) -> Vec<usize> {
    let (channels, stored) = (shape.channels, pad4(shape.channels));
    let all = 0..batch * shape.pixels() * stored;
    all.filter(|i| i % stored < channels).collect()
}

/// Random numbers that keep away from each other and from the kinks at 0 and 6.
fn apart(count: usize, rng: &mut Philox) -> Vec<f64> {
    let order = rng.permutation(count);
    let middle = count as f64 / 2.0;
    // Steps of 0.05, and never a whole number of them.
    order
        .iter()
        .map(|i| 0.05 * (f64::from(*i) - middle) + 0.021)
        .collect()
}

/// One thing that an operation reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    Input(usize),
    Weights,
    Bias,
    Gamma,
    Beta,
}

/// Everything that an operation reads.
#[derive(Clone)]
struct Operands {
    x: Vec<Vec<f64>>,
    weights: Vec<f64>,
    bias: Vec<f64>,
    norm: [Vec<f64>; 2],
}

impl Operands {
    fn of(&mut self, read: &Read) -> &mut Vec<f64> {
        match read {
            Read::Input(number) => &mut self.x[*number],
            Read::Weights => &mut self.weights,
            Read::Bias => &mut self.bias,
            Read::Gamma => &mut self.norm[0],
            Read::Beta => &mut self.norm[1],
        }
    }

    fn forward(&self, plain: &dyn Plain, schedule: &Schedule) -> PlainOutput {
        let channels = self.norm[0].len();
        let mut running = [vec![0.0; channels], vec![1.0; channels]].concat();
        plain.forward(PlainForward {
            x: self.x.iter().map(|x| &x[..]).collect(),
            weights: &self.weights,
            bias: &self.bias,
            norm: [&self.norm[0], &self.norm[1]],
            mode: Mode::Train,
            running: &mut running,
            round: false,
            schedule,
        })
    }
}

/// Compares the gradients of a node's plain loops with finite differences.
///
/// # Errors
/// What differs.
pub fn gradients_are_finite_differences(model: &Model, number: usize) -> Result<(), String> {
    const BATCH: usize = 2;
    const STEP: f64 = 1e-5;
    let shapes = model.graph.shapes(model.input_shape()).unwrap();
    let node = &model.graph.nodes[number];
    let bind = binding(model, &shapes, number, BATCH);
    let operation = node.op.operation();
    let plain = operation.plain(&bind);
    let schedule = Schedule::default().with_noise(1.0, 0, 1);
    let mut rng = Philox::new(number as u64, 6);
    let x = bind.inputs.iter().map(|shape| {
        let places = real(*shape, BATCH);
        let mut x = vec![0.0; BATCH * shape.pixels() * pad4(shape.channels)];
        for (place, value) in places.iter().zip(apart(places.len(), &mut rng)) {
            x[*place] = value;
        }
        x
    });
    let x: Vec<Vec<f64>> = x.collect();
    let mut random = |count: usize| (0..count).map(|_| rng.normal()).collect::<Vec<f64>>();
    let weights = operation.weights(bind.input());
    let channels = operation.normalises(bind.input()).unwrap_or(0);
    let operands = Operands {
        x,
        weights: random(weights.map_or(0, |w| w.shape.iter().product())),
        bias: random(weights.filter(|w| w.bias).map_or(0, |w| w.shape[0])),
        norm: [random(channels), random(channels)],
    };
    let made = operands.forward(&*plain, &schedule);
    let places = real(bind.output, BATCH);
    let mut d_y = vec![0.0; made.y.len()];
    for (place, value) in places.iter().zip(random(places.len())) {
        d_y[*place] = value;
    }
    let gradients = plain.backward(&PlainBackward {
        x: operands.x.iter().map(|x| &x[..]).collect(),
        d_y: &d_y,
        kept: &made.kept,
        weights: &operands.weights,
        outputs: weights.map_or(channels, |w| w.shape[0]),
        schedule: &schedule,
    });
    let loss = |operands: &Operands| -> f64 {
        let y = operands.forward(&*plain, &schedule).y;
        y.iter().zip(&d_y).map(|(y, d)| y * d).sum()
    };
    let mut wanted: Vec<(Read, &[f64], Vec<usize>)> = Vec::new();
    for (number, shape) in bind.inputs.iter().enumerate() {
        wanted.push((
            Read::Input(number),
            &gradients.d_x[number],
            real(*shape, BATCH),
        ));
    }
    let all = |values: &[f64]| (0..values.len()).collect::<Vec<usize>>();
    let [d_gamma, d_beta] = &gradients.d_norm;
    wanted.push((Read::Weights, &gradients.d_weights, all(&operands.weights)));
    wanted.push((Read::Bias, &gradients.d_bias, all(&operands.bias)));
    wanted.push((Read::Gamma, d_gamma, all(&operands.norm[0])));
    wanted.push((Read::Beta, d_beta, all(&operands.norm[1])));
    for (read, gradient, places) in wanted {
        let size = gradient.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        for at in places {
            let moved = |by: f64| {
                let mut operands = operands.clone();
                operands.of(&read)[at] += by;
                loss(&operands)
            };
            let want = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            if (gradient[at] - want).abs() > 1e-6 * size {
                return Err(format!(
                    "'{}' {read:?} {at}: {}, and finite differences say {want}",
                    node.name, gradient[at]
                ));
            }
        }
    }
    Ok(())
}
