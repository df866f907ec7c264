//! Grouped and depthwise convolution of integers with packed weights.

use bytemuck::{Pod, Zeroable};

use crate::gpu::{Kernel, Numbers, ReadsTextures};
use crate::kernels;
use crate::op::GroupShape;
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::{Tensor, pad4};

/// A grouped convolution of integers over packed weights.
pub static PACKED_GROUP_CONV: Kernel = Kernel {
    numbers: Numbers::Integer,
    textures: ReadsTextures::Always,
    ..kernels::elementwise(
        "packed_group_conv",
        "PackedGroupConvParams",
        include_str!("../../../shaders/group_conv/packed_group_conv.wgsl"),
        &[kernels::DIVIDE, kernels::CODES, kernels::REQUANTISE],
    )
};

/// How the codes of a grouped convolution lie on the device: a byte for a weight.
///
/// A code is a sign on top of an index. On the device the sign is bit 7 and the index is in the bits below it. For
/// each block of four outputs there is a row of words. A word holds the codes of one step of the window for the four
/// outputs of the block, those of the first output in the lowest byte. Steps run over (kernel row, kernel column, input
/// channel of the group). Rows are padded to whole texels of four words, and the outputs to a whole block, with codes 0.
///
/// Narrower codes would save little, because grouped convolutions have few weights. With bytes, a depthwise kernel finds
/// the weights of its four channels at one tap in one word, and a group of whole texels meets one texel of codes for each
/// texel of inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupCodes {
    /// Bits of a code in the file, 1 to 8.
    pub bits: u32,
    /// Whether index 0 stands for zero.
    pub zero: bool,
    /// Texels of codes of a block of four outputs.
    pub row: usize,
    /// Blocks of four outputs.
    pub blocks: usize,
}

impl GroupCodes {
    /// For weights of a shape whose codes take `bits` bits, 1 to 8, in the file.
    pub fn new(shape: &GroupShape, bits: u32, zero: bool) -> Self {
        let [outputs, window] = shape.w();
        Self {
            bits,
            zero,
            row: window / 4,
            blocks: outputs / 4,
        }
    }

    /// Stored shape of the codes, in numbers of 32 bits: (blocks of four outputs, words of a row).
    pub fn shape(&self) -> [usize; 2] {
        [self.blocks, 4 * self.row]
    }

    /// The stored words of codes in the order (output, kernel row, kernel column, input channel of the group), without
    /// padding.
    pub fn store(&self, shape: &GroupShape, codes: &[u8]) -> Vec<u32> {
        let window = shape.conv.kernel_height * shape.conv.kernel_width * shape.inputs_per_group();
        let mut words = vec![0u32; self.shape().iter().product()];
        for (i, code) in codes.iter().enumerate() {
            let (output, step) = (i / window, i % window);
            // The sign stays on top when the code grows; a zero has none.
            let index = u32::from(*code) & ((1 << (self.bits - 1)) - 1);
            let sign = u32::from(*code) >> (self.bits - 1) & u32::from(index > 0 || !self.zero);
            let byte = sign << 7 | index;
            words[output / 4 * 4 * self.row + step] |= byte << (8 * (output % 4));
        }
        words
    }
}

/// The twin of `Params` in `shaders/group_conv/packed_group_conv.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackedGroupConvParams {
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
    outputs: u32,
    group_inputs: u32,
    group_outputs: u32,
    strips: u32,
    x_base: u32,
    w_base: u32,
    w_row: u32,
    table_base: u32,
    y_base: u32,
    zero: u32,
    low: i32,
    high: i32,
    inverse_output_channels: f32,
    inverse_strips: f32,
    inverse_output_height: f32,
}

/// y = requantised x * w, where outputs of a group read inputs of the same group only:
///
/// ```text
/// sum[o] = Σ w[o, tap, i] x[tap, first input of the group of o + i]      w = ±2^k or 0
/// y[o]   = limits(((sum[o] << up) + bias[o]) >> down)                    rounded half up; shift = down or -up
/// ```
///
/// x and y are stored as `shape.conv` says. `w` holds what [`GroupCodes::store`] made, with the shape
/// [`GroupCodes::shape`]. `table` (2, padded outputs) holds the biases, then the shifts. The padding of y becomes zero. The
/// caller guarantees that nothing leaves 32 bits and that shifts are below 32.
pub fn packed_group_conv(
    recording: &mut Recording,
    label: &str,
    shape: &GroupShape,
    codes: &GroupCodes,
    [x, w, table]: [&Tensor; 3],
    limits: [i32; 2],
    y: &Tensor,
) {
    let conv = &shape.conv;
    let [batch, output_height, output_width, output_channels] = conv.y();
    let (inputs, outputs) = (shape.inputs_per_group(), shape.outputs_per_group());
    let (blocks, strips) = (output_channels / 4, output_width.div_ceil(4));
    let inverse = |n: usize| 1.0 / n as f32;
    let params = PackedGroupConvParams {
        batch: batch as u32,
        input_height: conv.input_height as u32,
        input_width: conv.input_width as u32,
        input_channels: (pad4(conv.input_channels) / 4) as u32,
        output_height: output_height as u32,
        output_width: output_width as u32,
        output_channels: blocks as u32,
        kernel_height: conv.kernel_height as u32,
        kernel_width: conv.kernel_width as u32,
        stride: conv.stride as u32,
        padding_rows: conv.padding[0] as u32,
        padding_columns: conv.padding[1] as u32,
        outputs: conv.output_channels as u32,
        group_inputs: inputs as u32,
        group_outputs: outputs as u32,
        strips: strips as u32,
        x_base: x.base(),
        w_base: w.base(),
        w_row: codes.row as u32,
        table_base: table.base(),
        y_base: y.base(),
        zero: u32::from(codes.zero),
        low: limits[0],
        high: limits[1],
        inverse_output_channels: inverse(blocks),
        inverse_strips: inverse(strips),
        inverse_output_height: inverse(output_height),
    };
    let depthwise = inputs == 1 && outputs == 1;
    let whole_groups = inputs.is_multiple_of(4) && outputs.is_multiple_of(4);
    recording.dispatch(Dispatch {
        kernel: &PACKED_GROUP_CONV,
        label,
        constants: &[
            ("WIDTH", 8.0),
            ("DEPTHWISE", f64::from(depthwise)),
            ("WHOLE_GROUPS", f64::from(whole_groups)),
        ],
        params: bytemuck::bytes_of(&params),
        reads: &[x, w, table],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Threads((batch * output_height * strips * blocks) as u32),
        flops: shape.flops(),
    });
}
