//! Cases of the quantiser.

use super::{Case, Expected, Tolerance, noise};
use crate::gpu::Kernel;
use crate::kernels;
use crate::optimiser::Schedule;
use crate::quantiser::{self, LayerRanges, Pull, Quantised, Quantiser, Spans};
use crate::recording::Recording;
use crate::reference;
use crate::tensor::{Tensor, pad4};

/// (weights, intercept, slope): one weight, less than a texel of them, layers before, during and after the
/// collapse, one of more spans than a workgroup has threads.
const LAYERS: [(usize, f32, f32); 6] = [
    (1, 1e-4, 1.0),
    (7, 1e-4, 1.0),
    (300, 1e-4, 1.0),
    (2_500, -1.3, 0.4),
    (300_000, -4.2, 0.05),
    (1_000, -3.0, 0.0),
];

/// Weights as a layer has them: small, some of them zero or nearly, none so near to a rounding
/// boundary that f32 and f64 could disagree. The stored tail is zero.
fn weights(count: usize, intercept: f32, slope: f32) -> Vec<f32> {
    let mut values = noise("weights", count);
    for (i, value) in values.iter_mut().enumerate() {
        *value *= 0.1;
        if i % 11 == 10 {
            *value = [0.0, 4e-7, -4e-7][i % 3];
        }
        if i % 97 == 5 {
            *value *= 1e-3;
        }
        let exact = |w: f32| {
            let size = reference::log2_size(f64::from(w));
            f64::from(intercept) + f64::from(slope) * size
        };
        while ((exact(*value).fract().abs()) - 0.5).abs() < 1e-3 {
            *value *= 1.01;
        }
    }
    values.resize(count.div_ceil(4) * 4, 0.0);
    values
}

fn wide(v: f32) -> f64 {
    f64::from(v)
}

fn levels_values(l: &reference::Levels, free_exponents: Option<f32>) -> Vec<f64> {
    vec![
        f64::from(l.top.exponent),
        f64::from(l.low.exponent),
        l.range,
        l.bits,
        l.top.count as f64,
        l.top.mean_log,
        l.low.count as f64,
        l.low.mean_log,
        l.bit_loss,
        l.bit_loss / l.range,
        l.d_slope,
        f64::from(free_exponents.map_or(0.0, |free| free + 1.0)),
    ]
}

const NEAR: Tolerance = Tolerance {
    absolute: 1e-5,
    relative: 1e-5,
};

pub(super) fn cases() -> Vec<Case> {
    let mut models: Vec<Layers> = LAYERS.iter().map(|layer| Layers::new(&[*layer])).collect();
    models.push(Layers::new(&LAYERS));
    let mut cases = Vec::new();
    for model in &models {
        cases.extend([
            forward(model),
            levels(model),
            backward(model, false),
            levels_backward(model),
        ]);
    }
    // Some of its layers have more bits, some fewer.
    let mut all = Layers::new(&LAYERS);
    all.name += ", target 3 bits";
    all.schedule = all.schedule.with_target_bits(3);
    cases.extend([
        backward(&all, false),
        backward(&all, true),
        levels_backward(&all),
    ]);
    for (layers, bits) in [(1, 100.0), (70, 1e4), (70, 3e5)] {
        cases.push(budget(layers, bits));
    }
    cases
}

/// Layers of 10, 20, ... weights and 1 to 5 bits, within a budget or not.
fn budget(layers: usize, bits: f32) -> Case {
    let count = |layer: usize| 10.0 * (layer + 1) as f32;
    let counts: Vec<f32> = (0..layers)
        .flat_map(|layer| [count(layer), 0.0, 0.0, 0.0])
        .collect();
    let mut levels = noise("levels", 12 * layers);
    for (layer, row) in levels.chunks_mut(12).enumerate() {
        row[3] = (1 + layer % 5) as f32;
        row[11] = 0.0;
    }
    Case {
        initial: vec![Some(levels)],
        ..Case::new(
            &kernels::BUDGET,
            format!("{layers} layers, {bits} bits"),
            vec![(counts, vec![layers, 4])],
            vec![vec![layers, 3, 4]],
            Box::new(move |recording, i, o| {
                quantiser::budget(recording, "case", &i[0], bits, &o[0])
            }),
            Box::new(move |i, before| {
                let rows = before[0].chunks(12).zip(i[0].chunks(4));
                let layers: Vec<(f64, f64)> = rows.map(|(row, count)| (row[3], count[0])).collect();
                let free = reference::budget(&layers, wide(bits));
                let mut values = before[0].clone();
                if free.is_some() {
                    values.chunks_mut(12).for_each(|row| row[11] = 1000.0);
                }
                vec![Expected {
                    values,
                    tolerance: Tolerance::EXACT,
                }]
            }),
        )
    }
}

/// Where the biases of a layer of [`Layers`] lie: right behind its weights.
fn shared(layer: &LayerRanges) -> std::ops::Range<usize> {
    layer.weights.end..layer.weights.end + 8
}

