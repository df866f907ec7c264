// Numbers drawn from N(0, 1) (Box and Muller 1958), near enough to the same on every device:
// logarithm and turn are written out, because drivers' own are allowed large errors.
//
// output_0: y (count texels)

const SQRT_HALF: f32 = 0.70710678;
const HALF_PI: f32 = 1.57079633;

// Cosine and sine of two turns, 0 to 1: of an angle within an eighth of a turn, then rotated by
// an odd number of eighths.
fn turned(turn: vec2f) -> vec4f {
    let quarter = floor(turn * 4.0);
    let a = (turn * 4.0 - quarter - 0.5) * HALF_PI;
    let a2 = a * a;
    let s = a * (1.0 + a2 * (-1.6666667e-1 + a2 * (8.3333333e-3 + a2 * (-1.9841270e-4 + a2 * 2.7557319e-6))));
    let c = 1.0 + a2 * (-0.5 + a2 * (4.1666667e-2 + a2 * (-1.3888889e-3 + a2 * 2.4801587e-5)));
    let left = (quarter == vec2f(1.0)) | (quarter == vec2f(2.0));
    let below = quarter >= vec2f(2.0);
    let c0 = select(vec2f(SQRT_HALF), vec2f(-SQRT_HALF), left);
    let s0 = select(vec2f(SQRT_HALF), vec2f(-SQRT_HALF), below);
    return vec4f(c0 * c - s0 * s, s0 * c + c0 * s);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let i = thread_index(id, groups);
    if i >= params.count {
        return;
    }
    // 24 bits of each word; those that become a logarithm lie in (0, 1], the others in [0, 1).
    let words = vec4f(random_bits(i) >> vec4u(8u));
    let uniform_1 = (words.xy + 1.0) * 5.9604645e-8;
    let turns = turned(words.zw * 5.9604645e-8);
    let logs = log2_exact(vec4f(uniform_1, 1.0, 1.0)).xy;
    let radius = sqrt(-2.0 * LN_2 * logs);
    write_0(params.y_base + i, vec4f(radius * turns.xy, radius * turns.zw));
}
