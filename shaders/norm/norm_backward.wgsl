// d_x = factor (g - mean(g) - normal(x) mean(g normal(x))), where g is the gradient before the ReLU
// and normal(x) = (x - mean) / deviation.
//
// a: x (rows, channels), the input of the normalisation
// b: d_y (rows, channels)
// c: statistics (5, channels), see shared/norm.wgsl
// d: sums (2, channels), see norm_gradients
// output_0: d_x (rows, channels)
//
// Threads share the texels as in norm_forward.wgsl.

struct Params {
    count: u32, // texels
    threads: u32, // a multiple of channels
    channels: u32, // texels
    inverse_channels: f32,
    relu: u32,
    x_base: u32, // texels
    d_y_base: u32,
    statistics_base: u32,
    sums_base: u32,
    d_x_base: u32,
    inverse_rows: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.threads {
        return;
    }
    let channel = i - divide_long(i, params.channels, params.inverse_channels) * params.channels;
    let at = params.statistics_base + channel;
    let mean = read_c(at);
    let inverse = read_c(at + params.channels);
    let factor = read_c(at + 2u * params.channels);
    let beta = read_c(at + 4u * params.channels);
    let mean_g = read_d(params.sums_base + channel) * params.inverse_rows;
    let mean_product = read_d(params.sums_base + params.channels + channel) * params.inverse_rows;
    let always = vec4<bool>(params.relu == 0u);
    for (var texel = i; texel < params.count; texel += params.threads) {
        let centred = read_a(params.x_base + texel) - mean;
        let open = always | (centred * factor + beta > vec4f(0.0));
        let g = select(vec4f(0.0), read_b(params.d_y_base + texel), open);
        write_0(params.d_x_base + texel, factor * (g - mean_g - centred * inverse * mean_product));
    }
}
