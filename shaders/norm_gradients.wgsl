// Sums of norm_backward_sums over all rows, and the gradients of gamma and beta.
//
// a: partial (splits, 2, channels)
// b: statistics (5, channels), see shared/norm.wgsl
// output_0: sums (2, channels) of g and of g * normal(x)
// output_1: gradients of gamma and beta (2, channels); with ACCUMULATE added to what they were

override ACCUMULATE: bool = false;

struct Params {
    channels: u32, // texels
    splits: u32,
    partial_base: u32, // texels
    statistics_base: u32,
    sums_base: u32,
    gradient_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let channel = thread_index(id, groups);
    if channel >= params.channels {
        return;
    }
    var sum = vec4f(0.0);
    var product = vec4f(0.0);
    for (var split = 0u; split < params.splits; split++) {
        let at = params.partial_base + 2u * split * params.channels + channel;
        sum += read_a(at);
        product += read_a(at + params.channels);
    }
    output_0[params.sums_base + channel] = sum;
    output_0[params.sums_base + params.channels + channel] = product;
    let ratio = read_b(params.statistics_base + 3u * params.channels + channel);
    var d_gamma = ratio * product;
    var d_beta = sum;
    let at = params.gradient_base + channel;
    if ACCUMULATE {
        d_gamma += previous_1(at);
        d_beta += previous_1(at + params.channels);
    }
    output_1[at] = d_gamma;
    output_1[at + params.channels] = d_beta;
}
