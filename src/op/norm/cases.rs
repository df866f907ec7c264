//! Cases of batch normalisation.

use super::entries;
use crate::op;
use crate::optimiser::Schedule;
use crate::reference;
use crate::verify::{Case, Expected, Tolerance};

const LAMBDA_NORM: f32 = 0.3;

/// Rows, logical channels and ranges of rows.
#[derive(Clone, Copy)]
struct Size {
    rows: usize,
    channels: usize,
    splits: usize,
}

impl Size {
    fn range(self) -> usize {
        self.rows.div_ceil(self.splits)
    }

    fn stored(self) -> usize {
        self.channels.div_ceil(4) * 4
    }

    fn name(self, what: &str) -> String {
        format!("{}x{} in {}{what}", self.rows, self.channels, self.splits)
    }

    /// Shapes of x and of a block of `n` rows.
    fn x(self) -> Vec<usize> {
        vec![self.rows, self.stored()]
    }

    fn block(self, n: usize) -> Vec<usize> {
        vec![n, self.stored()]
    }

    fn partial(self) -> Vec<usize> {
        vec![self.splits, 2, self.stored()]
    }

    /// Noise around a mean that would drown E[x²] - E[x]² in f32.
    fn input(self, what: &str) -> Vec<f32> {
        let mean = |c: usize| [0.0, 3.0, -200.0, 1000.0, 0.25][c % 5];
        let mut x = self.noise(what, self.rows);
        for (i, value) in x.iter_mut().enumerate() {
            if i % self.stored() < self.channels {
                *value += mean(i % self.stored());
            }
        }
        x
    }

    fn noise(self, what: &str, rows: usize) -> Vec<f32> {
        crate::verify::padded_noise(&self.name(what), &[rows, self.stored()], self.channels)
    }

    /// γ and β such that γ/σ is well inside the reach of one power of two.
    fn parameters(self, deviation: impl Fn(usize) -> f64) -> Vec<f32> {
        let stored = self.stored();
        let mut parameters = self.noise("parameters", 2);
        for c in 0..self.channels {
            let wanted = [1.0, -0.8, 0.28, -2.2, 5e-8][c % 5];
            parameters[c] = (wanted * deviation(c)) as f32;
        }
        assert_eq!(parameters.len(), 2 * stored);
        parameters
    }

    /// A plausible block of statistics.
    fn statistics(self) -> Vec<f32> {
        let running = self.running();
        let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
        let deviation = |c| f64::from(running[self.stored() + c]).sqrt();
        let block =
            reference::norm_running(&wide(&running), &wide(&self.parameters(deviation)), true);
        block.into_iter().map(|v| v as f32).collect()
    }

    /// Means of noise and variances between 0.1 and 1.1.
    fn running(self) -> Vec<f32> {
        let mut running = self.noise("running", 2);
        for c in 0..self.channels {
            running[self.stored() + c] = running[self.stored() + c].abs() + 0.1;
        }
        running
    }
}

fn near(absolute: f64, relative: f64) -> Tolerance {
    Tolerance { absolute, relative }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for [rows, channels, splits] in [
        [1, 1, 1],
        [2, 4, 1],
        [7, 5, 2],
        [300, 64, 5],
        [2048, 12, 32],
        // Several texels a thread, and a rest.
        [4999, 60, 40],
        // More ranges than threads of a workgroup: some threads have one, some none, all channels alone.
        [260, 8, 65],
        [5000, 12, 200],
    ] {
        cases.extend(of_size(rows, channels, splits));
    }
    // The last: several texels a thread, and a rest.
    for x in [
        [1, 2, 2, 4],
        [3, 6, 4, 8],
        [2, 4, 10, 20],
        [70, 8, 8, 12],
        [9, 46, 50, 60],
    ] {
        cases.extend(of_pool(x));
    }
    cases
}

