// Mean and sum of squared differences from it, per channel, over ranges of rows (Welford 1962):
// nothing cancels, whatever the mean.
//
// a: x (rows, channels)
// output_0: partial (splits, 2, channels)

struct Params {
    rows: u32,
    channels: u32, // texels
    splits: u32,
    rows_per_split: u32,
    x_base: u32, // texels
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
    var mean = vec4f(0.0);
    var squares = vec4f(0.0);
    var count = 0.0;
    for (var row = first; row < end; row++) {
        let x = read_a(params.x_base + row * params.channels + channel);
        count += 1.0;
        let before = x - mean;
        mean += before / count;
        squares += before * (x - mean);
    }
    let at = params.partial_base + 2u * split * params.channels + channel;
    write_0(at, mean);
    write_0(at + params.channels, squares);
}