/// Arenas as a model has them: of every layer the weights and five biases, then intercepts and slopes.
#[derive(Clone)]
struct Layers {
    name: String,
    sizes: Vec<(usize, f32, f32)>,
    ranges: Vec<LayerRanges>,
    /// Floats of an arena without intercepts and slopes.
    length: usize,
    schedule: Schedule,
}

impl Layers {
    /// The layers; every second one is normalised.
    fn new(sizes: &[(usize, f32, f32)]) -> Self {
        let mut length = 0;
        let mut ranges = Vec::new();
        for (number, (count, ..)) in sizes.iter().enumerate() {
            let end = length + pad4(*count);
            ranges.push(LayerRanges {
                weights: length..end,
                normalised: number % 2 == 1,
                slope_pays: number % 4 >= 2,
                free_exponents: (number == 4).then_some(2.0),
            });
            length = end + 8;
        }
        let name = match sizes {
            [(count, intercept, slope)] => {
                format!("{count} weights, intercept {intercept}, slope {slope}")
            }
            _ => format!("{} layers at once", sizes.len()),
        };
        Self {
            name,
            sizes: sizes.to_vec(),
            ranges,
            length,
            schedule: Schedule::new(1, 0.0, LAMBDA_BITS),
        }
    }

    fn arena(&self) -> usize {
        self.length + 4 * self.sizes.len()
    }

    fn parameters(&self) -> Vec<f32> {
        let mut arena = noise("biases", self.length);
        for ((count, intercept, slope), range) in self.sizes.iter().zip(&self.ranges) {
            arena[range.weights.clone()].copy_from_slice(&weights(*count, *intercept, *slope));
        }
        let quantisers = self.sizes.iter().flat_map(|(_, c, s)| [*c, *s, 0.0, 0.0]);
        arena.extend(quantisers);
        arena
    }

    /// Random numbers for every weight and bias, none for padding, zeros behind.
    fn gradients(&self, name: &str) -> Vec<f32> {
        let mut arena = noise(name, self.arena());
        arena[self.length..].fill(0.0);
        for ((count, ..), range) in self.sizes.iter().zip(&self.ranges) {
            arena[range.weights.start + count..range.weights.end].fill(0.0);
        }
        arena
    }

    /// Calls `expected` with weights, intercept, slope and range of each.
    fn each<T>(
        &self,
        parameters: &[f64],
        mut expected: impl FnMut(&[f64], f64, f64, &LayerRanges) -> T,
    ) -> Vec<T> {
        let of_layer = |((_, c, s), ranges): (&(usize, f32, f32), &LayerRanges)| {
            expected(
                &parameters[ranges.weights.clone()],
                wide(*c),
                wide(*s),
                ranges,
            )
        };
        self.sizes.iter().zip(&self.ranges).map(of_layer).collect()
    }

    fn levels(&self, parameters: &[f64]) -> Vec<reference::Levels> {
        self.each(parameters, |w, c, s, _| reference::levels(w, c, s))
    }

    /// (layers, 3, 4)
    fn stored_levels(&self, parameters: &[f64]) -> Vec<f64> {
        let levels = self.each(parameters, |w, c, s, ranges| {
            levels_values(&reference::levels(w, c, s), ranges.free_exponents)
        });
        levels.concat()
    }

    fn spans(&self) -> Spans {
        let shared: Vec<_> = self.ranges.iter().map(shared).collect();
        Spans::new(&self.ranges, &shared)
    }

    /// A case over an arena of parameters and the table of spans, and more inputs.
    fn case(
        &self,
        kernel: &'static Kernel,
        more: Vec<(Vec<usize>, Vec<f32>)>,
        output: (Vec<usize>, Option<Vec<f32>>),
        record: impl Fn(&mut Recording, &Quantised<'_>, &[Tensor], &Tensor) + 'static,
        expected: impl Fn(&Self, &[Vec<f64>], &[Vec<f64>]) -> Expected + 'static,
    ) -> Case {
        let (parameters, table) = (self.parameters(), self.spans().table());
        let mut inputs = vec![
            (vec![self.arena()], parameters),
            (vec![table.len() / 4, 4], table),
        ];
        inputs.extend(more);
        let (input_shapes, inputs) = inputs.into_iter().unzip();
        let model = self.clone();
        let known = self.clone();
        Case {
            kernel,
            name: self.name.clone(),
            inputs,
            input_shapes,
            output_shapes: vec![output.0],
            initial: vec![output.1],
            schedule: self.schedule,
            record: Box::new(move |recording, i, o| {
                let quantisers = i[0].range(model.length..i[0].len());
                let nowhere = Tensor::transient("nowhere", &[model.arena()]);
                let levels = Tensor::transient("levels", &[model.sizes.len(), 3, 4]);
                let quantised = Quantised {
                    quantiser: Quantiser::Gtc,
                    spans: &model.spans(),
                    table: &i[1],
                    parameters: &i[0],
                    quantisers: &quantisers,
                    values: &nowhere,
                    levels: &levels,
                };
                record(recording, &quantised, &i[2..], &o[0]);
            }),
            expected: Box::new(move |i, before| vec![expected(&known, i, before)]),
        }
    }
}

const LAMBDA_BITS: f64 = 1e-3;
const LAMBDA_L2: f64 = 1e-4;

/// Q(w), and nothing where there are no weights. What spans leave of the extremes `levels` checks.
fn forward(model: &Layers) -> Case {
    let before = noise("before", model.arena());
    model.case(
        &kernels::QUANTISER_FORWARD,
        Vec::new(),
        (vec![model.arena()], Some(before)),
        |recording, quantised, _, values| {
            let quantised = Quantised {
                values,
                ..*quantised
            };
            quantiser::quantiser_forward(recording, "case", &quantised);
        },
        |model, i, before| {
            let mut values = before[0].clone();
            model.each(&i[0], |w, c, s, ranges| {
                values[ranges.weights.clone()]
                    .copy_from_slice(&reference::quantiser_forward(w, c, s));
            });
            Expected {
                values,
                tolerance: Tolerance::EXACT,
            }
        },
    )
}

fn levels(model: &Layers) -> Case {
    model.case(
        &kernels::LEVELS,
        Vec::new(),
        (vec![model.sizes.len(), 3, 4], None),
        |recording, quantised, _, levels| {
            let quantised = Quantised {
                levels,
                ..*quantised
            };
            quantiser::quantiser_forward(recording, "case", &quantised);
        },
        |model, i, _| Expected {
            values: model.stored_levels(&i[0]),
            tolerance: NEAR,
        },
    )
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|v| *v as f32).collect()
}

