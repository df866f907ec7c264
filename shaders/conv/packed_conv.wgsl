// y = convolution of x with packed weights, plus bias, shifted, clamped: all integers (docs/FORMAT.md, What is computed).
//
// a: x (batch, input_height, input_width, input_channels), or what packed_bytes made of it
// b: codes (output_channels, w_row texels)
// c: bias and shift (2, output_channels)
// output_0: y (batch, output_height, output_width, output_channels)
//
// shared/packed_*.wgsl say how a sum of x * w is formed; whichever it is, it is the same integer.

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    input_channels: u32, // texels: of four numbers, or of 16 bytes
    code_channels: u32, // the same, as codes are padded
    output_height: u32,
    output_width: u32,
    output_channels: u32, // texels
    kernel_height: u32,
    kernel_width: u32,
    stride: u32,
    padding_rows: u32,
    padding_columns: u32,
    outputs: u32, // channels that mean something
    x_base: u32, // first texel of each operand within its buffer
    w_base: u32,
    w_row: u32, // texels of codes of four outputs
    table_base: u32,
    y_base: u32,
    zero: u32, // 1 if index 0 stands for zero
    low: i32, // results are clamped
    high: i32,
    splits: u32,
    inverse_input_channels: f32,
    inverse_kernel_width: f32,
    inverse_output_width: f32,
    inverse_output_height: f32,
    inverse_batch: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

// Rows and columns.
fn padding() -> vec2u { return vec2u(params.padding_rows, params.padding_columns); }

fn depth_range(m: vec2u, n: vec2u, split: u32) -> vec2u { return vec2u(0u, depth_of(m)); }

fn code_texel(at: u32) -> vec4i { return read_b(at); }

fn store(m: u32, n: u32, split: u32, block: Sum) {
    put(m * 4u, n, whole(block[0]));
    put(m * 4u + 1u, n, whole(block[1]));
    put(m * 4u + 2u, n, whole(block[2]));
    put(m * 4u + 3u, n, whole(block[3]));
}

fn put(position: u32, n: u32, sum: vec4i) {
    let bias = read_c(params.table_base + n);
    let shift = read_c(params.table_base + params.output_channels + n);
    let real = vec4u(n * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.outputs);
    if position < positions() {
        let value = select(vec4i(0), requantise(sum, bias, shift), real);
        write_0(params.y_base + pixels(vec4u(position)).x * params.output_channels + n, value);
    }
}
