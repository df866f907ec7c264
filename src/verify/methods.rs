//! Cases of quantisation methods other than GTC.

use super::{Case, Expected, Tolerance, noise};
use crate::gpu::Kernel;
use crate::kernels;
use crate::quantiser::{
    LayerRanges, Learned, Method, Quantised, Quantiser, Scales, Spans, method_backward,
    method_scales, method_statistics_to, method_values,
};
use crate::recording::Recording;
use crate::reference;
use crate::tensor::{Tensor, pad4};

/// Weights of layers: one, less than a texel, some, and more than a span.
const SMALL: [usize; 4] = [1, 7, 300, 6_001];
/// The same, and a layer of more spans than a workgroup has threads.
const LARGE: [usize; 5] = [1, 7, 300, 6_001, 300_000];
/// Floats behind the weights of a layer that both networks share.
const SHARED: usize = 8;
const LAMBDA_L2: f64 = 1e-4;
/// How near to a jump of a method no weight is, in parts of itself: `f32` and `f64` scales differ by less.
const CLEAR: f64 = 2e-4;

const NEAR: Tolerance = Tolerance {
    absolute: 1e-5,
    relative: 1e-5,
};

/// One of each way to compute.
const METHODS: [Quantiser; 11] = [
    Quantiser::Lsq(2),
    Quantiser::Lsq(8),
    Quantiser::Binary,
    Quantiser::BinaryPowerOfTwo,
    Quantiser::Twn,
    Quantiser::Ttq,
    Quantiser::DeepShift(3),
    Quantiser::Inq(4),
    Quantiser::PowersOfTwo(3),
    Quantiser::Apot(4),
    Quantiser::Apot(5),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for quantiser in METHODS {
        let sizes: &[usize] = match quantiser {
            Quantiser::Lsq(2) | Quantiser::Twn => &LARGE,
            _ => &SMALL,
        };
        let layers = Layers::new(quantiser, sizes);
        cases.extend([
            scales(&layers),
            forward(&layers),
            backward(&layers),
            learned_backward(&layers),
        ]);
        if quantiser == Quantiser::Twn {
            cases.extend([statistics(&layers, 0), statistics(&layers, 1)]);
        }
    }
    cases
}

/// Arenas as a model has them: of every layer the weights and some shared numbers, then what layers learn.
#[derive(Clone)]
struct Layers {
    quantiser: Quantiser,
    weights: Vec<Vec<f64>>,
    learned: Vec<Learned>,
    ranges: Vec<LayerRanges>,
    /// Floats of an arena without what layers learn.
    length: usize,
}

/// Whether a weight is far from everything at which the method jumps.
fn is_clear(method: &dyn Method, w: f64, scales: &Scales) -> bool {
    let at = |factor: f64| {
        let through = method.through(w * factor, 1.0, scales);
        let near_jump = through
            .learned
            .map(|d| (d * 50.0 / scales[0].abs().max(1e-9)).round());
        (
            method.quantise(w * factor, scales),
            through.weight,
            near_jump,
        )
    };
    let [low, high] = [at(1.0 - CLEAR), at(1.0 + CLEAR)];
    let steady = low.2.iter().zip(high.2).all(|(a, b)| (a - b).abs() <= 1.0);
    low.0 == high.0 && low.1 == high.1 && steady
}

/// Weights as a layer has them: small, some of them zero, none where the method jumps.
fn weights(method: &dyn Method, count: usize, learned: impl Fn(&[f64]) -> Learned) -> Vec<f64> {
    let mut values: Vec<f64> = noise("weights", count)
        .iter()
        .enumerate()
        .map(|(i, w)| match i % 11 {
            10 => 0.0,
            _ => f64::from(*w) * 0.1,
        })
        .collect();
    // Moving one weight moves the scales of all.
    for _ in 0..100 {
        let scales = method.scales(&values, learned(&values));
        let mut moved = false;
        for w in &mut values {
            if *w != 0.0 && !is_clear(method, *w, &scales) {
                *w = f64::from((*w * 1.002) as f32);
                moved = true;
            }
        }
        if !moved {
            return values;
        }
    }
    panic!("weights do not keep away from jumps")
}

impl Layers {
    fn new(quantiser: Quantiser, sizes: &[usize]) -> Self {
        let method = quantiser.method().unwrap_or_else(|| unreachable!());
        let (mut length, mut ranges) = (0, Vec::new());
        let (mut all, mut all_learned) = (Vec::new(), Vec::new());
        for (number, count) in sizes.iter().enumerate() {
            let end = length + pad4(*count);
            ranges.push(LayerRanges {
                weights: length..end,
                normalised: number % 2 == 1,
                slope_pays: false,
                free_exponents: None,
            });
            length = end + SHARED;
            // Numbers that were learned lie a little beside those a run starts with.
            let learned = |weights: &[f64]| {
                let start = method.start(weights);
                start.map(|v| f64::from((v + 0.1 * number as f64 - 0.15) as f32))
            };
            let weights = weights(&*method, *count, learned);
            all_learned.push(learned(&weights));
            all.push(weights);
        }
        Self {
            quantiser,
            weights: all,
            learned: all_learned,
            ranges,
            length,
        }
    }

