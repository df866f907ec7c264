//! The whole trainer in plain loops and `f64`, for networks small enough to wait for: what
//! [`crate::train::Trainer`] must do, step by step. It walks the graph node by node, without any fusion.

use super::{
    AdamRule, adam, budget, levels, levels_backward, method_backward, method_forward, muon_step,
    quantiser_backward, quantiser_forward, sgd, softmax_cross_entropy,
};
use crate::graph::{INPUT, Model, Value, geometry, separate};
use crate::loss::Lesson;
use crate::model::{Mode, Parameters};
use crate::op::plain::{Plain, PlainBackward, PlainForward, PlainGradients, padded};
use crate::optimiser::{Schedule, free_exponents, least_slope};
use crate::pack::PackedSize;
use crate::quantiser::Quantiser;
use crate::tensor::pad4;
use crate::train::{Objective, Optimiser, Snapshot, StraightThrough, TrainOptions, initial};

/// What one node learns, or anything parallel to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeTrace {
    /// The node's name.
    pub name: String,
    /// Logical weights (outputs, kernel height, kernel width, inputs), or none.
    pub weights: Vec<f64>,
    /// Bias (outputs), or none; of a normalisation, beta.
    pub bias: Vec<f64>,
    /// Gamma (channels) of a normalisation.
    pub scale: Vec<f64>,
    /// Intercept and slope of quantised weights.
    pub quantiser: Option<[f64; 2]>,
}

impl NodeTrace {
    fn zeros(&self) -> Self {
        Self {
            name: self.name.clone(),
            weights: vec![0.0; self.weights.len()],
            bias: vec![0.0; self.bias.len()],
            scale: vec![0.0; self.scale.len()],
            quantiser: self.quantiser.map(|_| [0.0; 2]),
        }
    }
}

/// Q(w) of a layer.
pub(super) fn quantised(quantiser: Quantiser, weights: &[f64], learned: [f64; 2]) -> Vec<f64> {
    match quantiser.method() {
        Some(method) => method_forward(&*method, weights, &method.scales(weights, learned)),
        None => quantiser_forward(weights, learned[0], learned[1]),
    }
}

pub(super) fn wide(values: Vec<f32>) -> Vec<f64> {
    values.into_iter().map(f64::from).collect()
}

/// What an arena holds for a node.
pub(super) fn node_trace(
    layout: &Parameters,
    arena: &[f32],
    number: usize,
    name: String,
) -> NodeTrace {
    let (layer, norm) = (layout.layer_of(number), layout.norm_of(number));
    let [scale, beta] = norm.map(|norm| norm.values(arena)).unwrap_or_default();
    let bias = layer.map_or(beta, |layer| layer.bias_values(arena));
    let quantised = layer.filter(|layer| layer.is_quantised());
    let weights = layer.map(|layer| layer.weight_values(arena));
    NodeTrace {
        name,
        weights: wide(weights.unwrap_or_default()),
        bias: wide(bias),
        scale: wide(scale),
        quantiser: quantised.map(|layer| layer.quantiser_values(arena).map(f64::from)),
    }
}

/// What one step came to.
#[derive(Clone, Debug, PartialEq)]
pub struct StepTrace {
    /// Mean cross entropy of HP with the labels, before the step; zero where it does not learn.
    pub hp_loss: f64,
    /// Mean cross entropy of LP with HP's probabilities, or where HP does not learn with the labels, before the step;
    /// zero where LP does not learn.
    pub lp_loss: f64,
    /// Sum of 2^bits, before the step.
    pub bit_loss: f64,
    /// Gradients of everything, for every node.
    pub gradients: Vec<NodeTrace>,
    /// Everything after the step, for every node.
    pub parameters: Vec<NodeTrace>,
    /// Running mean and variance (2, channels) of HP's and LP's nodes after the step; empty of those that do not
    /// normalise.
    pub running: [Vec<Vec<f64>>; 2],
}

/// An operation in its place.
struct Op {
    plain: Box<dyn Plain>,
    inputs: Vec<Value>,
    /// Outputs of weights, or channels of a normalisation.
    outputs: usize,
    /// Whether a batch normalisation follows its weights.
    normalised: bool,
    /// The norm that Muon keeps its weights at, if it learns them.
    muon: Option<f64>,
    /// See [`crate::model::LayerParameters::centre`]; 0 where slopes have none.
    centre: f64,
}

