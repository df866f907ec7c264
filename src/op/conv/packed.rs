//! Layers of packed models: integers in, integers out (`docs/FORMAT.md`, What is computed).

use super::entries;
use bytemuck::{Pod, Zeroable};

use super::{ConvShape, im2col};
use crate::gpu::{Kernel, Path};
use crate::recording::{Dispatch, Grid, Recording, Write};
use crate::tensor::{Tensor, pad4};

/// How sums of integers are formed. All ways give the same integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arithmetic {
    /// Shifts and adds of i32: the definition.
    Shift,
    /// Products of four int8 pairs at a time.
    Dot4,
    /// Products of bytes made into f32, while every sum stays below 2^24.
    Float,
}

impl Arithmetic {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Shift, Self::Dot4, Self::Float];

    /// The word used on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shift => "shift",
            Self::Dot4 => "dot4",
            Self::Float => "float",
        }
    }
}

/// How threads share a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sharing {
    /// Tiles of the result: many positions.
    Tile,
    /// Ranges of the depth: few positions, a single image.
    Vector,
}

impl Sharing {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tile, Self::Vector];

    /// The word used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tile => "tile",
            Self::Vector => "vector",
        }
    }
}

/// Channels in a group of codes, and in a texel of bytes.
const GROUP: usize = 16;

/// How the codes of a layer's weights lie on the device, see `shaders/shared/codes.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeShape {
    /// Bits of a code there: 1, 2, 4 or 8.
    pub width: u32,
    /// Whether index 0 stands for zero.
    pub zero: bool,
    /// Texels of codes of a block of four outputs.
    pub row: usize,
    /// Stored channels of an input, and of the codes.
    channels: usize,
    inputs: usize,
}

impl CodeShape {
    /// For weights of a shape whose codes take `bits` bits in the file.
    pub fn new(shape: &ConvShape, bits: u32, zero: bool, arithmetic: Arithmetic) -> Self {
        let width = bits.next_power_of_two();
        let channels = shape.input_channels;
        let inputs = match arithmetic {
            Arithmetic::Shift => pad4(channels),
            Arithmetic::Dot4 | Arithmetic::Float => channels.div_ceil(GROUP) * GROUP,
        };
        let groups = (shape.kernel_height * shape.kernel_width * inputs).div_ceil(GROUP);
        Self {
            width,
            zero,
            row: (groups * 4 * GROUP * width as usize).div_ceil(128),
            channels: pad4(channels),
            inputs,
        }
    }

    /// Stored shape of the codes, in numbers of 32 bits.
    pub fn codes(&self, shape: &ConvShape) -> [usize; 2] {
        [shape.w()[0] / 4, 4 * self.row]
    }

    /// The stored words of codes in the order of a shape's weights (outputs, kernel height, kernel
    /// width, inputs). The shape may be that of a dense layer on an image, which runs on one pixel.
    pub fn store(&self, shape: &ConvShape, codes: &[u8], bits: u32) -> Vec<u32> {
        let taps = shape.kernel_height * shape.kernel_width;
        let mut words = vec![0u32; self.codes(shape).iter().product()];
        for (i, code) in codes.iter().enumerate() {
            let input = i % shape.input_channels;
            let tap = i / shape.input_channels % taps;
            let output = i / shape.input_channels / taps;
            // The sign stays on top when the code grows; a zero has none.
            let index = u32::from(*code) & ((1 << (bits - 1)) - 1);
            let sign = u32::from(*code) >> (bits - 1) & u32::from(index > 0 || !self.zero);
            let code = sign << (self.width - 1) | index;
            let stored = tap * pad4(shape.input_channels) + input;
            let depth = stored / self.channels * self.inputs + stored % self.channels;
            let place = (depth / GROUP * 4 + output % 4) * GROUP + depth % GROUP;
            let at = place * self.width as usize;
            words[output / 4 * 4 * self.row + at / 32] |= code << (at % 32);
        }
        words
    }
}

/// The twin of `Params` in `shaders/conv/packed_conv.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
struct PackedConvParams {
    batch: u32,
    input_height: u32,
    input_width: u32,
    input_channels: u32,
    code_channels: u32,
    output_height: u32,
    output_width: u32,
    output_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride: u32,
    padding_rows: u32,
    padding_columns: u32,
    outputs: u32,
    x_base: u32,
    w_base: u32,
    w_row: u32,
    table_base: u32,
    y_base: u32,
    zero: u32,
    low: i32,
    high: i32,
    splits: u32,
    inverse_input_channels: f32,
    inverse_kernel_width: f32,
    inverse_output_width: f32,
    inverse_output_height: f32,
    inverse_batch: f32,
}

/// The form in which a kernel reads activations.
enum Activations {
    Words,
    Bytes,
}

