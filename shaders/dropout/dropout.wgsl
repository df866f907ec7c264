// y = x * scale, or zero where a random number of 24 bits is below the threshold. The random numbers depend on the
// seed and the step of the schedule, the counter and the position, so that this kernel over d_y, with the same
// parameters, is the gradient.
//
// a: x (count texels)
// output_0: y (count texels)

struct Params {
    count: u32, // texels
    threshold: u32, // 0 to 2^24
    scale: f32, // of what is kept
    x_base: u32, // texels
    y_base: u32,
    counter_0: u32, // of the first block, see shared/philox.wgsl
    counter_1: u32,
    counter_3: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    let kept = (random_bits(i) >> vec4u(8u)) >= vec4u(params.threshold);
    write_0(params.y_base + i, select(vec4f(0.0), params.scale * read_a(params.x_base + i), kept));
}