    fn method(&self) -> Box<dyn Method> {
        self.quantiser.method().unwrap_or_else(|| unreachable!())
    }

    fn arena(&self) -> usize {
        self.length + 4 * self.weights.len()
    }

    fn parameters(&self) -> Vec<f32> {
        let mut arena = noise("biases", self.length);
        for (weights, range) in self.weights.iter().zip(&self.ranges) {
            let stored = &mut arena[range.weights.clone()];
            stored.fill(0.0);
            for (place, w) in stored.iter_mut().zip(weights) {
                *place = *w as f32;
            }
        }
        let learned = self
            .learned
            .iter()
            .flat_map(|[first, second]| [*first as f32, *second as f32, 0.0, 0.0]);
        arena.extend(learned);
        arena
    }

    /// Random numbers for every weight and shared number, none for padding, zeros behind.
    fn gradients(&self, name: &str) -> Vec<f32> {
        let mut arena = noise(name, self.arena());
        arena[self.length..].fill(0.0);
        for (weights, range) in self.weights.iter().zip(&self.ranges) {
            arena[range.weights.start + weights.len()..range.weights.end].fill(0.0);
        }
        arena
    }

    fn spans(&self) -> Spans {
        let shared: Vec<_> = self
            .ranges
            .iter()
            .map(|layer| layer.weights.end..layer.weights.end + SHARED)
            .collect();
        Spans::new(&self.ranges, &shared).counting(self.weights.iter().map(Vec::len))
    }

    /// (layers, 3, 4)
    fn levels(&self) -> Vec<f64> {
        let method = self.method();
        let layers = self.weights.iter().zip(&self.learned);
        let rows = layers.map(|(w, learned)| reference::method_scales(&*method, w, *learned));
        rows.collect::<Vec<_>>().concat()
    }

