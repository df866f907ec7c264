// d_w of a grouped convolution, and with BIAS d_bias, in partial sums over ranges of output positions.
//
// a: d_y (batch, output_height, output_width, output_channels)
// b: x (batch, input_height, input_width, input_channels)
// output_0: partial (splits, ...): of each split d_w (output_channels, row), see shared/group_shape.wgsl, then
//           d_bias (output_channels)
//
// The plain idea: for every weight, sum d_y * x over the positions of a range. Deviations:
//
// 1. Depthwise: a thread makes four taps of four channels, a 4 x 4 block, so that a d_y serves four times.
// 2. Depthwise with windows of 3 x 3 (NINE), as nearly all are: a thread makes all nine taps of four channels and goes
//    along the rows of the output with a window of nine texels, of which each step reads those of its new columns only.
// 3. Otherwise a thread makes a texel of a row, whose four weights may belong to different taps and inputs.
// 4. One more block of columns is the gradient of the bias.

override BIAS: bool = false;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.splits * params.per_split {
        return;
    }
    let split = divide_long(i, params.per_split, params.inverse_per_split);
    let number = i - split * params.per_split;
    let positions = params.batch * params.output_height * params.output_width;
    let chunk = (positions + params.splits - 1u) / params.splits;
    let range = vec2u(split * chunk, min((split + 1u) * chunk, positions));
    let weights = params.output_channels * 4u * params.row;
    let base = params.w_base + split * (weights + select(0u, params.output_channels, BIAS));
    if DEPTHWISE {
        let k = divide_one(number, params.inverse_output_channels);
        let channel = number - k * params.output_channels;
        if BIAS && k == select(params.row, 1u, NINE) {
            write_0(base + weights + channel, bias(range, channel));
        } else if NINE {
            nine(range, base, channel);
        } else {
            depthwise(range, base, k, channel);
        }
        return;
    }
    if BIAS && number >= weights {
        write_0(base + number, bias(range, number - weights));
        return;
    }
    let output = divide_long(number, params.row, params.inverse_row);
    write_0(base + number, grouped(range, output, number - output * params.row));
}

fn bias(range: vec2u, channel: u32) -> vec4f {
    var sum = vec4f(0.0);
    var position = range.x;
    while position < range.y {
        sum += read_a(params.y_base + position * params.output_channels + channel);
        position += 1u;
    }
    return sum;
}

// Four taps: which rows and columns of the image they reach from the output at (0, 0), and whether they exist.
struct Taps {
    row: vec4i,
    column: vec4i,
    exist: vec4<bool>,
}

fn taps_of(tap: vec4u) -> Taps {
    let row = divide(tap, params.inverse_kernel_width);
    let column = tap - row * params.kernel_width;
    return Taps(
        vec4i(row) - i32(params.padding_rows),
        vec4i(column) - i32(params.padding_columns),
        tap < vec4u(taps()),
    );
}

// The pixels of x that four taps reach from an output, and whether there are any.
struct Reached {
    pixel: vec4u,
    exist: vec4<bool>,
}

fn reached(four: Taps, position: u32) -> Reached {
    let at = output_pixels(vec4u(position));
    let row = vec4i(at.row * params.stride) + four.row;
    let column = vec4i(at.column * params.stride) + four.column;
    let exist = four.exist & (vec4u(row) < vec4u(params.input_height))
        & (vec4u(column) < vec4u(params.input_width));
    let pixel = (vec4i(at.image * params.input_height) + row) * i32(params.input_width) + column;
    return Reached(select(vec4u(0u), vec4u(pixel), exist), exist);
}

fn depthwise(range: vec2u, base: u32, k: u32, channel: u32) {
    let four = taps_of(4u * k + LANES);
    var sums = mat4x4f();
    var position = range.x;
    while position < range.y {
        let inputs = reached(four, position);
        let texel = params.x_base + inputs.pixel * params.input_channels + channel;
        let mask = select(vec4f(0.0), vec4f(1.0), inputs.exist);
        let d_y = read_a(params.y_base + position * params.output_channels + channel);
        sums = mat4x4f(
            sums[0] + read_b(texel.x) * (mask.x * d_y),
            sums[1] + read_b(texel.y) * (mask.y * d_y),
            sums[2] + read_b(texel.z) * (mask.z * d_y),
            sums[3] + read_b(texel.w) * (mask.w * d_y),
        );
        position += 1u;
    }
    put_taps(base + channel * 4u * params.row + k, sums);
}

