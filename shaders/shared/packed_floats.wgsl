// Whole numbers as floats, for sums in f32.

fn load_floats(rows: Rows, k: u32) -> mat4x4f {
    let at = window(rows, k);
    let mask = select(vec4f(0.0), vec4f(1.0), at.inside);
    return mat4x4f(
        vec4f(read_a(at.texel.x)) * mask.x,
        vec4f(read_a(at.texel.y)) * mask.y,
        vec4f(read_a(at.texel.z)) * mask.z,
        vec4f(read_a(at.texel.w)) * mask.w,
    );
}

fn whole(sum: vec4f) -> vec4i { return vec4i(sum); }
