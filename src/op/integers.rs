//! Operations of packed models: integers in, integers out (`docs/FORMAT.md`, What is computed).
//!
//! An activation is a whole number in units of a power of two, its value's *unit*. Sums are 32 bits wide; what is
//! stored is shifted to the unit of the output, rounded half up, and limited.

use crate::graph::Shape;
use crate::op::{ConvShape, WindowShape};
use crate::pack::{Operations, PackedLayer};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};

/// Where an operation stands in a packed model.
#[derive(Clone, Debug)]
pub struct IntegerBinding<'a> {
    /// Images of a batch.
    pub batch: usize,
    /// Shapes of what it reads, for one image.
    pub inputs: Vec<Shape>,
    /// Shape of its output, for one image.
    pub output: Shape,
    /// log2 of the unit of every input.
    pub units: Vec<i32>,
    /// log2 of the unit of the output.
    pub unit: i32,
    /// The smallest and the largest output.
    pub limits: [i32; 2],
    /// Codes, biases and shifts, of an operation that has any.
    pub layer: Option<&'a PackedLayer>,
}

impl<'a> IntegerBinding<'a> {
    /// Its first input.
    pub fn input(&self) -> Shape {
        self.inputs[0]
    }

    /// The layer of an operation that has one.
    pub fn layer(&self) -> &'a PackedLayer {
        self.layer
            .expect("packing gives a layer to every operation with weights")
    }
}

/// What every device must give, for one image.
pub trait Exact {
    /// The output from the inputs, in plain loops over values stored as (rows, columns, padded channels).
    fn exact(&self, x: &[&[i64]]) -> Vec<i64>;
}

/// What an operation does, in the words that programs for other machines are written from ([`crate::export`]). Shapes
/// are for one image of the batch; whatever is shifted is rounded half up and limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Sums of inputs times the weights of the step's layer, plus bias, shifted.
    Product {
        /// The geometry; of a dense layer the kernel covers the image.
        shape: ConvShape,
        /// Groups that its channels fall into.
        groups: usize,
    },
    /// Every number by itself.
    Activation {
        /// Places by which numbers that are not negative go up first.
        leak: u32,
        /// Places to the right after that; negative ones to the left.
        shift: i32,
    },
    /// The sum of all inputs.
    Sum {
        /// Places by which each input goes up first.
        ups: Vec<u32>,
        /// Places to the right after that.
        shift: i32,
    },
    /// The sum of each window.
    Average {
        /// The windows.
        shape: WindowShape,
        /// Places to the right.
        shift: i32,
    },
    /// The largest number of each window, outside the image left out.
    Maximum {
        /// The windows.
        shape: WindowShape,
    },
    /// The channels of all inputs side by side.
    Join {
        /// Places to the right of each input.
        shifts: Vec<i32>,
    },
    /// Each pixel as a square of so many rows and columns.
    Repeat {
        /// How many.
        size: usize,
    },
}

/// An operation of a packed model with its geometry, its units and its limits.
pub trait Integers: Exact {
    /// What it does, for other machines.
    fn form(&self) -> Form;

    /// The matrix product that it is, if it is one: an arithmetic for it is then chosen from several.
    fn product(&self) -> Option<ConvShape> {
        None
    }

    /// Records its dispatches. Tensors are (batch, rows, columns, padded channels) of 32-bit integers.
    fn record(&self, recording: &mut Recording, label: &str, x: &[Tensor], y: &Tensor);

    /// The largest size that any sum on the way can reach, for inputs up to `most`.
    fn bound(&self, most: i64) -> i128;

    /// What one image takes.
    fn operations(&self) -> Operations;
}

/// Numbers of one image's output, without padding.
pub(in crate::op) fn numbers(shape: Shape) -> u64 {
    shape.len() as u64
}

/// Stored shape of a value of a batch.
pub(crate) fn stored(batch: usize, shape: Shape) -> [usize; 4] {
    [batch, shape.height, shape.width, pad4(shape.channels)]
}

/// A size shifted to the left, however far.
pub(in crate::op) fn shifted(size: i64, places: i32) -> i128 {
    let places = places.clamp(0, 64) as u32;
    i128::from(size) << places
}

/// The largest size on the way through a shift that rounds: to the left it grows, to the right half of what is
/// shifted away is added.
pub(in crate::op) fn through_shift(size: i128, shift: i32) -> i128 {
    let shift = shift.clamp(-64, 64);
    match shift > 0 {
        true => size + (1i128 << shift >> 1),
        false => size.saturating_mul(1i128 << -shift),
    }
}

/// Biases and shifts of a layer as kernels read them: (2, stored outputs).
pub(crate) fn table(layer: &PackedLayer) -> Vec<u32> {
    let stored = pad4(layer.shape[0]);
    let mut table = vec![0; 2 * stored];
    for (o, (bias, shift)) in layer.bias.iter().zip(&layer.shift).enumerate() {
        table[o] = bias.cast_unsigned();
        table[stored + o] = shift.cast_unsigned();
    }
    table
}
