//! Convolution and, as convolutions of 1 x 1 images, dense layers.

use bytemuck::{Pod, Zeroable};

use super::NOWHERE;
use crate::gpu::{Dispatch, Grid, Path, PlanBuilder, Write};
use crate::kernels;
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
    /// Zero pixels around the image, on every side.
    pub padding: usize,
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
            padding: 0,
        }
    }

    /// The same layer for the images of a part of its input, of stored shape [`ConvShape::x`].
    pub(crate) fn of_images(&self, x: &Tensor) -> Self {
        Self {
            batch: x.shape[0],
            ..*self
        }
    }

    /// Pixels of the result.
    pub fn output_height(&self) -> usize {
        (self.input_height + 2 * self.padding - self.kernel_height) / self.stride + 1
    }

    /// Pixels of the result.
    pub fn output_width(&self) -> usize {
        (self.input_width + 2 * self.padding - self.kernel_width) / self.stride + 1
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
    fn phase(&self) -> [usize; 2] {
        [self.input_height, self.input_width].map(|n| n.div_ceil(self.stride))
    }

    /// Blocks of four such positions, filled up so that no tile of a matrix core lies in two phases.
    fn phase_rows(&self) -> usize {
        let [height, width] = self.phase();
        let blocks = (self.batch * height * width).div_ceil(4);
        match self.stride {
            1 => blocks,
            _ => blocks.next_multiple_of(16),
        }
    }

    /// Pairs of an output row and a tap that lie inside the image, and the same for columns.
    fn pairs(&self) -> [usize; 2] {
        let sizes = [
            (self.output_height(), self.kernel_height, self.input_height),
            (self.output_width(), self.kernel_width, self.input_width),
        ];
        sizes.map(|(outputs, taps, inputs)| {
            let inside = self.padding..self.padding + inputs;
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
        self.padding == 0
    }

    /// Whether windows are single pixels.
    pub(crate) fn is_points(&self) -> bool {
        let one = [self.kernel_height, self.kernel_width, self.stride] == [1, 1, 1];
        one && self.is_inside()
    }

    /// Whether more than a sixteenth of the taps of a row or column of outputs reach across an edge.
    pub(super) fn has_edges(&self) -> bool {
        let [rows, columns] = self.pairs();
        let all_rows = self.output_height() * self.kernel_height;
        let all_columns = self.output_width() * self.kernel_width;
        16 * (all_rows - rows) > all_rows || 16 * (all_columns - columns) > all_columns
    }

    /// The same for inputs and the outputs that their taps reach.
    fn has_transposed_edges(&self) -> bool {
        let [rows, columns] = self.pairs();
        let all_rows = self.input_height * self.kernel_height.div_ceil(self.stride);
        let all_columns = self.input_width * self.kernel_width.div_ceil(self.stride);
        16 * all_rows.saturating_sub(rows) > all_rows
            || 16 * all_columns.saturating_sub(columns) > all_columns
    }

    /// Whether positions of a tile should lie in many images, see `shaders/shared/places.wgsl`:
    /// where edges are many and tiles small. Not measured on GPUs.
    pub(super) fn images_first(&self, path: Path, edges: bool) -> bool {
        edges && path.mirrors() && self.batch >= 16
    }

    /// How many ranges of positions the weight gradient is summed in: enough threads for the
    /// device where the weight matrix is small and the positions are many; for CPUs also so many
    /// that what a tile reads of a range stays in a core's cache until the next tile reads it
    /// again, unless partial sums, those of all `parts` of a batch, would take more than 32 MiB.
    pub fn weight_splits(&self, path: Path, parts: usize) -> usize {
        let [outputs, height, width, inputs] = self.w();
        let depth = (self.batch * self.output_height() * self.output_width()).div_ceil(4);
        // Not the tiles of the matrix cores: the order of a sum decides its last bits, and those
        // should not change with a core. Near edges they do, because tiles leave out different
        // positions.
        let (tile_rows, tile_columns, wanted, longest) = match path {
            Path::Gpu => (64, 64, 256, usize::MAX),
            Path::CpuSampled | Path::CpuStorage | Path::CpuSubgroup => (16, 8, 512, 256),
        };
        let weights = outputs * height * width * inputs;
        let tiles = outputs.div_ceil(tile_rows) * (height * width * inputs).div_ceil(tile_columns);
        (wanted / tiles)
            .clamp(1, depth.div_ceil(32))
            .max(depth.div_ceil(longest).min(MOST_PARTIAL / weights / parts))
    }
}

/// Partial sums of a layer's weight gradient that ranges fit for caches may take, in numbers.
const MOST_PARTIAL: usize = 8 << 20;

/// The twin of `Params` in `shaders/shared/conv_shape.wgsl`. Channels count in texels.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct ConvParams {
    batch: u32,
    input_height: u32,
    input_width: u32,
    input_channels: u32,
    output_height: u32,
    output_width: u32,
    output_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride: u32,
    padding: u32,
    relu: u32,
    x_base: u32,
    w_base: u32,
    bias_base: u32,
    y_base: u32,
    d_x_base: u32,
    argmax_base: u32,
    splits: u32,
    inverse_input_channels: f32,
    inverse_output_channels: f32,
    inverse_kernel_width: f32,
    phase_rows: u32,
    phase_height: u32,
    phase_width: u32,
    inverse_phase_width: f32,
    inverse_phase_height: f32,
    inverse_output_width: f32,
    inverse_output_height: f32,
    inverse_batch: f32,
    window: u32,
    window_width: u32,
    window_channels: u32,
    inverse_window_width: f32,
    inverse_window_channels: f32,
}

/// How a layer finds its inputs.
#[derive(Clone, Copy, Debug)]
pub enum Windows<'a> {
    /// Its input is as [`ConvShape::x`] says.
    Plain(&'a ConvShape),
    /// Its input is what [`super::shifts`] made for this shape; its weights are (outputs, padded window).
    Shifts(&'a ConvShape),
}

impl Windows<'_> {
    /// The product with rows for positions: in its terms weights and results are stored.
    fn product(&self) -> ConvShape {
        match self {
            Windows::Plain(shape) => **shape,
            Windows::Shifts(shape) => shape.as_rows(),
        }
    }

    /// Positions that are computed.
    fn positions(&self, pooled: bool) -> usize {
        let shape = self.shape();
        let sides = [shape.output_height(), shape.output_width()];
        let [height, width] = sides.map(|side| if pooled { side / 2 * 2 } else { side });
        shape.batch * height * width
    }

    fn params(&self, pooled: bool) -> ConvParams {
        let product = ConvParams::new(&self.product());
        let Windows::Shifts(shape) = self else {
            return product.pooled(pooled);
        };
        let [.., rows, row] = shape.shifts();
        let window = shape.kernel_height * shape.kernel_width * shape.input_channels;
        ConvParams {
            batch: shape.batch as u32,
            output_height: shape.output_height() as u32,
            output_width: shape.output_width() as u32,
            inverse_output_height: 1.0 / shape.output_height() as f32,
            inverse_output_width: 1.0 / shape.output_width() as f32,
            input_height: rows as u32,
            input_width: (row / 4) as u32,
            window: window as u32,
            window_width: shape.kernel_width as u32,
            window_channels: shape.input_channels as u32,
            inverse_window_width: 1.0 / shape.kernel_width as f32,
            inverse_window_channels: 1.0 / shape.input_channels as f32,
            ..product
        }
    }

    /// The convolution.
    fn shape(&self) -> &ConvShape {
        match self {
            Windows::Plain(shape) | Windows::Shifts(shape) => shape,
        }
    }

    /// Says so to the kernels, and in what order positions count.
    fn constants(&self, pooled: bool) -> [(&'static str, f64); 3] {
        let shifts = matches!(self, Windows::Shifts(_));
        [
            ("SHIFTS", f64::from(shifts)),
            ("SQUARES", f64::from(shifts || pooled)),
            ("POOLED", f64::from(pooled)),
        ]
    }
}

impl ConvParams {
    fn new(shape: &ConvShape) -> Self {
        let [_, _, _, input_channels] = shape.x();
        let [_, _, _, output_channels] = shape.y();
        let (inputs, outputs) = (input_channels / 4, output_channels / 4);
        let inverse = |n: usize| 1.0 / n as f32;
        let [phase_height, phase_width] = shape.phase();
        Self {
            batch: shape.batch as u32,
            input_height: shape.input_height as u32,
            input_width: shape.input_width as u32,
            input_channels: inputs as u32,
            output_height: shape.output_height() as u32,
            output_width: shape.output_width() as u32,
            output_channels: outputs as u32,
            kernel_height: shape.kernel_height as u32,
            kernel_width: shape.kernel_width as u32,
            stride: shape.stride as u32,
            padding: shape.padding as u32,
            splits: 1,
            inverse_input_channels: inverse(inputs),
            inverse_output_channels: inverse(outputs),
            inverse_kernel_width: inverse(shape.kernel_width),
            phase_rows: shape.phase_rows() as u32,
            phase_height: phase_height as u32,
            phase_width: phase_width as u32,
            inverse_phase_width: inverse(phase_width),
            inverse_phase_height: inverse(phase_height),
            inverse_output_width: inverse(shape.output_width()),
            inverse_output_height: inverse(shape.output_height()),
            inverse_batch: inverse(shape.batch),
            ..Default::default()
        }
    }

    /// Leaves out the outputs that a max pool would cut off.
    fn pooled(self, pooled: bool) -> Self {
        if !pooled {
            return self;
        }
        let [height, width] = [self.output_height, self.output_width].map(|side| side / 2 * 2);
        Self {
            output_height: height,
            output_width: width,
            inverse_output_height: 1.0 / height as f32,
            inverse_output_width: 1.0 / width as f32,
            ..self
        }
    }
}

/// What a layer does with its sums.
#[derive(Clone, Copy)]
pub enum Epilogue<'a> {
    /// Nothing.
    Linear,
    /// A ReLU.
    Relu,
    /// A ReLU, then the largest of each square of 2 x 2: y is half as high and wide. Rows and columns that fill
    /// no square are not computed.
    MaxPool {
        /// Which of the four it was, like y and in the same buffer: what the backward pass needs.
        argmax: Option<&'a Tensor>,
    },
}

/// The gradient of a layer's outputs.
#[derive(Clone, Copy)]
pub struct OutputGradient<'a> {
    /// Of what left its epilogue.
    pub d_y: &'a Tensor,
    /// What an epilogue with a max pool wrote.
    pub argmax: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for OutputGradient<'a> {
    fn from(d_y: &'a Tensor) -> Self {
        Self { d_y, argmax: None }
    }
}

