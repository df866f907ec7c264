// The gradient of all layers' weights through the quantiser, added to what the high-precision
// network left there, with the bit loss and the L2 term (src/quantiser/gtc.rs); and the gradients
// of what both networks share, biases, gamma and beta, added up. Exponents are worked out anew, which costs less than
// to read Q(w): a driver that fuses the multiplication into the sum here alone may decide otherwise at an edge.
//
// a: parameters, as in quantiser_forward
// b: gradients of the low-precision network, like a
// c: levels (layers, 3, 4)
// d: spans (spans, 4): first texel, texels, layer, 1 if they are weights, 2 if these do not pay for bits
// output_0: gradients of the high-precision network, like a, updated
// output_1: partial (spans, 4): sums for d_intercept and d_slope, without the bit loss

struct Params {
    w_base: u32, // texels
    quantisers_base: u32,
    lp_gradients_base: u32,
    levels_base: u32,
    spans_base: u32,
    gradients_base: u32,
    partial_base: u32,
    lambda_l2: f32,
    identity: u32, // 1: gradients pass to weights as they are, not by the chain rule
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<vec2f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let span = vec4u(read_d(params.spans_base + group.x));
    let first = span.x + thread;
    let end = span.x + span.y;
    var d_quantiser = vec2f(0.0);
    if span.w == 0u {
        for (var i = first; i < end; i += 64u) {
            let at = params.gradients_base + i;
            write_0(at, previous_0(at) + read_b(params.lp_gradients_base + i));
        }
    } else {
        d_quantiser = weights(first, end, span);
    }
    sums[thread] = d_quantiser;
    workgroupBarrier();
    if thread == 0u {
        for (var i = 1u; i < 64u; i++) {
            d_quantiser += sums[i];
        }
        write_1(params.partial_base + group.x, vec4f(d_quantiser, 0.0, 0.0));
    }
}

// A thread's share of a span of weights; returns what it adds to the sums.
fn weights(first: u32, end: u32, span: vec4u) -> vec2f {
    let layer = span.z;
    let quantiser = read_a(params.quantisers_base + layer);
    let levels = params.levels_base + 3u * layer;
    let extremes = read_c(levels);
    let members = read_c(levels + 1u);
    let price = read_c(levels + 2u);
    let slope = quantiser.y;
    let pays = span.w == 1u && extremes.z > free_exponents(price.w);
    let lambda_bits = select(0.0, schedule.lambda_bits, pays);
    let pull = lambda_bits * price.y * slope / LN_2;
    let top_pull = pull / max(members.x, 1.0);
    let low_pull = pull / max(members.z, 1.0);
    var d_intercept = vec4f(0.0);
    var d_slope = vec4f(0.0);
    for (var i = first; i < end; i += 64u) {
        let w = read_a(params.w_base + i);
        let d_q = read_b(params.lp_gradients_base + i);
        let size = abs(w) + EPSILON;
        let log_w = log2_exact(size);
        let e = exponent_of(log_w, quantiser.x, slope);
        let sgn = sign_of(w);
        let q = sgn * power_of_two(e);
        let through = d_q * q * LN_2;
        d_intercept += through;
        d_slope += through * log_w;
        let at_top = select(vec4f(0.0), vec4f(top_pull), e == vec4f(extremes.x));
        let at_low = select(vec4f(0.0), vec4f(low_pull), e == vec4f(extremes.y));
        let chain = slope * abs(q);
        let straight = d_q * select(chain, size, vec4<bool>(params.identity != 0u));
        let bits = sgn * (at_top - at_low);
        let at = params.gradients_base + i;
        write_0(at, previous_0(at) + (straight + bits) / size + params.lambda_l2 * w);
    }
    return vec2f(sum(d_intercept), sum(d_slope));
}
