// What both pooling kernels know. Windows do not overlap: the stride is the size.

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    channels: u32, // texels
    relu: u32,
    x_base: u32, // texels
    y_base: u32,
    argmax_base: u32, // all ones if nobody wants it
    inverse_channels: f32,
    inverse_windows_wide: f32, // of the windows that threads are counted over
    inverse_windows_high: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

// Of a window's side; known when the pipeline is made, so that loops unroll.
override SIZE: u32 = 2u;

// Image, row, column and channel of a number counted over (batch, rows, columns, channels) of
// windows.
fn locate(i: u32, rows: u32, columns: u32) -> vec4u {
    let pixel = divide_long(i, params.channels, params.inverse_channels);
    let line = divide_one(pixel, params.inverse_windows_wide);
    let image = divide_one(line, params.inverse_windows_high);
    return vec4u(image, line - image * rows, pixel - line * columns, i - pixel * params.channels);
}

fn input_texel(at: vec4u, row: u32, column: u32) -> u32 {
    return ((at.x * params.input_height + row) * params.input_width + column) * params.channels + at.w;
}

fn output_texel(at: vec4u) -> u32 {
    return ((at.x * params.output_height + at.y) * params.output_width + at.z) * params.channels + at.w;
}
