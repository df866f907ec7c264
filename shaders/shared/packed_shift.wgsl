// Sums in i32 by shifts and adds: the definition.

alias Sum = array<vec4i, 4>; // of each position, over four outputs

alias Rows4 = array<vec4i, 4>; // of each position, four channels

// Of each channel, over four outputs.
struct Columns {
    shift: array<vec4u, 4>,
    keep: array<vec4i, 4>, // 0 for a zero weight, else -1
    sign: array<vec4i, 4>, // -1 for a negative weight, else 0
}

fn load_rows(rows: Rows, k: u32) -> Rows4 {
    let at = window(rows, k);
    return Rows4(
        select(vec4i(0), read_a(at.texel.x), at.inside.x),
        select(vec4i(0), read_a(at.texel.y), at.inside.y),
        select(vec4i(0), read_a(at.texel.z), at.inside.z),
        select(vec4i(0), read_a(at.texel.w), at.inside.w),
    );
}

fn locate_columns(n: u32) -> u32 { return params.w_base + n * 4u * params.w_row; }

fn load_columns(first: u32, k: u32) -> Columns {
    let row = params.w_row;
    let c0 = read_codes(first, k);
    let c1 = read_codes(first + row, k);
    let c2 = read_codes(first + 2u * row, k);
    let c3 = read_codes(first + 3u * row, k);
    let across = array<vec4u, 4>(
        vec4u(c0.x, c1.x, c2.x, c3.x),
        vec4u(c0.y, c1.y, c2.y, c3.y),
        vec4u(c0.z, c1.z, c2.z, c3.z),
        vec4u(c0.w, c1.w, c2.w, c3.w),
    );
    var columns: Columns;
    columns.shift[0] = places(across[0]); columns.keep[0] = keeps(across[0]); columns.sign[0] = signs(across[0]);
    columns.shift[1] = places(across[1]); columns.keep[1] = keeps(across[1]); columns.sign[1] = signs(across[1]);
    columns.shift[2] = places(across[2]); columns.keep[2] = keeps(across[2]); columns.sign[2] = signs(across[2]);
    columns.shift[3] = places(across[3]); columns.keep[3] = keeps(across[3]); columns.sign[3] = signs(across[3]);
    return columns;
}

fn places(codes: vec4u) -> vec4u { return max(indices(codes), vec4u(params.zero)) - params.zero; }

fn keeps(codes: vec4u) -> vec4i {
    return select(vec4i(-1), vec4i(0), indices(codes) < vec4u(params.zero));
}

fn add_shifted(sum: vec4i, x: i32, shift: vec4u, keep: vec4i, sign: vec4i) -> vec4i {
    return sum + ((((vec4i(x) << shift) & keep) ^ sign) - sign);
}

fn add_four(sum: vec4i, x: vec4i, w: Columns) -> vec4i {
    let first = add_shifted(sum, x.x, w.shift[0], w.keep[0], w.sign[0]);
    let second = add_shifted(first, x.y, w.shift[1], w.keep[1], w.sign[1]);
    let third = add_shifted(second, x.z, w.shift[2], w.keep[2], w.sign[2]);
    return add_shifted(third, x.w, w.shift[3], w.keep[3], w.sign[3]);
}

fn multiply_add(sum: Sum, columns: Columns, rows: Rows4) -> Sum {
    return Sum(
        add_four(sum[0], rows[0], columns),
        add_four(sum[1], rows[1], columns),
        add_four(sum[2], rows[2], columns),
        add_four(sum[3], rows[3], columns),
    );
}

fn whole(sum: vec4i) -> vec4i { return sum; }
