// What the three kernels of a grouped convolution know. Channels fall into groups; outputs of a group read inputs
// of the same group only. A row of the weights holds the taps of one output in the order (kernel row, kernel
// column, input of the group), without padding between taps, zero from there to a multiple of four.

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    input_channels: u32, // texels
    output_height: u32,
    output_width: u32,
    output_channels: u32, // texels
    kernel_height: u32,
    kernel_width: u32,
    stride: u32,
    padding_rows: u32,
    padding_columns: u32,
    inputs: u32, // channels without padding
    outputs: u32,
    group_inputs: u32, // channels of a group
    group_outputs: u32,
    row: u32, // texels of a row of weights
    relu: u32, // 0 or 1
    splits: u32, // ranges of positions that a weight gradient is summed in
    per_split: u32, // threads for each of them
    // Input positions a stride apart, for the gradient of the input.
    phase_blocks: u32, // of four
    phase_height: u32,
    phase_width: u32,
    strips: u32, // of four positions in a row of outputs, or of inputs for their gradient
    x_base: u32, // texels
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
@group(0) @binding(0) var<uniform> params: Params;

// Whether every group has one input and one output. The four channels of a texel are then computed as one
// vector: all of them read the same texel.
override DEPTHWISE: bool = false;

const LANES = vec4u(0u, 1u, 2u, 3u);

fn taps() -> u32 { return params.kernel_height * params.kernel_width; }

// One of the four numbers of a texel.
fn number_of(texel: vec4f, part: u32) -> f32 {
    let pair = select(texel.xy, texel.zw, (part & 2u) != 0u);
    return select(pair.x, pair.y, (part & 1u) != 0u);
}

// Four pixels, counted over (batch, height, width).
struct Pixels {
    image: vec4u,
    row: vec4u,
    column: vec4u,
}

fn input_pixels(position: vec4u) -> Pixels {
    let line = divide(position, params.inverse_input_width);
    let image = divide(line, params.inverse_input_height);
    return Pixels(image, line - image * params.input_height, position - line * params.input_width);
}

fn output_pixels(position: vec4u) -> Pixels {
    let line = divide(position, params.inverse_output_width);
    let image = divide(line, params.inverse_output_height);
    return Pixels(image, line - image * params.output_height, position - line * params.output_width);
}
