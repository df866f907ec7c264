// What the pooling kernels over integers share: windows that slide over images, each channel by itself.

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    channels: u32, // texels
    window_height: u32,
    window_width: u32,
    stride_rows: u32, // pixels between windows
    stride_columns: u32,
    padding_rows: u32, // pixels added on every side
    padding_columns: u32,
    shift: i32, // of an average; a maximum ignores the shift and the limits
    low: i32,
    high: i32,
    x_base: u32, // first texel of each operand within its buffer
    y_base: u32,
    inverse_channels: f32,
    inverse_output_width: f32,
    inverse_output_height: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

// The part of a window that lies inside the image.
struct Window {
    image: u32, // first texel of the image, at the window's channels
    first: vec2u, // row and column
    end: vec2u, // one past the last row and column
}

// The window of output texel i.
fn window(i: u32) -> Window {
    let pixel = divide_long(i, params.channels, params.inverse_channels);
    let line = divide_one(pixel, params.inverse_output_width);
    let image = divide_one(line, params.inverse_output_height);
    let at = vec2u(line - image * params.output_height, pixel - line * params.output_width);
    let size = vec2u(params.input_height, params.input_width);
    // Counted with the padding before the image, so that nothing is negative.
    let padding = vec2u(params.padding_rows, params.padding_columns);
    let first = at * vec2u(params.stride_rows, params.stride_columns);
    let end = first + vec2u(params.window_height, params.window_width);
    return Window(
        params.x_base + image * size.x * size.y * params.channels + i - pixel * params.channels,
        max(first, padding) - padding,
        clamp(end, padding, size + padding) - padding,
    );
}

fn texel_of(window: Window, row: u32, column: u32) -> u32 {
    return window.image + (row * params.input_width + column) * params.channels;
}
