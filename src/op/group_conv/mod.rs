//! Grouped and depthwise convolution: outputs of a group of channels read inputs of the same group only.

pub(crate) mod cases;
pub mod reference;

mod packed;
pub(crate) mod packed_cases;
pub mod packed_reference;

use super::Folder;

pub use packed::{GroupCodes, PACKED_GROUP_CONV, packed_group_conv};

use bytemuck::{Pod, Zeroable};

use super::GroupShape;
use crate::gpu::{Kernel, ReadsTextures};
use crate::kernels;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::Tensor;

pub(super) const FOLDER: Folder = Folder {
    kernels: &[
        &GROUP_CONV_FORWARD,
        &GROUP_CONV_BACKWARD_INPUT,
        &GROUP_CONV_BACKWARD_WEIGHT,
        &PACKED_GROUP_CONV,
    ],
    cases: &[cases::cases, packed_cases::cases],
};

const DEPTHWISE: &str = include_str!("../../../shaders/shared/depthwise.wgsl");
const STRIPS: &str = include_str!("../../../shaders/shared/strips.wgsl");
const GROUP_SHAPE: &str = include_str!("../../../shaders/shared/group_shape.wgsl");

const fn kernel(name: &'static str, text: &'static str, shared: &'static [&'static str]) -> Kernel {
    Kernel {
        textures: ReadsTextures::Always,
        ..kernels::elementwise(name, "GroupParams", text, shared)
    }
}

/// y = x * w + bias, ReLU.
pub static GROUP_CONV_FORWARD: Kernel = kernel(
    "group_conv_forward",
    include_str!("../../../shaders/group_conv/group_conv_forward.wgsl"),
    &[GROUP_SHAPE, DEPTHWISE, STRIPS, kernels::DIVIDE],
);
/// Gradient of x.
pub static GROUP_CONV_BACKWARD_INPUT: Kernel = kernel(
    "group_conv_backward_input",
    include_str!("../../../shaders/group_conv/group_conv_backward_input.wgsl"),
    &[GROUP_SHAPE, DEPTHWISE, STRIPS, kernels::DIVIDE],
);
/// Gradients of w and of a bias, in partial sums.
pub static GROUP_CONV_BACKWARD_WEIGHT: Kernel = kernel(
    "group_conv_backward_weight",
    include_str!("../../../shaders/group_conv/group_conv_backward_weight.wgsl"),
    &[GROUP_SHAPE, DEPTHWISE, kernels::DIVIDE],
);

/// The twin of `Params` in `shaders/shared/group_shape.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct GroupParams {
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
    padding_rows: u32,
    padding_columns: u32,
    inputs: u32,
    outputs: u32,
    group_inputs: u32,
    group_outputs: u32,
    row: u32,
    relu: u32,
    splits: u32,
    per_split: u32,
    phase_blocks: u32,
    phase_height: u32,
    phase_width: u32,
    strips: u32,
    x_base: u32,
    w_base: u32,
    bias_base: u32,
    y_base: u32,
    inverse_input_channels: f32,
    inverse_input_height: f32,
    inverse_input_width: f32,
    inverse_output_channels: f32,
    inverse_output_height: f32,
    inverse_output_width: f32,
    inverse_kernel_width: f32,
    inverse_group_inputs: f32,
    inverse_group_outputs: f32,
    inverse_row: f32,
    inverse_per_split: f32,
    inverse_phase_height: f32,
    inverse_phase_width: f32,
    inverse_strips: f32,
}

