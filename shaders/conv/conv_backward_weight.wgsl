// d_w: the gradient of a convolution's weights, and with BIAS of its bias, in partial sums over ranges of
// positions.
//
// a: d_y (batch, output_height, output_width, output_channels)
// b: x (batch, input_height, input_width, input_channels)
// c: argmax, like a; with POOLED, outputs went through a max pool and both are half as high and wide, see
//    shared/squares.wgsl
// output_0: partial (splits, ...): of each split d_w (output_channels, kernel_height, kernel_width,
//           input_channels), then d_bias (output_channels)
//
// As a matrix product: rows are output channels, columns run over (kernel_height, kernel_width,
// input_channels), the depth over output positions, four to a block. With EDGES a tile leaves out rows
// and columns of positions from which its taps reach across the edges of the image. With BIAS one more
// block of columns multiplies d_y by ones.

// Known when the pipeline is made, because a driver may run both sides of a branch.
override EDGES: bool = false;
override BIAS: bool = false;
// Whether no tap reaches across an edge and positions come in whole blocks.
override INSIDE: bool = false;
// Whether windows are single pixels, as those of a dense layer are; then INSIDE too.
override POINTS: bool = false;
// Whether four positions of a block are one place in four images, so that it is found once for all of them.
override FOURS: bool = false;

struct Columns {
    row: i32, // offset of the tap from the window's first input
    column: i32,
    channel: u32,
    shifts: vec4u, // what the taps add to the first texel of a block of positions
    bias: bool, // whether this is the column of the bias
}

// The output rows and columns that a tile sums over.
struct Sums {
    first: vec2u,
    count: vec2u,
    inverse: vec2f,
}

// Those of a thread's tile, set where the depth is asked for.
var<private> sums: Sums;

fn rows() -> u32 { return params.output_channels; }
fn taps() -> u32 { return params.kernel_height * params.kernel_width * params.input_channels; }
fn columns() -> u32 { return taps() + select(0u, 1u, BIAS); }
fn positions() -> u32 { return params.batch * sums.count.x * sums.count.y; }

// Row and column of the tap of a column.
fn tap_of(n: u32) -> vec2u {
    let tap = divide_one(n, params.inverse_input_channels);
    let row = divide_one(tap, params.inverse_kernel_width);
    return vec2u(row, tap - row * params.kernel_width);
}

// Output rows, or columns, from which tap t reaches at least input number `inside`.
fn first_reaching(inside: vec2u, t: vec2u) -> vec2u {
    let far = inside + padding();
    return (max(far, t) - t + params.stride - 1u) / params.stride;
}

fn sums_of(n: vec2u) -> Sums {
    let output = vec2u(params.output_height, params.output_width);
    let all = Sums(vec2u(0u), output, vec2f(params.inverse_output_height, params.inverse_output_width));
    if !EDGES || (BIAS && n.x + n.y > taps()) {
        return all;
    }
    let low = tap_of(n.x);
    let high = tap_of(min(n.x + n.y, taps()) - 1u);
    let first = first_reaching(vec2u(0u), high);
    let end = min(first_reaching(vec2u(params.input_height, params.input_width), low), output);
    let count = max(end, first) - first;
    if low.x != high.x {
        let inverse = vec2f(1.0 / f32(max(count.x, 1u)), params.inverse_output_width);
        return Sums(vec2u(first.x, 0u), vec2u(count.x, output.y), inverse);
    }
    return Sums(first, count, 1.0 / vec2f(max(count, vec2u(1u))));
}

fn depth_range(m: vec2u, n: vec2u, split: u32) -> vec2u {
    // Not from `sums`: to a browser's compiler a private variable differs in every thread, and barriers must not depend on it.
    let here = sums_of(n);
    sums = here;
    let depth = (params.batch * here.count.x * here.count.y + 3u) / 4u;
    let chunk = (depth + params.splits - 1u) / params.splits;
    return vec2u(split * chunk, min((split + 1u) * chunk, depth));
}

const FIRST_FOUR = vec4u(0u, 1u, 2u, 3u);

// One place of four images that are summed over.
struct Fours {
    image: u32, // the first
    row: u32,
    column: u32,
}

fn fours(k: u32) -> Fours {
    let line = divide_one(k, sums.inverse.y);
    let image = divide_one(line, sums.inverse.x);
    return Fours(
        image * 4u,
        line - image * sums.count.x + sums.first.x,
        k - line * sums.count.y + sums.first.y,
    );
}

struct Places {
    image: vec4u,
    row: vec4u,
    column: vec4u,
    inside: vec4<bool>,
}

// Four of the positions that are summed over.
fn places(k: u32) -> Places {
    if SQUARES {
        let at = square_of(k);
        return Places(vec4u(at.image), rows_of(at), columns_of(at), vec4<bool>(true));
    }
    let position = k * 4u + FIRST_FOUR;
    let line = divide(position, sums.inverse.y);
    let image = divide(line, sums.inverse.x);
    return Places(
        image,
        line - image * sums.count.x + sums.first.x,
        position - line * sums.count.y + sums.first.y,
        position < vec4u(positions()),
    );
}

fn locate_rows(m: u32) -> u32 { return params.y_base + m; }

