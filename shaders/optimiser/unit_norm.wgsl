// Divides the update of each of Muon's layers by its norm, where the Newton-Schulz iteration begins.
//
// a: partial, b: layers, see shared/muon_norms.wgsl
// c: spans (spans, 4): -, texels, layer, first texel in output_0
// output_0: updates, updated

struct Params {
    partial_base: u32, // texels
    layers_base: u32,
    spans_base: u32,
    update_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let span = vec4u(read_c(params.spans_base + group.x));
    let norm = norms(thread, params.partial_base, read_b(params.layers_base + span.z)).x;
    let factor = 1.0 / (norm + NORM_EPSILON);
    for (var i = thread; i < span.y; i += 64u) {
        let at = params.update_base + span.w + i;
        write_0(at, previous_0(at) * factor);
    }
}
