// d_w: the gradient of a convolution's weights, in partial sums over ranges of positions.
//
// a: d_y (batch, output_height, output_width, output_channels)
// b: x (batch, input_height, input_width, input_channels)
// output_0: partial d_w (splits, output_channels, kernel_height, kernel_width, input_channels)
//
// As a matrix product: rows are output channels, columns run over (kernel_height, kernel_width,
// input_channels), the depth over output positions, four to a block.

struct Columns {
    row: i32, // offset of the tap from the window's first input
    column: i32,
    channel: u32,
}

fn positions() -> u32 { return params.batch * params.output_height * params.output_width; }
fn rows() -> u32 { return params.output_channels; }
fn columns() -> u32 { return params.kernel_height * params.kernel_width * params.input_channels; }
fn depth() -> u32 { return (positions() + 3u) / 4u; }

fn depth_range(m: u32, blocks: u32, split: u32) -> vec2u {
    let first = split * params.depth_chunk;
    return vec2u(first, min(first + params.depth_chunk, depth()));
}

fn locate_rows(m: u32) -> u32 { return params.y_base + m; }

fn load_rows(base: u32, k: u32) -> mat4x4f {
    let position = k * 4u + vec4u(0u, 1u, 2u, 3u);
    let inside = position < vec4u(positions());
    let texel = base + select(vec4u(0u), position, inside) * params.output_channels;
    let mask = select(vec4f(0.0), vec4f(1.0), inside);
    return transpose(mat4x4f(
        read_a(texel.x) * mask.x,
        read_a(texel.y) * mask.y,
        read_a(texel.z) * mask.z,
        read_a(texel.w) * mask.w,
    ));
}

fn locate_columns(n: u32) -> Columns {
    let tap = divide_one(n, params.inverse_input_channels);
    let tap_row = divide_one(tap, params.inverse_kernel_width);
    let padding = i32(params.padding);
    return Columns(
        i32(tap_row) - padding,
        i32(tap - tap_row * params.kernel_width) - padding,
        n - tap * params.input_channels,
    );
}

fn load_columns(at: Columns, k: u32) -> mat4x4f {
    let position = k * 4u + vec4u(0u, 1u, 2u, 3u);
    let line = divide(position, params.inverse_output_width);
    let image = divide(line, params.inverse_output_height);
    let row = vec4i((line - image * params.output_height) * params.stride) + at.row;
    let column = vec4i((position - line * params.output_width) * params.stride) + at.column;
    let inside = (position < vec4u(positions()))
        & (vec4u(row) < vec4u(params.input_height))
        & (vec4u(column) < vec4u(params.input_width));
    let pixel = (vec4i(image * params.input_height) + row) * i32(params.input_width) + column;
    let texel = params.x_base
        + select(vec4u(0u), vec4u(pixel) * params.input_channels + at.channel, inside);
    let mask = select(vec4f(0.0), vec4f(1.0), inside);
    return mat4x4f(
        read_b(texel.x) * mask.x,
        read_b(texel.y) * mask.y,
        read_b(texel.z) * mask.z,
        read_b(texel.w) * mask.w,
    );
}

fn store(m: u32, n: u32, split: u32, block: mat4x4f) {
    let first = params.w_base + (split * params.output_channels + m) * 4u * columns() + n;
    output_0[first] = block[0];
    output_0[first + columns()] = block[1];
    output_0[first + 2u * columns()] = block[2];
    output_0[first + 3u * columns()] = block[3];
}
