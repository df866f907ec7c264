// y = a + b, number by number; with relu set, y = max(a + b, 0). A residual network adds two branches with
// it, and the two gradients of a value that two operations read.
//
// a: a (count texels)
// b: b (count texels)
// output_0: y (count texels)

struct Params {
    count: u32, // texels
    relu: u32, // 0 or 1
    a_base: u32, // texels
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
    let sum = read_a(params.a_base + i) + read_b(params.b_base + i);
    let closed = (sum < vec4f(0.0)) & vec4<bool>(params.relu != 0u);
    write_0(params.y_base + i, select(sum, vec4f(0.0), closed));
}
