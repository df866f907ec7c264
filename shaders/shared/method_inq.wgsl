// Powers of two below the largest weight (Zhou et al. 2017, INQ, Eqs. 1 to 4): zero, or 2^n for n from `low` to
// floor(log2(4/3 max |w|)); 2^n takes sizes from 3/4 2^n to 3/2 2^n, and the smallest those from 1/2 2^n on.
// scales: smallest and largest n, and the border to zero. setting_0: how many n there are.

fn scales_of(sums: vec4f, count: f32, learned: vec2f, before: vec4f, second: u32) -> vec4f {
    let top = floor(log2_exact(vec4f(max(sums.z, EPSILON) * (4.0 / 3.0))).x);
    let low = top + 1.0 - params.setting_0;
    return vec4f(low, top, 0.5 * power_of_two(vec4f(low)).x, 0.0);
}

fn quantised(w: vec4f, scales: vec4f) -> vec4f {
    let n = floor(log2_exact((abs(w) + EPSILON) * (4.0 / 3.0)));
    let size = power_of_two(clamp(n, vec4f(scales.x), vec4f(scales.y)));
    return select(vec4f(0.0), sign(w) * size, abs(w) >= vec4f(scales.z));
}

fn through(w: vec4f, d_q: vec4f, scales: vec4f) -> Through {
    return Through(d_q, vec4f(0.0), vec4f(0.0));
}
