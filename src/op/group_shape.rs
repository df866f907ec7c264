//! The geometry of grouped convolutions.

use crate::op::ConvShape;
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
    /// Whether the geometry makes sense: that of the convolution does, and the groups divide its channels. Every
    /// other function takes this for granted.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        self.conv.check()?;
        let groups = self.groups;
        for (channels, what) in [
            (self.conv.input_channels, "input channels"),
            (self.conv.output_channels, "output channels"),
        ] {
            if groups == 0 || !channels.is_multiple_of(groups) {
                return Err(format!(
                    "{channels} {what} cannot be cut into {groups} equal groups; choose a number of groups that \
                     divides the input channels and the output channels"
                ));
            }
        }
        Ok(())
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_do_not_divide_the_channels_are_refused() {
        let conv = ConvShape::dense(1, 6, 4);
        let check = |groups| GroupShape { conv, groups }.check();
        assert_eq!(check(2), Ok(()));
        for (groups, what) in [(3, "4 output channels"), (4, "6 input"), (0, "0 equal")] {
            let error = check(groups).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
