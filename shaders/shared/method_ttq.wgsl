// Trained ternary quantisation (Zhu et al. 2017, Eqs. 6 to 9): weights beyond 0.05 times the largest |w|, m, become +p or -n,
// the rest becomes 0. The layer learns log2 p and log2 n. Gradients of weights are multiplied by p / m, n / m and 1.
// scales: p, n, -, the threshold.

const BORDER: f32 = 0.05;

fn scales_of(sums: vec4f, count: f32, learned: vec2f, before: vec4f, second: u32) -> vec4f {
    return vec4f(exp2(learned), 0.0, BORDER * sums.z);
}

fn quantised(w: vec4f, scales: vec4f) -> vec4f {
    let above = select(vec4f(0.0), vec4f(scales.x), w > vec4f(scales.w));
    return select(above, vec4f(-scales.y), w < vec4f(-scales.w));
}

fn through(w: vec4f, d_q: vec4f, scales: vec4f) -> Through {
    let above = w > vec4f(scales.w);
    let below = w < vec4f(-scales.w);
    let relative = scales.xy * BORDER / scales.w;
    let factor = select(select(vec4f(1.0), vec4f(relative.x), above), vec4f(relative.y), below);
    let first = select(vec4f(0.0), scales.x * LN_2 * d_q, above);
    let second = select(vec4f(0.0), -scales.y * LN_2 * d_q, below);
    return Through(factor * d_q, first, second);
}
