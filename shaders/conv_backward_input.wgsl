// d_x: the gradient of a convolution's input.
//
// a: d_y (batch, output_height, output_width, output_channels)
// b: w (output_channels, kernel_height, kernel_width, input_channels)
// output_0: d_x (batch, input_height, input_width, input_channels)
//
// As a matrix product: rows are input positions, columns input channels, the depth runs over
// (taps, output_channels). With a stride s an input position is reached by every s-th tap alone, and
// which these are depends on its row and column modulo s, its phase. So the rows are sorted by phase
// into s x s ranges of params.phase_rows blocks, no tile lies in two of them, and a tile runs over
// the taps of its phase. Without a stride there is one phase, of all positions and all taps.

// Known when the pipeline is made, because a driver may run both sides of a branch.
override STRIDE: u32 = 1u;

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
    inverse_taps: f32, // of those in a row
}

// That of a thread's tile, set where rows are located.
var<private> phase: Phase;

fn phase_of(m: u32) -> Phase {
    let kernel = vec2u(params.kernel_height, params.kernel_width);
    if STRIDE == 1u {
        return Phase(vec2u(0u), vec2u(params.padding), vec2u(0u), kernel, params.inverse_kernel_width);
    }
    let number = m / params.phase_rows;
    let offset = vec2u(number / STRIDE, number % STRIDE);
    let output = (offset + params.padding) / STRIDE;
    let first = offset + params.padding - output * STRIDE;
    let taps = (max(kernel, first) - first + STRIDE - 1u) / STRIDE;
    return Phase(offset, output, first, taps, 1.0 / f32(max(taps.y, 1u)));
}

fn phase_positions() -> u32 { return params.batch * params.phase_height * params.phase_width; }
fn rows() -> u32 { return STRIDE * STRIDE * params.phase_rows; }
fn columns() -> u32 { return params.input_channels; }

// Near the upper and lower edge some rows of taps reach no output for any position of the tile.
fn depth_range(m: u32, blocks: u32, split: u32) -> vec2u {
    let here = phase_of(m);
    let row = here.taps.y * params.output_channels;
    let end = min(m + blocks, rows());
    let positions = phase_positions();
    let start = (m / params.phase_rows) * params.phase_rows;
    let first = divide_one(min((m - start) * 4u, positions - 1u), params.inverse_phase_width);
    let last = divide_one(min((end - start) * 4u, positions) - 1u, params.inverse_phase_width);
    let image = divide_one(first, params.inverse_phase_height) * params.phase_height;
    if last - image >= params.phase_height {
        return vec2u(0u, here.taps.x * row);
    }
    let highest = i32(first - image + here.output.x) - i32(params.output_height) + 1;
    let lowest = min(last - image + here.output.x + 1u, here.taps.x);
    return vec2u(u32(max(highest, 0)) * row, lowest * row);
}

fn locate_rows(m: u32) -> Rows {
    phase = phase_of(m);
    let local = m - (m / params.phase_rows) * params.phase_rows;
    let position = min(local * 4u + vec4u(0u, 1u, 2u, 3u), vec4u(phase_positions() - 1u));
    let line = divide(position, params.inverse_phase_width);
    let image = divide(line, params.inverse_phase_height);
    let row = vec4i(line - image * params.phase_height + phase.output.x);
    let column = vec4i(position - line * params.phase_width + phase.output.y);
    let base = (vec4i(image * params.output_height) + row) * i32(params.output_width) + column;
    return Rows(row, column, base * i32(params.output_channels) + i32(params.y_base));
}

fn load_rows(rows: Rows, k: u32) -> mat4x4f {
    let tap = divide_one(k, params.inverse_output_channels);
    let tap_row = divide_one(tap, phase.inverse_taps);
    let tap_column = tap - tap_row * phase.taps.y;
    let channel = k - tap * params.output_channels;
    // A tap that would reach outside the output adds nothing.
    let row = vec4u(rows.row - i32(tap_row));
    let column = vec4u(rows.column - i32(tap_column));
    let back = (tap_row * params.output_width + tap_column) * params.output_channels;
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
    var tap = divide_one(k, params.inverse_output_channels);
    let channel = k - tap * params.output_channels;
    if STRIDE > 1u {
        let tap_row = divide_one(tap, phase.inverse_taps);
        let taps = vec2u(tap_row, tap - tap_row * phase.taps.y) * STRIDE + phase.first;
        tap = taps.x * params.kernel_width + taps.y;
    }
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
    let local = (m - (m / params.phase_rows) * params.phase_rows) * 4u;
    put(local, n, block[0]);
    put(local + 1u, n, block[1]);
    put(local + 2u, n, block[2]);
    put(local + 3u, n, block[3]);
}

// `local` counts the positions of the phase.
fn put(local: u32, n: u32, value: vec4f) {
    if local >= phase_positions() {
        return;
    }
    var position = local;
    if STRIDE > 1u {
        let line = divide_one(local, params.inverse_phase_width);
        let image = divide_one(line, params.inverse_phase_height);
        let row = (line - image * params.phase_height) * STRIDE + phase.offset.x;
        let column = (local - line * params.phase_width) * STRIDE + phase.offset.y;
        if row >= params.input_height || column >= params.input_width {
            return;
        }
        position = (image * params.input_height + row) * params.input_width + column;
    }
    output_0[params.x_base + position * params.input_channels + n] = value;
}
