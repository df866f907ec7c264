// The exponents one layer uses, its bits and its bit loss (SPEC section 2; the paper's Eq. 10).
//
// a: partial (threads, 2, 4) of quantiser_forward
// b: (intercept, slope, -, -)
// output_0: (3, 4): largest and smallest exponent, exponents in use r, bits;
//           weights in the top exponent, their mean log2(|w| + eps), the same of the bottom;
//           2^bits, 2^bits / r, d 2^bits / d slope, slope

struct Params {
    threads: u32,
    partial_base: u32, // texels
    quantiser_base: u32,
    levels_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> tops: array<vec4f, 64>;
var<workgroup> lows: array<vec4f, 64>;

// The extreme of two records: the farther exponent wins, equal ones add up.
fn merge(a: vec4f, b: vec4f, direction: f32) -> vec4f {
    let apart = (b.x - a.x) * direction;
    if apart > 0.0 {
        return b;
    }
    return a + select(vec4f(0.0), vec4f(0.0, b.yzw), apart == 0.0);
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32) {
    var top = vec4f(-1000.0, 0.0, 0.0, 0.0);
    var low = vec4f(1000.0, 0.0, 0.0, 0.0);
    for (var i = thread; i < params.threads; i += 64u) {
        top = merge(top, read_a(params.partial_base + 2u * i), 1.0);
        low = merge(low, read_a(params.partial_base + 2u * i + 1u), -1.0);
    }
    tops[thread] = top;
    lows[thread] = low;
    workgroupBarrier();
    if thread != 0u {
        return;
    }
    for (var i = 1u; i < 64u; i++) {
        top = merge(top, tops[i], 1.0);
        low = merge(low, lows[i], -1.0);
    }
    // A layer of zeros has one level and one bit, and nothing to gain.
    let some = top.y > 0.0;
    let range = select(1.0, top.x - low.x + 1.0, some);
    var bits = 1.0;
    for (var span = 1.0; span < range; span *= 2.0) {
        bits += 1.0;
    }
    let price = f32(1u << u32(bits));
    let top_mean = top.z / max(top.y, 1.0);
    let low_mean = low.z / max(low.y, 1.0);
    let at = params.levels_base;
    output_0[at] = select(vec4f(0.0, 0.0, 1.0, 1.0), vec4f(top.x, low.x, range, bits), some);
    output_0[at + 1u] = vec4f(top.y, top_mean, low.y, low_mean);
    let slope = read_b(params.quantiser_base).y;
    output_0[at + 2u] = vec4f(price, price / range, price / range * (top_mean - low_mean), slope);
}
