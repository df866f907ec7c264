// What the kernels of windows know that slide over the images of a batch, each channel by itself: the pooling of
// shaders/average_pool and shaders/window_max_pool. Pairs are (rows, columns).

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    channels: u32, // texels
    window_height: u32,
    window_width: u32,
    stride_rows: u32,
    stride_columns: u32,
    padding_rows: u32,
    padding_columns: u32,
    factor: f32, // of an average
    x_base: u32, // texels
    y_base: u32,
    argmax_base: u32,
    inverse_channels: f32,
    inverse_height: f32, // of the images that threads are counted over
    inverse_width: f32,
    inverse_stride_rows: f32,
    inverse_stride_columns: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

// A texel of a tensor (batch, rows, columns, channels).
struct Place {
    image: u32,
    pixel: vec2u,
    channel: u32, // counted in texels
}

// The place of a number counted over (batch, `rows`, `columns`, channels).
fn locate(i: u32, rows: u32, columns: u32) -> Place {
    let pixel = divide_long(i, params.channels, params.inverse_channels);
    let line = divide_one(pixel, params.inverse_width);
    let image = divide_one(line, params.inverse_height);
    return Place(image, vec2u(line - image * rows, pixel - line * columns), i - pixel * params.channels);
}

fn x_texel(at: Place, pixel: vec2u) -> u32 {
    let line = at.image * params.input_height + pixel.x;
    return params.x_base + (line * params.input_width + pixel.y) * params.channels + at.channel;
}

// Offset of a texel in y and in what has its shape.
fn output_offset(at: Place, pixel: vec2u) -> u32 {
    let line = at.image * params.output_height + pixel.x;
    return (line * params.output_width + pixel.y) * params.channels + at.channel;
}

// Pairs of indices from `first` to before `end`; there are none if `end` is not larger.
struct Span {
    first: vec2u,
    end: vec2u,
}

fn window() -> vec2u { return vec2u(params.window_height, params.window_width); }
fn stride() -> vec2u { return vec2u(params.stride_rows, params.stride_columns); }
fn padding() -> vec2u { return vec2u(params.padding_rows, params.padding_columns); }

// Which places of the window of an output lie inside the image.
fn inside_window(output: vec2u) -> Span {
    let start = output * stride();
    let input = vec2u(params.input_height, params.input_width);
    return Span(max(padding(), start) - start, min(window(), input + padding() - start));
}

// The input at a place of the window of an output.
fn input_pixel(output: vec2u, place: vec2u) -> vec2u { return output * stride() + place - padding(); }

fn divide_by_stride(value: vec2u) -> vec2u {
    return vec2u(
        divide_one(value.x, params.inverse_stride_rows),
        divide_one(value.y, params.inverse_stride_columns),
    );
}

// The outputs whose windows hold an input.
fn windows_with(input: vec2u) -> Span {
    let last = input + padding();
    let before = max(last + 1u, window()) - window();
    let output = vec2u(params.output_height, params.output_width);
    return Span(divide_by_stride(before + stride() - 1u), min(divide_by_stride(last) + 1u, output));
}

// Which place of the window of an output an input is.
fn place_in_window(input: vec2u, output: vec2u) -> vec2u { return input + padding() - output * stride(); }
