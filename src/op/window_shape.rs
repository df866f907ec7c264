//! The geometry of pooling.

use bytemuck::{Pod, Zeroable};

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
    /// (batch, rows, columns, channels) of the input, then windows.
    const fn of(
        [batch, height, width, channels]: [usize; 4],
        window: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> Self {
        Self {
            batch,
            input: [height, width],
            channels,
            window,
            stride,
            padding,
        }
    }

    /// Whether the geometry makes sense: no size is zero, a window fits into the padded image, and the padding is
    /// smaller than a window, so that every window holds a pixel. Every other function takes this for granted.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.batch == 0 || self.channels == 0 || self.input.contains(&0) {
            return Err(format!(
                "{self}: a size of the input is 0; it must be at least 1"
            ));
        }
        if self.window.contains(&0) || self.stride.contains(&0) {
            return Err(format!(
                "{self}: the window or its stride is 0; it must be at least 1"
            ));
        }
        for axis in 0..2 {
            let (window, padding) = (self.window[axis], self.padding[axis]);
            let along = ["rows", "columns"][axis];
            if padding >= window {
                return Err(format!(
                    "{self}: the padding of {padding} {along} is not smaller than the window, so that a window may \
                     lie outside the image; choose a smaller padding"
                ));
            }
            let padded = self.input[axis] + 2 * padding;
            if window > padded {
                return Err(format!(
                    "{self}: a window of {window} {along} is larger than the image, which has {padded} with its \
                     padding; choose a smaller window"
                ));
            }
        }
        Ok(())
    }

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

    /// Numbers of the input that all windows read together, those outside the image included.
    pub(super) fn reads(&self) -> u64 {
        let outputs: usize = self.y().iter().product();
        (outputs * self.window[0] * self.window[1]) as u64
    }

    /// The same windows over the images of one micro-batch `x`, stored as [`WindowShape::x`] says.
    pub fn of_images(&self, x: &Tensor) -> Self {
        Self {
            batch: x.shape[0],
            ..*self
        }
    }
}

impl std::fmt::Display for WindowShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [rows, columns] = self.input;
        let ([height, width], stride) = (self.window, self.stride);
        let (batch, channels, padding) = (self.batch, self.channels, self.padding);
        write!(
            f,
            "{batch}x{rows}x{columns}x{channels}, window {height}x{width}, stride {stride:?}, padding {padding:?}"
        )
    }
}

/// Shapes that the kernels of both kinds of pooling are checked with: of one pixel; windows that overlap, leave
/// pixels out between them, or at the edges; edges; sizes off every workgroup; and what models use.
pub(super) const CASES: [WindowShape; 9] = [
    WindowShape::of([1, 1, 1, 1], [1, 1], [1, 1], [0, 0]),
    WindowShape::of([2, 4, 6, 5], [2, 2], [2, 2], [0, 0]),
    WindowShape::of([3, 7, 5, 4], [3, 3], [2, 2], [1, 1]),
    WindowShape::of([2, 5, 8, 7], [3, 2], [1, 1], [0, 0]),
    WindowShape::of([1, 9, 11, 3], [2, 3], [3, 5], [0, 1]),
    WindowShape::of([2, 6, 6, 9], [5, 3], [1, 2], [2, 1]),
    WindowShape::of([1, 3, 2, 6], [3, 2], [7, 1], [1, 1]),
    WindowShape::of([2, 32, 32, 20], [3, 3], [2, 2], [0, 0]),
    WindowShape::of([1, 56, 56, 64], [3, 3], [2, 2], [1, 1]),
];

/// The twin of `Params` in `shaders/shared/window_shape.wgsl`. Channels count in texels.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub(super) struct WindowParams {
    pub batch: u32,
    pub input_height: u32,
    pub input_width: u32,
    pub output_height: u32,
    pub output_width: u32,
    pub channels: u32,
    pub window_height: u32,
    pub window_width: u32,
    pub stride_rows: u32,
    pub stride_columns: u32,
    pub padding_rows: u32,
    pub padding_columns: u32,
    pub factor: f32,
    pub x_base: u32,
    pub y_base: u32,
    pub argmax_base: u32,
    pub inverse_channels: f32,
    pub inverse_height: f32,
    pub inverse_width: f32,
    pub inverse_stride_rows: f32,
    pub inverse_stride_columns: f32,
}

/// Which images the threads of a kernel are counted over.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Input,
    Output,
}

impl WindowParams {
    /// Parameters without bases and factor, for threads that are counted over the images of `side`.
    pub(super) fn new(shape: &WindowShape, side: Side) -> Self {
        let [batch, output_height, output_width, channels] = shape.y();
        let [input_height, input_width] = shape.input;
        let [height, width] = match side {
            Side::Input => [input_height, input_width],
            Side::Output => [output_height, output_width],
        };
        let inverse = |n: usize| 1.0 / n as f32;
        Self {
            batch: batch as u32,
            input_height: input_height as u32,
            input_width: input_width as u32,
            output_height: output_height as u32,
            output_width: output_width as u32,
            channels: (channels / 4) as u32,
            window_height: shape.window[0] as u32,
            window_width: shape.window[1] as u32,
            stride_rows: shape.stride[0] as u32,
            stride_columns: shape.stride[1] as u32,
            padding_rows: shape.padding[0] as u32,
            padding_columns: shape.padding[1] as u32,
            inverse_channels: inverse(channels / 4),
            inverse_height: inverse(height),
            inverse_width: inverse(width),
            inverse_stride_rows: inverse(shape.stride[0]),
            inverse_stride_columns: inverse(shape.stride[1]),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_cannot_be_are_refused() {
        for case in CASES {
            assert_eq!(case.check(), Ok(()));
        }
        for (shape, what) in [
            (
                WindowShape::of([1, 3, 3, 0], [2, 2], [1, 1], [0, 0]),
                "size of the input is 0",
            ),
            (
                WindowShape::of([1, 3, 3, 1], [2, 2], [1, 0], [0, 0]),
                "stride is 0",
            ),
            (
                WindowShape::of([1, 3, 3, 1], [2, 4], [1, 1], [0, 0]),
                "4 columns is larger",
            ),
            (
                WindowShape::of([1, 3, 3, 1], [2, 2], [1, 1], [2, 0]),
                "padding of 2 rows",
            ),
        ] {
            let error = shape.check().unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
