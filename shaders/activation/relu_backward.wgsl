// The gradient before a ReLU from the one after it, in place: kept where the output is positive.
//
// a: y (count texels), the output of the ReLU
// output_0: d_y (count texels), updated to d_x

struct Params {
    count: u32, // texels
    y_base: u32,
    d_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let open = read_a(params.y_base + i) > vec4f(0.0);
    write_0(params.d_base + i, select(vec4f(0.0), previous_0(params.d_base + i), open));
}
