// The matrix core for devices with cooperative matrices ("tensor cores", "simdgroup matrices", WMMA): operands of 16
// bits, sums of 32. A workgroup makes a tile of 4 ROW_BLOCKS x 4 COLUMN_BLOCKS numbers of the result, staged through its
// memory DEPTH steps of the depth at a time. The tile lies in PARTS, one for a subgroup, of PART_ROWS x PART_COLUMNS
// matrices of SIZE x SIZE numbers each.
//
// A matrix kernel defines the same as for shared/matrix_workgroup.wgsl. What it reads as `a` may be a gradient, which is
// stored times a power of two and would be too small for 16 bits without it: so it is read as it is stored, and
// UNSCALE, the power of two to divide by, is applied to the sums.
//
// A line that ends with "each row", "each column" or "each matrix" is written once for every $ROW and $COLUMN of a part,
// and so are all lines from "begin" to "end" of each matrix, because no variable can select a cooperative matrix.

// Parts that lie beside each other.
const PARTS_WIDE = 4u * COLUMN_BLOCKS / SIZE / PART_COLUMNS;
// Blocks of four numbers by four in a row of a matrix.
const BLOCKS = SIZE / 4u;

// Lines of rows, then of columns; along a line runs the depth. A line takes LINE numbers, more than DEPTH, so that eight
// lines that are read at once lie in different banks.
var<workgroup> tile: array<f16, 4u * (ROW_BLOCKS + COLUMN_BLOCKS) * LINE>;
// One matrix of every part.
var<workgroup> results: array<f32, PARTS * SIZE * SIZE>;

// Four steps of the depth of four lines.
fn stage(block: u32, step: u32, lines: mat4x4f) {
    let first = block * 4u * LINE + step * 4u;
    stage_line(first, lines[0]);
    stage_line(first + LINE, lines[1]);
    stage_line(first + 2u * LINE, lines[2]);
    stage_line(first + 3u * LINE, lines[3]);
}

// A number of 32 bits loses the last of them here; in which direction is the driver's choice.
fn stage_line(first: u32, numbers: vec4f) {
    tile[first] = f16(numbers.x);
    tile[first + 1u] = f16(numbers.y);
    tile[first + 2u] = f16(numbers.z);
    tile[first + 3u] = f16(numbers.w);
}

// What is stored in 16 bits is in their range.
fn in_range(lines: mat4x4f) -> mat4x4f {
    if !COLUMNS_ARE_FLOATS {
        return lines;
    }
    let most = vec4f(65504.0);
    return mat4x4f(
        clamp(lines[0], -most, most),
        clamp(lines[1], -most, most),
        clamp(lines[2], -most, most),
        clamp(lines[3], -most, most),
    );
}

// Where in the tile the first matrix of a part lies, in matrices: row and column.
fn place_of(part: u32) -> vec2u {
    return vec2u(part / PARTS_WIDE * PART_ROWS, part % PARTS_WIDE * PART_COLUMNS);
}

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
) {
    let column_tiles = (columns() + COLUMN_BLOCKS - 1u) / COLUMN_BLOCKS;
    let m_tile = (group.x / column_tiles) * ROW_BLOCKS;
    let n_tile = (group.x % column_tiles) * COLUMN_BLOCKS;
    // Loading: a thread has four steps of the depth of one block of rows and, if there are as many, of one of columns.
    let block = thread / 8u;
    let step = thread % 8u;
    let has_columns = block < COLUMN_BLOCKS;
    let row_cursor = locate_rows(min(m_tile + block, rows() - 1u));
    let column_cursor = locate_columns(min(n_tile + min(block, COLUMN_BLOCKS - 1u), columns() - 1u));
    let range = depth_range(vec2u(m_tile, ROW_BLOCKS), vec2u(n_tile, COLUMN_BLOCKS), group.z);
    // Usually there is a subgroup for each part. A driver may form larger ones than it said; then they take turns.
    var first_part = 0u;
    while first_part < PARTS {
        // A subgroup too many makes and stores the same as the last one: cooperative matrices must not be under a
        // condition, and it does no harm that two write equal numbers.
        let part = min(first_part + subgroup, PARTS - 1u);
        let place = place_of(part);
        let first_row = place.x * SIZE * LINE;
        let first_column = (4u * ROW_BLOCKS + place.y * SIZE) * LINE;
        var sum_$ROW_$COLUMN = coop_mat$SIZE<f32, C>(); // each matrix
        var start = range.x;
        while start < range.y {
            var a = mat4x4f();
            var b = mat4x4f();
            let k = start + step;
            if k < range.y {
                a = load_rows(row_cursor, k);
                if has_columns {
                    b = transpose(load_columns(column_cursor, k));
                }
            }
            workgroupBarrier();
            stage(block, step, a);
            if has_columns {
                stage(ROW_BLOCKS + block, step, in_range(b));
            }
            workgroupBarrier();
            var q = 0u;
            while q < DEPTH {
                let a_$ROW = coopLoadT<coop_mat$SIZE<f16, A>>(&tile[first_row + $ROWu * SIZE * LINE + q], LINE); // each row
                let b_$COLUMN = coopLoad<coop_mat$SIZE<f16, B>>(&tile[first_column + $COLUMNu * SIZE * LINE + q], LINE); // each column
                sum_$ROW_$COLUMN = coopMultiplyAdd(a_$ROW, b_$COLUMN, sum_$ROW_$COLUMN); // each matrix
                q += SIZE;
            }
            start += DEPTH / 4u;
        }
        let last_part = min(first_part + subgroups, PARTS);
        let at = part * SIZE * SIZE;
        // One matrix of every part at a time, because there is room for no more. As names, because naga 30
        // refuses other expressions as what `coopStoreT` stores and the length of its lines.
        let line = SIZE;
        // begin each matrix
        let kept_$ROW_$COLUMN = sum_$ROW_$COLUMN;
        coopStoreT(kept_$ROW_$COLUMN, &results[at], line);
        workgroupBarrier();
        keep_all(vec2u($ROWu, $COLUMNu), vec2u(first_part, last_part), vec2u(m_tile, n_tile), group.z, thread);
        workgroupBarrier();
        // end each matrix
        first_part += subgroups;
    }
}

// Stores the matrices that the parts from parts.x to parts.y have at `place`.
fn keep_all(place: vec2u, parts: vec2u, tile_at: vec2u, split: u32, thread: u32) {
    var number = parts.x * BLOCKS * BLOCKS + thread;
    while number < parts.y * BLOCKS * BLOCKS {
        let part = number / (BLOCKS * BLOCKS);
        let block = vec2u(number / BLOCKS % BLOCKS, number % BLOCKS);
        let first = (part * SIZE + block.x * 4u) * SIZE + block.y * 4u;
        let numbers = mat4x4f(result(first), result(first + SIZE), result(first + 2u * SIZE), result(first + 3u * SIZE));
        let at = tile_at + (place_of(part) + place) * BLOCKS + block;
        if at.x < rows() && at.y < columns() {
            store(at.x, at.y, split, numbers * UNSCALE);
        }
        number += THREADS;
    }
}

fn result(at: u32) -> vec4f {
    return vec4f(results[at], results[at + 1u], results[at + 2u], results[at + 3u]);
}
