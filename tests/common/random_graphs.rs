//! Small random graphs: everything that a description can say, in sizes that plain loops can follow.

use gtc::graph::{Builder, INPUT, Model, Shape, Value};
use gtc::loss::Likelihood;
use gtc::op::{
    Activation, Add, AveragePool, Concat, Conv, Dense, Dropout, Flatten, GlobalAveragePool, Latent,
    MaxPool, Norm, Op, Pair, Reshape, Upsample,
};
use gtc::rng::Philox;

/// Numbers of a value for one image, at most.
const MOST_NUMBERS: usize = 1200;
/// Rows, columns or channels, at most.
const MOST_SIDE: usize = 24;

/// A random classifier. Every fifth one may have layers that stay in float, which cannot be packed.
pub fn random_model(seed: u64) -> Model {
    let mut maker = Maker::new(seed);
    let nodes = maker.between(2, 9);
    maker.grow(nodes);
    maker.finish()
}

/// A random auto-encoder without layers that stay in float.
pub fn random_auto_encoder(seed: u64) -> Model {
    let mut maker = Maker::new(seed);
    maker.floats = false;
    let likelihood = match maker.once_in(2) {
        true => Likelihood::Bernoulli,
        false => Likelihood::Gaussian,
    };
    maker.net = maker.net.likelihood(likelihood);
    let nodes = maker.between(1, 4);
    maker.grow(nodes);
    let size = maker.between(1, 7);
    maker.lead_to_row(2 * size);
    let posterior = maker.shapes.len() - 1;
    let latent = maker.try_add(Latent { size }, &[posterior]);
    maker.first = latent.expect("its size fits");
    maker.try_add(Dense::new(16), &[maker.first]);
    maker.try_add(Activation::RELU, &[maker.first + 1]);
    let [height, width] = [2, 2];
    maker.try_add(Reshape { height, width }, &[maker.first + 2]);
    let nodes = maker.between(0, 4);
    maker.grow(nodes);
    maker.lead_to_row(maker.shapes[INPUT].len());
    maker.net.build().unwrap_or_else(|e| panic!("{e}"))
}

/// Whether [`random_model`] may give layers that stay in float.
pub fn may_have_floats(seed: u64) -> bool {
    seed % 5 == 4
}