/// What a max pool over squares changes, of (images, height, width, channels).
pub(crate) fn of_pool(x: [usize; 4]) -> [Case; 3] {
    let [images, height, width, channels] = x;
    let input = Size {
        rows: images * height * width,
        channels,
        splits: 1,
    };
    let squares = input.rows / 4;
    let output = Size {
        rows: squares,
        splits: squares.div_ceil(squares.div_ceil(7)),
        ..input
    };
    let name = format!("{images}x{height}x{width}x{channels}");
    // In whole quarters, so that there are squares with several largest.
    let values = |what: &str, size: Size| {
        let noise = size.noise(what, size.rows).into_iter();
        noise.map(|v| (v * 4.0).round() / 4.0).collect::<Vec<f32>>()
    };
    let x_values = (values("x", input), x.to_vec());
    let y = vec![images, height / 2, width / 2, channels];
    let d_y = (values("d_y", output), y.clone());
    let statistics = (input.statistics(), input.block(5));
    let sums = (input.noise("sums", 2), input.block(2));
    let forward = Case::new(
        &entries::NORM_POOL_FORWARD,
        name.clone(),
        vec![x_values.clone(), statistics.clone()],
        vec![y],
        Box::new(move |recording, i, o| {
            op::norm_pool_forward(recording, "case", [&i[0], &i[1]], width, &o[0]);
        }),
        Box::new(move |i, _| {
            vec![Expected {
                values: reference::norm_pool_forward(x, &i[0], &i[1]),
                tolerance: near(1e-6, 1e-6),
            }]
        }),
    );
    let sums_of = Case::new(
        &entries::NORM_POOL_BACKWARD_SUMS,
        format!("{name} in {}", output.splits),
        vec![x_values.clone(), d_y.clone(), statistics.clone()],
        vec![output.partial()],
        Box::new(move |recording, i, o| {
            let (inputs, range) = ([&i[0], &i[1], &i[2]], output.range());
            op::norm_pool_backward_sums(recording, "case", inputs, width, range, &o[0]);
        }),
        Box::new(move |i, _| {
            let splits = output.splits;
            vec![Expected {
                values: reference::norm_pool_backward_sums(x, &i[0], &i[1], &i[2], splits),
                tolerance: Tolerance::sum_of(8 * output.range()),
            }]
        }),
    );
    let backward = Case::new(
        &entries::NORM_POOL_BACKWARD,
        name,
        vec![x_values, d_y, statistics, sums],
        vec![x.to_vec()],
        Box::new(move |recording, i, o| {
            let inputs = [&i[0], &i[1], &i[2], &i[3]];
            op::norm_pool_backward(recording, "case", inputs, width, input.rows, &o[0]);
        }),
        Box::new(move |i, _| {
            vec![Expected {
                values: reference::norm_pool_backward(x, &i[0], &i[1], &i[2], &i[3]),
                tolerance: near(4e-6, 2e-6),
            }]
        }),
    );
    [forward, sums_of, backward]
}

/// Every kernel at one size.
pub(crate) fn of_size(rows: usize, channels: usize, splits: usize) -> Vec<Case> {
    let size = Size {
        rows,
        channels,
        splits,
    };
    let mut cases = vec![statistics(size), gradients(size)];
    for yes in [false, true] {
        cases.extend([
            combine(size, yes),
            shard(size, yes),
            running(size, yes),
            forward(size, yes),
            backward_sums(size, yes),
            backward(size, yes),
        ]);
    }
    cases
}

fn statistics(s: Size) -> Case {
    Case {
        kernel: &entries::NORM_STATISTICS,
        name: s.name(""),
        inputs: vec![s.input("x")],
        input_shapes: vec![s.x()],
        output_shapes: vec![s.partial()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            op::norm_statistics(recording, "case", &i[0], s.range(), &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::norm_statistics(&i[0], s.stored(), s.splits),
                // An ulp of a mean of 1,000 shifts every difference of its column.
                tolerance: near(2e-4, 2e-4),
            }]
        }),
    }
}

fn combine(s: Size, round: bool) -> Case {
    let wide: Vec<f64> = s.input("x").iter().map(|v| f64::from(*v)).collect();
    let partial = reference::norm_statistics(&wide, s.stored(), s.splits);
    let zeros = vec![0.0; 2 * s.stored()];
    let block = reference::norm_combine(&partial, &zeros, (s.rows, s.splits), false, &zeros);
    let inverse = block[0][s.stored()..2 * s.stored()].to_vec();
    Case {
        kernel: &entries::NORM_COMBINE,
        name: s.name(if round { ", rounded" } else { "" }),
        inputs: vec![
            partial.iter().map(|v| *v as f32).collect(),
            s.parameters(|c| 1.0 / inverse[c]),
        ],
        input_shapes: vec![s.partial(), s.block(2)],
        output_shapes: vec![s.block(5), s.block(2)],
        initial: vec![None, Some(s.running())],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let (inputs, outputs) = ([&i[0], &i[1]], [&o[0], &o[1]]);
            op::norm_combine(
                recording,
                "case",
                inputs,
                (s.rows, s.range()),
                round,
                outputs,
            );
        }),
        expected: Box::new(move |i, before| {
            let sizes = (s.rows, s.splits);
            let [block, moved] = reference::norm_combine(&i[0], &i[1], sizes, round, &before[1]);
            let expected = |values| Expected {
                values,
                tolerance: near(1e-5, 2e-5),
            };
            vec![expected(block), expected(moved)]
        }),
    }
}