/// What a forward pass leaves.
struct Pass {
    /// The numbers of every value of the graph.
    values: Vec<Vec<f64>>,
    /// What every node keeps for its backward pass.
    kept: Vec<Vec<f64>>,
}

impl Pass {
    fn logits(&self) -> &[f64] {
        &self.values[self.values.len() - 1]
    }
}

/// Trains HP and LP together.
pub struct PlainTrainer {
    ops: Vec<Op>,
    pixels: usize,
    classes: usize,
    quantiser: Quantiser,
    options: TrainOptions,
    size: PackedSize,
    total_steps: u64,
    step: u64,
    parameters: Vec<NodeTrace>,
    running: [Vec<Vec<f64>>; 2],
    first: Vec<NodeTrace>,
    second: Vec<NodeTrace>,
}

impl PlainTrainer {
    /// Starts from the same parameters as the engine does with these options. For classifiers.
    pub fn new(model: &Model, options: TrainOptions, total_steps: u64) -> Self {
        assert!(
            model.likelihood.is_none(),
            "the plain trainer has classifiers only"
        );
        let layout = Parameters::new(model);
        let arena = initial(model, &layout, &options);
        let start = layout.initial_running();
        let shapes = model
            .graph
            .shapes(model.input_shape())
            .unwrap_or_else(|e| panic!("{e}"));
        let (mut ops, mut parameters, mut running) = (Vec::new(), Vec::new(), Vec::new());
        for step in separate(model) {
            let bind = geometry(&step, &shapes, options.batch_size);
            let (layer, norm) = (layout.layer_of(step.number), layout.norm_of(step.number));
            parameters.push(node_trace(
                &layout,
                &arena,
                step.number,
                step.node.name.clone(),
            ));
            running.push(wide(
                norm.map(|norm| norm.running_values(&start))
                    .unwrap_or_default(),
            ));
            ops.push(Op {
                plain: step.node.op.operation().plain(&bind),
                inputs: step.node.inputs.clone(),
                outputs: layer.map_or(norm.map_or(0, |norm| norm.channels), |layer| layer.shape[0]),
                normalised: layer.is_some_and(|layer| layer.is_normalised()),
                centre: layer
                    .filter(|_| options.centred_slopes && model.quantiser.is_gtc())
                    .map_or(0.0, |layer| layer.centre().into()),
                muon: layer
                    .filter(|layer| options.optimiser == Optimiser::Muon && layer.is_whole())
                    .map(|layer| layer.norm()),
            });
        }
        let zero: Vec<NodeTrace> = parameters.iter().map(NodeTrace::zeros).collect();
        Self {
            ops,
            pixels: model.input[0] * model.input[1],
            classes: model.classes,
            quantiser: model.quantiser,
            options,
            size: PackedSize::of(model).unwrap_or_else(|e| panic!("{e}")),
            total_steps,
            step: 0,
            parameters,
            running: [running.clone(), running],
            first: zero.clone(),
            second: zero,
        }
    }

    /// Goes on from the numbers of a snapshot, so that rounding errors of earlier steps do not count.
    pub fn restore(&mut self, layout: &Parameters, snapshot: &Snapshot) {
        self.parameters = self.read(layout, &snapshot.weights);
        self.first = self.read(layout, &snapshot.first_moment);
        self.second = self.read(layout, &snapshot.second_moment);
        for (network, arena) in snapshot.running.iter().enumerate() {
            for norm in &layout.norms {
                self.running[network][norm.node] = wide(norm.running_values(arena));
            }
        }
    }

    /// What an arena holds for every node.
    fn read(&self, layout: &Parameters, arena: &[f32]) -> Vec<NodeTrace> {
        let names = self.parameters.iter().map(|node| node.name.clone());
        names
            .enumerate()
            .map(|(number, name)| node_trace(layout, arena, number, name))
            .collect()
    }

