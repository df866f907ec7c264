// The GTC quantiser (Parajuli et al. 2018): Q(w) = sgn(w) 2^round(c + s log2(|w| + eps)).

const EPSILON: f32 = 1e-6;
const LN_2: f32 = 0.6931471805599453;

// log2 of positive normal numbers, within 2 ulp on every device: drivers' own log2 may be off by
// 2^-21. x = m 2^n with m in [sqrt(1/2), sqrt(2)); log2 m = 2 / ln 2 * artanh((m - 1) / (m + 1)).
fn log2_exact(x: vec4f) -> vec4f {
    let bits = bitcast<vec4u>(x);
    let n = (bits - vec4u(0x3f3504f3u)) & vec4u(0xff800000u);
    let m = bitcast<vec4f>(bits - n);
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let series = 1.0 + t2 * (0.33333333 + t2 * (0.2 + t2 * (0.14285714 + t2 * 0.11111111)));
    return vec4f(bitcast<vec4i>(n) >> vec4u(23u)) + 2.8853900817779268 * t * series;
}

// +1, -1, or 0 for weights nearer to zero than epsilon.
fn sign_of(w: vec4f) -> vec4f {
    return select(vec4f(0.0), sign(w), abs(w) >= vec4f(EPSILON));
}

// The exponent, clamped to the normal numbers of f32.
fn exponent_of(log_w: vec4f, intercept: f32, slope: f32) -> vec4f {
    return clamp(round(intercept + slope * log_w), vec4f(-126.0), vec4f(127.0));
}

// 2^e from the bits, for e in -126 to 127.
fn power_of_two(e: vec4f) -> vec4f {
    return bitcast<vec4f>(vec4u(vec4i(e) + 127) << vec4u(23u));
}

fn sum(v: vec4f) -> f32 { return (v.x + v.y) + (v.z + v.w); }
