// Sums in f32, with weights that packed_unpack made into floats. Exact: every product is an integer,
// and a layer comes here only if no sum of theirs, in any order, reaches 2^24.

fn load_rows(rows: Rows, k: u32) -> mat4x4f { return load_floats(rows, k); }

fn locate_columns(n: u32) -> u32 { return params.w_base + n * 4u * depth(); }

fn load_columns(base: u32, k: u32) -> mat4x4f {
    let first = base + 4u * k;
    return mat4x4f(
        bitcast<vec4f>(read_b(first)),
        bitcast<vec4f>(read_b(first + 1u)),
        bitcast<vec4f>(read_b(first + 2u)),
        bitcast<vec4f>(read_b(first + 3u)),
    );
}