// The first pixels of the three lines of an image that windows of one row of outputs reach, and which there are.
struct Lines {
    first: vec3u,
    exist: vec3<bool>,
}

fn lines_of(image: u32, output_row: u32) -> Lines {
    // Negative numbers become large ones, which lie outside the image too.
    let row = output_row * STRIDE - params.padding_rows + vec3u(0u, 1u, 2u);
    let exist = row < vec3u(params.input_height);
    let line = image * params.input_height + select(vec3u(0u), row, exist);
    return Lines(line * params.input_width, exist);
}

// Three texels of a column, zero outside of the image.
fn column_of(lines: Lines, column: u32, channel: u32) -> mat3x4f {
    let exist = lines.exist & vec3<bool>(column < params.input_width);
    let pixel = lines.first + select(vec3u(0u), vec3u(column), exist);
    let texel = params.x_base + pixel * params.input_channels + channel;
    return mat3x4f(
        select(vec4f(0.0), read_b(texel.x), exist.x),
        select(vec4f(0.0), read_b(texel.y), exist.y),
        select(vec4f(0.0), read_b(texel.z), exist.z),
    );
}

fn with_column(sums: mat3x4f, inputs: mat3x4f, d_y: vec4f) -> mat3x4f {
    return mat3x4f(sums[0] + inputs[0] * d_y, sums[1] + inputs[1] * d_y, sums[2] + inputs[2] * d_y);
}

fn nine(range: vec2u, base: u32, channel: u32) {
    var left = mat3x4f();
    var middle = mat3x4f();
    var right = mat3x4f();
    var position = range.x;
    while position < range.y {
        let line = divide_one(position, params.inverse_output_width);
        let image = divide_one(line, params.inverse_output_height);
        let lines = lines_of(image, line - image * params.output_height);
        let start = position - line * params.output_width;
        let end = min(range.y, position + params.output_width - start);
        // The columns of the window, as the step before the first would leave them.
        var column = start * STRIDE - params.padding_columns;
        var a = mat3x4f();
        var b = column_of(lines, column, channel);
        var c = column_of(lines, column + 1u, channel);
        if STRIDE == 2u {
            c = b;
        }
        while position < end {
            if STRIDE == 1u {
                a = b;
                b = c;
            } else if STRIDE == 2u {
                a = c;
                b = column_of(lines, column + 1u, channel);
            } else {
                a = column_of(lines, column, channel);
                b = column_of(lines, column + 1u, channel);
            }
            c = column_of(lines, column + 2u, channel);
            let d_y = read_a(params.y_base + position * params.output_channels + channel);
            left = with_column(left, a, d_y);
            middle = with_column(middle, b, d_y);
            right = with_column(right, c, d_y);
            column += STRIDE;
            position += 1u;
        }
    }
    let first = base + channel * 4u * params.row;
    put_taps(first, mat4x4f(left[0], middle[0], right[0], left[1]));
    put_taps(first + 1u, mat4x4f(middle[1], right[1], left[2], middle[2]));
    put_taps(first + 2u, mat4x4f(right[2], vec4f(0.0), vec4f(0.0), vec4f(0.0)));
}

// Four taps of four channels.
fn put_taps(first: u32, taps: mat4x4f) {
    let rows = transpose(taps);
    write_0(first, rows[0]);
    write_0(first + params.row, rows[1]);
    write_0(first + 2u * params.row, rows[2]);
    write_0(first + 3u * params.row, rows[3]);
}

fn grouped(range: vec2u, output: u32, k: u32) -> vec4f {
    let weight = 4u * k + LANES;
    let tap = divide(weight, params.inverse_group_inputs);
    let four = taps_of(tap);
    let group = divide_one(output, params.inverse_group_outputs);
    let input = group * params.group_inputs + weight - tap * params.group_inputs;
    var sum = vec4f(0.0);
    if output >= params.outputs {
        return sum;
    }
    var position = range.x;
    while position < range.y {
        let inputs = reached(four, position);
        let texel = params.x_base + inputs.pixel * params.input_channels + input / 4u;
        let x = vec4f(
            number_of(read_b(texel.x), input.x & 3u),
            number_of(read_b(texel.y), input.y & 3u),
            number_of(read_b(texel.z), input.z & 3u),
            number_of(read_b(texel.w), input.w & 3u),
        );
        let d_y = read_a(params.y_base + position * params.output_channels + output / 4u);
        sum += select(vec4f(0.0), x, inputs.exist) * number_of(d_y, output & 3u);
        position += 1u;
    }
    return sum;
}
