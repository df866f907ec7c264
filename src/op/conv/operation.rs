//! The settings of a convolution and what follows from them.

use serde::{Deserialize, Serialize};

use super::Matrix;
use super::integers::{PackedGroups, PackedMatrix};
use super::plain::{PlainGroups, PlainMatrix};
use crate::graph::{MOST_SIDE, Shape};
use crate::model::uses_rows;
use crate::onnx::{Attribute, FloatNode, FloatWriter};
use crate::op::ConvShape;
use crate::op::integers::{IntegerBinding, Integers};
use crate::op::plain::Plain;
use crate::op::{Binding, GroupShape, Layout, Op, Operation, Packing, Pair, Recorder, WeightShape};

/// The gradient of the input has a product for each place in a square of so many pixels a side.
const MOST_STRIDE: usize = 128;

/// A convolution: every output pixel is a weighted sum over a window of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// Output channels.
    pub outputs: usize,
    /// Rows and columns of the kernel.
    pub kernel: Pair,
    /// Pixels between neighbouring windows, along both axes.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stride: usize,
    /// Zero pixels that are added around the image: rows above and below, columns left and right.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub padding: Pair,
    /// Groups of channels: outputs of a group read only inputs of their group. As many groups as inputs make the
    /// convolution depthwise.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub groups: usize,
    /// Whether each output has a bias. A batch normalisation that follows has one of its own.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub bias: bool,
    /// Whether the low-precision network reads the weights as powers of two.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub quantise: bool,
}

pub(in crate::op) fn one() -> usize {
    1
}

pub(in crate::op) fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(in crate::op) fn is_one(number: &usize) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
pub(in crate::op) fn is_yes(flag: &bool) -> bool {
    *flag
}

pub(in crate::op) fn is_zero(pair: &Pair) -> bool {
    *pair == Pair::default()
}

impl Conv {
    /// A convolution over square windows with stride 1, no padding and a bias.
    pub fn new(outputs: usize, kernel: usize) -> Self {
        Self {
            outputs,
            kernel: kernel.into(),
            stride: 1,
            padding: Pair::default(),
            groups: 1,
            bias: true,
            quantise: true,
        }
    }

    /// The same with another stride.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same with zero pixels around the image.
    #[must_use]
    pub fn padding(self, padding: impl Into<Pair>) -> Self {
        Self {
            padding: padding.into(),
            ..self
        }
    }

    /// The same in groups of channels.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// The same without a bias.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self {
            bias: false,
            ..self
        }
    }

    /// The geometry for a batch of images of this shape.
    pub(crate) fn geometry(&self, batch: usize, input: Shape) -> ConvShape {
        ConvShape {
            batch,
            input_height: input.height,
            input_width: input.width,
            input_channels: input.channels,
            output_channels: self.outputs,
            kernel_height: self.kernel.0[0],
            kernel_width: self.kernel.0[1],
            stride: self.stride,
            padding: self.padding.0,
        }
    }

    fn check(&self, input: Shape) -> Result<(), String> {
        let [rows, columns] = self.kernel.0;
        let [above, left] = self.padding.0;
        if self.outputs == 0 || rows == 0 || columns == 0 || self.stride == 0 || self.groups == 0 {
            return Err("outputs, kernel, stride and groups must be at least 1".to_owned());
        }
        if rows.max(columns) > MOST_SIDE {
            return Err(format!(
                "its kernel of {rows} x {columns} is too large: at most {MOST_SIDE} pixels a side"
            ));
        }
        if self.stride > MOST_STRIDE {
            return Err(format!(
                "its stride of {} is too large: at most {MOST_STRIDE} pixels",
                self.stride
            ));
        }
        if above >= rows || left >= columns {
            return Err(format!(
                "a padding of {above} x {left} pixels makes windows of {rows} x {columns} that see no pixel"
            ));
        }
        let padded = [input.height + 2 * above, input.width + 2 * left];
        if padded[0] < rows || padded[1] < columns {
            return Err(format!(
                "its kernel of {rows} x {columns} is larger than the image of {} x {} with its padding",
                input.height, input.width
            ));
        }
        let groups = self.groups;
        if !input.channels.is_multiple_of(groups) || !self.outputs.is_multiple_of(groups) {
            return Err(format!(
                "{groups} groups divide {} input channels and {} outputs with a remainder",
                input.channels, self.outputs
            ));
        }
        Ok(())
    }

    fn grouped(&self, batch: usize, input: Shape) -> GroupShape {
        GroupShape {
            conv: self.geometry(batch, input),
            groups: self.groups,
        }
    }
}

