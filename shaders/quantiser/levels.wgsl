// The exponents each layer uses, its bits and its bit loss (Parajuli et al. 2018, Eq. 10).
//
// a: partial (spans, 2, 4) of quantiser_forward
// b: layers (layers, 4): first span, spans, -, see output_0
// output_0: (layers, 3, 4): largest and smallest exponent, exponents in use r, bits;
//           weights in the top exponent, their mean log2(|w| + eps), the same of the bottom;
//           2^bits, 2^bits / r, d 2^bits / d slope, the fourth number of b: 0, or one more than the
//           exponents that the layer need not pay for

struct Params {
    partial_base: u32, // texels
    layers_base: u32,
    levels_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let layer = read_b(params.layers_base + group.x);
    let spans = vec2u(layer.xy);
    var top = NO_TOP;
    var low = NO_LOW;
    for (var i = spans.x + thread; i < spans.x + spans.y; i += 64u) {
        top = merge(top, read_a(params.partial_base + 2u * i), 1.0);
        low = merge(low, read_a(params.partial_base + 2u * i + 1u), -1.0);
    }
    let both = merged(thread, top, low);
    if thread != 0u {
        return;
    }
    top = both[0];
    low = both[1];
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
    let at = params.levels_base + 3u * group.x;
    write_0(at, select(vec4f(0.0, 0.0, 1.0, 1.0), vec4f(top.x, low.x, range, bits), some));
    write_0(at + 1u, vec4f(top.y, top_mean, low.y, low_mean));
    write_0(at + 2u, vec4f(price, price / range, price / range * (top_mean - low_mean), layer.w));
}
