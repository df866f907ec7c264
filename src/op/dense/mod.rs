//! Dense layers: every output from every input.

use super::Folder;
use serde::{Deserialize, Serialize};

use super::conv::Matrix;
use super::conv::integers::PackedMatrix;
use super::conv::operation::{is_yes, yes};
use super::conv::plain::PlainMatrix;
use super::integers::{IntegerBinding, Integers};
use super::plain::Plain;
use crate::graph::Shape;
use crate::model::uses_rows;
use crate::onnx::{Attribute, FloatNode, FloatWriter};
use crate::op::ConvShape;
use crate::op::{Binding, Layout, Op, Operation, Packing, Recorder, WeightShape};
use crate::tensor::pad4;

pub(super) const FOLDER: Folder = Folder::EMPTY;

/// A dense layer: every output is a weighted sum of all inputs. Images need no flattening before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dense {
    /// Outputs.
    pub outputs: usize,
    /// Whether each output has a bias. A batch normalisation that follows has one of its own.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub bias: bool,
    /// Whether the low-precision network reads the weights as powers of two.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub quantise: bool,
}

impl Dense {
    /// A dense layer with a bias.
    pub fn new(outputs: usize) -> Self {
        Self {
            outputs,
            bias: true,
            quantise: true,
        }
    }

    /// The same without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self {
            bias: false,
            ..self
        }
    }

    /// The geometry for a batch as a convolution whose kernel covers the whole image, so that weights keep the
    /// image's geometry.
    pub(crate) fn geometry(&self, batch: usize, input: Shape) -> ConvShape {
        ConvShape {
            batch,
            input_height: input.height,
            input_width: input.width,
            input_channels: input.channels,
            output_channels: self.outputs,
            kernel_height: input.height,
            kernel_width: input.width,
            stride: 1,
            padding: [0; 2],
        }
    }
}

impl Operation for Dense {
    fn word(&self) -> &'static str {
        "dense"
    }

    fn shape(&self, _inputs: &[Shape]) -> Result<Shape, String> {
        match self.outputs {
            0 => Err("outputs must be at least 1".to_owned()),
            outputs => Ok(Shape::row(outputs)),
        }
    }

    fn in_float(&self) -> Option<Op> {
        Some(Op::Dense(Self {
            quantise: false,
            ..*self
        }))
    }

    fn with_outputs(&self, outputs: usize) -> Option<Op> {
        Some(Op::Dense(Self { outputs, ..*self }))
    }

    fn with_bias(&self, bias: bool) -> Option<Op> {
        Some(Op::Dense(Self { bias, ..*self }))
    }

    fn weights(&self, input: Shape) -> Option<WeightShape> {
        let [height, width, channels] = input.sides();
        Some(WeightShape {
            shape: [self.outputs, height, width, channels],
            bias: self.bias,
            quantise: self.quantise,
            whole: false,
            rows: false,
            stride: 1,
            padding: [0; 2],
            groups: 1,
        })
    }

    fn multiply_adds(&self, inputs: &[Shape], output: Shape) -> u64 {
        inputs[0].len() as u64 * output.len() as u64
    }

    fn takes_relu(&self) -> bool {
        true
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        let whole = self.geometry(bind.batch, bind.input());
        let (shape, layout) = match bind.reads_images && uses_rows(&whole) {
            true if whole.has_shifts() => (whole, Layout::Shifts(whole)),
            true => (whole, Layout::Rows(whole)),
            false => {
                let inputs = bind.input().pixels() * pad4(whole.input_channels);
                (
                    ConvShape::dense(bind.batch, inputs, self.outputs),
                    Layout::Padded,
                )
            }
        };
        Some(Box::new(Matrix::new(shape, layout, bind)))
    }

    fn packing(&self) -> Packing {
        Packing::Layer
    }

    fn takes_limits(&self) -> bool {
        true
    }

    fn integers(&self, at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        let whole = self.geometry(at.batch, at.input());
        let inputs = at.input().pixels() * pad4(whole.input_channels);
        Some(Box::new(PackedMatrix {
            whole,
            run: ConvShape::dense(at.batch, inputs, self.outputs),
            layer: at.layer().clone(),
            limits: at.limits,
        }))
    }

    fn plain(&self, bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainMatrix(self.geometry(bind.batch, bind.input())))
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        let name = node.name;
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        for (tensor, shape, values) in &node.learned {
            // Of a layer over an image they are a matrix over the flattened image.
            let matrix = vec![self.outputs, values.len() / self.outputs];
            let shape = if *tensor == weight { &matrix } else { shape };
            writer.floats(tensor, shape, values);
        }
        let settings = [Attribute::Int("axis", 1)];
        // In the order in which PyTorch's layout has the weights: channels, rows, columns.
        let row = writer.node("Flatten", &node.inputs, &format!("{name}_row"), &settings);
        let mut inputs = vec![&row[..], &weight];
        if self.bias {
            inputs.push(&bias);
        }
        let settings = [Attribute::Int("transB", 1)];
        let y = writer.node("Gemm", &inputs, &format!("{name}_outputs"), &settings);
        let sides = writer.sizes(&[0, self.outputs as i64, 1, 1]);
        writer.node("Reshape", &[&y, &sides], name, &[])
    }
}
