// The matrix core for GPUs: 64 threads make a 64 x 64 tile of the result, staged through
// workgroup memory 16 steps of the depth at a time; each thread keeps 8 x 8 of it.
//
// A matrix kernel defines rows() and columns() in blocks of four, cursors, the range of the depth
// of a tile (first block and number of blocks of its rows, and of its columns), loads and the store; blocks are those of shared/blocks_float.wgsl.

// [step of the depth][block of four rows or columns]
var<workgroup> row_tile: array<vec4f, 256>;
var<workgroup> column_tile: array<vec4f, 256>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let column_tiles = (columns() + 15u) / 16u;
    let m_tile = (group.x / column_tiles) * 16u;
    let n_tile = (group.x % column_tiles) * 16u;
    // Loading: one block of rows and one of columns a thread and round.
    let block = thread >> 2u;
    let quarter = thread & 3u;
    let row_cursor = locate_rows(min(m_tile + block, rows() - 1u));
    let column_cursor = locate_columns(min(n_tile + block, columns() - 1u));
    // Computing: blocks my and my + 8 of the rows, mx and mx + 8 of the columns.
    let my = thread >> 3u;
    let mx = thread & 7u;
    var c00 = mat4x4f(); var c01 = mat4x4f();
    var c10 = mat4x4f(); var c11 = mat4x4f();
    let range = depth_range(vec2u(m_tile, 16u), vec2u(n_tile, 16u), group.z);
    for (var start = range.x; start < range.y; start += 4u) {
        var a = mat4x4f();
        var b = mat4x4f();
        let k = start + quarter;
        if k < range.y {
            a = transpose(load_rows(row_cursor, k));
            b = load_columns(column_cursor, k);
        }
        workgroupBarrier();
        for (var q = 0u; q < 4u; q++) {
            row_tile[(quarter * 4u + q) * 16u + block] = a[q];
            column_tile[(quarter * 4u + q) * 16u + block] = b[q];
        }
        workgroupBarrier();
        for (var q = 0u; q < 16u; q++) {
            let a0 = row_tile[q * 16u + my];
            let a1 = row_tile[q * 16u + my + 8u];
            let b0 = column_tile[q * 16u + mx];
            let b1 = column_tile[q * 16u + mx + 8u];
            c00 += mat4x4f(b0 * a0.x, b0 * a0.y, b0 * a0.z, b0 * a0.w);
            c01 += mat4x4f(b1 * a0.x, b1 * a0.y, b1 * a0.z, b1 * a0.w);
            c10 += mat4x4f(b0 * a1.x, b0 * a1.y, b0 * a1.z, b0 * a1.w);
            c11 += mat4x4f(b1 * a1.x, b1 * a1.y, b1 * a1.z, b1 * a1.w);
        }
    }
    keep(m_tile + my, n_tile + mx, group.z, c00);
    keep(m_tile + my, n_tile + mx + 8u, group.z, c01);
    keep(m_tile + my + 8u, n_tile + mx, group.z, c10);
    keep(m_tile + my + 8u, n_tile + mx + 8u, group.z, c11);
}

fn keep(m: u32, n: u32, split: u32, block: mat4x4f) {
    if m < rows() && n < columns() {
        store(m, n, split, block);
    }
}
