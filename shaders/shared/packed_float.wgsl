// Sums in f32. Exact: every product is an integer, and a layer comes here only if no sum of theirs, in
// any order, reaches 2^24.

alias Sum = mat4x4f; // of each position, over four outputs

// Of each position or output, the four channels of one word.
fn floats(block: vec4u) -> mat4x4f {
    return mat4x4f(
        vec4f(unpack4xI8(block.x)),
        vec4f(unpack4xI8(block.y)),
        vec4f(unpack4xI8(block.z)),
        vec4f(unpack4xI8(block.w)),
    );
}

fn product(columns: vec4u, rows: vec4u) -> mat4x4f {
    return transpose(floats(columns)) * floats(rows);
}

fn multiply_add(sum: Sum, columns: Bytes, rows: Bytes) -> Sum {
    let x = vec4u(columns[0].x, columns[1].x, columns[2].x, columns[3].x);
    let y = vec4u(columns[0].y, columns[1].y, columns[2].y, columns[3].y);
    let z = vec4u(columns[0].z, columns[1].z, columns[2].z, columns[3].z);
    let w = vec4u(columns[0].w, columns[1].w, columns[2].w, columns[3].w);
    return sum
        + product(x, vec4u(rows[0].x, rows[1].x, rows[2].x, rows[3].x))
        + product(y, vec4u(rows[0].y, rows[1].y, rows[2].y, rows[3].y))
        + product(z, vec4u(rows[0].z, rows[1].z, rows[2].z, rows[3].z))
        + product(w, vec4u(rows[0].w, rows[1].w, rows[2].w, rows[3].w));
}

// For tiles in workgroup memory, where every number is a float.

alias RowNumbers = vec4f;
alias ColumnNumbers = vec4f;

// A step of the depth is 16 channels.
const STEPS_AT_ONCE = 1u;

fn quarter_of_rows(rows: Rows, start: u32, quarter: u32, end: u32) -> mat4x4f {
    let block = load_rows(rows, start);
    let words = vec4u(
        pick(block[0], quarter),
        pick(block[1], quarter),
        pick(block[2], quarter),
        pick(block[3], quarter),
    );
    return transpose(floats(words));
}

fn fetch_columns(first: u32, start: u32, quarter: u32, end: u32) -> vec4u {
    return codes_at(read_group(first, whole_step(start)), quarter);
}

fn quarter_of_columns(codes: vec4u) -> mat4x4f { return transpose(floats(bytes(codes))); }

fn add_outer(sum: Sum, columns: vec4f, rows: vec4f) -> Sum {
    return sum + mat4x4f(columns * rows.x, columns * rows.y, columns * rows.z, columns * rows.w);
}

fn whole(sum: vec4f) -> vec4i { return vec4i(sum); }
