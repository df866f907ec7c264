// y = grouped convolution of x with packed weights, plus bias, shifted, clamped: all integers (docs/FORMAT.md, What is computed).
//
// a: x (batch, input_height, input_width, input_channels)
// b: codes (output_channels / 4, w_row texels): one word for each step of the window (kernel_height,
//    kernel_width, group_inputs) holds a byte for each of four outputs, the first output's lowest
// c: bias and shift (2, output_channels)
// output_0: y (batch, output_height, output_width, output_channels)
//
// For every output o, with g = o / group_outputs:
//     sum = 0
//     for every tap inside the image, for i in 0 .. group_inputs:
//         sum += x[tap, g * group_inputs + i] * w[o, tap, i]
//     y[o] = requantise(sum, bias[o], shift[o])
// 1. A thread computes four outputs at four columns side by side, so that it unpacks each word of codes once.
// 2. DEPTHWISE: output o reads input o only, so one texel of x serves four outputs.
// 3. WHOLE_GROUPS: four outputs share a group, and its inputs are whole texels: one texel of x meets one texel
//    of codes.
// 4. Otherwise each of the four outputs finds its input by itself.

struct Params {
    batch: u32,
    input_height: u32,
    input_width: u32,
    input_channels: u32, // texels
    output_height: u32,
    output_width: u32,
    output_channels: u32, // texels
    kernel_height: u32,
    kernel_width: u32,
    stride: u32,
    padding_rows: u32,
    padding_columns: u32,
    outputs: u32, // channels without padding
    group_inputs: u32, // channels of one group
    group_outputs: u32,
    strips: u32, // of four columns, in a row of y
    x_base: u32, // first texel of each operand within its buffer
    w_base: u32,
    w_row: u32, // texels of codes of four outputs
    table_base: u32,
    y_base: u32,
    zero: u32, // 1 if index 0 stands for zero
    low: i32, // results are clamped
    high: i32,
    inverse_output_channels: f32,
    inverse_strips: f32,
    inverse_output_height: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

override DEPTHWISE: bool = false;
override WHOLE_GROUPS: bool = false;

const LANES: vec4u = vec4u(0u, 1u, 2u, 3u);

fn code_texel(at: u32) -> vec4i { return read_b(at); }

alias Sums = array<vec4i, 4>; // of each column, over four outputs

// One weight of each of four outputs.
struct Weights {
    shift: vec4u,
    keep: vec4i, // 0 for a zero weight, else -1
    sign: vec4i, // -1 for a negative weight, else 0
}

fn weights(word: u32) -> Weights {
    let codes = vec4u(word) >> vec4u(0u, 8u, 16u, 24u);
    return Weights(places(codes, params.zero), keeps(codes, params.zero), signs(codes));
}

fn times(x: vec4i, w: Weights) -> vec4i { return (((x << w.shift) & w.keep) ^ w.sign) - w.sign; }

// First texel of the pixel of x that one tap meets at each of four columns, and whether it is inside the image.
struct Pixels {
    texel: vec4u,
    inside: vec4<bool>,
}

// One texel of inputs at each of the four columns.
fn read_columns(at: Pixels, texel: u32) -> Sums {
    return Sums(
        select(vec4i(0), read_a(at.texel.x + texel), at.inside.x),
        select(vec4i(0), read_a(at.texel.y + texel), at.inside.y),
        select(vec4i(0), read_a(at.texel.z + texel), at.inside.z),
        select(vec4i(0), read_a(at.texel.w + texel), at.inside.w),
    );
}

fn with_depthwise(sums: Sums, x: Sums, w: Weights) -> Sums {
    return Sums(sums[0] + times(x[0], w), sums[1] + times(x[1], w), sums[2] + times(x[2], w), sums[3] + times(x[3], w));
}

// Four inputs, which four outputs share, times a weight of each.
fn four_times(x: vec4i, w: array<Weights, 4>) -> vec4i {
    return times(x.xxxx, w[0]) + times(x.yyyy, w[1]) + times(x.zzzz, w[2]) + times(x.wwww, w[3]);
}

fn with_texel(sums: Sums, x: Sums, codes: vec4u) -> Sums {
    let w = array<Weights, 4>(weights(codes.x), weights(codes.y), weights(codes.z), weights(codes.w));
    return Sums(
        sums[0] + four_times(x[0], w),
        sums[1] + four_times(x[1], w),
        sums[2] + four_times(x[2], w),
        sums[3] + four_times(x[3], w),
    );
}

fn number_of(x: vec4i, lane: u32) -> i32 {
    let pair = select(x.xy, x.zw, (lane & 2u) != 0u);
    return select(pair.x, pair.y, (lane & 1u) != 0u);
}

// One input of each of four outputs, at one column.
fn apart(pixel: u32, inside: bool, texel: vec4u, lane: vec4u) -> vec4i {
    let x = vec4i(
        number_of(read_a(pixel + texel.x), lane.x),
        number_of(read_a(pixel + texel.y), lane.y),
        number_of(read_a(pixel + texel.z), lane.z),
        number_of(read_a(pixel + texel.w), lane.w),
    );
    return select(vec4i(0), x, inside);
}

fn with_apart(sums: Sums, at: Pixels, w: Weights, channels: vec4u) -> Sums {
    let texel = channels >> vec4u(2u);
    let lane = channels & vec4u(3u);
    return Sums(
        sums[0] + times(apart(at.texel.x, at.inside.x, texel, lane), w),
        sums[1] + times(apart(at.texel.y, at.inside.y, texel, lane), w),
        sums[2] + times(apart(at.texel.z, at.inside.z, texel, lane), w),
        sums[3] + times(apart(at.texel.w, at.inside.w, texel, lane), w),
    );
}

fn word(first: u32, step: u32) -> u32 { return pick(vec4u(read_b(first + (step >> 2u))), step & 3u); }

// Adds all inputs of one tap, for output texel n.
fn with_tap(before: Sums, at: Pixels, tap: u32, n: u32) -> Sums {
    let first = params.w_base + n * params.w_row;
    if DEPTHWISE {
        return with_depthwise(before, read_columns(at, n), weights(word(first, tap)));
    }
    var sums = before;
    var i = 0u;
    if WHOLE_GROUPS {
        let texels = params.group_inputs >> 2u;
        let group = 4u * n / params.group_outputs;
        while i < texels {
            let codes = vec4u(read_b(first + tap * texels + i));
            sums = with_texel(sums, read_columns(at, group * texels + i), codes);
            i += 1u;
        }
        return sums;
    }
    // Outputs past the last read the last group; their results are set to zero.
    let outputs = min(vec4u(4u * n) + LANES, vec4u(params.outputs - 1u));
    let channels = outputs / vec4u(params.group_outputs) * params.group_inputs;
    while i < params.group_inputs {
        let w = weights(word(first, tap * params.group_inputs + i));
        sums = with_apart(sums, at, w, channels + vec4u(i));
        i += 1u;
    }
    return sums;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.batch * params.output_height * params.strips * params.output_channels {
        return;
    }
    let strip_at = divide_long(i, params.output_channels, params.inverse_output_channels);
    let n = i - strip_at * params.output_channels;
    let line = divide_one(strip_at, params.inverse_strips);
    let image = divide_one(line, params.inverse_output_height);
    let columns = vec4u(4u * (strip_at - line * params.strips)) + LANES;
    // Below zero, in the padding before the image, numbers wrap and are too large.
    let first_row = (line - image * params.output_height) * params.stride - params.padding_rows;
    let first_columns = columns * params.stride - params.padding_columns;
    var sums = Sums();
    var row = 0u;
    while row < params.kernel_height {
        let y = first_row + row;
        if y < params.input_height {
            let start = (image * params.input_height + y) * params.input_width;
            var column = 0u;
            while column < params.kernel_width {
                let x = first_columns + vec4u(column);
                let pixel = vec4u(start) + min(x, vec4u(params.input_width - 1u));
                let texel = vec4u(params.x_base) + pixel * params.input_channels;
                let at = Pixels(texel, x < vec4u(params.input_width));
                sums = with_tap(sums, at, row * params.kernel_width + column, n);
                column += 1u;
            }
        }
        row += 1u;
    }
    let bias = read_c(params.table_base + n);
    let shift = read_c(params.table_base + params.output_channels + n);
    let is_real = vec4u(4u * n) + LANES < vec4u(params.outputs);
    let to = params.y_base + line * params.output_width * params.output_channels + n;
    put(to, columns.x, select(vec4i(0), requantise(sums[0], bias, shift), is_real));
    put(to, columns.y, select(vec4i(0), requantise(sums[1], bias, shift), is_real));
    put(to, columns.z, select(vec4i(0), requantise(sums[2], bias, shift), is_real));
    put(to, columns.w, select(vec4i(0), requantise(sums[3], bias, shift), is_real));
}

fn put(line: u32, column: u32, y: vec4i) {
    if column < params.output_width {
        write_0(line + column * params.output_channels, y);
    }
}
