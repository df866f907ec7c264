// The scales of each layer by one quantisation method, from what method_statistics saw.
//
// a: partial (spans, 4) of method_statistics
// b: quantisers (layers, 4): two learned numbers, -, -
// c: layers (layers, 4): first span, spans, -, how many weights
// output_0: levels (layers, 3, 4), updated: -, -, how many values there are, bits of a code; scales;
//           2^bits, 0, 0, 0: what levels_backward reads, without a price

struct Params {
    partial_base: u32, // texels
    quantisers_base: u32,
    layers_base: u32,
    levels_base: u32,
    second: u32, // 1: a second look
    values: f32,
    bits: f32,
    setting_0: f32, // of the method
    setting_1: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> parts: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let layer = read_c(params.layers_base + group.x);
    let spans = vec2u(layer.xy);
    var part = vec4f(0.0);
    for (var i = spans.x + thread; i < spans.x + spans.y; i += 64u) {
        part = joined(part, read_a(params.partial_base + i));
    }
    parts[thread] = part;
    workgroupBarrier();
    if thread == 0u {
        for (var i = 1u; i < 64u; i++) {
            part = joined(part, parts[i]);
        }
        let at = params.levels_base + 3u * group.x;
        let learned = read_b(params.quantisers_base + group.x).xy;
        let before = previous_0(at + 1u);
        write_0(at, vec4f(0.0, 0.0, params.values, params.bits));
        write_0(at + 1u, scales_of(part, layer.w, learned, before, params.second));
        write_0(at + 2u, vec4f(exp2(params.bits), 0.0, 0.0, 0.0));
    }
}