fn backward(model: &Layers, identity: bool) -> Case {
    let parameters: Vec<f64> = model.parameters().iter().map(|v| wide(*v)).collect();
    let levels = narrow(&model.stored_levels(&parameters));
    let more = vec![
        (vec![model.arena()], model.gradients("d_q")),
        (vec![model.sizes.len(), 3, 4], levels),
    ];
    model.case(
        &kernels::QUANTISER_BACKWARD,
        more,
        (vec![model.arena()], Some(model.gradients("d_w"))),
        move |recording, quantised, more, gradients| {
            let quantised = Quantised {
                levels: &more[1],
                ..*quantised
            };
            let nowhere = Tensor::transient("nowhere", &quantised.quantisers.shape);
            let targets = [gradients, &nowhere];
            let pull = Pull {
                lambda_l2: LAMBDA_L2 as f32,
                identity,
            };
            quantiser::quantiser_backward(recording, "case", &quantised, &more[0], pull, targets);
        },
        move |model, i, before| {
            let mut values = before[0].clone();
            model.each(&i[0], |w, c, s, ranges| {
                let slope_pays = ranges.slope_pays;
                let (d_q, d_w) = (
                    &i[2][ranges.weights.clone()],
                    &before[0][ranges.weights.clone()],
                );
                let lambda_bits = match slope_pays {
                    true => 0.0,
                    false => reference::levels(w, c, s)
                        .lambda_bits(&model.schedule, ranges.free_exponents),
                };
                let lambda = [lambda_bits, LAMBDA_L2];
                let (d_w, _) = reference::quantiser_backward(w, [c, s], d_q, d_w, lambda, identity);
                values[ranges.weights.clone()].copy_from_slice(&d_w);
                for at in shared(ranges) {
                    values[at] += i[2][at];
                }
            });
            Expected {
                values,
                tolerance: NEAR,
            }
        },
    )
}

/// Gradients of intercepts and slopes from those of the values, by way of `quantiser_backward`.
fn levels_backward(model: &Layers) -> Case {
    let parameters: Vec<f64> = model.parameters().iter().map(|v| wide(*v)).collect();
    let levels = narrow(&model.stored_levels(&parameters));
    let more = vec![
        (vec![model.arena()], model.gradients("d_q")),
        (vec![model.sizes.len(), 3, 4], levels),
        (vec![model.arena()], model.gradients("d_w")),
    ];
    model.case(
        &kernels::LEVELS_BACKWARD,
        more,
        (vec![model.sizes.len(), 4], None),
        |recording, quantised, more, d_quantisers| {
            let quantised = Quantised {
                levels: &more[1],
                ..*quantised
            };
            let targets = [&more[2], d_quantisers];
            quantiser::quantiser_backward(
                recording,
                "case",
                &quantised,
                &more[0],
                Pull::default(),
                targets,
            );
        },
        |model, i, _| {
            let known = model.levels(&i[0]);
            let mut known = known.iter();
            let values = model.each(&i[0], |w, c, s, ranges| {
                let d_q = &i[2][ranges.weights.clone()];
                let zeros = vec![0.0; w.len()];
                let (_, sums) =
                    reference::quantiser_backward(w, [c, s], d_q, &zeros, [0.0; 2], false);
                let levels = known.next().copied().unwrap_or_else(|| unreachable!());
                let lambda_bits = levels.lambda_bits(&model.schedule, ranges.free_exponents);
                let [d_c, d_s] =
                    reference::levels_backward(sums, &levels, lambda_bits, ranges.normalised);
                vec![d_c, d_s, 0.0, 0.0]
            });
            Expected {
                values: values.concat(),
                tolerance: NEAR,
            }
        },
    )
}
