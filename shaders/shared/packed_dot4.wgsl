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

// For tiles in workgroup memory, where a slot holds four channels, in one word.

alias RowNumbers = vec4u;
alias ColumnNumbers = vec4u;

// A step of the depth is 16 channels, four slots.
const STEPS_AT_ONCE = 4u;

fn quarter_of_rows(rows: Rows, start: u32, quarter: u32, end: u32) -> Bytes {
    let k = start + quarter;
    if k >= end {
        return Bytes();
    }
    return words_of(load_rows(rows, k));
}

fn fetch_columns(first: u32, start: u32, quarter: u32, end: u32) -> Group {
    return read_group(first, whole_step(min(start + quarter, end - 1u)));
}

fn quarter_of_columns(group: Group) -> Bytes {
    return Bytes(
        bytes(codes_at(group, 0u)),
        bytes(codes_at(group, 1u)),
        bytes(codes_at(group, 2u)),
        bytes(codes_at(group, 3u)),
    );
}

// Of a block of four positions, each of the four words of all.
fn words_of(block: Bytes) -> Bytes {
    return Bytes(
        vec4u(block[0].x, block[1].x, block[2].x, block[3].x),
        vec4u(block[0].y, block[1].y, block[2].y, block[3].y),
        vec4u(block[0].z, block[1].z, block[2].z, block[3].z),
        vec4u(block[0].w, block[1].w, block[2].w, block[3].w),
    );
}

fn dot_each(x: u32, w: vec4u) -> vec4i {
    return vec4i(
        dot4I8Packed(x, w.x),
        dot4I8Packed(x, w.y),
        dot4I8Packed(x, w.z),
        dot4I8Packed(x, w.w),
    );
}

fn add_outer(sum: Sum, columns: vec4u, rows: vec4u) -> Sum {
    return Sum(
        sum[0] + dot_each(rows.x, columns),
        sum[1] + dot_each(rows.y, columns),
        sum[2] + dot_each(rows.z, columns),
        sum[3] + dot_each(rows.w, columns),
    );
}

fn whole(sum: vec4i) -> vec4i { return sum; }
