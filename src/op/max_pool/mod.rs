//! Max pooling.

pub(crate) mod cases;
pub mod entries;
mod integers;
mod packed_reference;
mod plain;
pub mod reference;
mod tiles;

use super::Folder;

use integers::PackedMaxPool;
use plain::PlainMaxPool;
use serde::{Deserialize, Serialize};
pub use tiles::{PoolShape, max_pool_forward, max_unpool, packed_max_pool};

use super::conv::operation::is_zero;
use super::plain::Plain;
use super::record::{Argmax, Backward, Binding, Forward, Gradient, Recorder};
use super::window_max_pool::{window_max_pool_backward, window_max_pool_forward};
use super::{Fusible, Operation, Packing, Pair, WindowShape, window_max_pool};
use crate::graph::{MOST_SIDE, Shape};
use crate::onnx::{Attribute, FloatNode, FloatWriter};
use crate::op::integers::{IntegerBinding, Integers};
use crate::recording::Recording;
use crate::tensor::Tensor;
use crate::verify::{self, Case};

pub(super) const FOLDER: Folder = Folder {
    kernels: &[
        &entries::MAX_POOL_FORWARD,
        &entries::MAX_UNPOOL,
        &entries::PACKED_MAX_POOL,
    ],
    cases: &[cases::cases],
};

/// The largest number of each window, every channel by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool {
    /// Rows and columns of a window.
    pub size: Pair,
    /// Pixels between neighbouring windows; by default windows lie side by side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stride: Option<Pair>,
    /// Pixels that are added around the image; they never are the largest.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub padding: Pair,
}

/// The output of windows over an image.
///
/// # Errors
/// A sentence for a person.
pub(in crate::op) fn windows(shape: &WindowShape) -> Result<Shape, String> {
    let axes = [0, 1];
    if axes
        .iter()
        .any(|a| shape.window[*a] == 0 || shape.stride[*a] == 0)
    {
        return Err("size and stride must be at least 1".to_owned());
    }
    let largest = shape.window.iter().chain(&shape.stride).max();
    if largest.is_some_and(|side| *side > MOST_SIDE) {
        return Err(format!(
            "its size or stride is too large: at most {MOST_SIDE} pixels a side"
        ));
    }
    if axes.iter().any(|a| shape.padding[*a] >= shape.window[*a]) {
        return Err("a padding as large as the window makes windows that see no pixel".to_owned());
    }
    if axes
        .iter()
        .any(|a| shape.input[*a] + 2 * shape.padding[*a] < shape.window[*a])
    {
        let ([rows, columns], [height, width]) = (shape.window, shape.input);
        return Err(format!(
            "its windows of {rows} x {columns} are larger than the image of {height} x {width}"
        ));
    }
    let [height, width] = shape.output();
    Ok(Shape::image([height, width, shape.channels]))
}

/// Windows over a batch of images of this shape.
pub(in crate::op) fn over(
    batch: usize,
    input: Shape,
    size: Pair,
    stride: Option<Pair>,
    padding: Pair,
) -> WindowShape {
    WindowShape {
        batch,
        input: [input.height, input.width],
        channels: input.channels,
        window: size.0,
        stride: stride.unwrap_or(size).0,
        padding: padding.0,
    }
}

impl MaxPool {
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

    /// The side of its windows, if they are square, lie side by side and without padding.
    fn tiles(&self) -> Option<usize> {
        let side_by_side = self.stride.is_none_or(|stride| stride == self.size);
        let plain = side_by_side && is_zero(&self.padding);
        self.size.square().filter(|_| plain)
    }
}

