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

fn extent() -> Extent {
    let height = params.output_height;
    return Extent(height, params.output_width, params.inverse_output_height, params.inverse_output_width);
}

fn depth_range(m: vec2u, n: vec2u, split: u32) -> vec2u {
    let first = min(m.x * 4u, positions() - 1u);
    let tile = span(first, min(first + m.y * 4u, positions()) - 1u, extent());
    // Position p of a row or column reaches inputs p * stride + tap - padding.
    let input = vec2u(params.input_height, params.input_width) + params.padding;
    let kernel = vec2u(params.kernel_height, params.kernel_width);
    let high = tile.high * params.stride;
    let low = tile.low * params.stride;
    let first_taps = max(vec2u(params.padding), high) - high;
    let number = choose_taps(first_taps, min(max(input, low) - low, kernel));
    return vec2u(0u, number * params.input_channels);
}

fn locate_rows(m: u32) -> Rows {
    let position = min(m * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(positions() - 1u));
    let at = places(position, extent());
    let top = vec4i(at.row * params.stride) - i32(params.padding);
    let left = vec4i(at.column * params.stride) - i32(params.padding);
    let first = (vec4i(at.image * params.input_height) + top) * i32(params.input_width) + left;
    return Rows(first * i32(params.input_channels) + i32(params.x_base), top, left);
}

fn load_rows(rows: Rows, k: u32) -> mat4x4f {
    let number = divide_one(k, params.inverse_input_channels);
    let channel = k - number * params.input_channels;
    let tap = tap_of(number);
    let step = (tap.x * params.input_width + tap.y) * params.input_channels + channel;
    let inside = (vec4u(rows.top + i32(tap.x)) < vec4u(params.input_height))
        & (vec4u(rows.left + i32(tap.y)) < vec4u(params.input_width));
    let texel = select(vec4u(params.x_base), vec4u(rows.base + i32(step)), inside);
    let mask = select(vec4f(0.0), vec4f(1.0), inside);
    return mat4x4f(
        read_a(texel.x) * mask.x,
        read_a(texel.y) * mask.y,
        read_a(texel.z) * mask.z,
        read_a(texel.w) * mask.w,
    );
}

// Texels from one output channel to the next.
fn window() -> u32 { return params.kernel_height * params.kernel_width * params.input_channels; }

fn locate_columns(n: u32) -> u32 { return params.w_base + n * 4u * window(); }

fn load_columns(base: u32, k: u32) -> mat4x4f {
    let number = divide_one(k, params.inverse_input_channels);
    let tap = tap_of(number);
    let place = tap.x * params.kernel_width + tap.y;
    let first = base + place * params.input_channels + (k - number * params.input_channels);
    let step = window();
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
    let position = m * 4u + vec4u(0u, 1u, 2u, 3u);
    let at = places(position, extent());
    let pixel = (at.image * params.output_height + at.row) * params.output_width + at.column;
    let texel = params.y_base + pixel * params.output_channels + n;
    let kept = position < vec4u(positions());
    put(kept.x, texel.x, max(block[0] + bias, low));
    put(kept.y, texel.y, max(block[1] + bias, low));
    put(kept.z, texel.z, max(block[2] + bias, low));
    put(kept.w, texel.w, max(block[3] + bias, low));
}

fn put(kept: bool, texel: u32, value: vec4f) {
    if kept {
        output_0[texel] = value;
    }
}
