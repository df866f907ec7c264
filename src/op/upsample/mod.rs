//! Nearest-neighbour upsampling.

pub(crate) mod cases;
pub mod entries;
mod integers;
mod kernels;
mod packed_reference;
mod plain;
pub mod reference;

use super::Folder;

use integers::PackedSquares;
pub use kernels::{UpsampleShape, packed_upsample, upsample_backward, upsample_forward};
use plain::PlainUpsample;
use serde::{Deserialize, Serialize};

use super::plain::Plain;
use super::record::{Backward, Binding, Forward, Gradient, Recorder};
use super::{Operation, Packing};
use crate::graph::Shape;
use crate::onnx::{Attribute, FloatNode, FloatWriter};
use crate::op::integers::{IntegerBinding, Integers};
use crate::recording::Recording;
use crate::tensor::Tensor;
use crate::verify::{self, Case};

pub(super) const FOLDER: Folder = Folder {
    kernels: &[
        &entries::UPSAMPLE_FORWARD,
        &entries::UPSAMPLE_BACKWARD,
        &entries::PACKED_UPSAMPLE,
    ],
    cases: &[cases::cases],
};

/// Every pixel as a square of equal pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upsample {
    /// Side of the square.
    pub size: usize,
}

impl Upsample {
    fn geometry(&self, batch: usize, input: Shape) -> UpsampleShape {
        UpsampleShape {
            batch,
            input_height: input.height,
            input_width: input.width,
            channels: input.channels,
            size: self.size,
        }
    }
}

impl Operation for Upsample {
    fn word(&self) -> &'static str {
        "upsample"
    }

    fn shape(&self, inputs: &[Shape]) -> Result<Shape, String> {
        let [height, width, channels] = inputs[0].as_image()?.sides();
        if self.size == 0 {
            return Err("size must be at least 1".to_owned());
        }
        let [height, width] = [height, width].map(|side| side.saturating_mul(self.size));
        Ok(Shape::image([height, width, channels]))
    }

    fn keeps_scale(&self) -> bool {
        true
    }

    fn recorder(&self, bind: &Binding<'_>) -> Option<Box<dyn Recorder>> {
        Some(Box::new(Squares(self.geometry(bind.batch, bind.input()))))
    }

    fn packing(&self) -> Packing {
        Packing::SameUnit
    }

    fn integers(&self, at: &IntegerBinding<'_>) -> Option<Box<dyn Integers>> {
        let shape = self.geometry(at.batch, at.input());
        Some(Box::new(PackedSquares(shape)))
    }

    fn plain(&self, bind: &Binding<'_>) -> Box<dyn Plain> {
        Box::new(PlainUpsample(self.geometry(bind.batch, bind.input())))
    }

    fn onnx(&self, writer: &mut FloatWriter, node: &FloatNode<'_>) -> String {
        let size = self.size as f32;
        let scales = writer.constant(&[4], &[1.0, 1.0, size, size]);
        let settings = [
            Attribute::Word("mode", "nearest"),
            Attribute::Word("coordinate_transformation_mode", "asymmetric"),
            Attribute::Word("nearest_mode", "floor"),
        ];
        writer.node(
            "Resize",
            &[node.inputs[0], "", &scales],
            node.name,
            &settings,
        )
    }
}

struct Squares(UpsampleShape);

impl Recorder for Squares {
    fn inputs(&self) -> Vec<Vec<usize>> {
        vec![self.0.x().to_vec()]
    }

    fn output(&self) -> Vec<usize> {
        self.0.y().to_vec()
    }

    fn forward(&self, recording: &mut Recording, at: &Forward<'_>) -> Option<Tensor> {
        for (x, y) in at.x[0].parts().iter().zip(at.y.parts()) {
            upsample_forward(recording, at.label, &self.0.of_images(x), x, y);
        }
        None
    }

    fn backward(&self, recording: &mut Recording, at: &Backward<'_>) -> Vec<Gradient> {
        if !at.wanted[0] {
            return vec![Gradient::None];
        }
        let d_x = at.room(&self.0.x());
        for (d_y, d_x) in at.d_y.parts().iter().zip(d_x.parts()) {
            upsample_backward(recording, at.label, &self.0.of_images(d_x), d_y, d_x);
        }
        vec![Gradient::Own(d_x)]
    }

    fn cases(&self) -> Vec<Case> {
        verify::upsample_cases(self.0)
    }
}