    /// `network` is 0 for HP, 1 for LP.
    fn forward(
        &mut self,
        network: usize,
        x: &[f64],
        weights: &[Vec<f64>],
        schedule: &Schedule,
    ) -> Pass {
        let mut pass = Pass {
            values: vec![x.to_vec()],
            kept: Vec::new(),
        };
        for (number, op) in self.ops.iter().enumerate() {
            let own = &self.parameters[number];
            let made = op.plain.forward(PlainForward {
                x: op
                    .inputs
                    .iter()
                    .map(|value| &pass.values[*value][..])
                    .collect(),
                weights: &weights[number],
                bias: &own.bias,
                norm: [&own.scale, &own.bias],
                running: &mut self.running[network][number],
                mode: Mode::Train,
                round: network == 1 && !self.options.exact_norm,
                schedule,
            });
            pass.values.push(made.y);
            pass.kept.push(made.kept);
        }
        pass
    }

    /// Gradients of the weights, scales and biases of every node.
    fn backward(
        &self,
        pass: &Pass,
        weights: &[Vec<f64>],
        d_logits: Vec<f64>,
        schedule: &Schedule,
    ) -> Vec<[Vec<f64>; 3]> {
        let mut gradients = vec![<[Vec<f64>; 3]>::default(); self.ops.len()];
        let mut sums: Vec<Vec<f64>> = vec![Vec::new(); pass.values.len()];
        sums[self.ops.len()] = d_logits;
        for (number, op) in self.ops.iter().enumerate().rev() {
            let PlainGradients {
                d_x,
                d_weights,
                d_bias,
                d_norm: [d_gamma, d_beta],
            } = op.plain.backward(&PlainBackward {
                x: op
                    .inputs
                    .iter()
                    .map(|value| &pass.values[*value][..])
                    .collect(),
                d_y: &sums[number + 1],
                kept: &pass.kept[number],
                weights: &weights[number],
                outputs: op.outputs,
                schedule,
            });
            let d_bias = match self.parameters[number].bias.is_empty() {
                true => Vec::new(),
                false => [d_bias, d_beta].concat(),
            };
            gradients[number] = [d_weights, d_gamma, d_bias];
            for (value, d) in op.inputs.iter().zip(d_x) {
                let sum = &mut sums[*value];
                sum.resize(d.len(), 0.0);
                sum.iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
            }
        }
        debug_assert_eq!(sums[INPUT].len(), pass.values[INPUT].len());
        gradients
    }

    /// One step on a batch: images (batch, height, width, channels) of 0 to 1, and their labels.
    pub fn train_step(&mut self, images: &[f64], labels: &[u16]) -> StepTrace {
        let targets: Vec<f64> = labels
            .iter()
            .flat_map(|label| {
                (0..self.classes).map(|class| f64::from(class == usize::from(*label)))
            })
            .collect();
        self.train_step_towards(images, &targets, labels)
    }

