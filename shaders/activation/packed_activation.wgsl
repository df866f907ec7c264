// y = clamp((x < 0 ? x : x << leak) shifted right with rounding). With leak 0 and low 0 it is a ReLU, or, with
// high, a ReLU6. With leak k it is a leaky ReLU of slope 2^-k in a unit that is 2^k times finer.
//
// a: x (count)
// output_0: y (count)

struct Params {
    count: u32, // texels
    leak: u32,
    shift: i32,
    low: i32, // results are clamped
    high: i32,
    x_base: u32, // first texel of each operand within its buffer
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
    let value = select(x << vec4u(params.leak), x, x < vec4i(0));
    write_0(params.y_base + i, requantise(value, vec4i(0), vec4i(params.shift)));
}
