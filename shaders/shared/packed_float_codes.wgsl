// Sums in f32 straight from codes: as shared/packed_float.wgsl, for few positions, where weights
// would be unpacked for little use.

fn load_rows(rows: Rows, k: u32) -> mat4x4f { return load_floats(rows, k); }

fn locate_columns(n: u32) -> u32 { return params.w_base + n * params.w_row; }

fn load_columns(first: u32, k: u32) -> mat4x4f {
    let codes = read_codes(first, k);
    return mat4x4f(
        decode(codes, params.zero),
        decode(channel_codes(codes, 1u), params.zero),
        decode(channel_codes(codes, 2u), params.zero),
        decode(channel_codes(codes, 3u), params.zero),
    );
}
