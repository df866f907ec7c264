// The statistics that a test uses: those gathered while training.
//
// a: running mean and variance (2, channels)
// b: gamma and beta (2, channels)
// output_0: statistics (5, channels), see shared/norm.wgsl

struct Params {
    channels: u32, // texels
    running_base: u32, // texels
    parameters_base: u32,
    statistics_base: u32,
    epsilon: f32,
    round: u32, // whether the factor is a power of two
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let channel = thread_index(id, groups);
    if channel >= params.channels {
        return;
    }
    let mean = read_a(params.running_base + channel);
    let variance = read_a(params.running_base + params.channels + channel);
    let gamma = read_b(params.parameters_base + channel);
    let beta = read_b(params.parameters_base + params.channels + channel);
    store_statistics(channel, Moments(mean, variance, variance), gamma, beta);
}
