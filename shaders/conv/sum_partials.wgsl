// The sum of partial results, always in the same order.
//
// a: partial (splits, count)
// output_0: total (count)

struct Params {
    count: u32, // texels
    splits: u32,
    partial_base: u32, // texels
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
    for (var split = 0u; split < params.splits; split++) {
        sum += read_a(params.partial_base + split * params.count + i);
    }
    output_0[params.total_base + i] = sum;
}