fn kernel(arithmetic: Arithmetic, sharing: Sharing, path: Path) -> (&'static Kernel, Activations) {
    match (arithmetic, sharing) {
        (Arithmetic::Shift, Sharing::Tile) => (&entries::PACKED_SHIFT_TILE, Activations::Words),
        (Arithmetic::Shift, Sharing::Vector) => (&entries::PACKED_SHIFT_VECTOR, Activations::Words),
        (Arithmetic::Dot4, Sharing::Tile) => (&entries::PACKED_DOT4_TILE, Activations::Bytes),
        (Arithmetic::Dot4, Sharing::Vector) => (&entries::PACKED_DOT4_VECTOR, Activations::Bytes),
        (Arithmetic::Float, Sharing::Tile) if path.backend().packed_lanes => {
            (&entries::PACKED_FLOAT_LANES, Activations::Words)
        }
        (Arithmetic::Float, Sharing::Tile) => (&entries::PACKED_FLOAT_TILE, Activations::Bytes),
        (Arithmetic::Float, Sharing::Vector) => (&entries::PACKED_FLOAT_VECTOR, Activations::Bytes),
    }
}

/// y = requantised x * w. `w` holds codes (blocks of four outputs, row of texels); `table`
/// (2, outputs) biases and shifts; results are clamped to `limits`.
pub fn packed_conv(
    recording: &mut Recording,
    label: &str,
    shape: &ConvShape,
    (arithmetic, sharing, codes): (Arithmetic, Sharing, CodeShape),
    [x, w, table]: [&Tensor; 3],
    limits: [i32; 2],
    y: &Tensor,
) {
    let path = recording.path();
    let (kernel, activations) = kernel(arithmetic, sharing, path);
    let ([batch, height, width, channels], stored) = (shape.y(), shape.x());
    let pixels = stored[..3].iter().product();
    let bytes = Tensor::transient("bytes", &[pixels, codes.inputs / 4]);
    let (x, inputs, code_inputs) = match activations {
        Activations::Words => (x, stored[3] / 4, codes.inputs / 4),
        Activations::Bytes => {
            packed_bytes(recording, label, &x.view(&[pixels, stored[3]]), &bytes);
            (&bytes, codes.inputs / GROUP, codes.inputs / GROUP)
        }
    };
    let inverse = |n: usize| 1.0 / n as f32;
    let params = PackedConvParams {
        batch: batch as u32,
        input_height: shape.input_height as u32,
        input_width: shape.input_width as u32,
        input_channels: inputs as u32,
        code_channels: code_inputs as u32,
        output_height: height as u32,
        output_width: width as u32,
        output_channels: (channels / 4) as u32,
        kernel_height: shape.kernel_height as u32,
        kernel_width: shape.kernel_width as u32,
        stride: shape.stride as u32,
        padding_rows: shape.padding[0] as u32,
        padding_columns: shape.padding[1] as u32,
        outputs: shape.output_channels as u32,
        x_base: x.base(),
        w_base: w.base(),
        w_row: codes.row as u32,
        table_base: table.base(),
        y_base: y.base(),
        zero: u32::from(codes.zero),
        low: limits[0],
        high: limits[1],
        splits: 1,
        inverse_input_channels: inverse(inputs),
        inverse_kernel_width: inverse(shape.kernel_width),
        inverse_output_width: inverse(width),
        inverse_output_height: inverse(height),
        inverse_batch: inverse(batch),
    };
    let mut constants = vec![("WIDTH", f64::from(codes.width))];
    if sharing == Sharing::Tile {
        constants.extend(shape.order(path, shape.has_edges()));
    }
    recording.dispatch(Dispatch {
        kernel,
        label,
        constants: &constants,
        params: bytemuck::bytes_of(&params),
        reads: &[x, w, table],
        writes: &[Write::New(y)],
        schedule: false,
        grid: Grid::Product {
            size: [batch * height * width, channels],
            splits: 1,
        },
        flops: shape.flops(),
    });
}

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct PackedBytesParams {
    rows: u32,
    channels: u32,
    groups: u32,
    x_base: u32,
    y_base: u32,
    inverse_groups: f32,
}

/// `bytes` (rows, words) from x (rows, channels), whose numbers fit into int8; a word holds four.
pub fn packed_bytes(recording: &mut Recording, label: &str, x: &Tensor, bytes: &Tensor) {
    let groups = bytes.shape[1] / 4;
    let params = PackedBytesParams {
        rows: x.shape[0] as u32,
        channels: (x.shape[1] / 4) as u32,
        groups: groups as u32,
        x_base: x.base(),
        y_base: bytes.base(),
        inverse_groups: 1.0 / groups as f32,
    };
    recording.dispatch(Dispatch {
        kernel: &entries::PACKED_BYTES,
        label,
        constants: &[],
        params: bytemuck::bytes_of(&params),
        reads: &[x],
        writes: &[Write::New(bytes)],
        schedule: false,
        grid: Grid::Threads(bytes.texels()),
        flops: 0,
    });
}

/// [`super::im2col`] of integers.
pub fn packed_im2col(
    recording: &mut Recording,
    label: &str,
    shape: &ConvShape,
    x: &Tensor,
    rows: &Tensor,
) {
    im2col::record(recording, &entries::PACKED_IM2COL, label, shape, [x, rows]);
}
