// Sums over ranges of rows of g and g * normal(x), where g is the gradient before the ReLU and
// normal(x) = (x - mean) / deviation.
//
// a: x (rows, channels), the input of the normalisation
// b: d_y (rows, channels)
// c: statistics (5, channels), see shared/norm.wgsl
// output_0: partial (splits, 2, channels)

struct Params {
    rows: u32,
    channels: u32, // texels
    splits: u32,
    rows_per_split: u32,
    relu: u32,
    x_base: u32, // texels
    d_y_base: u32,
    statistics_base: u32,
    partial_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.splits * params.channels {
        return;
    }
    let split = i / params.channels;
    let channel = i % params.channels;
    let first = split * params.rows_per_split;
    let end = min(first + params.rows_per_split, params.rows);
    let mean = read_c(params.statistics_base + channel);
    let inverse = read_c(params.statistics_base + params.channels + channel);
    let factor = read_c(params.statistics_base + 2u * params.channels + channel);
    let beta = read_c(params.statistics_base + 4u * params.channels + channel);
    let always = vec4<bool>(params.relu == 0u);
    var sum = vec4f(0.0);
    var product = vec4f(0.0);
    for (var row = first; row < end; row++) {
        let at = row * params.channels + channel;
        let centred = read_a(params.x_base + at) - mean;
        let open = always | (centred * factor + beta > vec4f(0.0));
        let g = select(vec4f(0.0), read_b(params.d_y_base + at), open);
        sum += g;
        product += g * centred;
    }
    let at = params.partial_base + 2u * split * params.channels + channel;
    write_0(at, sum);
    write_0(at + params.channels, product * inverse);
}
