// Sums in f32 straight from codes: as shared/packed_float.wgsl, for few positions, where weights
// would be unpacked for little use.

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

fn locate_columns(n: u32) -> u32 { return params.w_base + n * 4u * params.w_row; }

fn load_columns(first: u32, k: u32) -> mat4x4f {
    let row = params.w_row;
    return transpose(mat4x4f(
        vec4f(decode(read_codes(first, k), params.zero)),
        vec4f(decode(read_codes(first + row, k), params.zero)),
        vec4f(decode(read_codes(first + 2u * row, k), params.zero)),
        vec4f(decode(read_codes(first + 3u * row, k), params.zero)),
    ));
}

fn whole(sum: vec4f) -> vec4i { return vec4i(sum); }
