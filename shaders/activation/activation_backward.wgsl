// d_x of an activation: d_y times slope where x <= 0, times 0 where x >= ceiling, times 1 between.
//
// a: x (count texels), the input of the activation
// b: d_y (count texels)
// output_0: d_x (count texels)

struct Params {
    count: u32, // texels
    slope: f32, // of the negative half
    ceiling: f32,
    x_base: u32, // texels
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
    let x = read_a(params.x_base + i);
    let d_y = read_b(params.d_y_base + i);
    let open = select(d_y, vec4f(0.0), x >= vec4f(params.ceiling));
    write_0(params.d_x_base + i, select(params.slope * d_y, open, x > vec4f(0.0)));
}
