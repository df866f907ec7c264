// y = grouped convolution of x with w, plus bias, then optionally ReLU.
//
// a: x (batch, input_height, input_width, input_channels)
// b: w (output_channels, row), see shared/group_shape.wgsl
// c: bias (output_channels)
// output_0: y (batch, output_height, output_width, output_channels)
//
// The plain idea: for every output, sum x * w over the taps inside the image and the inputs of its group. Deviations:
//
// 1. Depthwise: a thread makes the same texel of channels at four neighbouring positions, so that the weights of
//    four taps, read as one 4 x 4 block, serve four times.
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
        if block * 4u < positions {
            depthwise(block * 4u, positions, channel);
        }
    } else if block < positions {
        put(block, channel, grouped(block, channel));
    }
}

fn put(position: u32, channel: u32, sum: vec4f) {
    let low = select(vec4f(-3.4e38), vec4f(0.0), params.relu != 0u);
    let y = max(sum + read_c(params.bias_base + channel), low);
    let exists = channel * 4u + LANES < vec4u(params.outputs);
    output_0[params.y_base + position * params.output_channels + channel] = select(vec4f(0.0), y, exists);
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

fn depthwise(first: u32, positions: u32, channel: u32) {
    let windows = windows_of(min(first + LANES, vec4u(positions - 1u)));
    let row = params.w_base + channel * 4u * params.row;
    var sums = mat4x4f();
    for (var k = 0u; k < params.row; k++) {
        let w = transpose(mat4x4f(
            read_b(row + k),
            read_b(row + params.row + k),
            read_b(row + 2u * params.row + k),
            read_b(row + 3u * params.row + k),
        ));
        sums = with_tap(sums, windows, 4u * k, w[0], channel);
        sums = with_tap(sums, windows, 4u * k + 1u, w[1], channel);
        sums = with_tap(sums, windows, 4u * k + 2u, w[2], channel);
        sums = with_tap(sums, windows, 4u * k + 3u, w[3], channel);
    }
    put(first, channel, sums[0]);
    if first + 1u < positions { put(first + 1u, channel, sums[1]); }
    if first + 2u < positions { put(first + 2u, channel, sums[2]); }
    if first + 3u < positions { put(first + 3u, channel, sums[3]); }
}

// Past the last tap w is zero.
fn with_tap(sums: mat4x4f, windows: Windows, tap: u32, w: vec4f, channel: u32) -> mat4x4f {
    let row = divide_one(tap, params.inverse_kernel_width);
    let column = tap - row * params.kernel_width;
    let inside = (vec4u(windows.top + i32(row)) < vec4u(params.input_height))
        & (vec4u(windows.left + i32(column)) < vec4u(params.input_width));
    let pixel = vec4u(windows.pixel + i32(row * params.input_width + column));
    let texel = params.x_base + select(vec4u(0u), pixel, inside) * params.input_channels + channel;
    let mask = select(vec4f(0.0), vec4f(1.0), inside);
    return mat4x4f(
        sums[0] + read_a(texel.x) * (mask.x * w),
        sums[1] + read_a(texel.y) * (mask.y * w),
        sums[2] + read_a(texel.z) * (mask.z * w),
        sums[3] + read_a(texel.w) * (mask.w * w),
    );
}

fn grouped(position: u32, channel: u32) -> vec4f {
    let output = min(channel * 4u + LANES, vec4u(params.outputs - 1u));
    let input = divide(output, params.inverse_group_outputs) * params.group_inputs;
    let row = params.w_base + output * params.row;
    let windows = windows_of(vec4u(position));
    var sum = vec4f(0.0);
    for (var tap = 0u; tap < taps(); tap++) {
        let y = divide_one(tap, params.inverse_kernel_width);
        let x = tap - y * params.kernel_width;
        let inside = u32(windows.top.x + i32(y)) < params.input_height
            && u32(windows.left.x + i32(x)) < params.input_width;
        if inside {
            let pixel = u32(windows.pixel.x + i32(y * params.input_width + x));
            sum += products(params.x_base + pixel * params.input_channels, input, row, tap * params.group_inputs);
        }
    }
    return sum;
}

// The products of one tap: of the inputs of a pixel from number `input` on with the weights from number `weight`
// of a row on.
fn products(pixel: u32, input: vec4u, row: vec4u, weight: u32) -> vec4f {
    var sum = vec4f(0.0);
    if ALIGNED {
        for (var k = 0u; k < params.group_inputs / 4u; k++) {
            let x = pixel + input / 4u + k;
            let w = row + weight / 4u + k;
            sum += vec4f(
                dot(read_a(x.x), read_b(w.x)),
                dot(read_a(x.y), read_b(w.y)),
                dot(read_a(x.z), read_b(w.z)),
                dot(read_a(x.w), read_b(w.w)),
            );
        }
        return sum;
    }
    for (var k = 0u; k < params.group_inputs; k++) {
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
    }
    return sum;
}
