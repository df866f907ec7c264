// y = grouped convolution of x with w, plus bias, then optionally ReLU.
//
// a: x (batch, input_height, input_width, input_channels)
// b: w (output_channels, row), see shared/group_shape.wgsl
// c: bias (output_channels)
// output_0: y (batch, output_height, output_width, output_channels)
//
// The plain idea: for every output, sum x * w over the taps inside the image and the inputs of its group. Deviations:
//
// 1. Depthwise: a thread makes the same texel of channels at a strip of four positions in a row, see
//    shared/depthwise.wgsl, so that a weight serves four times and, with a stride of one, an input for every tap of
//    a row.
// 2. Otherwise a thread makes one texel. Its four outputs may lie in different groups and then read different
//    inputs, number by number; with whole texels of inputs to a group (ALIGNED), texel by texel.

// Whether the inputs of a group are a multiple of four.
override ALIGNED: bool = false;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    let positions = params.batch * params.output_height * params.output_width;
    let block = divide_long(i, params.output_channels, params.inverse_output_channels);
    let channel = i - block * params.output_channels;
    if DEPTHWISE {
        if block < params.batch * params.output_height * params.strips {
            depthwise(block, channel);
        }
    } else if block < positions {
        put(block, channel, grouped(block, channel));
    }
}

fn put(position: u32, channel: u32, sum: vec4f) {
    let low = select(vec4f(-3.4e38), vec4f(0.0), params.relu != 0u);
    let y = max(sum + read_c(params.bias_base + channel), low);
    let exists = channel * 4u + LANES < vec4u(params.outputs);
    write_0(params.y_base + position * params.output_channels + channel, select(vec4f(0.0), y, exists));
}

// The first input of the windows of four positions.
struct Windows {
    top: vec4i,
    left: vec4i,
    pixel: vec4i,
}

fn windows_of(position: vec4u) -> Windows {
    let at = output_pixels(position);
    let top = vec4i(at.row * params.stride) - i32(params.padding_rows);
    let left = vec4i(at.column * params.stride) - i32(params.padding_columns);
    let line = vec4i(at.image * params.input_height) + top;
    return Windows(top, left, line * i32(params.input_width) + left);
}

fn depthwise(block: u32, channel: u32) {
    let strip = strip_of(block, params.output_height, params.inverse_output_height);
    var sums = mat4x4f();
    if NINE && STRIDE <= 2u {
        let w = nine_weights(channel);
        sums = nine(sums, strip, 0u, channel, w.top);
        sums = nine(sums, strip, 1u, channel, w.middle);
        sums = nine(sums, strip, 2u, channel, w.bottom);
    } else {
        var y = 0u;
        while y < KERNEL_HEIGHT {
            var x = 0u;
            while x < KERNEL_WIDTH {
                let line = line_of(strip, y);
                let first = strip.column * STRIDE + x - params.padding_columns;
                let inputs = mat4x4f(
                    input_at(line, first, channel),
                    input_at(line, first + STRIDE, channel),
                    input_at(line, first + 2u * STRIDE, channel),
                    input_at(line, first + 3u * STRIDE, channel),
                );
                sums = with_tap(sums, inputs, weights_of(y * KERNEL_WIDTH + x, channel));
                x += 1u;
            }
            y += 1u;
        }
    }
    put_strip(strip, vec2u(params.output_height, params.output_width), channel, sums);
}

// Adds what windows of three taps in row y read, with a stride of one or two.
fn nine(sums: mat4x4f, strip: Strip, y: u32, channel: u32, w: mat3x4f) -> mat4x4f {
    let line = line_of(strip, y);
    if !line.exists {
        return sums;
    }
    let first = strip.column * STRIDE - params.padding_columns;
    let a = input_at(line, first, channel);
    let b = input_at(line, first + 1u, channel);
    let c = input_at(line, first + 2u, channel);
    let d = input_at(line, first + 3u, channel);
    let e = input_at(line, first + 4u, channel);
    let f = input_at(line, first + 5u, channel);
    if STRIDE == 1u {
        return mat4x4f(
            three(sums[0], a, b, c, w),
            three(sums[1], b, c, d, w),
            three(sums[2], c, d, e, w),
            three(sums[3], d, e, f, w),
        );
    }
    let g = input_at(line, first + 6u, channel);
    return mat4x4f(
        three(sums[0], a, b, c, w),
        three(sums[1], c, d, e, w),
        three(sums[2], e, f, g, w),
        three(sums[3], g, input_at(line, first + 7u, channel), input_at(line, first + 8u, channel), w),
    );
}

// The line that row y of the taps of a strip reaches.
fn line_of(strip: Strip, y: u32) -> Line {
    return line_at(strip.image, strip.row * STRIDE + y - params.padding_rows, vec2u(params.input_height, params.input_width));
}

fn input_at(line: Line, column: u32, channel: u32) -> vec4f {
    return texel_at(line, column, params.input_width, params.x_base + channel, params.input_channels);
}

fn grouped(position: u32, channel: u32) -> vec4f {
    let output = min(channel * 4u + LANES, vec4u(params.outputs - 1u));
    let input = divide(output, params.inverse_group_outputs) * params.group_inputs;
    let row = params.w_base + output * params.row;
    let windows = windows_of(vec4u(position));
    var sum = vec4f(0.0);
    var tap = 0u;
    while tap < taps() {
        let y = divide_one(tap, params.inverse_kernel_width);
        let x = tap - y * params.kernel_width;
        let inside = u32(windows.top.x + i32(y)) < params.input_height
            && u32(windows.left.x + i32(x)) < params.input_width;
        if inside {
            let pixel = u32(windows.pixel.x + i32(y * params.input_width + x));
            sum += products(params.x_base + pixel * params.input_channels, input, row, tap * params.group_inputs);
        }
        tap += 1u;
    }
    return sum;
}

// The products of one tap: of the inputs of a pixel from number `input` on with the weights from number `weight`
// of a row on.
fn products(pixel: u32, input: vec4u, row: vec4u, weight: u32) -> vec4f {
    var sum = vec4f(0.0);
    if ALIGNED {
        var k = 0u;
        while k < params.group_inputs / 4u {
            let x = pixel + input / 4u + k;
            let w = row + weight / 4u + k;
            sum += vec4f(
                dot(read_a(x.x), read_b(w.x)),
                dot(read_a(x.y), read_b(w.y)),
                dot(read_a(x.z), read_b(w.z)),
                dot(read_a(x.w), read_b(w.w)),
            );
            k += 1u;
        }
        return sum;
    }
    var k = 0u;
    while k < params.group_inputs {
        let number = input + k;
        let x = pixel + number / 4u;
        let w = row + (weight + k) / 4u;
        let part = (weight + k) & 3u;
        sum += vec4f(
            number_of(read_a(x.x), number.x & 3u) * number_of(read_b(w.x), part),
            number_of(read_a(x.y), number.y & 3u) * number_of(read_b(w.y), part),
            number_of(read_a(x.z), number.z & 3u) * number_of(read_b(w.z), part),
            number_of(read_a(x.w), number.w & 3u) * number_of(read_b(w.w), part),
        );
        k += 1u;
    }
    return sum;
}
