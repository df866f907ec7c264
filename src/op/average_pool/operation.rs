//! Average pooling, over windows and over whole images.
//!
//! The factor of the sums is a power of two, so that integers need no division: the one nearest to
//! 1 / (numbers of a window). It is exact for windows of 4, 16 or 64 numbers. Both networks use the same factor,
//! and weights behind the pooling learn with it.

use serde::{Deserialize, Serialize};

use super::integers::PackedAverage;
use super::plain::PlainAveragePool;
use super::{average_pool_backward, average_pool_forward};
use crate::graph::Shape;
use crate::onnx::{Attribute, FloatNode, FloatWriter};
use crate::op::conv::operation::is_zero;
use crate::op::integers::{IntegerBinding, Integers};
use crate::op::max_pool::{over, windows};
use crate::op::plain::Plain;
use crate::op::record::{Backward, Binding, Forward, Gradient, Recorder};
use crate::op::{Operation, Packing, Pair, WindowShape};
use crate::recording::Recording;
use crate::tensor::Tensor;
use crate::verify::Case;

/// The mean of each window, every channel by itself, up to a factor between 0.7 and 1.5 that makes the divisor a
/// power of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AveragePool {
    /// Rows and columns of a window.
    pub size: Pair,
    /// Pixels between neighbouring windows; by default windows lie side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<Pair>,
    /// Zero pixels that are added around the image; they count in the mean.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub padding: Pair,
}

/// The mean of every channel of an image, up to the same factor as [`AveragePool`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalAveragePool {}

/// log2 of what sums over windows are divided by.
pub(crate) fn places(shape: &WindowShape) -> u32 {
    let numbers: usize = shape.window.iter().product();
    (numbers as f64).log2().round() as u32
}

/// What sums over windows are multiplied by.
pub(crate) fn factor(shape: &WindowShape) -> f32 {
    (-(places(shape) as f32)).exp2()
}

impl AveragePool {
    /// Square windows side by side.
    pub fn new(size: usize) -> Self {
        Self {
            size: size.into(),
            stride: None,
            padding: Pair::default(),
        }
    }

    fn over(&self, batch: usize, input: Shape) -> WindowShape {
        over(batch, input, self.size, self.stride, self.padding)
    }
}

impl GlobalAveragePool {
    fn over(batch: usize, input: Shape) -> WindowShape {
        let size = Pair([input.height, input.width]);
        over(batch, input, size, None, Pair::default())
    }
}

/// Appends a mean, times what is missing to the power of two that sums are multiplied by here.
fn write_mean(
    writer: &mut FloatWriter,
    node: &FloatNode<'_>,
    (kind, settings): (&str, &[Attribute]),
    shape: &WindowShape,
) -> String {
    let name = node.name;
    let numbers: usize = shape.window.iter().product();
    let more = numbers as f64 * f64::from(factor(shape));
    let mean = writer.node(kind, &node.inputs, name, settings);
    if more == 1.0 {
        return mean;
    }
    let more = writer.constant(&[], &[more as f32]);
    writer.node("Mul", &[&mean, &more], &format!("{name}_scaled"), &[])
}

impl Operation for AveragePool {
    fn word(&self) -> &'static str {
        "average-pool"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        windows(&self.over(1, inputs[0].as_image()?))
    }

    fn keeps_scale(&self) -> bool {
        true
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        Some(Box::new(Averager(self.over(bind.batch, bind.input()))))
    }

    fn packing(&self) -> Packing {
        Packing::OwnUnit
    }

    fn integers(&self, at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        Some(Box::new(packed(self.over(at.batch, at.input()), at)))
    }

    fn plain(&self, bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainAveragePool(self.over(bind.batch, bind.input())))
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        let settings = [
            Attribute::sizes("kernel_shape", &self.size.0),
            Attribute::sizes("strides", &self.stride.unwrap_or(self.size).0),
            Attribute::pads(self.padding),
            Attribute::Int("count_include_pad", 1),
        ];
        let shape = self.over(1, node.read[0]);
        write_mean(writer, node, ("AveragePool", &settings), &shape)
    }
}

impl Operation for GlobalAveragePool {
    fn word(&self) -> &'static str {
        "global-average-pool"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        windows(&Self::over(1, inputs[0].as_image()?))
    }

    fn keeps_scale(&self) -> bool {
        true
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        Some(Box::new(Averager(Self::over(bind.batch, bind.input()))))
    }

    fn packing(&self) -> Packing {
        Packing::OwnUnit
    }

    fn integers(&self, at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        Some(Box::new(packed(Self::over(at.batch, at.input()), at)))
    }

    fn plain(&self, bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainAveragePool(Self::over(bind.batch, bind.input())))
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        let shape = Self::over(1, node.read[0]);
        write_mean(writer, node, ("GlobalAveragePool", &[]), &shape)
    }
}

/// The same over integers: a sum is 2^places times the mean.
fn packed(shape: WindowShape, at: &IntegerBinding<'_>) -> PackedAverage {
    PackedAverage {
        shape,
        shift: at.unit - at.units[0] + places(&shape) as i32,
        limits: at.limits,
    }
}

struct Averager(WindowShape);

impl Recorder for Averager {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![self.0.x().to_vec()]
    }

    fn output(&self) -> Vec<usize> {
        self.0.y().to_vec()
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        for (x, y) in at.x[0].parts().iter().zip(at.y.parts()) {
            let shape = self.0.of_images(x);
            average_pool_forward(recording, at.label, &shape, factor(&shape), x, y);
        }
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        if !at.wanted[0] {
            return vec![Gradient::None];
        }
        let d_x = at.room(&self.0.x());
        for (d_y, d_x) in at.d_y.parts().iter().zip(d_x.parts()) {
            let shape = self.0.of_images(d_x);
            average_pool_backward(recording, at.label, &shape, factor(&shape), d_y, d_x);
        }
        vec![Gradient::Own(d_x)]
    }

    fn cases(&self) -> Vec<Case> {
        super::cases::of_shape(self.0)
    }
}
