// Learned step size quantisation (Esser et al. 2020, Eqs. 1 to 3): Q = s round(clip(w / s, low, high)).
// The layer learns log2 s. scales: s, the factor of its gradient. setting_0, setting_1: low, high.

fn scales_of(sums: vec4f, count: f32, learned: vec2f, before: vec4f, second: u32) -> vec4f {
    let step = exp2(learned.x);
    return vec4f(step, 1.0 / sqrt(count * max(params.setting_1, 1.0)), 0.0, 0.0);
}

fn quantised(w: vec4f, scales: vec4f) -> vec4f {
    let low = vec4f(params.setting_0);
    let high = vec4f(params.setting_1);
    return scales.x * round(clamp(w / scales.x, low, high));
}

fn through(w: vec4f, d_q: vec4f, scales: vec4f) -> Through {
    let low = vec4f(params.setting_0);
    let high = vec4f(params.setting_1);
    let v = w / scales.x;
    let inside = (v > low) & (v < high);
    let d_step = select(clamp(v, low, high), round(v) - v, inside);
    let d_log = scales.y * scales.x * LN_2 * d_step * d_q;
    return Through(select(vec4f(0.0), d_q, inside), d_log, vec4f(0.0));
}
