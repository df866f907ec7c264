// Ternary weight networks (Li, Zhang, Liu 2016, Eqs. 5 and 6): weights beyond 0.7 times the mean of |w| become +a or -a, the
// mean of |w| over them; the rest becomes 0. Nothing is learned. scales: a, -, -, the threshold.

fn scales_of(sums: vec4f, count: f32, learned: vec2f, before: vec4f, second: u32) -> vec4f {
    if second == 0u {
        return vec4f(0.0, 0.0, 0.0, 0.7 * sums.x / count);
    }
    return vec4f(sums.x / max(sums.y, 1.0), 0.0, 0.0, before.w);
}

fn quantised(w: vec4f, scales: vec4f) -> vec4f {
    return select(vec4f(0.0), scales.x * sign(w), abs(w) > vec4f(scales.w));
}

fn through(w: vec4f, d_q: vec4f, scales: vec4f) -> Through {
    return Through(d_q, vec4f(0.0), vec4f(0.0));
}
