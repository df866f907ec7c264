// The last part of a step of Muon, for all its layers: weights of a fixed norm, then the update:
// W <- W norm / |W| - rate X.
//
// a: partial, b: layers, see shared/muon_norms.wgsl
// c: spans (spans, 4): first texel in the weights, texels, layer, first texel in X
// d: X: the orthogonal updates of Muon's layers
// output_0: weights, an arena, updated

struct Params {
    partial_base: u32, // texels
    layers_base: u32,
    spans_base: u32,
    update_base: u32,
    weight_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let span = vec4u(read_c(params.spans_base + group.x));
    let layer = read_b(params.layers_base + span.z);
    let factor = layer.z / (norms(thread, params.partial_base, layer).y + NORM_EPSILON);
    for (var i = thread; i < span.y; i += 64u) {
        let at = params.weight_base + span.x + i;
        let x = read_d(params.update_base + span.w + i);
        write_0(at, factor * previous_0(at) - schedule.muon_rate * x);
    }
}
