// norm_backward.wgsl for a normalisation with its ReLU and a max pool over squares of 2 x 2: g is d_y at the input that passed,
// and zero at the three others.
//
// a: x (images, height, width, channels), the input of the normalisation
// b: d_y (images, height / 2, width / 2, channels)
// c: statistics (5, channels), see shared/norm.wgsl
// d: sums (2, channels), see norm_gradients
// output_0: d_x, like x
//
// Threads share the squares as in norm_forward.wgsl.

struct Params {
    count: u32, // texels of d_y
    threads: u32, // a multiple of channels
    channels: u32, // texels
    width: u32, // pixels of x
    inverse_channels: f32,
    inverse_half_width: f32,
    x_base: u32, // texels
    d_y_base: u32,
    statistics_base: u32,
    sums_base: u32,
    d_x_base: u32,
    inverse_rows: f32, // one over the pixels that were normalised together
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.threads {
        return;
    }
    var position = divide_long(i, params.channels, params.inverse_channels);
    let channel = i - position * params.channels;
    let at = params.statistics_base + channel;
    let mean = read_c(at);
    let inverse = read_c(at + params.channels);
    let factor = read_c(at + 2u * params.channels);
    let beta = read_c(at + 4u * params.channels);
    let mean_g = read_d(params.sums_base + channel) * params.inverse_rows;
    let mean_product = read_d(params.sums_base + params.channels + channel) * params.inverse_rows;
    let step = params.threads / params.channels;
    for (var texel = i; texel < params.count; texel += params.threads) {
        let first = square_texel(position) + channel;
        let square = square_at(params.x_base + first, mean, factor, beta);
        let d_y = read_b(params.d_y_base + texel);
        let to = params.d_x_base + first;
        let below = to + params.width * params.channels;
        write_0(to, factor * (g_of(square, 0.0, d_y) - mean_g - square.a * inverse * mean_product));
        write_0(to + params.channels, factor * (g_of(square, 1.0, d_y) - mean_g - square.b * inverse * mean_product));
        write_0(below, factor * (g_of(square, 2.0, d_y) - mean_g - square.c * inverse * mean_product));
        write_0(below + params.channels, factor * (g_of(square, 3.0, d_y) - mean_g - square.d * inverse * mean_product));
        position += step;
    }
}

// The gradient of one of the four behind the normalisation.
fn g_of(square: Square, number: f32, d_y: vec4f) -> vec4f {
    return select(vec4f(0.0), d_y, square.winner == vec4f(number));
}