/// y = x * w + bias, then the epilogue.
pub fn conv_forward(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    windows: Windows<'_>,
    [x, w, bias]: [&Tensor; 3],
    epilogue: Epilogue<'_>,
    y: &Tensor,
) {
    let shape = &windows.product();
    let [.., channels] = shape.y();
    let (pooled, argmax) = match epilogue {
        Epilogue::MaxPool { argmax } => (true, argmax),
        Epilogue::Linear | Epilogue::Relu => (false, None),
    };
    debug_assert!(argmax.is_none_or(|argmax| argmax.buffer.same(&y.buffer)));
    let params = ConvParams {
        relu: u32::from(!matches!(epilogue, Epilogue::Linear)),
        argmax_base: argmax.map_or(NOWHERE, Tensor::base),
        x_base: x.base(),
        w_base: w.base(),
        bias_base: bias.base(),
        y_base: y.base(),
        ..windows.params(pooled)
    };
    let path = plan.gpu().path();
    let images_first = !pooled && shape.images_first(path, shape.has_edges());
    let constants = [
        ("IMAGES_FIRST", f64::from(images_first)),
        ("INSIDE", f64::from(shape.is_inside())),
        ("POINTS", f64::from(!pooled && shape.is_points())),
    ];
    let constants = [&constants[..], &windows.constants(pooled)].concat();
    let rows = windows.positions(pooled);
    let output = argmax.map_or(Write::New(y), |argmax| Write::Both(y, argmax));
    plan.dispatch(Dispatch {
        kernel: &kernels::CONV_FORWARD,
        label,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        reads: &[x, w, bias],
        writes: &[output],
        schedule: false,
        grid: Grid::Product {
            size: [rows, channels],
            splits: 1,
        },
        flops: shape.flops(),
    });
}

