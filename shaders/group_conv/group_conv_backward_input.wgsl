// d_x of a grouped convolution.
//
// a: d_y (batch, output_height, output_width, output_channels)
// b: w (output_channels, row), see shared/group_shape.wgsl
// output_0: d_x (batch, input_height, input_width, input_channels)
//
// The plain idea: for every input, sum d_y * w over the taps through which an output reads it, and over the outputs
// of its group. Threads share the work as in group_conv_forward.wgsl, but for one more deviation:
//
// 3. With a stride s an input is reached through every s-th tap alone, and which these are depends on its row and
//    column modulo s, its phase. The four positions of a depthwise thread have one phase; it runs over the taps of
//    that phase.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    let positions = params.batch * params.input_height * params.input_width;
    let block = divide_long(i, params.input_channels, params.inverse_input_channels);
    let channel = i - block * params.input_channels;
    if DEPTHWISE {
        if STRIDE == 1u {
            if block < params.batch * params.input_height * params.strips {
                depthwise(block, channel);
            }
        } else if block < STRIDE * STRIDE * params.phase_blocks {
            strided(block, channel);
        }
    } else if block < positions {
        put(block, channel, grouped(block, channel));
    }
}

fn put(position: u32, channel: u32, sum: vec4f) {
    let exists = channel * 4u + LANES < vec4u(params.inputs);
    write_0(params.x_base + position * params.input_channels + channel, select(vec4f(0.0), sum, exists));
}

// The outputs that read four inputs through one tap, and whether there are any.
struct Readers {
    pixel: vec4u,
    exist: vec4<bool>,
}

fn readers(inputs: Pixels, tap: u32) -> Readers {
    let tap_row = divide_one(tap, params.inverse_kernel_width);
    let tap_column = tap - tap_row * params.kernel_width;
    // Negative numbers become large ones, which lie outside the output too.
    let row = inputs.row + params.padding_rows - tap_row;
    let column = inputs.column + params.padding_columns - tap_column;
    let output_row = row / STRIDE;
    let output_column = column / STRIDE;
    let exist = (output_row < vec4u(params.output_height)) & (output_column < vec4u(params.output_width))
        & (output_row * STRIDE == row) & (output_column * STRIDE == column);
    let pixel = (inputs.image * params.output_height + output_row) * params.output_width + output_column;
    return Readers(select(vec4u(0u), pixel, exist), exist);
}

fn depthwise(block: u32, channel: u32) {
    let strip = strip_of(block, params.input_height, params.inverse_input_height);
    var sums = mat4x4f();
    if NINE {
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
                let first = strip.column + params.padding_columns - x;
                let outputs = mat4x4f(
                    output_at(line, first, channel),
                    output_at(line, first + 1u, channel),
                    output_at(line, first + 2u, channel),
                    output_at(line, first + 3u, channel),
                );
                sums = with_tap(sums, outputs, weights_of(y * KERNEL_WIDTH + x, channel));
                x += 1u;
            }
            y += 1u;
        }
    }
    put_strip(strip, vec2u(params.input_height, params.input_width), channel, sums);
}

// Adds what row y of three taps each brings.
fn nine(sums: mat4x4f, strip: Strip, y: u32, channel: u32, w: mat3x4f) -> mat4x4f {
    let line = line_of(strip, y);
    if !line.exists {
        return sums;
    }
    let first = strip.column + params.padding_columns - 2u;
    let a = output_at(line, first, channel);
    let b = output_at(line, first + 1u, channel);
    let c = output_at(line, first + 2u, channel);
    let d = output_at(line, first + 3u, channel);
    let e = output_at(line, first + 4u, channel);
    let f = output_at(line, first + 5u, channel);
    return mat4x4f(
        three(sums[0], c, b, a, w),
        three(sums[1], d, c, b, w),
        three(sums[2], e, d, c, w),
        three(sums[3], f, e, d, w),
    );
}

// The line whose outputs read a strip through row y of the taps.
fn line_of(strip: Strip, y: u32) -> Line {
    return line_at(strip.image, strip.row + params.padding_rows - y, vec2u(params.output_height, params.output_width));
}

fn output_at(line: Line, column: u32, channel: u32) -> vec4f {
    return texel_at(line, column, params.output_width, params.y_base + channel, params.output_channels);
}