impl Operation for MaxPool {
    fn word(&self) -> &'static str {
        "max-pool"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        windows(&self.over(1, inputs[0].as_image()?))
    }

    fn fusible(&self) -> Fusible {
        match self.tiles() {
            Some(2) => Fusible::SquarePool,
            _ => Fusible::No,
        }
    }

    fn keeps_scale(&self) -> bool {
        true
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        let shape = self.over(bind.batch, bind.input());
        Some(match self.tiles() {
            Some(size) => Box::new(Tiles(tiles(&shape, size))),
            None => Box::new(Windows(shape)),
        })
    }

    fn packing(&self) -> Packing {
        Packing::SameUnit
    }

    fn integers(&self, at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        let shape = self.over(at.batch, at.input());
        let tiles = self.tiles().map(|size| tiles(&shape, size));
        Some(Box::new(PackedMaxPool { shape, tiles }))
    }

    fn plain(&self, bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainMaxPool(self.over(bind.batch, bind.input())))
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        let settings = [
            Attribute::sizes("kernel_shape", &self.size.0),
            Attribute::sizes("strides", &self.stride.unwrap_or(self.size).0),
            Attribute::pads(self.padding),
        ];
        writer.node("MaxPool", &node.inputs, node.name, &settings)
    }
}

/// Square windows side by side as kernels for them read their geometry.
fn tiles(shape: &WindowShape, size: usize) -> PoolShape {
    PoolShape {
        batch: shape.batch,
        input_height: shape.input[0],
        input_width: shape.input[1],
        channels: shape.channels,
        size,
    }
}

/// Square windows side by side.
struct Tiles(PoolShape);

impl Recorder for Tiles {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![self.0.x().to_vec()]
    }

    fn output(&self) -> Vec<usize> {
        self.0.y().to_vec()
    }

    fn keeps_argmax(&self) -> Argmax {
        Argmax::Beside(self.0.size * self.0.size)
    }

    fn can_mask(&self) -> bool {
        true
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        for (number, (x, y)) in at.x[0].parts().iter().zip(at.y.parts()).enumerate() {
            let outputs = (y, at.argmax.as_ref().map(|argmax| argmax.part(number)));
            max_pool_forward(
                recording,
                at.label,
                &self.0.of_images(x),
                x,
                outputs,
                at.masks,
            );
        }
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        let argmax = at.kept.argmax.as_ref().filter(|_| at.wanted[0]);
        let Some(argmax) = argmax else {
            return vec![Gradient::None];
        };
        let d_x = at.room(&self.0.x());
        let pieces = at.x[0]
            .parts()
            .iter()
            .zip(at.d_y.parts())
            .zip(argmax.parts());
        for (((x, d_y), argmax), d_x) in pieces.zip(d_x.parts()) {
            max_unpool(
                recording,
                at.label,
                &self.0.of_images(x),
                [d_y, argmax],
                d_x,
            );
        }
        vec![Gradient::Own(d_x)]
    }

    fn cases(&self) -> Vec<Case> {
        verify::pool_cases(self.0)
    }
}

/// Windows of any size, distance and padding.
struct Windows(WindowShape);

impl Recorder for Windows {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![self.0.x().to_vec()]
    }

    fn output(&self) -> Vec<usize> {
        self.0.y().to_vec()
    }

    fn keeps_argmax(&self) -> Argmax {
        Argmax::Apart
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        for (number, (x, y)) in at.x[0].parts().iter().zip(at.y.parts()).enumerate() {
            let argmax = at.argmax.as_ref().map(|argmax| argmax.part(number));
            window_max_pool_forward(recording, at.label, &self.0.of_images(x), x, y, argmax);
        }
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        let argmax = at.kept.argmax.as_ref().filter(|_| at.wanted[0]);
        let Some(argmax) = argmax else {
            return vec![Gradient::None];
        };
        let d_x = at.room(&self.0.x());
        let pieces = at.d_y.parts().iter().zip(argmax.parts());
        for ((d_y, argmax), d_x) in pieces.zip(d_x.parts()) {
            let shape = self.0.of_images(d_x);
            window_max_pool_backward(recording, at.label, &shape, [d_y, argmax], d_x);
        }
        vec![Gradient::Own(d_x)]
    }

    fn cases(&self) -> Vec<Case> {
        window_max_pool::cases::of_shape(self.0)
    }
}
