// d_x: the gradient of a convolution's input.
//
// a: d_y (batch, output_height, output_width, output_channels)
// b: w (output_channels, kernel_height, kernel_width, input_channels)
// output_0: d_x (batch, input_height, input_width, input_channels)
//
// As a matrix product: rows are input positions, columns input channels, the depth runs over
// (kernel_height, kernel_width, output_channels).

// Known when the pipeline is made, because a driver may run both sides of a branch.
override STRIDE: i32 = 1;

struct Rows {
    image: vec4i, // first line of the output image
    row: vec4i, // input row and column, plus the padding
    column: vec4i,
    base: vec4i, // texel of the first tap's output, when the stride is 1
}

fn positions() -> u32 { return params.batch * params.input_height * params.input_width; }
fn rows() -> u32 { return (positions() + 3u) / 4u; }
fn columns() -> u32 { return params.input_channels; }
fn depth() -> u32 { return params.kernel_height * params.kernel_width * params.output_channels; }

// Near the upper and lower edge some rows of taps reach no output for any position of the tile.
fn depth_range(m: u32, blocks: u32, split: u32) -> vec2u {
    let first = divide_one(min(m * 4u, positions() - 1u), params.inverse_input_width);
    let last = divide_one(min((m + blocks) * 4u, positions()) - 1u, params.inverse_input_width);
    let image = divide_one(first, params.inverse_input_height) * params.input_height;
    if STRIDE > 1 || last - image >= params.input_height {
        return vec2u(0u, depth());
    }
    let highest = i32(first - image + params.padding) - i32(params.output_height) + 1;
    let lowest = min(last - image + params.padding, params.kernel_height - 1u);
    let row = params.kernel_width * params.output_channels;
    return vec2u(u32(max(highest, 0)) * row, (lowest + 1u) * row);
}

fn locate_rows(m: u32) -> Rows {
    let position = min(m * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(positions() - 1u));
    let line = divide(position, params.inverse_input_width);
    let image = divide(line, params.inverse_input_height);
    let column = position - line * params.input_width;
    let row = line - image * params.input_height;
    let first = vec4i(image * params.output_height);
    let up = vec4i(row + params.padding);
    let side = vec4i(column + params.padding);
    let base = (first + up) * i32(params.output_width) + side;
    return Rows(first, up, side, base * i32(params.output_channels) + i32(params.y_base));
}

fn load_rows(rows: Rows, k: u32) -> mat4x4f {
    let tap = divide_one(k, params.inverse_output_channels);
    let tap_row = divide_one(tap, params.inverse_kernel_width);
    let tap_column = tap - tap_row * params.kernel_width;
    let channel = k - tap * params.output_channels;
    // A tap that would reach outside the image, or falls between two strides, adds nothing.
    var row = rows.row - i32(tap_row);
    var column = rows.column - i32(tap_column);
    let back = (tap_row * params.output_width + tap_column) * params.output_channels;
    var texel = vec4u(rows.base - i32(back) + i32(channel));
    var inside = vec4<bool>(true);
    if STRIDE > 1 {
        inside = (row % STRIDE == vec4i(0)) & (column % STRIDE == vec4i(0));
        row = row / STRIDE;
        column = column / STRIDE;
        let pixel = vec4u((rows.image + row) * i32(params.output_width) + column);
        texel = params.y_base + pixel * params.output_channels + channel;
    }
    inside &= (vec4u(row) < vec4u(params.output_height)) & (vec4u(column) < vec4u(params.output_width));
    texel = select(vec4u(params.y_base), texel, inside);
    let mask = select(vec4f(0.0), vec4f(1.0), inside);
    return mat4x4f(
        read_a(texel.x) * mask.x,
        read_a(texel.y) * mask.y,
        read_a(texel.z) * mask.z,
        read_a(texel.w) * mask.w,
    );
}

fn locate_columns(n: u32) -> u32 { return params.w_base + n; }

fn load_columns(base: u32, k: u32) -> mat4x4f {
    let tap = divide_one(k, params.inverse_output_channels);
    let channel = k - tap * params.output_channels;
    let step = params.kernel_height * params.kernel_width * params.input_channels;
    let first = base + channel * 4u * step + tap * params.input_channels;
    return mat4x4f(
        read_b(first),
        read_b(first + step),
        read_b(first + 2u * step),
        read_b(first + 3u * step),
    );
}

fn store(m: u32, n: u32, split: u32, block: mat4x4f) {
    put(m * 4u, n, block[0]);
    put(m * 4u + 1u, n, block[1]);
    put(m * 4u + 2u, n, block[2]);
    put(m * 4u + 3u, n, block[3]);
}

fn put(position: u32, n: u32, value: vec4f) {
    if position < positions() {
        output_0[params.x_base + position * params.input_channels + n] = value;
    }
}
