//! What a network asks of an accelerator, counted without one: sums, weights, numbers read and written.

use crate::export::{Program, Step};
use crate::graph::{INPUT, Value};
use crate::op::WindowShape;
use crate::op::integers::Form;
use crate::pack::Operations;

/// The sums of a convolution or dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Positions of the output image.
    pub positions: u64,
    /// Terms of a sum, those outside the image included: the size of a kernel.
    pub terms: u64,
    /// Outputs of a group.
    pub outputs: u64,
    /// Groups that the channels fall into, each a product of its own.
    pub groups: u64,
    /// Multiply-accumulates of an image, without those outside of it.
    pub macs: u64,
    /// Numbers that all positions read for one output of each group, without those outside the image.
    pub reads: u64,
    /// Bits of a code of the packed network.
    pub bits: u32,
    /// Exponents of the packed network, counted from the smallest.
    pub span: u32,
    /// Places told apart by the shifts behind the sums: the largest minus the smallest, plus one.
    pub shift_places: u32,
}

impl Product {
    /// Its weights.
    pub fn weights(&self) -> u64 {
        self.groups * self.outputs * self.terms
    }

    /// Outputs of all groups, each with a bias and a shift.
    pub fn channels(&self) -> u64 {
        self.groups * self.outputs
    }

    /// Sums of an image.
    pub fn sums(&self) -> u64 {
        self.positions * self.channels()
    }
}

/// One operation of an image, with the max pool behind it if that can be done as results are stored.
#[derive(Clone, Debug)]
pub struct Work {
    /// Name of its node.
    pub name: String,
    /// The operation's word, as in descriptions of models.
    pub word: &'static str,
    /// The max pool that is done as results are stored.
    pub pool: Option<String>,
    /// Its sums, of a convolution or dense layer.
    pub product: Option<Product>,
    /// As [`crate::pack::PackedModel::operations`] counts them.
    pub operations: Operations,
    /// Comparisons of max pools.
    pub comparisons: u64,
    /// Bits of the largest sum of the packed network, with its sign.
    pub sum_bits: u32,
    /// Numbers that it goes through if it is no product.
    pub elements: u64,
    /// Numbers that it reads if it is no product, each as often as it is read.
    pub touches: u64,
    /// Numbers of the values that it reads.
    pub inputs: u64,
    /// Numbers that it writes.
    pub outputs: u64,
    /// Whether what it writes are sums as they are, of 32 bits.
    pub writes_sums: bool,
    /// Numbers that are kept while it runs: what it reads, writes, and what later operations read.
    pub live: u64,
}

/// A network as a list of works.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name.
    pub name: String,
    /// In order.
    pub works: Vec<Work>,
    /// Bits of an activation of the packed network.
    pub activation_bits: u32,
    /// Numbers of the input.
    pub input: u64,
    /// For every work the number of its step in the program.
    pub(super) steps: Vec<usize>,
}

impl Workload {
    /// What a program asks.
    pub fn new(program: &Program<'_>) -> Self {
        let steps = &program.steps;
        let pools: Vec<Option<usize>> = (0..steps.len()).map(|i| pool_of(steps, i)).collect();
        let fused: Vec<usize> = pools.iter().flatten().copied().collect();
        let own: Vec<usize> = (0..steps.len()).filter(|i| !fused.contains(i)).collect();
        let gives = |i: &usize| &steps[pools[*i].unwrap_or(*i)];
        let mut works = Vec::new();
        for (place, i) in own.iter().enumerate() {
            let step = &steps[*i];
            let result = gives(i);
            let mut kept = vec![result.gives];
            let reads = |i: &usize, value: Value| steps[*i].reads.iter().any(|r| r.value == value);
            let made = std::iter::once(INPUT).chain(own[..place].iter().map(|i| gives(i).gives));
            kept.extend(made.filter(|v| own[place..].iter().any(|later| reads(later, *v))));
            let numbers = |value: &Value| program.shape_of(*value).len() as u64;
            let mut inputs: Vec<Value> = step.reads.iter().map(|read| read.value).collect();
            inputs.sort_unstable();
            inputs.dedup();
            let pool = pools[*i].map(|pool| &steps[pool]);
            works.push(Work {
                name: step.name.to_owned(),
                word: step.word,
                pool: pool.map(|pool| pool.name.to_owned()),
                inputs: inputs.iter().map(numbers).sum(),
                outputs: result.shape.len() as u64,
                live: kept.iter().map(numbers).sum(),
                comparisons: comparisons(step) + pool.map_or(0, comparisons),
                ..alone(step)
            });
        }
        Self {
            name: program.model.model.name.clone(),
            works,
            activation_bits: program.model.activations.bits(),
            input: program.input.len() as u64,
            steps: own,
        }
    }

