// What both pooling kernels know. Windows do not overlap: the stride is the size.

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    channels: u32, // texels
    size: u32,
    relu: u32,
    x_base: u32, // texels
    y_base: u32,
    d_x_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

// Image, row, column and channel of a number counted over (batch, height, width, channels).
fn locate(i: u32, height: u32, width: u32) -> vec4u {
    let channel = i % params.channels;
    let pixel = i / params.channels;
    let line = pixel / width;
    return vec4u(line / height, line % height, pixel % width, channel);
}

fn input_texel(at: vec4u, row: u32, column: u32) -> u32 {
    return ((at.x * params.input_height + row) * params.input_width + column) * params.channels + at.w;
}

fn output_texel(at: vec4u) -> u32 {
    return ((at.x * params.output_height + at.y) * params.output_width + at.z) * params.channels + at.w;
}
