// Sums in i32 by products of four int8 pairs, which many GPUs do in one instruction. A layer comes
// here only if its weights, in units of the smallest, and its inputs fit into int8.

alias Sum = array<vec4i, 4>; // of each position, over four outputs

// Of each position, four channels.
fn load_rows(rows: Rows, k: u32) -> vec4u {
    let at = window(rows, k);
    let packed = vec4u(
        pack4xI8(read_a(at.texel.x)),
        pack4xI8(read_a(at.texel.y)),
        pack4xI8(read_a(at.texel.z)),
        pack4xI8(read_a(at.texel.w)),
    );
    return select(vec4u(0u), packed, at.inside);
}

fn locate_columns(n: u32) -> u32 { return params.w_base + n * 4u * params.w_row; }

// Of each output, four channels.
fn load_columns(first: u32, k: u32) -> vec4u {
    let row = params.w_row;
    return vec4u(
        pack4xI8(decode(read_codes(first, k), params.zero)),
        pack4xI8(decode(read_codes(first + row, k), params.zero)),
        pack4xI8(decode(read_codes(first + 2u * row, k), params.zero)),
        pack4xI8(decode(read_codes(first + 3u * row, k), params.zero)),
    );
}

fn dots(x: u32, w: vec4u) -> vec4i {
    return vec4i(
        dot4I8Packed(x, w.x),
        dot4I8Packed(x, w.y),
        dot4I8Packed(x, w.z),
        dot4I8Packed(x, w.w),
    );
}

fn multiply_add(sum: Sum, columns: vec4u, rows: vec4u) -> Sum {
    return Sum(
        sum[0] + dots(rows.x, columns),
        sum[1] + dots(rows.y, columns),
        sum[2] + dots(rows.z, columns),
        sum[3] + dots(rows.w, columns),
    );
}

fn whole(sum: vec4i) -> vec4i { return sum; }
