// Binary weights with one magnitude a layer (Rastegari et al. 2016, XNOR-Net, Eq. 6): Q = a sgn(w), a the mean of |w|.
// Nothing is learned. scales: a. setting_0: 1 if a is rounded to a power of two.

fn scales_of(sums: vec4f, count: f32, learned: vec2f, before: vec4f, second: u32) -> vec4f {
    let mean = max(sums.x / count, EPSILON);
    let e = clamp(round(log2_exact(vec4f(mean))), vec4f(-126.0), vec4f(127.0));
    return vec4f(select(mean, power_of_two(e).x, params.setting_0 != 0.0), 0.0, 0.0, 0.0);
}

fn quantised(w: vec4f, scales: vec4f) -> vec4f {
    return scales.x * sign(w);
}

fn through(w: vec4f, d_q: vec4f, scales: vec4f) -> Through {
    return Through(d_q, vec4f(0.0), vec4f(0.0));
}
