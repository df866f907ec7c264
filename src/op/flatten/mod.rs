//! An image as one row of numbers.

use super::Folder;
use serde::{Deserialize, Serialize};

use super::integers::{IntegerBinding, Integers};
use super::plain::{Plain, PlainView};
use super::{Binding, Operation, Packing, Recorder};
use crate::graph::Shape;
use crate::onnx::{FloatNode, FloatWriter};

pub(super) const FOLDER: Folder = Folder::EMPTY;

/// An image as one row of numbers in the order (row, column, channel). Dense layers read images as they are, so
/// this only says what a reader of the description expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flatten {}

impl Operation for Flatten {
    fn word(&self) -> &'static str {
        "flatten"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let flat = inputs[0].pixels() > 1;
        Ok(Shape { flat, ..inputs[0] })
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