    /// Shifts and additions of all works.
    pub fn operations(&self) -> Operations {
        let mut sum = Operations::default();
        for work in &self.works {
            sum.additions += work.operations.additions;
            sum.shifts += work.operations.shifts;
            sum.multiplications += work.operations.multiplications;
        }
        sum
    }

    /// Multiply-accumulates of an image.
    pub fn macs(&self) -> u64 {
        let products = self.works.iter().filter_map(|work| work.product);
        products.map(|product| product.macs).sum()
    }

    /// Weights of all products.
    pub fn weights(&self) -> u64 {
        let products = self.works.iter().filter_map(|work| work.product);
        products.map(|product| product.weights()).sum()
    }
}

/// The max pool that alone reads what a product gives, if its windows lie side by side: it is then done as results are
/// stored.
fn pool_of(steps: &[Step<'_>], product: usize) -> Option<usize> {
    matches!(steps[product].form, Form::Product { .. }).then_some(())?;
    let value = steps[product].gives;
    let reads = |step: &Step<'_>| step.reads.iter().any(|read| read.value == value);
    let mut readers = (0..steps.len()).filter(|i| reads(&steps[*i]));
    let (Some(only), None) = (readers.next(), readers.next()) else {
        return None;
    };
    match steps[only].form {
        Form::Maximum { shape } if shape.window == shape.stride && shape.padding == [0, 0] => {
            Some(only)
        }
        _ => None,
    }
}

/// Numbers inside the image that all windows read together.
fn inside(shape: &WindowShape) -> u64 {
    let output = shape.output();
    let along = |axis: usize| -> u64 {
        let (padding, size) = (shape.padding[axis], shape.input[axis]);
        let inside = padding..padding + size;
        let taps = |o: usize| {
            let first = o * shape.stride[axis];
            (first..first + shape.window[axis])
                .filter(|at| inside.contains(at))
                .count()
        };
        (0..output[axis]).map(taps).sum::<usize>() as u64
    };
    along(0) * along(1) * shape.channels as u64
}

fn comparisons(step: &Step<'_>) -> u64 {
    match &step.form {
        Form::Maximum { shape } => inside(shape) - step.shape.len() as u64,
        _ => 0,
    }
}

/// Bits of numbers up to `most`, with a sign.
pub(super) fn signed_bits(most: u128) -> u32 {
    u128::BITS - most.leading_zeros() + 1
}

/// A step's work without regard to others.
fn alone(step: &Step<'_>) -> Work {
    let numbers = step.shape.len() as u64;
    let product = product(step);
    let (elements, touches) = match &step.form {
        Form::Product { .. } => (0, 0),
        Form::Activation { .. } | Form::Join { .. } => (numbers, numbers),
        Form::Sum { ups, .. } => [numbers * ups.len() as u64; 2].into(),
        Form::Average { shape, .. } | Form::Maximum { shape } => [inside(shape); 2].into(),
        Form::Repeat { .. } => (numbers, step.reads[0].shape.len() as u64),
    };
    Work {
        name: String::new(),
        word: step.word,
        pool: None,
        product,
        operations: step.operations,
        comparisons: 0,
        sum_bits: signed_bits(step.bound.unsigned_abs()),
        elements,
        touches,
        inputs: 0,
        outputs: numbers,
        writes_sums: step.layer.is_some_and(|layer| layer.last),
        live: 0,
    }
}

fn product(step: &Step<'_>) -> Option<Product> {
    let (Form::Product { shape, groups }, Some(layer)) = (&step.form, step.layer) else {
        return None;
    };
    let shape = crate::op::ConvShape { batch: 1, ..*shape };
    let inputs = shape.input_channels / groups;
    let terms = shape.kernel_height * shape.kernel_width * inputs;
    let taps = shape.taps();
    let shifts = || layer.shift.iter().copied();
    let places = shifts().max().unwrap_or(0) - shifts().min().unwrap_or(0) + 1;
    Some(Product {
        positions: (shape.output_height() * shape.output_width()) as u64,
        terms: terms as u64,
        outputs: (shape.output_channels / groups) as u64,
        groups: *groups as u64,
        macs: (taps * inputs * shape.output_channels) as u64,
        reads: (taps * shape.input_channels) as u64,
        bits: layer.bits,
        span: layer.span(),
        shift_places: places.unsigned_abs(),
    })
}
