// The forward product of a convolution: rows are output positions, columns output channels, the
// depth runs over (kernel_height, kernel_width, input_channels), channels in texels.

struct Rows {
    base: vec4i, // texel of the window's first input; may lie outside the image
    top: vec4i,
    left: vec4i,
}

fn positions() -> u32 { return params.batch * params.output_height * params.output_width; }
fn rows() -> u32 { return (positions() + 3u) / 4u; }
fn columns() -> u32 { return params.output_channels; }
fn depth() -> u32 { return params.kernel_height * params.kernel_width * params.input_channels; }

fn depth_range(m: vec2u, n: vec2u, split: u32) -> vec2u { return vec2u(0u, depth()); }

fn locate_rows(m: u32) -> Rows {
    let position = min(m * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(positions() - 1u));
    let line = divide(position, params.inverse_output_width);
    let image = divide(line, params.inverse_output_height);
    let column = position - line * params.output_width;
    let row = line - image * params.output_height;
    let top = vec4i(row * params.stride) - i32(params.padding);
    let left = vec4i(column * params.stride) - i32(params.padding);
    let first = (vec4i(image * params.input_height) + top) * i32(params.input_width) + left;
    return Rows(first * i32(params.input_channels) + i32(params.x_base), top, left);
}

struct Window {
    texel: vec4u, // of each row; some texel of x where the tap lies outside the image
    inside: vec4<bool>,
}

fn window(rows: Rows, k: u32) -> Window {
    let tap = divide_one(k, params.inverse_input_channels);
    let tap_row = divide_one(tap, params.inverse_kernel_width);
    let tap_column = tap - tap_row * params.kernel_width;
    let channel = k - tap * params.input_channels;
    let step = (tap_row * params.input_width + tap_column) * params.input_channels + channel;
    let inside = (vec4u(rows.top + i32(tap_row)) < vec4u(params.input_height))
        & (vec4u(rows.left + i32(tap_column)) < vec4u(params.input_width));
    return Window(select(vec4u(params.x_base), vec4u(rows.base + i32(step)), inside), inside);
}