    /// A case over an arena of parameters and the table of spans, and more inputs.
    fn case(
        &self,
        kernel: &'static Kernel,
        more: Vec<(Vec<f32>, Vec<usize>)>,
        output: (Vec<usize>, Option<Vec<f32>>),
        record: impl Fn(&mut Recording, &Quantised<'_>, &[Tensor], &Tensor) + 'static,
        expected: impl Fn(&Self, &[Vec<f64>]) -> Expected + 'static,
    ) -> Case {
        let (parameters, table) = (self.parameters(), self.spans().table());
        let rows = table.len() / 4;
        let levels = self.levels().iter().map(|v| *v as f32).collect();
        let mut inputs = vec![
            (parameters, vec![self.arena()]),
            (table, vec![rows, 4]),
            (levels, vec![self.weights.len(), 3, 4]),
        ];
        inputs.extend(more);
        let name = format!("{}, {} layers", self.quantiser, self.weights.len());
        let (model, known) = (self.clone(), self.clone());
        let record = move |recording: &mut Recording, i: &[Tensor], o: &[Tensor]| {
            let nowhere = Tensor::transient("nowhere", &[model.arena()]);
            let quantised = Quantised {
                quantiser: model.quantiser,
                spans: &model.spans(),
                table: &i[1],
                parameters: &i[0],
                quantisers: &i[0].range(model.length..i[0].len()),
                values: &nowhere,
                levels: &i[2],
            };
            record(recording, &quantised, &i[3..], &o[0]);
        };
        Case {
            initial: vec![output.1],
            ..Case::new(
                kernel,
                name,
                inputs,
                vec![output.0],
                Box::new(record),
                Box::new(move |_, before| vec![expected(&known, before)]),
            )
        }
    }
}

/// What spans leave, of the first look or the second.
fn statistics(layers: &Layers, second: u32) -> Case {
    let spans = layers.spans().of_weights();
    let mut case = layers.case(
        &kernels::METHOD_STATISTICS,
        Vec::new(),
        (vec![spans, 4], None),
        move |recording, model, _, partial| {
            method_statistics_to(recording, "case", model, second, partial)
        },
        move |layers, _| {
            let method = layers.method();
            let mut values = Vec::new();
            for (weights, learned) in layers.weights.iter().zip(&layers.learned) {
                let threshold = match second {
                    0 => 0.0,
                    _ => method.scales(weights, *learned)[3],
                };
                for span in weights.chunks(4 * 1024) {
                    values.extend(reference::method_statistics(span, threshold));
                }
            }
            Expected {
                values,
                tolerance: NEAR,
            }
        },
    );
    case.name += ["", ", above a threshold"][second as usize];
    case
}

fn scales(layers: &Layers) -> Case {
    let rows = layers.weights.len();
    layers.case(
        layers.method().kernels().scales,
        Vec::new(),
        (vec![rows, 3, 4], Some(noise("before", 12 * rows))),
        |recording, model, _, levels| {
            let method = model.quantiser.method().unwrap_or_else(|| unreachable!());
            let model = Quantised { levels, ..*model };
            method_scales(recording, "case", &model, &*method);
        },
        |layers, _| Expected {
            values: layers.levels(),
            tolerance: NEAR,
        },
    )
}

/// Q(w), and nothing where there are no weights.
fn forward(layers: &Layers) -> Case {
    layers.case(
        layers.method().kernels().forward,
        Vec::new(),
        (vec![layers.arena()], Some(noise("before", layers.arena()))),
        |recording, model, _, values| {
            let method = model.quantiser.method().unwrap_or_else(|| unreachable!());
            let model = Quantised { values, ..*model };
            method_values(recording, "case", &model, &*method);
        },
        |layers, before| {
            let method = layers.method();
            let mut values = before[0].clone();
            for (number, weights) in layers.weights.iter().enumerate() {
                let scales = method.scales(weights, layers.learned[number]);
                let stored = &mut values[layers.ranges[number].weights.clone()];
                stored.fill(0.0);
                let found = reference::method_forward(&*method, weights, &scales);
                stored[..found.len()].copy_from_slice(&found);
            }
            Expected {
                values,
                tolerance: Tolerance {
                    absolute: 0.0,
                    relative: 1e-5,
                },
            }
        },
    )
}

/// Gradients of weights and of what is shared.
fn backward(layers: &Layers) -> Case {
    let d_q = layers.gradients("d_q");
    let known: Vec<f64> = d_q.iter().map(|v| f64::from(*v)).collect();
    layers.case(
        layers.method().kernels().backward,
        vec![(d_q, vec![layers.arena()])],
        (vec![layers.arena()], Some(layers.gradients("d_w"))),
        |recording, model, more, gradients| {
            let method = model.quantiser.method().unwrap_or_else(|| unreachable!());
            let nowhere = Tensor::transient("nowhere", &model.quantisers.shape);
            let targets = [gradients, &nowhere];
            let lambda = LAMBDA_L2 as f32;
            method_backward(
                recording, "case", model, &*method, &more[0], lambda, targets,
            );
        },
        move |layers, before| {
            let method = layers.method();
            let mut values = before[0].clone();
            for (number, weights) in layers.weights.iter().enumerate() {
                let scales = method.scales(weights, layers.learned[number]);
                let start = layers.ranges[number].weights.start;
                let place = start..start + weights.len();
                let gradients = [&known[place.clone()], &before[0][place.clone()]];
                let (d_w, _) =
                    reference::method_backward(&*method, weights, &scales, gradients, LAMBDA_L2);
                values[place].copy_from_slice(&d_w);
                let end = layers.ranges[number].weights.end;
                for at in end..end + SHARED {
                    values[at] += known[at];
                }
            }
            Expected {
                values,
                tolerance: NEAR,
            }
        },
    )
}

/// Gradients of what layers learn besides their weights.
fn learned_backward(layers: &Layers) -> Case {
    let d_q = layers.gradients("d_q");
    let known: Vec<f64> = d_q.iter().map(|v| f64::from(*v)).collect();
    let rows = layers.weights.len();
    layers.case(
        &kernels::LEVELS_BACKWARD,
        vec![
            (d_q, vec![layers.arena()]),
            (layers.gradients("d_w"), vec![layers.arena()]),
        ],
        (vec![rows, 4], None),
        |recording, model, more, d_learned| {
            let method = model.quantiser.method().unwrap_or_else(|| unreachable!());
            let targets = [&more[1], d_learned];
            method_backward(recording, "case", model, &*method, &more[0], 0.0, targets);
        },
        move |layers, _| {
            let method = layers.method();
            let mut values = Vec::new();
            for (number, weights) in layers.weights.iter().enumerate() {
                let scales = method.scales(weights, layers.learned[number]);
                let start = layers.ranges[number].weights.start;
                let d_q = &known[start..start + weights.len()];
                let zeros = vec![0.0; weights.len()];
                let (_, [first, second]) =
                    reference::method_backward(&*method, weights, &scales, [d_q, &zeros], 0.0);
                values.extend([first, second, 0.0, 0.0]);
            }
            Expected {
                values,
                tolerance: Tolerance {
                    absolute: 1e-4,
                    relative: 1e-4,
                },
            }
        },
    )
}
