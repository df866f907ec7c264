// norm_backward_sums.wgsl for a normalisation with its ReLU and a max pool over squares of 2 x 2: g is d_y at the input that
// passed, and zero at the three others.
//
// a: x (images, height, width, channels), the input of the normalisation
// b: d_y (images, height / 2, width / 2, channels)
// c: statistics (5, channels), see shared/norm.wgsl
// output_0: partial (splits, 2, channels), over ranges of squares

struct Params {
    rows: u32, // squares
    channels: u32, // texels
    splits: u32,
    rows_per_split: u32,
    width: u32, // pixels of x
    inverse_half_width: f32,
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
    var sum = vec4f(0.0);
    var product = vec4f(0.0);
    for (var row = first; row < end; row++) {
        let square = square_at(params.x_base + square_texel(row) + channel, mean, factor, beta);
        var centred = select(square.d, square.c, square.winner == vec4f(2.0));
        centred = select(centred, square.b, square.winner == vec4f(1.0));
        centred = select(centred, square.a, square.winner == vec4f(0.0));
        let d_y = read_b(params.d_y_base + row * params.channels + channel);
        let g = select(vec4f(0.0), d_y, square.winner < vec4f(4.0));
        sum += g;
        product += g * centred;
    }
    let at = params.partial_base + 2u * split * params.channels + channel;
    write_0(at, sum);
    write_0(at + params.channels, product * inverse);
}