/// d_x from d_y and w; with `relu`, x came out of a ReLU and d_x is the gradient before it.
pub fn conv_backward_input(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    shape: &ConvShape,
    [d_y, w, x]: [&Tensor; 3],
    relu: bool,
    d_x: &Tensor,
) {
    let [.., channels] = shape.x();
    let params = ConvParams {
        x_base: x.base(),
        d_x_base: d_x.base(),
        w_base: w.base(),
        y_base: d_y.base(),
        ..ConvParams::new(shape)
    };
    let (path, rows) = (
        plan.gpu().path(),
        4 * shape.stride * shape.stride * shape.phase_rows(),
    );
    let images_first = f64::from(shape.images_first(path, shape.has_transposed_edges()));
    let constants = [
        ("STRIDE", shape.stride as f64),
        ("RELU", f64::from(u8::from(relu))),
        ("IMAGES_FIRST", images_first),
        ("POINTS", f64::from(shape.is_points())),
    ];
    plan.dispatch(Dispatch {
        kernel: &kernels::CONV_BACKWARD_INPUT,
        label,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        reads: &[d_y, w, x],
        writes: &[Write::New(d_x)],
        schedule: false,
        grid: Grid::Product {
            size: [rows, channels],
            splits: 1,
        },
        flops: shape.flops(),
    });
}