fn shard(s: Size, round: bool) -> Case {
    let combined = combine(s, round);
    let running = s.running();
    Case {
        kernel: &entries::NORM_SHARD,
        name: combined.name,
        inputs: [combined.inputs, vec![running]].concat(),
        input_shapes: [combined.input_shapes, vec![s.block(2)]].concat(),
        output_shapes: vec![s.block(5), s.block(2)],
        initial: vec![None, None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let (inputs, outputs) = ([&i[0], &i[1], &i[2]], [&o[0], &o[1]]);
            op::norm_shard(
                recording,
                "case",
                inputs,
                (s.rows, s.range()),
                round,
                outputs,
            );
        }),
        expected: Box::new(move |i, _| {
            let sizes = (s.rows, s.splits);
            reference::norm_shard(&i[0], &i[1], &i[2], sizes, round)
                .map(|values| Expected {
                    values,
                    tolerance: near(1e-5, 2e-5),
                })
                .into()
        }),
    }
}

fn running(s: Size, round: bool) -> Case {
    let variances = s.running();
    Case {
        kernel: &entries::NORM_RUNNING,
        name: s.name(if round { ", rounded" } else { "" }),
        inputs: vec![
            s.running(),
            s.parameters(|c| f64::from(variances[s.stored() + c]).sqrt()),
        ],
        input_shapes: vec![s.block(2), s.block(2)],
        output_shapes: vec![s.block(5)],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            op::norm_running(recording, "case", [&i[0], &i[1]], round, &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::norm_running(&i[0], &i[1], round),
                tolerance: near(1e-12, 2e-6),
            }]
        }),
    }
}

fn relu_name(s: Size, relu: bool) -> String {
    s.name(if relu { ", ReLU" } else { "" })
}

fn forward(s: Size, relu: bool) -> Case {
    Case {
        kernel: &entries::NORM_FORWARD,
        name: relu_name(s, relu),
        inputs: vec![s.noise("x", s.rows), s.statistics()],
        input_shapes: vec![s.x(), s.block(5)],
        output_shapes: vec![s.x()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            op::norm_forward(recording, "case", [&i[0], &i[1]], relu, &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::norm_forward(&i[0], &i[1], relu),
                tolerance: near(1e-6, 1e-6),
            }]
        }),
    }
}

fn backward_sums(s: Size, relu: bool) -> Case {
    Case {
        kernel: &entries::NORM_BACKWARD_SUMS,
        name: relu_name(s, relu),
        inputs: vec![s.noise("x", s.rows), s.noise("d_y", s.rows), s.statistics()],
        input_shapes: vec![s.x(), s.x(), s.block(5)],
        output_shapes: vec![s.partial()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let inputs = [&i[0], &i[1], &i[2]];
            op::norm_backward_sums(recording, "case", inputs, relu, s.range(), &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::norm_backward_sums(&i[0], &i[1], &i[2], relu, s.splits),
                tolerance: Tolerance::sum_of(8 * s.rows.div_ceil(s.splits)),
            }]
        }),
    }
}

fn gradients(s: Size) -> Case {
    Case {
        kernel: &entries::NORM_GRADIENTS,
        inputs: vec![s.noise("partial", 2 * s.splits), s.statistics()],
        input_shapes: vec![s.partial(), s.block(5)],
        output_shapes: vec![s.block(2), s.block(2)],
        initial: vec![None, None],
        name: s.name(""),
        schedule: Schedule::default().with_lambda_norm(LAMBDA_NORM.into()),
        record: Box::new(move |recording, i, o| {
            let (inputs, outputs) = ([&i[0], &i[1]], [&o[0], &o[1]]);
            op::norm_gradients(recording, "case", inputs, s.splits, outputs);
        }),
        expected: Box::new(move |i, _| {
            let tolerance = Tolerance::sum_of(2 + 2 * s.splits);
            reference::norm_gradients(&i[0], &i[1], f64::from(LAMBDA_NORM))
                .map(|values| Expected { values, tolerance })
                .into()
        }),
    }
}

fn backward(s: Size, relu: bool) -> Case {
    Case {
        kernel: &entries::NORM_BACKWARD,
        name: relu_name(s, relu),
        inputs: vec![
            s.noise("x", s.rows),
            s.noise("d_y", s.rows),
            s.statistics(),
            s.noise("sums", 2),
        ],
        input_shapes: vec![s.x(), s.x(), s.block(5), s.block(2)],
        output_shapes: vec![s.x()],
        initial: vec![None],
        schedule: Schedule::default(),
        record: Box::new(move |recording, i, o| {
            let inputs = [&i[0], &i[1], &i[2], &i[3]];
            op::norm_backward(recording, "case", inputs, relu, s.rows, &o[0]);
        }),
        expected: Box::new(move |i, _| {
            vec![Expected {
                values: reference::norm_backward(&i[0], &i[1], &i[2], &i[3], relu),
                tolerance: near(4e-6, 2e-6),
            }]
        }),
    }
}