impl GroupParams {
    fn new(shape: &GroupShape) -> Self {
        let conv = &shape.conv;
        let ([batch, height, width, inputs], [_, rows, columns, outputs]) = (conv.x(), conv.y());
        let (inputs, outputs, row) = (inputs / 4, outputs / 4, shape.w()[1] / 4);
        let [group_inputs, group_outputs] = [shape.inputs_per_group(), shape.outputs_per_group()];
        let [phase_height, phase_width] = shape.phase();
        let inverse = |n: usize| 1.0 / n as f32;
        Self {
            batch: batch as u32,
            input_height: height as u32,
            input_width: width as u32,
            input_channels: inputs as u32,
            output_height: rows as u32,
            output_width: columns as u32,
            output_channels: outputs as u32,
            kernel_height: conv.kernel_height as u32,
            kernel_width: conv.kernel_width as u32,
            stride: conv.stride as u32,
            padding_rows: conv.padding[0] as u32,
            padding_columns: conv.padding[1] as u32,
            inputs: conv.input_channels as u32,
            outputs: conv.output_channels as u32,
            group_inputs: group_inputs as u32,
            group_outputs: group_outputs as u32,
            row: row as u32,
            phase_blocks: shape.phase_blocks() as u32,
            phase_height: phase_height as u32,
            phase_width: phase_width as u32,
            inverse_input_channels: inverse(inputs),
            inverse_input_height: inverse(height),
            inverse_input_width: inverse(width),
            inverse_output_channels: inverse(outputs),
            inverse_output_height: inverse(rows),
            inverse_output_width: inverse(columns),
            inverse_kernel_width: inverse(conv.kernel_width),
            inverse_group_inputs: inverse(group_inputs),
            inverse_group_outputs: inverse(group_outputs),
            inverse_row: inverse(row),
            inverse_phase_height: inverse(phase_height),
            inverse_phase_width: inverse(phase_width),
            ..Self::default()
        }
    }

    /// The same for threads that work on strips of a row of so many positions.
    fn with_strips(self, width: usize) -> Self {
        let strips = width.div_ceil(4);
        Self {
            strips: strips as u32,
            inverse_strips: 1.0 / strips as f32,
            ..self
        }
    }
}

impl GroupShape {
    /// Whether every group has one input and one output.
    fn is_depthwise(&self) -> bool {
        self.inputs_per_group() == 1 && self.outputs_per_group() == 1
    }

    /// What kernels know when their pipeline is made. Those that are not depthwise need no more of it, and share one.
    fn constants(&self) -> Vec<(&'static str, f64)> {
        let depthwise = ("DEPTHWISE", f64::from(self.is_depthwise()));
        let stride = ("STRIDE", self.conv.stride as f64);
        let kernel = [
            ("NINE", f64::from(self.has_nine_taps())),
            ("KERNEL_HEIGHT", self.conv.kernel_height as f64),
            ("KERNEL_WIDTH", self.conv.kernel_width as f64),
        ];
        match self.is_depthwise() {
            true => [&[depthwise, stride], &kernel[..]].concat(),
            false => vec![depthwise, stride],
        }
    }

    /// Whether windows are 3 x 3, for which depthwise kernels have loops of their own.
    fn has_nine_taps(&self) -> bool {
        (self.conv.kernel_height, self.conv.kernel_width) == (3, 3)
    }

    /// Threads of the forward pass: one for each texel of y, or for four in a row if the convolution is depthwise.
    fn output_threads(&self) -> Grid {
        let [batch, rows, columns, channels] = self.conv.y();
        let blocks = match self.is_depthwise() {
            true => batch * rows * columns.div_ceil(4),
            false => batch * rows * columns,
        };
        Grid::Threads((blocks * channels / 4) as u32)
    }

    /// Threads of the gradient of x: one for each texel of d_x. If the convolution is depthwise, one for four in a row,
    /// or with a stride for four of one phase, that is of rows and columns with the same remainders modulo the stride.
    fn input_threads(&self) -> Grid {
        let [batch, rows, columns, channels] = self.conv.x();
        let blocks = match self.is_depthwise() {
            true if self.conv.stride == 1 => batch * rows * columns.div_ceil(4),
            true => self.conv.stride * self.conv.stride * self.phase_blocks(),
            false => batch * rows * columns,
        };
        Grid::Threads((blocks * channels / 4) as u32)
    }

    /// Rows and columns of an image with the same remainder modulo the stride, at most.
    fn phase(&self) -> [usize; 2] {
        [self.conv.input_height, self.conv.input_width].map(|n| n.div_ceil(self.conv.stride))
    }

    /// Blocks of four positions of one phase.
    fn phase_blocks(&self) -> usize {
        let [height, width] = self.phase();
        (self.conv.batch * height * width).div_ceil(4)
    }