/// Partial sums of d_w, and with `bias` of d_bias behind it, from the gradient of y and from x: `partial` is
/// (splits, weights, or weights + outputs). With one split they are d_w and d_bias.
pub fn conv_backward_weight(
    plan: &mut PlanBuilder<'_>,
    label: &str,
    windows: Windows<'_>,
    OutputGradient { d_y, argmax }: OutputGradient<'_>,
    x: &Tensor,
    bias: bool,
    partial: &Tensor,
) {
    let shape = &windows.product();
    let [outputs, kernel_height, kernel_width, inputs] = shape.w();
    let splits = partial.shape[0];
    let pooled = argmax.is_some();
    let params = ConvParams {
        x_base: x.base(),
        w_base: partial.base(),
        y_base: d_y.base(),
        argmax_base: argmax.map_or(NOWHERE, Tensor::base),
        splits: splits as u32,
        ..windows.params(pooled)
    };
    let inside = shape.is_inside() && windows.positions(pooled).is_multiple_of(4);
    let columns = kernel_height * kernel_width * inputs + if bias { 4 } else { 0 };
    let constants = [
        ("EDGES", f64::from(!pooled && shape.has_edges())),
        ("BIAS", f64::from(bias)),
        ("INSIDE", f64::from(inside)),
        ("POINTS", f64::from(!pooled && inside && shape.is_points())),
    ];
    let constants = [&constants[..], &windows.constants(pooled)].concat();
    plan.dispatch(Dispatch {
        kernel: &kernels::CONV_BACKWARD_WEIGHT,
        label,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        // The pipeline's layout names every binding in the text.
        reads: &[d_y, x, argmax.unwrap_or(d_y)],
        writes: &[Write::New(partial)],
        schedule: false,
        grid: Grid::Product {
            size: [outputs, columns],
            splits,
        },
        flops: shape.flops(),
    });
}
