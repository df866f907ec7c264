//! Convolutions and dense layers of packed models.

use crate::op::ConvShape;
use crate::op::GroupShape;
use crate::op::group_conv::{GroupCodes, packed_group_conv};
use crate::op::integers::{Form, IntegerBinding, Integers, table};
use crate::pack::{Operations, PackedLayer};
use crate::recording::Recording;
use crate::tensor::{Tensor, pad4};

/// A convolution, or a dense layer as one whose kernel covers the image.
pub struct PackedMatrix {
    /// The geometry, with the kernel over the image.
    pub whole: ConvShape,
    /// The geometry in which it runs.
    pub run: ConvShape,
    /// Codes, biases and shifts.
    pub layer: PackedLayer,
    /// The smallest and the largest output.
    pub limits: [i32; 2],
}

/// A shift and an addition for every weight and position that meet inside the image, a shift and two additions
/// for every number that is stored.
fn operations(products: u64, stored: u64) -> Operations {
    Operations {
        additions: products + 2 * stored,
        shifts: products + stored,
        multiplications: 0,
    }
}

impl Integers for PackedMatrix {
    fn form(&self) -> Form {
        Form::Product {
            shape: self.whole,
            groups: 1,
        }
    }

    fn product(&self) -> Option<ConvShape> {
        Some(self.run)
    }

    fn record(&self, _: &mut Recording, _: &str, _: &[Tensor], _: &Tensor) {
        unreachable!("products are recorded in the arithmetic that was chosen for them")
    }

    fn bound(&self, most: i64) -> i128 {
        self.layer.bounds(most).1
    }

    fn operations(&self) -> Operations {
        let shape = ConvShape {
            batch: 1,
            ..self.whole
        };
        let products = shape.taps() * shape.input_channels * shape.output_channels;
        let [_, height, width, _] = shape.y();
        operations(
            products as u64,
            (height * width * shape.output_channels) as u64,
        )
    }
}

/// A grouped convolution, or a normalisation as a depthwise one over single pixels.
pub struct PackedGroups {
    /// The geometry.
    pub shape: GroupShape,
    /// Codes, biases and shifts.
    pub layer: PackedLayer,
    /// The smallest and the largest output.
    pub limits: [i32; 2],
}

impl PackedGroups {
    /// The convolution of this geometry.
    pub fn new(shape: GroupShape, at: &IntegerBinding<'_>) -> Self {
        Self {
            shape,
            layer: at.layer().clone(),
            limits: at.limits,
        }
    }
}

impl Integers for PackedGroups {
    fn form(&self) -> Form {
        Form::Product {
            shape: self.shape.conv,
            groups: self.shape.groups,
        }
    }

    fn record(&self, recording: &mut Recording, label: &str, x: &[Tensor], y: &Tensor) {
        let layer = &self.layer;
        let codes = GroupCodes::new(&self.shape, layer.bits, layer.zero);
        let words = codes.store(&self.shape, &layer.codes);
        let w = recording.constant_of(label, &codes.shape(), &words);
        let table = recording.constant_of("table", &[2, pad4(layer.shape[0])], &table(layer));
        packed_group_conv(
            recording,
            label,
            &self.shape,
            &codes,
            [&x[0], &w, &table],
            self.limits,
            y,
        );
    }

    fn bound(&self, most: i64) -> i128 {
        self.layer.bounds(most).1
    }

    fn operations(&self) -> Operations {
        let shape = ConvShape {
            batch: 1,
            ..self.shape.conv
        };
        let products = shape.taps() * shape.output_channels * self.shape.inputs_per_group();
        let [_, height, width, _] = shape.y();
        operations(
            products as u64,
            (height * width * shape.output_channels) as u64,
        )
    }
}
