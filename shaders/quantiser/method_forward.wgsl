// Q(w) of all layers by one quantisation method.
//
// a: parameters: weights, and what lies between them
// b: spans (spans, 4): first texel, texels, layer: what a workgroup walks
// c: levels (layers, 3, 4) of method_scales
// output_0: Q(w), like a; the rest stays as it is

struct Params {
    w_base: u32, // texels
    spans_base: u32,
    levels_base: u32,
    q_base: u32,
    setting_0: f32, // of the method
    setting_1: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let span = vec3u(read_b(params.spans_base + group.x).xyz);
    let scales = read_c(params.levels_base + 3u * span.z + 1u);
    for (var i = span.x + thread; i < span.x + span.y; i += 64u) {
        write_0(params.q_base + i, quantised(read_a(params.w_base + i), scales));
    }
}
