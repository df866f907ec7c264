//! The geometry of convolutions and dense layers.

use crate::gpu::Path;
use crate::tensor::{Tensor, pad4};

/// The geometry of a convolution over stored tensors (channels padded to multiples of four).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Images.
    pub batch: usize,
    /// Pixels.
    pub input_height: usize,
    /// Pixels.
    pub input_width: usize,
    /// Logical channels.
    pub input_channels: usize,
    /// Logical channels.
    pub output_channels: usize,
    /// Taps.
    pub kernel_height: usize,
    /// Taps.
    pub kernel_width: usize,
    /// Pixels between windows, in both directions.
    pub stride: usize,
    /// Zero pixels added above and below the image, and left and right of it.
    pub padding: [usize; 2],
}

impl ConvShape {
    /// A dense layer: `inputs` numbers to `outputs` numbers.
    pub fn dense(batch: usize, inputs: usize, outputs: usize) -> Self {
        Self {
            batch,
            input_height: 1,
            input_width: 1,
            input_channels: inputs,
            output_channels: outputs,
            kernel_height: 1,
            kernel_width: 1,
            stride: 1,
            padding: [0, 0],
        }
    }

    /// The same layer for the images of a part of its input, of stored shape [`ConvShape::x`].
    pub(crate) fn of_images(&self, x: &Tensor) -> Self {
        Self {
            batch: x.shape[0],
            ..*self
        }
    }