    /// Threads that sum the weight gradient over one range of positions.
    fn threads_per_split(&self, bias: bool) -> usize {
        let [outputs, row] = self.w();
        let weights = match self.is_depthwise() {
            true if self.has_nine_taps() => outputs / 4,
            true => outputs / 4 * (row / 4),
            false => outputs * (row / 4),
        };
        weights + if bias { outputs / 4 } else { 0 }
    }

    /// Ranges of output positions that [`group_conv_backward_weight`] should sum in: enough threads for a GPU,
    /// but at least 64 positions for each. It does not depend on the device, so that bits do not either.
    pub fn weight_splits(&self) -> usize {
        /// Threads that keep a GPU busy.
        const WANTED: usize = 1 << 14;
        let [batch, rows, columns, _] = self.conv.y();
        let positions = batch * rows * columns;
        (WANTED / self.threads_per_split(false)).clamp(1, positions.div_ceil(64))
    }
}

/// y = x * w + bias; with `relu`, y = max(y, 0). x and y are stored as [`crate::op::ConvShape`] says, w as
/// [`GroupShape::w`] says, the bias is (padded outputs).
pub fn group_conv_forward(
    recording: &mut Recording,
    label: &str,
    shape: &GroupShape,
    [x, w, bias]: [&Tensor; 3],
    relu: bool,
    y: &Tensor,
) {
    let params = GroupParams {
        relu: u32::from(relu),
        x_base: x.base(),
        w_base: w.base(),
        bias_base: bias.base(),
        y_base: y.base(),
        ..GroupParams::new(shape).with_strips(shape.conv.output_width())
    };
    let aligned = shape.inputs_per_group().is_multiple_of(4);
    recording.dispatch(Dispatch {
        kernel: &GROUP_CONV_FORWARD,
        label,
        constants: &[&shape.constants()[..], &[("ALIGNED", f64::from(aligned))]].concat(),
        params: bytemuck::bytes_of(&params),
        reads: &[x, w, bias],
        writes: &[Write::New(y)],
        schedule: false,
        grid: shape.output_threads(),
        flops: shape.flops(),
    });
}

/// d_x from d_y and w.
pub fn group_conv_backward_input(
    recording: &mut Recording,
    label: &str,
    shape: &GroupShape,
    [d_y, w]: [&Tensor; 2],
    d_x: &Tensor,
) {
    let params = GroupParams {
        x_base: d_x.base(),
        w_base: w.base(),
        y_base: d_y.base(),
        ..GroupParams::new(shape).with_strips(shape.conv.input_width)
    };
    recording.dispatch(Dispatch {
        kernel: &GROUP_CONV_BACKWARD_INPUT,
        label,
        constants: &shape.constants(),
        params: bytemuck::bytes_of(&params),
        reads: &[d_y, w],
        writes: &[Write::New(d_x)],
        schedule: false,
        grid: shape.input_threads(),
        flops: shape.flops(),
    });
}

/// Partial sums of d_w, and with `bias` of d_bias behind it: `partial` is (splits, stored weights), or (splits,
/// stored weights + padded outputs). [`crate::op::sum_partials`] adds the splits up; with one split `partial`
/// is the result. [`GroupShape::weight_splits`] says how many there should be.
pub fn group_conv_backward_weight(
    recording: &mut Recording,
    label: &str,
    shape: &GroupShape,
    d_y: &Tensor,
    x: &Tensor,
    bias: bool,
    partial: &Tensor,
) {
    let (splits, per_split) = (partial.shape[0], shape.threads_per_split(bias));
    let params = GroupParams {
        splits: splits as u32,
        per_split: per_split as u32,
        inverse_per_split: 1.0 / per_split as f32,
        x_base: x.base(),
        w_base: partial.base(),
        y_base: d_y.base(),
        ..GroupParams::new(shape)
    };
    recording.dispatch(Dispatch {
        kernel: &GROUP_CONV_BACKWARD_WEIGHT,
        label,
        constants: &[&shape.constants()[..], &[("BIAS", f64::from(bias))]].concat(),
        params: bytemuck::bytes_of(&params),
        reads: &[d_y, x],
        writes: &[Write::New(partial)],
        schedule: false,
        grid: Grid::Threads((splits * per_split) as u32),
        flops: shape.flops(),
    });
}
