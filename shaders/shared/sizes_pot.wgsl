// The nearest of 0 and the powers of two from 2^-(n - 1) to 1, n of them: 2^k takes sizes from 3/4 2^k to 3/2 2^k, and the smallest
// those from half of it on. setting_0: n.

fn size_of(v: vec4f) -> vec4f {
    let least = 1.0 - params.setting_0;
    let k = floor(log2_exact((v + EPSILON) * (4.0 / 3.0)));
    let size = power_of_two(clamp(k, vec4f(least), vec4f(0.0)));
    return select(vec4f(0.0), size, v >= vec4f(0.5 * exp2(least)));
}
