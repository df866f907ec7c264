// What a quantisation method needs to know of all layers' weights: sums over those above a threshold.
//
// a: parameters: weights, and what lies between them
// b: spans (spans, 4): first texel, texels, layer: what a workgroup walks
// c: levels (layers, 3, 4) of method_scales, whose fourth number is the threshold of a second look
// output_0: partial (spans, 4): sum of |w| over weights with |w| above the threshold, how many they are;
//           largest |w|, sum of w^2 over all

struct Params {
    w_base: u32, // texels
    spans_base: u32,
    levels_base: u32,
    partial_base: u32,
    second: u32, // 0: the threshold is zero
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> parts: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let span = vec3u(read_b(params.spans_base + group.x).xyz);
    var threshold = 0.0;
    if params.second != 0u {
        threshold = read_c(params.levels_base + 3u * span.z + 1u).w;
    }
    var sizes = vec4f(0.0);
    var counts = vec4f(0.0);
    var largest = vec4f(0.0);
    var squares = vec4f(0.0);
    for (var i = span.x + thread; i < span.x + span.y; i += 64u) {
        let w = read_a(params.w_base + i);
        let size = abs(w);
        let above = size > vec4f(threshold);
        sizes += select(vec4f(0.0), size, above);
        counts += select(vec4f(0.0), vec4f(1.0), above);
        largest = max(largest, size);
        squares += w * w;
    }
    let two = max(largest.xy, largest.zw);
    parts[thread] = vec4f(total(sizes), total(counts), max(two.x, two.y), total(squares));
    workgroupBarrier();
    if thread == 0u {
        var all = parts[0];
        for (var i = 1u; i < 64u; i++) {
            all = joined(all, parts[i]);
        }
        write_0(params.partial_base + group.x, all);
    }
}
