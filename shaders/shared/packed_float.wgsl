// Sums in f32, with weights that packed_unpack made into floats. Exact: every product is an integer,
// and a layer comes here only if no sum of theirs, in any order, reaches 2^24.

fn load_rows(rows: Rows, k: u32) -> mat4x4f {
    let at = window(rows, k);
    let mask = select(vec4f(0.0), vec4f(1.0), at.inside);
    return mat4x4f(
        vec4f(read_a(at.texel.x)) * mask.x,
        vec4f(read_a(at.texel.y)) * mask.y,
        vec4f(read_a(at.texel.z)) * mask.z,
        vec4f(read_a(at.texel.w)) * mask.w,
    );
}

fn locate_columns(n: u32) -> u32 { return params.w_base + n * 4u * depth(); }

fn load_columns(base: u32, k: u32) -> mat4x4f {
    let step = depth();
    let first = base + k;
    return transpose(mat4x4f(
        bitcast<vec4f>(read_b(first)),
        bitcast<vec4f>(read_b(first + step)),
        bitcast<vec4f>(read_b(first + 2u * step)),
        bitcast<vec4f>(read_b(first + 3u * step)),
    ));
}

fn whole(sum: vec4f) -> vec4i { return vec4i(sum); }
