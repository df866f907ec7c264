// d_x of a ReLU, from its output: d_y where y is positive.
//
// a: y (count texels)
// b: d_y (count texels)
// output_0: d_x (count texels)

struct Params {
    count: u32, // texels
    y_base: u32,
    d_y_base: u32,
    d_x_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let open = read_a(params.y_base + i) > vec4f(0.0);
    output_0[params.d_x_base + i] = select(vec4f(0.0), read_b(params.d_y_base + i), open);
}
