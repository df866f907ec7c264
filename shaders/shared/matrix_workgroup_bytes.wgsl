// The matrix core for GPUs over packed bytes: 64 threads make a 64 x 64 tile of the result, staged
// through workgroup memory 64 channels at a time; each thread keeps 8 x 8 of it. The functions it
// calls are those of shared/matrix_workgroup.wgsl; a block is four rows or columns of 16 bytes.

// [step of the depth][block of four rows or columns]
var<workgroup> row_tile: array<Bytes, 64>;
var<workgroup> column_tile: array<Bytes, 64>;

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
    var c00 = Sum(); var c01 = Sum();
    var c10 = Sum(); var c11 = Sum();
    let range = depth_range(vec2u(m_tile, 16u), vec2u(n_tile, 16u), group.z);
    var start = range.x;
    while start < range.y {
        var a = Bytes();
        var b = Bytes();
        let k = start + quarter;
        if k < range.y {
            a = load_rows(row_cursor, k);
            b = load_columns(column_cursor, k);
        }
        workgroupBarrier();
        row_tile[quarter * 16u + block] = a;
        column_tile[quarter * 16u + block] = b;
        workgroupBarrier();
        var q = 0u;
        while q < 4u {
            let a0 = row_tile[q * 16u + my];
            let a1 = row_tile[q * 16u + my + 8u];
            let b0 = column_tile[q * 16u + mx];
            let b1 = column_tile[q * 16u + mx + 8u];
            c00 = multiply_add(c00, b0, a0);
            c01 = multiply_add(c01, b1, a0);
            c10 = multiply_add(c10, b0, a1);
            c11 = multiply_add(c11, b1, a1);
            q += 1u;
        }
        start += 4u;
    }
    keep(m_tile + my, n_tile + mx, group.z, c00);
    keep(m_tile + my, n_tile + mx + 8u, group.z, c01);
    keep(m_tile + my + 8u, n_tile + mx, group.z, c10);
    keep(m_tile + my + 8u, n_tile + mx + 8u, group.z, c11);
}

fn keep(m: u32, n: u32, split: u32, block: Sum) {
    if m < rows() && n < columns() {
        store(m, n, split, block);
    }
}
