// Q(w) of one layer, and what each thread saw of the extreme exponents.
//
// a: w (count texels)
// b: (intercept, slope, -, -)
// output_0: Q(w), like w
// output_1: partial (threads, 2, 4): largest exponent, how many weights have it, the sum of
//           their log2(|w| + eps); then the same of the smallest. Zeros do not take part.

struct Params {
    count: u32, // texels
    chunk: u32, // texels of one thread
    w_base: u32, // texels
    quantiser_base: u32,
    q_base: u32,
    partial_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let thread = thread_index(id, groups);
    let first = thread * params.chunk;
    if first >= params.count {
        return;
    }
    let end = min(first + params.chunk, params.count);
    let quantiser = read_b(params.quantiser_base);
    // Four lanes run side by side; x: exponent, y: count, z: sum of logarithms.
    var top_e = vec4f(-1000.0);
    var top_n = vec4f(0.0);
    var top_l = vec4f(0.0);
    var low_e = vec4f(1000.0);
    var low_n = vec4f(0.0);
    var low_l = vec4f(0.0);
    for (var i = first; i < end; i++) {
        let w = read_a(params.w_base + i);
        let sgn = sign_of(w);
        let log_w = log2_exact(abs(w) + EPSILON);
        let e = exponent_of(log_w, quantiser.x, quantiser.y);
        output_0[params.q_base + i] = sgn * power_of_two(e);
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
    let at = params.partial_base + 2u * thread;
    output_1[at] = vec4f(top, sum(top_n * is_top), sum(top_l * is_top), 0.0);
    output_1[at + 1u] = vec4f(low, sum(low_n * is_low), sum(low_l * is_low), 0.0);
}
