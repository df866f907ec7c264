// y = clamp(((a << up_a) + (b << up_b)) shifted right with rounding): the sum of two activations of
// different units.
//
// a: a (count)
// b: b (count)
// output_0: y (count)

struct Params {
    count: u32, // texels
    up_a: u32, // places to the left
    up_b: u32,
    shift: i32,
    low: i32, // results are clamped
    high: i32,
    a_base: u32, // first texel of each operand within its buffer
    b_base: u32,
    y_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let a = read_a(params.a_base + i) << vec4u(params.up_a);
    let b = read_b(params.b_base + i) << vec4u(params.up_b);
    write_0(params.y_base + i, requantise(a + b, vec4i(0), vec4i(params.shift)));
}
