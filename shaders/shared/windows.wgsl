// The forward product of a convolution: rows are output positions, columns output channels, the
// depth runs over (kernel_height, kernel_width, input_channels), channels in texels. Where positions count
// through the images first, a tile leaves out taps that none of its positions needs (shared/places.wgsl).

struct Rows {
    base: vec4i, // texel of the window's first input; may lie outside the image
    top: vec4i,
    left: vec4i,
}

fn positions() -> u32 { return params.batch * params.output_height * params.output_width; }
fn rows() -> u32 { return (positions() + 3u) / 4u; }
fn columns() -> u32 { return params.output_channels; }
fn depth() -> u32 { return params.kernel_height * params.kernel_width * params.input_channels; }

fn extent() -> Extent {
    let height = params.output_height;
    return Extent(height, params.output_width, params.inverse_output_height, params.inverse_output_width);
}

// That of a tile of `m.y` blocks of rows from the first, `m.x`.
fn depth_of(m: vec2u) -> u32 {
    if !IMAGES_FIRST {
        return depth();
    }
    let number = taps_of(m).count;
    return number.x * number.y * params.input_channels;
}

// The taps of such a tile.
fn taps_of(m: vec2u) -> Taps {
    let first = min(m.x * 4u, positions() - 1u);
    let tile = span(first, min(first + m.y * 4u, positions()) - 1u, extent());
    // Position p of a row or column reaches inputs p * stride + tap - padding.
    let input = vec2u(params.input_height, params.input_width) + padding();
    let kernel = vec2u(params.kernel_height, params.kernel_width);
    let high = tile.high * params.stride;
    let low = tile.low * params.stride;
    let first_taps = max(padding(), high) - high;
    return choose_taps(first_taps, min(max(input, low) - low, kernel));
}

// All of one square, if they count by squares.
fn output_places(position: vec4u) -> Places {
    if SQUARES {
        let at = square_of(position.x / 4u);
        return Places(vec4u(at.image), rows_of(at), columns_of(at));
    }
    return places_of_block(position, extent());
}

fn locate_windows(m: u32) -> Rows {
    let position = min(m * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(positions() - 1u));
    if POINTS {
        let base = position * params.input_channels + params.x_base;
        return Rows(vec4i(base), vec4i(0), vec4i(0));
    }
    let at = output_places(position);
    let top = vec4i(at.row * params.stride) - i32(params.padding_rows);
    let left = vec4i(at.column * params.stride) - i32(params.padding_columns);
    let first = (vec4i(at.image * params.input_height) + top) * i32(params.input_width) + left;
    return Rows(first * i32(params.input_channels) + i32(params.x_base), top, left);
}

// Row, column and channel of a step of the depth.
fn tap_at(k: u32) -> vec3u {
    let number = divide_one(k, params.inverse_input_channels);
    let channel = k - number * params.input_channels;
    if IMAGES_FIRST {
        return vec3u(tap_of(number), channel);
    }
    let row = divide_one(number, params.inverse_kernel_width);
    return vec3u(row, number - row * params.kernel_width, channel);
}

// Which step of the whole depth that is.
fn whole_step(k: u32) -> u32 {
    if !IMAGES_FIRST {
        return k;
    }
    let tap = tap_at(k);
    return (tap.x * params.kernel_width + tap.y) * params.input_channels + tap.z;
}

struct Window {
    texel: vec4u, // of each row; some texel of x where the tap lies outside the image
    inside: vec4<bool>,
}

fn window(rows: Rows, k: u32) -> Window {
    if POINTS {
        return Window(vec4u(rows.base + i32(k)), vec4<bool>(true));
    }
    let tap = tap_at(k);
    let step = (tap.x * params.input_width + tap.y) * params.input_channels + tap.z;
    if INSIDE {
        return Window(vec4u(rows.base + i32(step)), vec4<bool>(true));
    }
    let inside = (vec4u(rows.top + i32(tap.x)) < vec4u(params.input_height))
        & (vec4u(rows.left + i32(tap.y)) < vec4u(params.input_width));
    return Window(select(vec4u(params.x_base), vec4u(rows.base + i32(step)), inside), inside);
}

// Where the results of positions lie, in pixels.
fn pixels(position: vec4u) -> vec4u {
    if SQUARES {
        return pixels_of(square_of(position.x / 4u));
    }
    if !IMAGES_FIRST {
        return position;
    }
    let at = places_of_block(position, extent());
    return (at.image * params.output_height + at.row) * params.output_width + at.column;
}
