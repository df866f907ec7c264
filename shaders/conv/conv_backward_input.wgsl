// d_x: the gradient of a convolution's input.
//
// a: d_y (batch, output_height, output_width, output_channels)
// b: w (output_channels, kernel_height, kernel_width, input_channels)
// c: x (batch, input_height, input_width, input_channels)
// output_0: d_x, like x; with RELU, x came out of a ReLU and this is the gradient before it; with SPLIT partial sums
//           of d_x (splits, like x)
//
// As a matrix product: rows are input positions, columns input channels, the depth runs over
// (taps, output_channels). With a stride s an input position is reached by every s-th tap alone, and
// which these are depends on its row and column modulo s, its phase. So the rows are sorted by phase
// into s x s ranges of params.phase_rows blocks, no tile lies in two of them, and a tile runs over
// the taps of its phase. Without a stride there is one phase, of all positions and all taps.

// Known when the pipeline is made, because a driver may run both sides of a branch.
override STRIDE: u32 = 1u;
override RELU: bool = false;

struct Rows {
    row: vec4i, // output row and column that the first tap reaches
    column: vec4i,
    base: vec4i, // its texel
}

// The positions whose row and column have these remainders, modulo the stride.
struct Phase {
    offset: vec2u, // row and column
    output: vec2u, // how far their first taps reach beyond (row, column) / stride
    first: vec2u, // the first taps that reach them
    taps: vec2u, // how many do
}

// That of a thread's tile, set where rows are located.
var<private> phase: Phase;

fn phase_of(m: u32) -> Phase {
    let kernel = vec2u(params.kernel_height, params.kernel_width);
    if STRIDE == 1u {
        return Phase(vec2u(0u), padding(), vec2u(0u), kernel);
    }
    let number = m / params.phase_rows;
    let offset = vec2u(number / STRIDE, number % STRIDE);
    let output = (offset + padding()) / STRIDE;
    let first = offset + padding() - output * STRIDE;
    return Phase(offset, output, first, (max(kernel, first) - first + STRIDE - 1u) / STRIDE);
}

fn phase_positions() -> u32 { return params.batch * params.phase_height * params.phase_width; }
fn rows() -> u32 { return STRIDE * STRIDE * params.phase_rows; }
fn columns() -> u32 { return params.input_channels; }

// The number of a block within its phase.
fn local_block(m: u32) -> u32 { return m - (m / params.phase_rows) * params.phase_rows; }

// Counted in strides.
fn extent() -> Extent {
    let height = params.phase_height;
    return Extent(height, params.phase_width, params.inverse_phase_height, params.inverse_phase_width);
}

fn depth_range(m: vec2u, n: vec2u, split: u32) -> vec2u {
    if POINTS {
        return part_of(split, params.output_channels);
    }
    let here = phase_of(m.x);
    let first = min(local_block(m.x) * 4u, phase_positions() - 1u);
    let tile = span(first, min(first + m.y * 4u, phase_positions()) - 1u, extent());
    // Position p of a row or column reaches outputs p + here.output - tap.
    let output = vec2u(params.output_height, params.output_width);
    let first_taps = max(tile.low + here.output + 1u, output) - output;
    let chosen = choose_taps(first_taps, min(tile.high + here.output + 1u, here.taps));
    let all = part_of(split, here.taps.x * here.taps.y * params.output_channels);
    return part_among(chosen, all, here.taps.y, params.output_channels);
}

fn locate_rows(m: u32) -> Rows {
    phase = phase_of(m);
    let first = local_block(m) * 4u;
    let position = min(first + vec4u(0u, 1u, 2u, 3u), vec4u(phase_positions() - 1u));
    if POINTS {
        return Rows(vec4i(0), vec4i(0), vec4i(position * params.output_channels + params.y_base));
    }
    let at = places_of_block(position, extent());
    let row = vec4i(at.row + phase.output.x);
    let column = vec4i(at.column + phase.output.y);
    let base = (vec4i(at.image * params.output_height) + row) * i32(params.output_width) + column;
    return Rows(row, column, base * i32(params.output_channels) + i32(params.y_base));
}

fn load_rows(rows: Rows, k: u32) -> mat4x4f {
    if POINTS {
        let texel = vec4u(rows.base) + k;
        return mat4x4f(read_a(texel.x), read_a(texel.y), read_a(texel.z), read_a(texel.w));
    }
    let number = divide_one(k, params.inverse_output_channels);
    let channel = k - number * params.output_channels;
    let tap = tap_of(number);
    // A tap that would reach outside the output adds nothing.
    let row = vec4u(rows.row - i32(tap.x));
    let column = vec4u(rows.column - i32(tap.y));
    let back = (tap.x * params.output_width + tap.y) * params.output_channels;
    let inside = (row < vec4u(params.output_height)) & (column < vec4u(params.output_width));
    let texel = select(vec4u(params.y_base), vec4u(rows.base - i32(back) + i32(channel)), inside);
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
    if POINTS {
        return load_block(base + k * 4u * params.input_channels, params.input_channels);
    }
    let number = divide_one(k, params.inverse_output_channels);
    let channel = k - number * params.output_channels;
    let place = tap_of(number) * STRIDE + phase.first;
    let tap = place.x * params.kernel_width + place.y;
    let step = params.kernel_height * params.kernel_width * params.input_channels;
    return load_block(base + channel * 4u * step + tap * params.input_channels, step);
}

fn load_block(first: u32, step: u32) -> mat4x4f {
    return mat4x4f(
        read_b(first),
        read_b(first + step),
        read_b(first + 2u * step),
        read_b(first + 3u * step),
    );
}

fn store(m: u32, n: u32, split: u32, block: mat4x4f) {
    let first = local_block(m) * 4u;
    let position = first + vec4u(0u, 1u, 2u, 3u);
    var start = n;
    if SPLIT {
        start += split * params.batch * params.input_height * params.input_width * params.input_channels;
    }
    if POINTS {
        put_all(position < vec4u(phase_positions()), position * params.input_channels + start, block);
        return;
    }
    let at = places_of_block(position, extent());
    let row = at.row * STRIDE + phase.offset.x;
    let column = at.column * STRIDE + phase.offset.y;
    let kept = (position < vec4u(phase_positions()))
        & (row < vec4u(params.input_height)) & (column < vec4u(params.input_width));
    let pixel = (at.image * params.input_height + row) * params.input_width + column;
    put_all(kept, pixel * params.input_channels + start, block);
}

fn put_all(kept: vec4<bool>, texel: vec4u, block: mat4x4f) {
    put(kept.x, texel.x, block[0]);
    put(kept.y, texel.y, block[1]);
    put(kept.z, texel.z, block[2]);
    put(kept.w, texel.w, block[3]);
}

fn put(kept: bool, texel: u32, value: vec4f) {
    if !kept {
        return;
    }
    var d_x = value;
    if RELU {
        d_x = select(vec4f(0.0), value, read_c(params.x_base + texel) > vec4f(0.0));
    }
    write_0(params.d_x_base + texel, d_x);
}
