// Partial sums of d_y over ranges of rows: the gradient of a bias.
//
// a: d_y (rows, channels)
// output_0: partial (splits, channels)

struct Params {
    rows: u32,
    channels: u32, // texels
    splits: u32,
    rows_per_split: u32,
    d_y_base: u32, // texels
    partial_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.splits * params.channels {
        return;
    }
    let channel = i % params.channels;
    let first = (i / params.channels) * params.rows_per_split;
    let end = min(first + params.rows_per_split, params.rows);
    var sum = vec4f(0.0);
    for (var row = first; row < end; row++) {
        sum += read_a(params.d_y_base + row * params.channels + channel);
    }
    output_0[params.partial_base + i] = sum;
}
