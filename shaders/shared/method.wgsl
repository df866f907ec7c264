// Quantisation methods other than GTC. Each is one file with three functions:
//
//     fn scales_of(sums: vec4f, count: f32, learned: vec2f, before: vec4f, second: u32) -> vec4f
//     fn quantised(w: vec4f, scales: vec4f) -> vec4f
//     fn through(w: vec4f, d_q: vec4f, scales: vec4f) -> Through
//
// The first makes four numbers of a layer from the sums of method_statistics, the number of its weights and what it
// learned; `second` is 1 in a second look, and `before` what the first one made. The others quantise weights,
// and carry gradients back. What fills weights up to whole texels is zero and must stay it. Reference: the file of the same name in src/quantiser.

// Gradients with respect to weights, and what they add to those of the two learned numbers.
struct Through {
    weights: vec4f,
    first: vec4f,
    second: vec4f,
}

fn total(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }

// Two records of method_statistics as one.
fn joined(a: vec4f, b: vec4f) -> vec4f {
    return vec4f(a.xy + b.xy, max(a.z, b.z), a.w + b.w);
}
