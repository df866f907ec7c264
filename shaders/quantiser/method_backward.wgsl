// The gradient of all layers' weights through one quantisation method, added to what the high-precision network left
// there, with the L2 term; and the gradients of what both networks share, biases, gamma and beta, added up.
//
// a: parameters, as in method_forward
// b: gradients of the low-precision network, like a
// c: levels (layers, 3, 4) of method_scales
// d: spans (spans, 4): first texel, texels, layer, 0 if they are not weights
// output_0: gradients of the high-precision network, like a, updated
// output_1: partial (spans, 4): sums for the two learned numbers

struct Params {
    w_base: u32, // texels
    lp_gradients_base: u32,
    levels_base: u32,
    spans_base: u32,
    gradients_base: u32,
    partial_base: u32,
    lambda_l2: f32,
    setting_0: f32, // of the method
    setting_1: f32,
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<vec2f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let span = vec4u(read_d(params.spans_base + group.x));
    let scales = read_c(params.levels_base + 3u * span.z + 1u);
    var first = vec4f(0.0);
    var second = vec4f(0.0);
    for (var i = span.x + thread; i < span.x + span.y; i += 64u) {
        let before = previous_0(params.gradients_base + i);
        let d_q = read_b(params.lp_gradients_base + i);
        if span.w == 0u {
            write_0(params.gradients_base + i, before + d_q);
        } else {
            let w = read_a(params.w_base + i);
            let found = through(w, d_q, scales);
            write_0(params.gradients_base + i, before + found.weights + params.lambda_l2 * w);
            first += found.first;
            second += found.second;
        }
    }
    sums[thread] = vec2f(total(first), total(second));
    workgroupBarrier();
    if thread == 0u {
        var sum = sums[0];
        for (var i = 1u; i < 64u; i++) {
            sum += sums[i];
        }
        write_1(params.partial_base + group.x, vec4f(sum, 0.0, 0.0));
    }
}
