// Sums in i32 by shifts and adds: the definition.

alias Sum = array<vec4i, 4>; // of each position, over four outputs

alias Rows4 = array<vec4i, 4>; // of each position, four channels

// Of each channel, over four outputs.
struct Columns {
    shift: array<vec4u, 4>,
    keep: array<vec4i, 4>, // 0 for a zero weight, else -1
    sign: array<vec4i, 4>, // -1 for a negative weight, else 0
}

fn locate_rows(m: u32) -> Rows { return locate_windows(m); }

fn load_rows(rows: Rows, k: u32) -> Rows4 {
    let at = window(rows, k);
    return Rows4(
        select(vec4i(0), read_a(at.texel.x), at.inside.x),
        select(vec4i(0), read_a(at.texel.y), at.inside.y),
        select(vec4i(0), read_a(at.texel.z), at.inside.z),
        select(vec4i(0), read_a(at.texel.w), at.inside.w),
    );
}

fn locate_columns(n: u32) -> u32 { return params.w_base + n * params.w_row; }

fn load_columns(first: u32, step: u32) -> Columns {
    let k = whole_step(step);
    let codes = read_codes(first, k);
    let c1 = channel_codes(codes, 1u);
    let c2 = channel_codes(codes, 2u);
    let c3 = channel_codes(codes, 3u);
    let zero = params.zero;
    return Columns(
        array<vec4u, 4>(places(codes, zero), places(c1, zero), places(c2, zero), places(c3, zero)),
        array<vec4i, 4>(keeps(codes, zero), keeps(c1, zero), keeps(c2, zero), keeps(c3, zero)),
        array<vec4i, 4>(signs(codes), signs(c1), signs(c2), signs(c3)),
    );
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

// For tiles in workgroup memory, where a weight takes one word: its exponent in the low bits, its sign in the highest, and
// in the next one whether it is none but zero.

alias RowNumbers = vec4i;
alias ColumnNumbers = vec4u;

// A step of the depth is four channels.
const STEPS_AT_ONCE = 4u;

fn quarter_of_rows(rows: Rows, start: u32, quarter: u32, end: u32) -> array<vec4i, 4> {
    let k = start + quarter;
    if k >= end {
        return array<vec4i, 4>();
    }
    let x = load_rows(rows, k);
    return array<vec4i, 4>(
        vec4i(x[0].x, x[1].x, x[2].x, x[3].x),
        vec4i(x[0].y, x[1].y, x[2].y, x[3].y),
        vec4i(x[0].z, x[1].z, x[2].z, x[3].z),
        vec4i(x[0].w, x[1].w, x[2].w, x[3].w),
    );
}

fn fetch_columns(first: u32, start: u32, quarter: u32, end: u32) -> vec4u {
    return read_codes(first, whole_step(min(start + quarter, end - 1u)));
}

fn quarter_of_columns(codes: vec4u) -> array<vec4u, 4> {
    return array<vec4u, 4>(
        words(codes),
        words(channel_codes(codes, 1u)),
        words(channel_codes(codes, 2u)),
        words(channel_codes(codes, 3u)),
    );
}

fn words(codes: vec4u) -> vec4u {
    let is_some = vec4u(keeps(codes, params.zero)) & vec4u(0x40000000u);
    let sign = vec4u(signs(codes)) & vec4u(0x80000000u);
    return places(codes, params.zero) | is_some | sign;
}

fn add_outer(sum: Sum, columns: vec4u, rows: vec4i) -> Sum {
    let shift = columns & vec4u(31u);
    let keep = vec4i(columns << vec4u(1u)) >> vec4u(31u);
    let sign = vec4i(columns) >> vec4u(31u);
    return Sum(
        add_shifted(sum[0], rows.x, shift, keep, sign),
        add_shifted(sum[1], rows.y, shift, keep, sign),
        add_shifted(sum[2], rows.z, shift, keep, sign),
        add_shifted(sum[3], rows.w, shift, keep, sign),
    );
}

fn whole(sum: vec4i) -> vec4i { return sum; }
