// y = the largest of each square of 2 x 2 of (x - mean) factor + beta, or zero if none is positive: a batch normalisation with
// its ReLU and a max pool.
//
// a: x (images, height, width, channels), height and width even
// b: statistics (5, channels), see shared/norm.wgsl
// output_0: y (images, height / 2, width / 2, channels)
//
// Threads share the texels of y as in norm_forward.wgsl.

struct Params {
    count: u32, // texels of y
    threads: u32, // a multiple of channels
    channels: u32, // texels
    width: u32, // pixels of x
    inverse_channels: f32,
    inverse_half_width: f32,
    x_base: u32, // texels
    statistics_base: u32,
    y_base: u32,
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
    let mean = read_b(at);
    let factor = read_b(at + 2u * params.channels);
    let beta = read_b(at + 4u * params.channels);
    let step = params.threads / params.channels;
    for (var texel = i; texel < params.count; texel += params.threads) {
        let square = square_at(params.x_base + square_texel(position) + channel, mean, factor, beta);
        write_0(params.y_base + texel, max(square.best, vec4f(0.0)));
        position += step;
    }
}