/// A graph that grows.
struct Maker {
    rng: Philox,
    net: Builder,
    floats: bool,
    /// Of every value.
    shapes: Vec<Shape>,
    /// Whether an activation, or the image, lies between a value and the last layer before it. Only there a
    /// normalisation, or a layer without a bias before one, may stand: else it would make a bias before it useless,
    /// whose gradient would be nothing but rounding.
    bent: Vec<bool>,
    /// Whether a node reads the value.
    read: Vec<bool>,
    /// The first value that may be read: decoders read nothing before the latent.
    first: Value,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let mut rng = Philox::new(seed, 77);
        let mut side = |most: u32| 1 + rng.below(most) as usize;
        let input = match side(8) {
            1 => [1, 1, side(12)],
            2 => [1, side(12) + 1, side(5)],
            _ => [side(10) + 2, side(10) + 2, side(9)],
        };
        Self {
            rng,
            net: Builder::new(format!("random-{seed}"), input),
            floats: may_have_floats(seed),
            shapes: vec![Shape::image(input)],
            bent: vec![true],
            read: vec![false],
            first: INPUT,
        }
    }

    fn between(&mut self, from: usize, to: usize) -> usize {
        from + self.rng.below((to - from + 1) as u32) as usize
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: u32) -> bool {
        self.rng.below(n) == 0
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.rng.below(choices.len() as u32) as usize]
    }

    /// Mostly the newest value, so that graphs become deep.
    fn pick(&mut self) -> Value {
        match self.rng.below(3) {
            0 => self.between(self.first, self.shapes.len() - 1),
            _ => self.shapes.len() - 1,
        }
    }

    /// Appends an operation if it fits what it reads, and returns its value.
    fn try_add(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Option<Value> {
        let op = op.into();
        let read: Vec<Shape> = inputs.iter().map(|value| self.shapes[*value]).collect();
        let operation = op.operation();
        operation.check_arity(read.len()).ok()?;
        let shape = operation.shape(&read).ok()?.checked().ok()?;
        let most = shape.sides().into_iter().max()?;
        if shape.len() > MOST_NUMBERS || most > MOST_SIDE && shape.pixels() > 1 {
            return None;
        }
        let straight = matches!(op, Op::Conv(_) | Op::Dense(_) | Op::Norm(_));
        let bent = matches!(op, Op::Activation(_))
            || !straight && inputs.iter().all(|value| self.bent[*value]);
        let name = match self.once_in(3) {
            true => format!("node-{}", self.shapes.len()),
            false => String::new(),
        };
        inputs.iter().for_each(|value| self.read[*value] = true);
        self.shapes.push(shape);
        self.bent.push(bent);
        self.read.push(false);
        Some(self.net.join(name, op, inputs))
    }

    /// Appends so many nodes, or one more.
    fn grow(&mut self, nodes: usize) {
        let end = self.shapes.len() + nodes;
        while self.shapes.len() < end {
            self.add_something();
        }
    }

    fn add_something(&mut self) {
        let x = self.pick();
        match self.rng.below(22) {
            0..=4 => {
                let conv = self.conv(x);
                self.try_add(conv, &[x]);
            }
            5..=7 if self.bent[x] => self.add_normalised(x),
            8 if self.bent[x] => {
                self.try_add(Norm {}, &[x]);
            }
            8..=11 => {
                let kinds = [Activation::RELU, Activation::RELU, Activation::RELU6];
                let leaky = Activation::leaky(self.between(1, 4) as u32);
                let kind = self.one_of(&[kinds[0], kinds[1], kinds[2], leaky]);
                self.try_add(kind, &[x]);
            }
            12 | 13 => self.add_pool(x),
            14 | 15 => self.add_sum(x),
            16 | 17 => self.add_concat(x),
            18 => {
                let size = self.between(1, 2);
                self.try_add(Upsample { size }, &[x]);
            }
            19 => {
                let probability = self.one_of(&[0.0, 0.25, 0.5]);
                self.try_add(Dropout { probability }, &[x]);
            }
            20 => {
                let flat = self.try_add(Flatten {}, &[x]).unwrap_or(x);
                let dense = self.dense(4, 17);
                self.try_add(dense, &[flat]);
            }
            _ => {
                let dense = self.dense(1, 4);
                let outputs = 8 * dense.outputs;
                let row = self.try_add(Dense { outputs, ..dense }, &[x]);
                let [height, width] = self.one_of(&[[1, 2], [2, 1], [2, 2], [1, 1]]);
                self.try_add(Reshape { height, width }, &[row.unwrap_or(x)]);
            }
        }
    }

    fn in_float(&mut self) -> bool {
        self.floats && self.once_in(3)
    }

    fn dense(&mut self, from: usize, to: usize) -> Dense {
        let dense = Dense::new(self.between(from, to));
        Dense {
            bias: !self.once_in(4),
            quantise: !self.in_float(),
            ..dense
        }
    }

    /// A convolution, also in groups, that may or may not fit.
    fn conv(&mut self, x: Value) -> Conv {
        let channels = self.shapes[x].channels;
        let kernel = self.one_of(&[[1, 1], [3, 3], [3, 3], [2, 2], [1, 3], [3, 2], [5, 5]]);
        let padding = kernel.map(|side| self.between(0, side - 1).min(side / 2));
        let groups = match self.rng.below(4) {
            0 => channels,
            1 => self.one_of(&[2, 3]),
            _ => 1,
        };
        let outputs = match groups {
            1 => self.between(1, 9),
            _ => groups * self.between(1, 2),
        };
        Conv {
            kernel: Pair(kernel),
            stride: self.one_of(&[1, 1, 1, 2, 3]),
            bias: !self.once_in(4),
            quantise: !self.in_float(),
            ..Conv::new(outputs, 1)
        }
        .padding(Pair(padding))
        .groups(groups)
    }

    /// A layer without a bias, with a normalisation and sometimes an activation behind it. Its outputs read at least
    /// two numbers: the size of a single weight would not matter.
    fn add_normalised(&mut self, x: Value) {
        let conv = self.conv(x).without_bias();
        let dense = self.dense(4, 12).without_bias();
        let [rows, columns] = conv.kernel.0;
        let fan_in = rows * columns * self.shapes[x].channels / conv.groups.max(1);
        let layer = match self.once_in(5) || self.shapes[x].flat {
            true => self.try_add(dense, &[x]),
            false if fan_in > 1 => self.try_add(conv, &[x]),
            false => None,
        };
        let Some(layer) = layer else { return };
        let norm = self.try_add(Norm {}, &[layer]);
        if let Some(norm) = norm.filter(|_| !self.once_in(3)) {
            let kind = self.one_of(&[Activation::RELU, Activation::RELU6, Activation::leaky(3)]);
            self.try_add(kind, &[norm]);
        }
    }

    fn add_pool(&mut self, x: Value) {
        let size = self.one_of(&[[2, 2], [2, 2], [3, 3], [2, 1], [1, 2], [4, 4]]);
        let stride = match self.once_in(2) {
            true => None,
            false => Some(Pair([self.between(1, 3), self.between(1, 3)])),
        };
        let padding = match self.once_in(2) {
            true => Pair::default(),
            false => Pair(size.map(|side| side / 2)),
        };
        let size = Pair(size);
        match self.once_in(2) {
            true => self.try_add(
                MaxPool {
                    size,
                    stride,
                    padding,
                },
                &[x],
            ),
            false => self.try_add(
                AveragePool {
                    size,
                    stride,
                    padding,
                },
                &[x],
            ),
        };
    }

    /// Values of `x`'s shape or, without regard to channels, of its size; one of them may be `x` itself.
    fn like(&self, x: Value, same_channels: bool) -> Vec<Value> {
        let wanted = self.shapes[x];
        let fits = |value: &Value| {
            let shape = self.shapes[*value];
            match same_channels {
                true => shape == wanted,
                false => shape.sides()[..2] == wanted.sides()[..2] && !shape.flat,
            }
        };
        (self.first..self.shapes.len()).filter(fits).collect()
    }

    fn some_of(&mut self, x: Value, values: &[Value]) -> Vec<Value> {
        let mut some = vec![x];
        for _ in 0..self.between(1, 2) {
            some.push(self.one_of(values));
        }
        if self.once_in(2) {
            some.reverse();
        }
        some
    }

    /// A sum; of a value and a convolution of it, if nothing else has its shape.
    fn add_sum(&mut self, x: Value) {
        let mut like = self.like(x, true);
        if like.len() < 2 {
            let conv = Conv::new(self.shapes[x].channels, 3).padding(1);
            match self.try_add(conv, &[x]) {
                Some(conv) => like.push(conv),
                None => return,
            }
        }
        let inputs = self.some_of(x, &like);
        self.try_add(Add {}, &inputs);
    }

    fn add_concat(&mut self, x: Value) {
        let like = self.like(x, false);
        if !like.is_empty() {
            let inputs = self.some_of(x, &like);
            self.try_add(Concat {}, &inputs);
        }
    }

    /// Values that nobody reads.
    fn open(&self) -> Vec<Value> {
        let all = self.first.max(1)..self.shapes.len();
        all.filter(|value| !self.read[*value]).collect()
    }

    /// Leads all values that nobody reads to one row of `outputs` numbers.
    fn lead_to_row(&mut self, outputs: usize) {
        let open = self.open();
        let rows: Vec<Value> = open
            .iter()
            .filter_map(|value| self.try_add(Dense::new(outputs), &[*value]))
            .collect();
        if rows.len() > 1 {
            self.try_add(Add {}, &rows).expect("rows are alike");
        }
    }

    /// Leads all values that nobody reads to one number a class.
    fn finish(mut self) -> Model {
        let classes = self.between(2, 6);
        let open = self.open();
        let head = self.dense(classes, classes);
        let wide = Dense { bias: true, ..head };
        match open[..] {
            [only] => {
                let shape = self.shapes[only];
                let conv = Conv::new(classes, 1);
                match self.rng.below(3) {
                    0 if !shape.flat => {
                        let pixels = self.try_add(conv, &[only]).expect("it fits any image");
                        self.try_add(GlobalAveragePool {}, &[pixels]);
                    }
                    1 if !shape.flat && shape.pixels() > 1 => {
                        let means = self.try_add(GlobalAveragePool {}, &[only]);
                        self.try_add(head, &[means.unwrap_or(only)]);
                    }
                    _ => {
                        self.try_add(head, &[only]);
                    }
                }
            }
            _ if self.once_in(2) => {
                let rows = open
                    .iter()
                    .map(|value| self.try_add(wide.clone(), &[*value]));
                let rows: Option<Vec<Value>> = rows.collect();
                self.try_add(Add {}, &rows.expect("dense layers fit everything"));
            }
            _ => {
                let mut rows = Vec::new();
                for value in open {
                    let row = match self.shapes[value].flat {
                        true => self.try_add(Dense::new(5), &[value]),
                        false if self.shapes[value].pixels() == 1 => Some(value),
                        false => self.try_add(GlobalAveragePool {}, &[value]),
                    };
                    rows.extend(row);
                }
                let joined = self
                    .try_add(Concat {}, &rows)
                    .expect("rows are images of 1 x 1");
                self.try_add(head, &[joined]);
            }
        }
        if self.once_in(12) {
            let last = self.shapes.len() - 1;
            let end = match self.once_in(2) {
                true => Op::from(Activation::leaky(2)),
                false => Op::from(Dropout { probability: 0.25 }),
            };
            self.try_add(end, &[last]);
        }
        self.net.build().unwrap_or_else(|e| panic!("{e}"))
    }
}