    /// Whether the geometry makes sense: no size is zero, and the kernel fits into the padded image. Every other
    /// function takes this for granted.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        let sizes = [
            (self.batch, "images"),
            (self.input_height, "rows of the input"),
            (self.input_width, "columns of the input"),
            (self.input_channels, "input channels"),
            (self.output_channels, "output channels"),
            (self.kernel_height, "rows of the kernel"),
            (self.kernel_width, "columns of the kernel"),
        ];
        if let Some((_, what)) = sizes.iter().find(|(size, _)| *size == 0) {
            return Err(format!("the number of {what} is 0; it must be at least 1"));
        }
        if self.stride == 0 {
            return Err("the stride is 0; it must be at least 1".to_owned());
        }
        let image = [self.input_height, self.input_width];
        let padded = [0, 1].map(|axis| image[axis] + 2 * self.padding[axis]);
        let kernel = [self.kernel_height, self.kernel_width];
        if kernel[0] > padded[0] || kernel[1] > padded[1] {
            return Err(format!(
                "the kernel of {} x {} is larger than the image, which is {} x {} with its padding; \
                 make the kernel smaller or the padding larger",
                kernel[0], kernel[1], padded[0], padded[1]
            ));
        }
        Ok(())
    }

    /// The padding in the names of cases and trials: one number if rows and columns have the same.
    pub(crate) fn padding_name(&self) -> String {
        match self.padding {
            [rows, columns] if rows == columns => format!("padding {rows}"),
            [rows, columns] => format!("padding {rows}x{columns}"),
        }
    }

    /// Pixels of the result.
    pub fn output_height(&self) -> usize {
        (self.input_height + 2 * self.padding[0] - self.kernel_height) / self.stride + 1
    }

    /// Pixels of the result.
    pub fn output_width(&self) -> usize {
        (self.input_width + 2 * self.padding[1] - self.kernel_width) / self.stride + 1
    }

    /// Stored shape of x.
    pub fn x(&self) -> [usize; 4] {
        let channels = pad4(self.input_channels);
        [self.batch, self.input_height, self.input_width, channels]
    }

    /// Stored shape of w.
    pub fn w(&self) -> [usize; 4] {
        let (outputs, inputs) = (pad4(self.output_channels), pad4(self.input_channels));
        [outputs, self.kernel_height, self.kernel_width, inputs]
    }

    /// Stored shape of y.
    pub fn y(&self) -> [usize; 4] {
        let channels = pad4(self.output_channels);
        [
            self.batch,
            self.output_height(),
            self.output_width(),
            channels,
        ]
    }

    /// Floating-point operations of one pass: two for each multiply-add of the unpadded sizes.
    pub fn flops(&self) -> u64 {
        let taps = self.kernel_height * self.kernel_width * self.input_channels;
        let outputs = self.output_height() * self.output_width() * self.output_channels;
        2 * (self.batch * taps * outputs) as u64
    }

    /// Input rows and columns with the same remainder modulo the stride, at most.
    pub(in crate::op) fn phase(&self) -> [usize; 2] {
        [self.input_height, self.input_width].map(|n| n.div_ceil(self.stride))
    }

    /// Blocks of four such positions, filled up so that no tile of a matrix core lies in two phases.
    pub(in crate::op) fn phase_rows(&self) -> usize {
        let [height, width] = self.phase();
        let blocks = (self.batch * height * width).div_ceil(4);
        match self.stride {
            1 => blocks,
            _ => blocks.next_multiple_of(32),
        }
    }

    /// Pairs of an output row and a tap that lie inside the image, and the same for columns.
    fn pairs(&self) -> [usize; 2] {
        let sizes = [
            (self.output_height(), self.kernel_height, self.input_height),
            (self.output_width(), self.kernel_width, self.input_width),
        ];
        [0, 1].map(|axis| {
            let ((outputs, taps, inputs), padding) = (sizes[axis], self.padding[axis]);
            let inside = padding..padding + inputs;
            let reaches = |o, t| inside.contains(&(o * self.stride + t));
            let taps_of = |o| (0..taps).filter(|&t| reaches(o, t)).count();
            (0..outputs).map(taps_of).sum()
        })
    }

    /// Number of pairs of an output position and a tap that lie inside an image, over all images.
    pub fn taps(&self) -> usize {
        let [rows, columns] = self.pairs();
        self.batch * rows * columns
    }

    /// Whether no tap of any output reaches across an edge.
    pub(crate) fn is_inside(&self) -> bool {
        self.padding == [0, 0]
    }

    /// Whether windows are single pixels.
    pub(crate) fn is_points(&self) -> bool {
        let one = [self.kernel_height, self.kernel_width, self.stride] == [1, 1, 1];
        one && self.is_inside()
    }

    /// Whether more than a sixteenth of the taps of a row or column of outputs reach across an edge.
    pub(in crate::op) fn has_edges(&self) -> bool {
        let [rows, columns] = self.pairs();
        let all_rows = self.output_height() * self.kernel_height;
        let all_columns = self.output_width() * self.kernel_width;
        16 * (all_rows - rows) > all_rows || 16 * (all_columns - columns) > all_columns
    }

    /// The same for inputs and the outputs that their taps reach.
    pub(in crate::op) fn has_transposed_edges(&self) -> bool {
        let [rows, columns] = self.pairs();
        let all_rows = self.input_height * self.kernel_height.div_ceil(self.stride);
        let all_columns = self.input_width * self.kernel_width.div_ceil(self.stride);
        16 * all_rows.saturating_sub(rows) > all_rows
            || 16 * all_columns.saturating_sub(columns) > all_columns
    }

    /// Whether positions of a tile should lie in many images, see `shaders/shared/places.wgsl`:
    /// where edges are many and tiles small.
    fn images_first(&self, path: Path, edges: bool) -> bool {
        edges && path.backend().images_first && self.batch >= 16
    }

    /// Whether blocks of four positions can be one place of four images each, and had better be.
    pub(super) fn in_fours(&self, path: Path) -> bool {
        path.backend().fours && self.batch.is_multiple_of(4)
    }

    /// Says to the kernels in what order positions count.
    pub(super) fn order(&self, path: Path, edges: bool) -> [(&'static str, f64); 2] {
        let images_first = self.images_first(path, edges);
        let fours = images_first && self.in_fours(path);
        [
            ("IMAGES_FIRST", f64::from(images_first)),
            ("FOURS", f64::from(fours)),
        ]
    }

    /// How many ranges of positions the weight gradient is summed in: enough threads for the
    /// device where the weight matrix is small and the positions are many; for CPUs also so many
    /// that what a tile reads of a range stays in a core's cache until the next tile reads it
    /// again, unless partial sums, those of all `parts` of a batch, would take more than 32 MiB.
    pub fn weight_splits(&self, path: Path, parts: usize) -> usize {
        let [outputs, height, width, inputs] = self.w();
        let depth = (self.batch * self.output_height() * self.output_width()).div_ceil(4);
        let sums = path.backend().weight_sums;
        let [tile_rows, tile_columns] = sums.tile;
        let weights = outputs * height * width * inputs;
        let tiles = outputs.div_ceil(tile_rows) * (height * width * inputs).div_ceil(tile_columns);
        (sums.busy / tiles).clamp(1, depth.div_ceil(32)).max(
            depth
                .div_ceil(sums.cached)
                .min(MOST_PARTIAL / weights / parts),
        )
    }
}

/// Partial sums of a layer's weight gradient that ranges fit for caches may take, in numbers.
const MOST_PARTIAL: usize = 8 << 20;

#[cfg(test)]
mod tests {
    use super::ConvShape;

    #[test]
    fn a_geometry_that_cannot_be_is_refused_by_name() {
        let good = ConvShape {
            kernel_height: 3,
            padding: [1, 0],
            ..ConvShape::dense(2, 5, 7)
        };
        assert_eq!(good.check(), Ok(()));
        for (bad, what) in [
            (ConvShape { stride: 0, ..good }, "the stride is 0"),
            (
                ConvShape {
                    output_channels: 0,
                    ..good
                },
                "output channels is 0",
            ),
            (
                ConvShape {
                    kernel_width: 0,
                    ..good
                },
                "columns of the kernel is 0",
            ),
            (
                ConvShape {
                    kernel_width: 2,
                    ..good
                },
                "3 x 2 is larger than the image, which is 3 x 1",
            ),
            (
                ConvShape {
                    padding: [0, 0],
                    ..good
                },
                "which is 1 x 1",
            ),
        ] {
            let error = bad.check().unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }
}
