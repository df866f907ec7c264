// The gradient of one layer's weights through the quantiser, added to what the high-precision
// network left there, with the bit loss and the L2 term (SPEC sections 1 to 3).
//
// a: w (count texels)
// b: d_q: gradient of Q(w), like w
// c: Q(w), like w
// d: levels (3, 4) of this layer
// output_0: d_w, updated
// output_1: partial (threads, 4): sums for d_intercept and d_slope, without the bit loss

struct Params {
    count: u32, // texels
    chunk: u32, // texels of one thread
    w_base: u32, // texels
    d_q_base: u32,
    q_base: u32,
    levels_base: u32,
    d_w_base: u32,
    partial_base: u32,
    lambda_l2: f32,
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
    let extremes = read_d(params.levels_base);
    let members = read_d(params.levels_base + 1u);
    let price = read_d(params.levels_base + 2u);
    let slope = price.w;
    let pull = schedule.lambda_bits * price.y * slope / LN_2;
    let top_pull = pull / max(members.x, 1.0);
    let low_pull = pull / max(members.z, 1.0);
    let top = power_of_two(vec4f(extremes.x));
    let low = power_of_two(vec4f(extremes.y));
    var d_intercept = vec4f(0.0);
    var d_slope = vec4f(0.0);
    for (var i = first; i < end; i++) {
        let w = read_a(params.w_base + i);
        let d_q = read_b(params.d_q_base + i);
        let q = read_c(params.q_base + i);
        let size = abs(w) + EPSILON;
        let through = d_q * q * LN_2;
        d_intercept += through;
        d_slope += through * log2_exact(size);
        let at_top = select(vec4f(0.0), vec4f(top_pull), abs(q) == top);
        let at_low = select(vec4f(0.0), vec4f(low_pull), abs(q) == low);
        let straight = d_q * (slope * abs(q));
        let bits = sign(q) * (at_top - at_low);
        output_0[params.d_w_base + i] =
            previous_0(params.d_w_base + i) + (straight + bits) / size + params.lambda_l2 * w;
    }
    output_1[params.partial_base + thread] = vec4f(sum(d_intercept), sum(d_slope), 0.0, 0.0);
}