fn load_rows(base: u32, k: u32) -> mat4x4f {
    if POOLED {
        let texel = base + k * params.output_channels;
        let d_y = read_a(texel);
        let argmax = read_c(texel - params.y_base + params.argmax_base);
        return transpose(mat4x4f(
            unpooled(d_y, argmax, 0u),
            unpooled(d_y, argmax, 1u),
            unpooled(d_y, argmax, 2u),
            unpooled(d_y, argmax, 3u),
        ));
    }
    if SQUARES {
        let texel = base + pixels_of(square_of(k)) * params.output_channels;
        return transpose(mat4x4f(read_a(texel.x), read_a(texel.y), read_a(texel.z), read_a(texel.w)));
    }
    if FOURS {
        let at = fours(k);
        let pixel = (at.image * params.output_height + at.row) * params.output_width + at.column;
        let image = params.output_height * params.output_width;
        let texel = base + (pixel + image * FIRST_FOUR) * params.output_channels;
        return transpose(mat4x4f(read_a(texel.x), read_a(texel.y), read_a(texel.z), read_a(texel.w)));
    }
    if INSIDE {
        let first = base + k * 4u * params.output_channels;
        return transpose(mat4x4f(
            read_a(first),
            read_a(first + params.output_channels),
            read_a(first + 2u * params.output_channels),
            read_a(first + 3u * params.output_channels),
        ));
    }
    let at = places(k);
    let pixel = (at.image * params.output_height + at.row) * params.output_width + at.column;
    let texel = base + select(vec4u(0u), pixel, at.inside) * params.output_channels;
    let mask = select(vec4f(0.0), vec4f(1.0), at.inside);
    return transpose(mat4x4f(
        read_a(texel.x) * mask.x,
        read_a(texel.y) * mask.y,
        read_a(texel.z) * mask.z,
        read_a(texel.w) * mask.w,
    ));
}

fn locate_columns(n: u32) -> Columns {
    let tap = tap_of(n);
    let offset = vec2i(tap) - vec2i(padding());
    let number = tap.x * params.kernel_width + tap.y;
    let channel = n - number * params.input_channels;
    if BIAS && n == taps() {
        return Columns(0, 0, 0u, vec4u(0u), true);
    }
    if SHIFTS {
        return Columns(0, 0, 0u, shift_offsets(n), false);
    }
    return Columns(offset.x, offset.y, channel, vec4u(0u), false);
}

fn load_columns(cursor: Columns, k: u32) -> mat4x4f {
    if SHIFTS {
        let texel = shift_base(k) + cursor.shifts;
        let block = transpose(mat4x4f(read_b(texel.x), read_b(texel.y), read_b(texel.z), read_b(texel.w)));
        return mat4x4f(
            column_of(cursor, block[0]),
            column_of(cursor, block[1]),
            column_of(cursor, block[2]),
            column_of(cursor, block[3]),
        );
    }
    if POINTS {
        let position = k * 4u + FIRST_FOUR;
        return read_columns(cursor, params.x_base + position * params.input_channels + cursor.channel);
    }
    if FOURS {
        let at = fours(k);
        let row = i32(at.row * params.stride) + cursor.row;
        let column = i32(at.column * params.stride) + cursor.column;
        let pixel = (i32(at.image * params.input_height) + row) * i32(params.input_width) + column;
        let texel = u32(pixel) * params.input_channels + cursor.channel;
        let image = params.input_height * params.input_width * params.input_channels;
        if INSIDE {
            return read_columns(cursor, params.x_base + texel + image * FIRST_FOUR);
        }
        let inside = (u32(row) < params.input_height) & (u32(column) < params.input_width);
        let first = params.x_base + select(0u, texel, inside);
        let block = read_columns(cursor, first + image * FIRST_FOUR);
        return block * select(0.0, 1.0, inside | cursor.bias);
    }
    let at = places(k);
    let row = vec4i(at.row * params.stride) + cursor.row;
    let column = vec4i(at.column * params.stride) + cursor.column;
    let pixel = (vec4i(at.image * params.input_height) + row) * i32(params.input_width) + column;
    let texel = vec4u(pixel) * params.input_channels + cursor.channel;
    if INSIDE {
        return read_columns(cursor, params.x_base + texel);
    }
    let inside = at.inside
        & (vec4u(row) < vec4u(params.input_height))
        & (vec4u(column) < vec4u(params.input_width));
    let block = read_columns(cursor, params.x_base + select(vec4u(0u), texel, inside));
    let mask = select(vec4f(0.0), vec4f(1.0), inside | (at.inside & vec4<bool>(cursor.bias)));
    return mat4x4f(block[0] * mask.x, block[1] * mask.y, block[2] * mask.z, block[3] * mask.w);
}

fn read_columns(cursor: Columns, texel: vec4u) -> mat4x4f {
    return mat4x4f(
        column_of(cursor, read_b(texel.x)),
        column_of(cursor, read_b(texel.y)),
        column_of(cursor, read_b(texel.z)),
        column_of(cursor, read_b(texel.w)),
    );
}

fn column_of(cursor: Columns, inputs: vec4f) -> vec4f {
    if BIAS {
        return select(inputs, vec4f(1.0, 0.0, 0.0, 0.0), cursor.bias);
    }
    return inputs;
}

fn store(m: u32, n: u32, split: u32, block: mat4x4f) {
    let weights = params.output_channels * 4u * taps();
    let of_split = weights + select(0u, params.output_channels, BIAS);
    let base = params.w_base + split * of_split;
    if BIAS && n == taps() {
        write_0(base + weights + m, vec4f(block[0].x, block[1].x, block[2].x, block[3].x));
        return;
    }
    let first = base + m * 4u * taps() + n;
    write_0(first, real(n, block[0]));
    write_0(first + taps(), real(n, block[1]));
    write_0(first + 2u * taps(), real(n, block[2]));
    write_0(first + 3u * taps(), real(n, block[3]));
}

// Past the window there are no weights.
fn real(n: u32, values: vec4f) -> vec4f {
    if SHIFTS {
        return select(vec4f(0.0), values, n * 4u + vec4u(0u, 1u, 2u, 3u) < vec4u(params.window));
    }
    return values;
}