impl Operation for Conv {
    fn word(&self) -> &'static str {
        "conv"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let input = inputs[0].as_image()?;
        self.check(input)?;
        let geometry = self.geometry(1, input);
        let [height, width] = [geometry.output_height(), geometry.output_width()];
        Ok(Shape::image([height, width, self.outputs]))
    }

    fn in_float(&self) -> Option<Op> {
        Some(Op::Conv(Self {
            quantise: false,
            ..*self
        }))
    }

    fn with_outputs(&self, outputs: usize) -> Option<Op> {
        (self.groups == 1).then_some(Op::Conv(Self { outputs, ..*self }))
    }

    fn with_bias(&self, bias: bool) -> Option<Op> {
        Some(Op::Conv(Self { bias, ..*self }))
    }

    fn weights(&self, input: Shape) -> Option<WeightShape> {
        let [rows, columns] = self.kernel.0;
        Some(WeightShape {
            shape: [self.outputs, rows, columns, input.channels / self.groups],
            bias: self.bias,
            quantise: self.quantise,
            whole: self.groups == 1,
            rows: self.groups > 1,
            stride: self.stride,
            padding: self.padding.0,
            groups: self.groups,
        })
    }

    fn multiply_adds(&self, inputs: &[Shape], output: Shape) -> u64 {
        let [rows, columns] = self.kernel.0;
        let each = rows * columns * inputs[0].channels / self.groups;
        each as u64 * output.len() as u64
    }

    fn takes_relu(&self) -> bool {
        true
    }

    fn takes_pool(&self, bind: &Binding<'_>) -> bool {
        let shape = self.geometry(bind.batch, bind.input());
        let shifts = bind.reads_images && uses_rows(&shape) && shape.has_shifts();
        self.groups == 1
            && (shifts || shape.is_inside() && !(bind.reads_images && uses_rows(&shape)))
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        if self.groups > 1 {
            return Some(Box::new(super::group::Grouped::new(
                self.grouped(bind.batch, bind.input()),
                bind,
            )));
        }
        let shape = self.geometry(bind.batch, bind.input());
        let layout = match bind.reads_images && uses_rows(&shape) {
            true if shape.has_shifts() => Layout::Shifts(shape),
            true => Layout::Rows(shape),
            false => Layout::Padded,
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
        if self.groups > 1 {
            let shape = self.grouped(at.batch, at.input());
            return Some(Box::new(PackedGroups::new(shape, at)));
        }
        let whole = self.geometry(at.batch, at.input());
        Some(Box::new(PackedMatrix {
            whole,
            run: whole,
            layer: at.layer().clone(),
            limits: at.limits,
        }))
    }

    fn plain(&self, bind: &Binding<'_>) -> Box<dyn Plain> {
        match self.groups {
            1 => Box::new(PlainMatrix(self.geometry(bind.batch, bind.input()))),
            _ => Box::new(PlainGroups(self.grouped(bind.batch, bind.input()))),
        }
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{}.{part}", node.name));
        writer.learned(node);
        let mut inputs = vec![node.inputs[0], &weight];
        if self.bias {
            inputs.push(&bias);
        }
        let settings = [
            Attribute::sizes("kernel_shape", &self.kernel.0),
            Attribute::sizes("strides", &[self.stride; 2]),
            Attribute::pads(self.padding),
            Attribute::Int("group", self.groups as i64),
        ];
        writer.node("Conv", &inputs, node.name, &settings)
    }
}
