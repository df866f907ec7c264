// The sum of partial results, always in the same order, and what a layer does with it where its product was cut along its
// depth.
//
// a: partial (splits, count)
// b: bias (channels), with BIAS added to each position
// c: x (count), with MASK: what the sum is a gradient of came out of a ReLU, and this is the gradient before it
// output_0: total (count); with RELU, of what is positive

override BIAS: bool = false;
override RELU: bool = false;
override MASK: bool = false;

struct Params {
    count: u32, // texels
    splits: u32,
    channels: u32, // texels
    partial_base: u32, // texels
    bias_base: u32,
    x_base: u32,
    total_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    var sum = vec4f(0.0);
    var split = 0u;
    // Four at a time, so that a GPU waits for four loads at once. The order of the sum is that of the splits.
    while split + 4u <= params.splits {
        let first = params.partial_base + split * params.count + i;
        let p0 = read_a(first);
        let p1 = read_a(first + params.count);
        let p2 = read_a(first + 2u * params.count);
        let p3 = read_a(first + 3u * params.count);
        sum = (((sum + p0) + p1) + p2) + p3;
        split += 4u;
    }
    while split < params.splits {
        sum += read_a(params.partial_base + split * params.count + i);
        split++;
    }
    if BIAS {
        sum += read_b(params.bias_base + i % params.channels);
    }
    if RELU {
        sum = max(sum, vec4f(0.0));
    }
    if MASK {
        sum = select(vec4f(0.0), sum, read_c(params.x_base + i) > vec4f(0.0));
    }
    write_0(params.total_base + i, sum);
}
