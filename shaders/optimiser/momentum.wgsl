// Muon's momentum with Nesterov's look ahead, of all its layers: m <- mu m + g, u = g + mu m; and what the norms of u
// and of the weights need (Jordan et al. 2024, "Muon").
//
// a: weights, an arena
// b: gradients, like a
// c: spans (spans, 4): first texel in the arenas, texels, layer, first texel in u
// output_0: momentum, like a, updated
// output_1: u, of Muon's layers one behind the other
// output_2: partial (spans, 4): the sum of u^2, the sum of w^2, 0, 0

struct Params {
    mu: f32,
    weight_base: u32, // texels
    gradient_base: u32,
    spans_base: u32,
    momentum_base: u32,
    update_base: u32,
    partial_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<vec2f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let span = vec4u(read_c(params.spans_base + group.x));
    var squares = vec2f(0.0);
    for (var i = thread; i < span.y; i += 64u) {
        let at = span.x + i;
        let gradient = read_b(params.gradient_base + at);
        let weight = read_a(params.weight_base + at);
        let m = params.mu * previous_0(params.momentum_base + at) + gradient;
        let u = gradient + params.mu * m;
        write_0(params.momentum_base + at, m);
        write_1(params.update_base + span.w + i, u);
        squares += vec2f(dot(u, u), dot(weight, weight));
    }
    sums[thread] = squares;
    workgroupBarrier();
    if thread == 0u {
        for (var i = 1u; i < 64u; i++) {
            squares += sums[i];
        }
        write_2(params.partial_base + group.x, vec4f(squares, 0.0, 0.0));
    }
}
