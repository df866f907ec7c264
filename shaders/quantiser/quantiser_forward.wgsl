// Q(w) of all layers, and what each workgroup saw of the extreme exponents.
//
// a: parameters: weights and what lies between them, then (layers, 4) intercept, slope, and two numbers that it does not read
// b: spans (spans, 4): first texel, texels, layer: what a workgroup walks
// output_0: Q(w), like a; the rest stays as it is
// output_1: partial (spans, 2, 4): largest exponent, how many weights have it, the sum of
//           their log2(|w| + eps); then the same of the smallest. Zeros do not take part.

struct Params {
    w_base: u32, // texels
    quantisers_base: u32,
    spans_base: u32,
    q_base: u32,
    partial_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let span = vec3u(read_b(params.spans_base + group.x).xyz);
    let quantiser = read_a(params.quantisers_base + span.z);
    // Four lanes run side by side; e: exponent, n: count, l: sum of logarithms.
    var top_e = vec4f(NO_TOP.x);
    var top_n = vec4f(0.0);
    var top_l = vec4f(0.0);
    var low_e = vec4f(NO_LOW.x);
    var low_n = vec4f(0.0);
    var low_l = vec4f(0.0);
    for (var i = span.x + thread; i < span.x + span.y; i += 64u) {
        let w = read_a(params.w_base + i);
        let sgn = sign_of(w);
        let log_w = log2_exact(abs(w) + EPSILON);
        let e = exponent_of(log_w, quantiser.x, quantiser.y);
        write_0(params.q_base + i, sgn * power_of_two(e));
        let used = sgn != vec4f(0.0);
        let above = used & (e > top_e);
        let below = used & (e < low_e);
        top_n = select(top_n, vec4f(0.0), above);
        top_l = select(top_l, vec4f(0.0), above);
        top_e = select(top_e, e, above);
        low_n = select(low_n, vec4f(0.0), below);
        low_l = select(low_l, vec4f(0.0), below);
        low_e = select(low_e, e, below);
        let at_top = used & (e == top_e);
        let at_low = used & (e == low_e);
        top_n += select(vec4f(0.0), vec4f(1.0), at_top);
        top_l += select(vec4f(0.0), log_w, at_top);
        low_n += select(vec4f(0.0), vec4f(1.0), at_low);
        low_l += select(vec4f(0.0), log_w, at_low);
    }
    let top = max(max(top_e.x, top_e.y), max(top_e.z, top_e.w));
    let low = min(min(low_e.x, low_e.y), min(low_e.z, low_e.w));
    let is_top = select(vec4f(0.0), vec4f(1.0), top_e == vec4f(top));
    let is_low = select(vec4f(0.0), vec4f(1.0), low_e == vec4f(low));
    let both = merged(
        thread,
        vec4f(top, sum(top_n * is_top), sum(top_l * is_top), 0.0),
        vec4f(low, sum(low_n * is_low), sum(low_l * is_low), 0.0),
    );
    if thread == 0u {
        let at = params.partial_base + 2u * group.x;
        write_1(at, both[0]);
        write_1(at + 1u, both[1]);
    }
}
