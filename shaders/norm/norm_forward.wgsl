// y = (x - mean) factor + beta, then optionally ReLU.
//
// a: x (rows, channels)
// b: statistics (5, channels), see shared/norm.wgsl
// output_0: y (rows, channels)
//
// A thread makes several texels of the same channels: i, i + threads, i + 2 threads and so on, so that it reads the
// statistics once and neighbours still read side by side.

struct Params {
    count: u32, // texels
    threads: u32, // a multiple of channels
    channels: u32, // texels
    inverse_channels: f32,
    relu: u32,
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
    let row = divide_long(i, params.channels, params.inverse_channels);
    let at = params.statistics_base + i - row * params.channels;
    let mean = read_b(at);
    let factor = read_b(at + 2u * params.channels);
    let beta = read_b(at + 4u * params.channels);
    let low = select(vec4f(-3.4e38), vec4f(0.0), params.relu != 0u);
    for (var texel = i; texel < params.count; texel += params.threads) {
        write_0(params.y_base + texel, max((read_a(params.x_base + texel) - mean) * factor + beta, low));
    }
}
