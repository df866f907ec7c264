// The nearest of a table of sizes from 0 to 1 times a learned clip a: powers of two, or sums of them (Li, Dong, Wang 2020,
// APoT, Eqs. 5 to 8, without the normalisation of weights). The layer learns log2 a. scales: a.
// The table is another file: size_of(v), the size nearest to v, halfway between two the larger one.

fn scales_of(sums: vec4f, count: f32, learned: vec2f, before: vec4f, second: u32) -> vec4f {
    return vec4f(exp2(learned.x), 0.0, 0.0, 0.0);
}

fn quantised(w: vec4f, scales: vec4f) -> vec4f {
    return scales.x * sign(w) * size_of(abs(w) / scales.x);
}

fn through(w: vec4f, d_q: vec4f, scales: vec4f) -> Through {
    let v = w / scales.x;
    let inside = abs(v) < vec4f(1.0);
    let d_clip = select(sign(w), sign(w) * size_of(abs(v)) - v, inside);
    return Through(d_q, scales.x * LN_2 * d_clip * d_q, vec4f(0.0));
}
