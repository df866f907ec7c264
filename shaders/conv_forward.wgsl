// y = convolution of x with w, plus bias, then optionally ReLU.
//
// a: x (batch, input_height, input_width, input_channels)
// b: w (output_channels, kernel_height, kernel_width, input_channels)
// c: bias (output_channels)
// output_0: y (batch, output_height, output_width, output_channels)
//
// As a matrix product: rows are output positions, columns output channels, the depth runs over
// (kernel_height, kernel_width, input_channels).

struct Rows {
    base: vec4i, // texel of the window's first input; may lie outside the image
    top: vec4i,
    left: vec4i,
}

fn positions() -> u32 { return params.batch * params.output_height * params.output_width; }
fn rows() -> u32 { return (positions() + 3u) / 4u; }
fn columns() -> u32 { return params.output_channels; }
fn depth() -> u32 { return params.kernel_height * params.kernel_width * params.input_channels; }

fn depth_range(m: u32, blocks: u32, split: u32) -> vec2u { return vec2u(0u, depth()); }

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

fn load_rows(rows: Rows, k: u32) -> mat4x4f {
    let tap = divide_one(k, params.inverse_input_channels);
    let tap_row = divide_one(tap, params.inverse_kernel_width);
    let tap_column = tap - tap_row * params.kernel_width;
    let channel = k - tap * params.input_channels;
    let step = (tap_row * params.input_width + tap_column) * params.input_channels + channel;
    let inside = (vec4u(rows.top + i32(tap_row)) < vec4u(params.input_height))
        & (vec4u(rows.left + i32(tap_column)) < vec4u(params.input_width));
    let texel = select(vec4u(params.x_base), vec4u(rows.base + i32(step)), inside);
    let mask = select(vec4f(0.0), vec4f(1.0), inside);
    return mat4x4f(
        read_a(texel.x) * mask.x,
        read_a(texel.y) * mask.y,
        read_a(texel.z) * mask.z,
        read_a(texel.w) * mask.w,
    );
}

fn locate_columns(n: u32) -> u32 { return params.w_base + n * 4u * depth(); }

fn load_columns(base: u32, k: u32) -> mat4x4f {
    let step = depth();
    let first = base + k;
    return transpose(mat4x4f(
        read_b(first),
        read_b(first + step),
        read_b(first + 2u * step),
        read_b(first + 3u * step),
    ));
}

fn store(m: u32, n: u32, split: u32, block: mat4x4f) {
    let bias = read_c(params.bias_base + n);
    let low = select(vec4f(-3.4e38), vec4f(0.0), params.relu != 0u);
    put(m * 4u, n, max(block[0] + bias, low));
    put(m * 4u + 1u, n, max(block[1] + bias, low));
    put(m * 4u + 2u, n, max(block[2] + bias, low));
    put(m * 4u + 3u, n, max(block[3] + bias, low));
}

fn put(position: u32, n: u32, value: vec4f) {
    if position < positions() {
        output_0[params.y_base + position * params.output_channels + n] = value;
    }
}
