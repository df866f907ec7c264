//! A row of numbers as an image.

use super::Folder;
use serde::{Deserialize, Serialize};

use super::integers::{IntegerBinding, Integers};
use super::plain::{Plain, PlainView};
use super::{Binding, Operation, Packing, Recorder};
use crate::graph::Shape;
use crate::onnx::{FloatNode, FloatWriter};

pub(super) const FOLDER: Folder = Folder::EMPTY;

/// The numbers of a dense layer as an image, in the order (row, column, channel). The image has a multiple of
/// four channels, so that the numbers stay where they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reshape {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Operation for Reshape {
    fn word(&self) -> &'static str {
        "reshape"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let input = inputs[0];
        let pixels = self.height.saturating_mul(self.width);
        let stored = input.pixels() == 1 || input.channels.is_multiple_of(4);
        let whole = pixels > 0 && input.len().is_multiple_of(pixels);
        if !whole || !stored || !(input.len() / pixels).is_multiple_of(4) && pixels > 1 {
            return Err(format!(
                "{} numbers cannot be seen as {} x {} pixels of 4, 8, 12 ... channels",
                input.len(),
                self.height,
                self.width
            ));
        }
        Ok(Shape::image([
            self.height,
            self.width,
            input.len() / pixels,
        ]))
    }

    fn is_view(&self) -> bool {
        true
    }

    fn recorder(&self, _bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        None
    }

    fn packing(&self) -> Packing {
        Packing::View
    }

    fn integers(&self, _at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        None
    }

    fn plain(&self, _bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainView)
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        writer.view(node)
    }
}
