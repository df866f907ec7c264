//! What walkers over graphs ask of an operation.

use super::Op;
use super::integers::{IntegerBinding, Integers};
use super::plain::Plain;
use super::record::{Binding, Recorder};
use crate::graph::Shape;
use crate::onnx::{FloatNode, FloatWriter};
use crate::suggest::did_you_mean;

/// The weights that an operation learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightShape {
    /// (outputs, kernel rows, kernel columns, inputs that one output reads)
    pub shape: [usize; 4],
    /// Whether each output has a bias.
    pub bias: bool,
    /// Whether the low-precision network reads them as powers of two.
    pub quantise: bool,
    /// Whether they are one matrix from all inputs of a window to all outputs of a convolution: what Muon learns.
    pub whole: bool,
    /// Whether the stored taps of an output lie side by side without padding, as in [`super::GroupShape::w`].
    pub rows: bool,
    /// Pixels between neighbouring windows; 1 of what reads no windows, as below.
    pub stride: usize,
    /// Rows and columns of zeros around the input; 0.
    pub padding: [usize; 2],
    /// Groups of channels that do not see each other; 1.
    pub groups: usize,
}

/// What an operation is for the fusion pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fusible {
    /// Nothing that another operation could do as it stores its results.
    No,
    /// A ReLU.
    Relu,
    /// The largest of each square of 2 x 2 pixels.
    SquarePool,
}

/// How a packed model treats an operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Packing {
    /// It has codes, biases and shifts, and a unit of its own.
    Layer,
    /// Its output is in a unit of its own.
    OwnUnit,
    /// Its output is in the unit of its input.
    SameUnit,
    /// It only sets limits, from zero up: the operation before it can apply them. Its output is in the unit of its
    /// input.
    Limits {
        /// The largest output, if there is one.
        ceiling: Option<f64>,
    },
    /// Its output is what it reads.
    View,
    /// It has no integers: the latent of an auto-encoder, whose decoder is packed without it.
    Boundary,
}

/// What walkers over graphs ask of an operation.
///
/// Shapes are those of one image. Sentences for a person say what is wrong without naming the node: the
/// walker does that.
pub trait Operation {
    /// Its word in descriptions.
    fn word(&self) -> &'static str;

    /// Whether it can read so many values.
    ///
    /// # Errors
    /// A sentence for a person.
    fn check_arity(&self, inputs: usize) -> Result<(), String> {
        match inputs {
            1 => Ok(()),
            _ => Err(format!("it reads one value, not {inputs}")),
        }
    }

    /// The shape of its output.
    ///
    /// # Errors
    /// A sentence for a person: what does not fit.
    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String>;

    /// The weights that it learns, if it has any.
    fn weights(&self, _input: Shape) -> Option<WeightShape> {
        None
    }

    /// The same with weights that both networks read as floats, if it has weights.
    fn in_float(&self) -> Option<Op> {
        None
    }

    /// The same with so many outputs, if each is a sum over all inputs and their number is a setting.
    fn with_outputs(&self, _outputs: usize) -> Option<Op> {
        None
    }

    /// The same with a bias, or without, if it has weights.
    fn with_bias(&self, _bias: bool) -> Option<Op> {
        None
    }

    /// The channels whose gamma, beta and running statistics it learns, if it is a normalisation.
    fn normalises(&self, _input: Shape) -> Option<usize> {
        None
    }

    /// Multiply-adds for one image.
    fn multiply_adds(&self, _inputs: &[Shape], _output: Shape) -> u64 {
        0
    }

    /// The numbers of a sample, of the operation that draws the latent of an auto-encoder.
    fn latent(&self) -> Option<usize> {
        None
    }

    /// Whether its output is what it reads, number by number, in the same places: nothing is recorded for it.
    fn is_view(&self) -> bool {
        false
    }

    /// Whether inputs twice as large only make outputs twice as large.
    fn keeps_scale(&self) -> bool {
        self.is_view()
    }

    /// What it is for the fusion pass.
    fn fusible(&self) -> Fusible {
        Fusible::No
    }

    /// Whether its kernels can apply a ReLU as they store their results.
    fn takes_relu(&self) -> bool {
        false
    }

    /// Whether its kernels, which already apply a ReLU, can also keep only the largest of each square of 2 x 2.
    fn takes_pool(&self, _bind: &Binding<'_>) -> bool {
        false
    }

    /// The operation with its geometry, ready to be recorded; `None` of a view.
    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>>;

    /// How a packed model treats it.
    fn packing(&self) -> Packing;

    /// Whether its integers can be limited as they are stored, so that a ReLU behind it costs nothing.
    fn takes_limits(&self) -> bool {
        false
    }

    /// The same operation over integers; `None` of a view, of dropout, and of [`Packing::Boundary`].
    fn integers(&self, at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>>;

    /// The same operation as plain loops over `f64`.
    fn plain(&self, bind: &Binding<'_>) -> Box<dyn Plain>;

    /// Appends the operation to a float graph in ONNX and returns the name of its output. Tensors that it learned are called
    /// `NAME.weight` and so on, see [`FloatNode::learned`].
    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String;
}

/// What a person has to know about settings that could not be read: `message` is the parser's, `wrong` the setting
/// and its value, if one is to blame.
pub(super) fn explain(word: &str, wrong: Option<(&String, &toml::Value)>, message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let Some(rest) = first.strip_prefix("unknown field `") else {
        return match wrong {
            Some((key, value)) => format!("{key} = {value}: {first}"),
            None => format!("{word}: {first}"),
        };
    };
    let (unknown, expected) = rest.split_once('`').unwrap_or((rest, ""));
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let settings = match known.is_empty() {
        true => "it has no settings".to_owned(),
        false => format!("settings: {}", known.join(", ")),
    };
    let hint = did_you_mean(unknown, known);
    format!("{word} has no setting '{unknown}'{hint}; {settings}")
}
