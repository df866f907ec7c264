//! The geometry of grouped convolutions.

use crate::layer::ConvShape;
use crate::tensor::{Tensor, pad4};

/// A convolution whose channels fall into groups: outputs of a group read inputs of the same group only.
/// With as many groups as input channels it is depthwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupShape {
    /// The geometry, with the channels of all groups.
    pub conv: ConvShape,
    /// Number of groups; divides the input channels and the output channels.
    pub groups: usize,
}

impl GroupShape {
    /// Input channels that one output reads.
    pub fn inputs_per_group(&self) -> usize {
        self.conv.input_channels / self.groups
    }

    /// Output channels of a group.
    pub fn outputs_per_group(&self) -> usize {
        self.conv.output_channels / self.groups
    }

    /// Stored shape of the weights: (padded outputs, padded window). A row holds the taps of one output in the
    /// order (kernel row, kernel column, input channel of the group), without padding between taps.
    pub fn w(&self) -> [usize; 2] {
        let window = self.conv.kernel_height * self.conv.kernel_width * self.inputs_per_group();
        [pad4(self.conv.output_channels), pad4(window)]
    }

    /// Floating-point operations of one pass: two for each multiply-add of the unpadded sizes.
    pub fn flops(&self) -> u64 {
        self.conv.flops() / self.groups as u64
    }

    /// The same convolution of the images of one micro-batch `x`, stored as [`ConvShape::x`] says.
    pub fn of_images(&self, x: &Tensor) -> Self {
        let conv = ConvShape {
            batch: x.shape[0],
            ..self.conv
        };
        Self { conv, ..*self }
    }
}
