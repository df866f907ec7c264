// Sums in i32 by products of four int8 pairs, which many GPUs do in one instruction.

alias Sum = array<vec4i, 4>; // of each position, over four outputs

fn dot16(x: vec4u, w: vec4u) -> i32 {
    return dot4I8Packed(x.x, w.x) + dot4I8Packed(x.y, w.y) + dot4I8Packed(x.z, w.z)
        + dot4I8Packed(x.w, w.w);
}

fn dots(x: vec4u, w: Bytes) -> vec4i {
    return vec4i(dot16(x, w[0]), dot16(x, w[1]), dot16(x, w[2]), dot16(x, w[3]));
}

fn multiply_add(sum: Sum, columns: Bytes, rows: Bytes) -> Sum {
    return Sum(
        sum[0] + dots(rows[0], columns),
        sum[1] + dots(rows[1], columns),
        sum[2] + dots(rows[2], columns),
        sum[3] + dots(rows[3], columns),
    );
}

fn whole(sum: vec4i) -> vec4i { return sum; }
