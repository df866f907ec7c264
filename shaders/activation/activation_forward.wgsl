// y = slope * x where x < 0, ceiling where x > ceiling, x elsewhere: ReLU, ReLU6 and leaky ReLU.
// A NaN stays a NaN.
//
// a: x (count texels)
// output_0: y (count texels)

struct Params {
    count: u32, // texels
    slope: f32, // of the negative half
    ceiling: f32,
    x_base: u32, // texels
    y_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let x = read_a(params.x_base + i);
    let below = select(x, vec4f(params.ceiling), x > vec4f(params.ceiling));
    write_0(params.y_base + i, select(below, params.slope * x, x < vec4f(0.0)));
}
