// Sums in f32 as in shared/packed_float.wgsl, over activations of 32 bits: for drivers on which lanes share a
// product (shared/matrix_subgroup.wgsl). There one lane decodes the weights that eight multiply by, loads are few, and
// to pack activations into bytes and unpack them again would cost more than it saves.

fn locate_rows(m: u32) -> Rows { return locate_windows(m); }

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

fn locate_columns(n: u32) -> u32 { return params.w_base + n * params.w_row; }

fn load_columns(first: u32, step: u32) -> mat4x4f {
    let k = whole_step(step);
    // The codes of a tap may be padded further than its inputs.
    let tap = divide_one(k, params.inverse_input_channels);
    let codes = read_codes(first, k + tap * (params.code_channels - params.input_channels));
    return mat4x4f(
        weights(codes),
        weights(channel_codes(codes, 1u)),
        weights(channel_codes(codes, 2u)),
        weights(channel_codes(codes, 3u)),
    );
}

// In units of the layer's smallest.
fn weights(codes: vec4u) -> vec4f {
    let sign = signs(codes);
    let size = (vec4i(1) << places(codes, params.zero)) & keeps(codes, params.zero);
    return vec4f((size ^ sign) - sign);
}

fn whole(sum: vec4f) -> vec4i { return vec4i(sum); }