fn strided(block: u32, channel: u32) {
    let number = block / params.phase_blocks;
    let phase = vec2u(number / STRIDE, number % STRIDE);
    let first_tap = (phase + vec2u(params.padding_rows, params.padding_columns)) % STRIDE;
    let first_output = (phase + vec2u(params.padding_rows, params.padding_columns)) / STRIDE;
    // Image, row and column of four positions of the phase.
    let count = params.batch * params.phase_height * params.phase_width;
    let position = (block - number * params.phase_blocks) * 4u + LANES;
    let line = divide(position, params.inverse_phase_width);
    let image = divide(line, params.inverse_phase_height);
    let row = line - image * params.phase_height;
    let column = position - line * params.phase_width;
    var sums = mat4x4f();
    var y = 0u;
    while first_tap.x + y * STRIDE < KERNEL_HEIGHT {
        // Negative numbers become large ones, which lie outside the output too.
        let output_row = row + first_output.x - y;
        var x = 0u;
        while first_tap.y + x * STRIDE < KERNEL_WIDTH {
            let output_column = column + first_output.y - x;
            let inside = (output_row < vec4u(params.output_height)) & (output_column < vec4u(params.output_width))
                & (position < vec4u(count));
            let pixel = (image * params.output_height + output_row) * params.output_width + output_column;
            let texel = params.y_base + select(vec4u(0u), pixel, inside) * params.output_channels + channel;
            let mask = select(vec4f(0.0), vec4f(1.0), inside);
            let tap = (first_tap.x + y * STRIDE) * KERNEL_WIDTH + first_tap.y + x * STRIDE;
            let w = weights_of(tap, channel);
            sums = mat4x4f(
                sums[0] + read_a(texel.x) * (mask.x * w),
                sums[1] + read_a(texel.y) * (mask.y * w),
                sums[2] + read_a(texel.z) * (mask.z * w),
                sums[3] + read_a(texel.w) * (mask.w * w),
            );
            x += 1u;
        }
        y += 1u;
    }
    let input_row = row * STRIDE + phase.x;
    let input_column = column * STRIDE + phase.y;
    let kept = (position < vec4u(count)) & (input_row < vec4u(params.input_height))
        & (input_column < vec4u(params.input_width));
    let pixel = (image * params.input_height + input_row) * params.input_width + input_column;
    if kept.x { put(pixel.x, channel, sums[0]); }
    if kept.y { put(pixel.y, channel, sums[1]); }
    if kept.z { put(pixel.z, channel, sums[2]); }
    if kept.w { put(pixel.w, channel, sums[3]); }
}

fn grouped(position: u32, channel: u32) -> vec4f {
    let input = min(channel * 4u + LANES, vec4u(params.inputs - 1u));
    let group = divide(input, params.inverse_group_inputs);
    let of_group = input - group * params.group_inputs;
    let first = group * params.group_outputs;
    let inputs = input_pixels(vec4u(position));
    var sum = vec4f(0.0);
    var tap = 0u;
    while tap < taps() {
        let outputs = readers(inputs, tap);
        if outputs.exist.x {
            let pixel = params.y_base + outputs.pixel.x * params.output_channels;
            sum += products(pixel, first, tap * params.group_inputs + of_group);
        }
        tap += 1u;
    }
    return sum;
}

// The products of one tap: of the d_y of a pixel from output `first` on with number `weight` of the rows of these
// outputs.
fn products(pixel: u32, first: vec4u, weight: vec4u) -> vec4f {
    var sum = vec4f(0.0);
    var k = 0u;
    while k < params.group_outputs {
        let output = first + k;
        let d_y = pixel + output / 4u;
        let w = params.w_base + output * params.row + weight / 4u;
        sum += vec4f(
            number_of(read_a(d_y.x), output.x & 3u) * number_of(read_b(w.x), weight.x & 3u),
            number_of(read_a(d_y.y), output.y & 3u) * number_of(read_b(w.y), weight.y & 3u),
            number_of(read_a(d_y.z), output.z & 3u) * number_of(read_b(w.z), weight.z & 3u),
            number_of(read_a(d_y.w), output.w & 3u) * number_of(read_b(w.w), weight.w & 3u),
        );
        k += 1u;
    }
    return sum;
}