    /// The same towards probabilities (batch, classes) in place of the labels, as mix-up and label smoothing make them.
    pub fn train_step_towards(
        &mut self,
        images: &[f64],
        targets: &[f64],
        labels: &[u16],
    ) -> StepTrace {
        let batch = self.options.batch_size;
        let channels = images.len() / batch / self.pixels;
        let x: Vec<f64> = images.chunks(channels).flat_map(padded).collect();
        let width = pad4(self.classes);
        let mut one_hot = vec![0.0; batch * width];
        let mut stored = one_hot.clone();
        for (row, label) in labels.iter().enumerate() {
            one_hot[row * width + usize::from(*label)] = 1.0;
            stored[row * width..][..self.classes]
                .copy_from_slice(&targets[row * self.classes..][..self.classes]);
        }
        let scale = 1.0 / batch as f64;
        let weights: Vec<Vec<f64>> = self.parameters.iter().map(|p| p.weights.clone()).collect();
        let values: Vec<Vec<f64>> = self
            .parameters
            .iter()
            .map(|p| match p.quantiser {
                Some(learned) => quantised(self.quantiser, &p.weights, learned),
                None => p.weights.clone(),
            })
            .collect();
        let classes = self.classes;
        let loss = |logits: &[f64], targets: &[f64], lesson: Lesson| {
            softmax_cross_entropy(logits, targets, &one_hot, width, classes, lesson)
        };
        let plain = Lesson::plain(scale as f32);
        let mean = |outcome: &[f64]| outcome.iter().step_by(4).sum::<f64>() * scale;

        self.step += 1;
        let schedule = self.options.schedule(self.step, self.total_steps);
        let mut hp = None;
        if self.options.objective != Objective::Direct {
            let pass = self.forward(0, &x, &weights, &schedule);
            let found = loss(pass.logits(), &stored, plain);
            let gradients = self.backward(&pass, &weights, found.d_logits, &schedule);
            hp = Some((gradients, found.probabilities, mean(&found.outcome)));
        }
        let mut lp = None;
        if self.options.low_precision_at(self.step, self.total_steps) {
            let pass = self.forward(1, &x, &values, &schedule);
            let found = match &hp {
                Some((_, probabilities, _)) => {
                    loss(pass.logits(), probabilities, self.options.distillation())
                }
                None => loss(pass.logits(), &stored, plain),
            };
            let gradients = self.backward(&pass, &values, found.d_logits, &schedule);
            lp = Some((gradients, mean(&found.outcome)));
        }
        let nothing = |gradients: &[[Vec<f64>; 3]]| -> Vec<[Vec<f64>; 3]> {
            let zeros = |part: &Vec<f64>| vec![0.0; part.len()];
            gradients
                .iter()
                .map(|parts| parts.each_ref().map(zeros))
                .collect()
        };
        let ((hp_gradients, hp_loss), (lp_gradients, lp_loss)) = match (hp, lp) {
            (Some((hp, _, hp_loss)), Some((lp, lp_loss))) => ((hp, hp_loss), (lp, lp_loss)),
            (Some((hp, _, hp_loss)), None) => {
                let lp = nothing(&hp);
                ((hp, hp_loss), (lp, 0.0))
            }
            (None, Some((lp, lp_loss))) => ((nothing(&lp), 0.0), (lp, lp_loss)),
            (None, None) => unreachable!("an objective has at least one network"),
        };
        let (gradients, bit_loss) = self.gradients([&hp_gradients, &lp_gradients], &schedule);
        self.learn(&gradients, &schedule);
        StepTrace {
            hp_loss,
            lp_loss,
            bit_loss,
            gradients,
            parameters: self.parameters.clone(),
            running: self.running.clone(),
        }
    }

    /// Exponents that each node need not pay for, where it has its own number.
    fn free_exponents(&self) -> Vec<Option<f32>> {
        let options = &self.options;
        let within = (options.target_size > 0).then(|| {
            let quantised = self
                .parameters
                .iter()
                .filter_map(|p| p.quantiser.map(|q| (p, q)));
            let bits = quantised.map(|(p, [c, s])| levels(&p.weights, c, s).bits);
            let weights = self.size.weights.iter().map(|count| *count as f64);
            let layers: Vec<(f64, f64)> = bits.zip(weights).collect();
            let room = options.target_size as f64 - self.size.rest as f64;
            budget(&layers, 8.0 * room)
        });
        let quantised = self.parameters.iter().filter(|p| p.quantiser.is_some());
        let names: Vec<&str> = quantised.map(|p| p.name.as_str()).collect();
        let bits = options.bits_of_layers(&names);
        let own = |p: &NodeTrace| bits.get(&p.name).map(|bits| free_exponents(*bits));
        let nodes = self.parameters.iter();
        nodes.map(|p| within.flatten().or_else(|| own(p))).collect()
    }

