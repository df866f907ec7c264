// y = a + b, number by number, the same bits on every device and on the host: a sum of two numbers is rounded exactly
// everywhere, but whether a number below the smallest normal one counts as zero is left to a device (WGSL, section
// "Floating Point Evaluation"). Here it does, as an operand and as a result.
//
// a: a (count texels)
// b: b (count texels)
// output_0: y (count texels)

struct Params {
    count: u32, // texels
    a_base: u32, // texels
    b_base: u32,
    y_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

fn normal_or_zero(v: vec4f) -> vec4f {
    let exponent = bitcast<vec4u>(v) & vec4u(0x7f800000u);
    return select(v, vec4f(0.0), exponent == vec4u(0u));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let a = normal_or_zero(read_a(params.a_base + i));
    let b = normal_or_zero(read_b(params.b_base + i));
    write_0(params.y_base + i, normal_or_zero(a + b));
}
