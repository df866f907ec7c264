// What both upsampling kernels know.

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    channels: u32, // texels
    size: u32, // outputs for one input, in both directions
    x_base: u32, // texels
    y_base: u32,
    inverse_channels: f32,
    inverse_width: f32, // of what threads are counted over
    inverse_height: f32,
    inverse_size: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

// Image, row, column and channel of a number counted over (batch, height, width, channels).
fn locate(i: u32, height: u32, width: u32) -> vec4u {
    let pixel = divide_long(i, params.channels, params.inverse_channels);
    let line = divide_one(pixel, params.inverse_width);
    let image = divide_one(line, params.inverse_height);
    return vec4u(image, line - image * height, pixel - line * width, i - pixel * params.channels);
}
