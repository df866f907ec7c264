//! The geometry of pooling.

use crate::tensor::{Tensor, pad4};

/// Windows that slide over the images of a batch, each channel by itself.
///
/// All pairs are (rows, columns), in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowShape {
    /// Images.
    pub batch: usize,
    /// Pixels of an input image.
    pub input: [usize; 2],
    /// Channels, without the padding to a multiple of four.
    pub channels: usize,
    /// Size of a window.
    pub window: [usize; 2],
    /// Distance between neighbouring windows.
    pub stride: [usize; 2],
    /// Pixels that are added around the image on every side.
    pub padding: [usize; 2],
}

impl WindowShape {
    /// Pixels of an output image: the number of windows that fit, along rows and along columns.
    pub fn output(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            let padded = self.input[axis] + 2 * self.padding[axis];
            (padded - self.window[axis]) / self.stride[axis] + 1
        })
    }

    /// Stored shape of the input: (batch, rows, columns, padded channels).
    pub fn x(&self) -> [usize; 4] {
        let [height, width] = self.input;
        [self.batch, height, width, pad4(self.channels)]
    }

    /// Stored shape of the output: (batch, rows, columns, padded channels).
    pub fn y(&self) -> [usize; 4] {
        let [height, width] = self.output();
        [self.batch, height, width, pad4(self.channels)]
    }

    /// The same windows over the images of one micro-batch `x`, stored as [`WindowShape::x`] says.
    pub fn of_images(&self, x: &Tensor) -> Self {
        Self {
            batch: x.shape[0],
            ..*self
        }
    }
}