    /// The gradients of both networks together, and the sum of 2^bits.
    fn gradients(
        &self,
        [hp, lp]: [&[[Vec<f64>; 3]]; 2],
        schedule: &Schedule,
    ) -> (Vec<NodeTrace>, f64) {
        let mut bit_loss = 0.0;
        let mut gradients = Vec::new();
        let frees = self.free_exponents();
        for (number, p) in self.parameters.iter().enumerate() {
            let both = |part: usize| -> Vec<f64> {
                let pairs = hp[number][part].iter().zip(&lp[number][part]);
                pairs.map(|(a, b)| a + b).collect()
            };
            let mut node = NodeTrace {
                name: p.name.clone(),
                weights: both(0),
                scale: both(1),
                bias: both(2),
                quantiser: None,
            };
            if let (Some(learned), Some(method)) = (p.quantiser, self.quantiser.method()) {
                bit_loss += f64::from(method.bits()).exp2();
                let scales = method.scales(&p.weights, learned);
                let gradients = [&lp[number][0][..], &hp[number][0]];
                let (weights, sums) = method_backward(
                    &*method,
                    &p.weights,
                    &scales,
                    gradients,
                    self.options.lambda_l2,
                );
                (node.weights, node.quantiser) = (weights, Some(sums));
            } else if let Some(quantiser) = p.quantiser {
                let found = levels(&p.weights, quantiser[0], quantiser[1]);
                bit_loss += found.bit_loss;
                let lambda_bits = found.lambda_bits(schedule, frees[number]);
                let identity = self.options.straight_through == StraightThrough::Identity;
                let for_weights = match self.ops[number].muon.is_some() || identity {
                    true => 0.0,
                    false => lambda_bits,
                };
                let (weights, sums) = quantiser_backward(
                    &p.weights,
                    quantiser,
                    &lp[number][0],
                    &hp[number][0],
                    [for_weights, self.options.lambda_l2],
                    identity,
                );
                node.weights = weights;
                let normalised = self.ops[number].normalised;
                node.quantiser = Some(levels_backward(sums, &found, lambda_bits, normalised));
            }
            gradients.push(node);
        }
        (gradients, bit_loss)
    }

    /// A step of the optimiser.
    fn learn(&mut self, gradients: &[NodeTrace], schedule: &Schedule) {
        let plain = AdamRule {
            rate: 1.0,
            weight_decay: 0.0,
            least: f64::NEG_INFINITY,
        };
        let decaying = AdamRule {
            weight_decay: self.options.weight_decay,
            ..plain
        };
        let intercept = AdamRule {
            rate: schedule.quantiser_rate.into(),
            ..plain
        };
        let slope = AdamRule {
            least: least_slope(self.quantiser).into(),
            ..intercept
        };
        for (i, g) in gradients.iter().enumerate() {
            let (p, m, v) = (
                &mut self.parameters[i],
                &mut self.first[i],
                &mut self.second[i],
            );
            let op = &self.ops[i];
            let descends = self.options.optimiser == Optimiser::Sgd;
            let step = |g: &[f64],
                        p: &mut [f64],
                        m: &mut [f64],
                        v: &mut [f64],
                        (rule, of_levels): (AdamRule, bool)| {
                if descends && !of_levels {
                    let [new, momentum] = sgd(g, [p, m], schedule, |_| rule.weight_decay);
                    p.copy_from_slice(&new);
                    m.copy_from_slice(&momentum);
                    return;
                }
                let [new, first, second] = adam(g, [p, m, v], schedule, |_| rule);
                p.copy_from_slice(&new);
                m.copy_from_slice(&first);
                v.copy_from_slice(&second);
            };
            match op.muon {
                Some(size) => {
                    let rates = [size, schedule.muon_rate.into()];
                    let before = [&p.weights[..], &m.weights];
                    let [new, first] = muon_step(&g.weights, before, op.outputs, rates);
                    (p.weights, m.weights) = (new, first);
                }
                None => step(
                    &g.weights,
                    &mut p.weights,
                    &mut m.weights,
                    &mut v.weights,
                    (decaying, false),
                ),
            }
            step(
                &g.scale,
                &mut p.scale,
                &mut m.scale,
                &mut v.scale,
                (plain, false),
            );
            // A bias that stands alone is the beta of a normalisation.
            let rule = if g.weights.is_empty() {
                plain
            } else {
                decaying
            };
            step(
                &g.bias,
                &mut p.bias,
                &mut m.bias,
                &mut v.bias,
                (rule, false),
            );
            if let (Some(g), Some(p), Some(m), Some(v)) = (
                &g.quantiser,
                &mut p.quantiser,
                &mut m.quantiser,
                &mut v.quantiser,
            ) {
                let before = *p;
                for (i, rule) in [intercept, slope].into_iter().enumerate() {
                    let only = i..i + 1;
                    let (p, m, v) = (&mut p[only.clone()], &mut m[only.clone()], &mut v[only]);
                    step(&g[i..=i], p, m, v, (rule, true));
                }
                p[0] -= op.centre * (p[1] - before[1]);
            }
        }
    }
}
