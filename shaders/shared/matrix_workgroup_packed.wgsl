// The matrix core for GPUs over packed weights: 64 threads make a 64 x 64 tile of the result, staged through workgroup
// memory 16 slots of the depth at a time; each thread keeps 8 x 8 of it.
//
// A slot is what the arithmetic takes at once: one channel, or four in one word. Beside what a matrix kernel defines for
// shared/matrix_workgroup.wgsl, the arithmetic defines RowNumbers (a slot of four positions), ColumnNumbers (of four
// outputs), how many steps of the depth 16 slots are, what a quarter of them is, and their outer product. Past the end
// of the depth rows are zero and columns anything.

// [slot][block of four rows, or columns]. Of slots 4 q to 4 q + 3, blocks are swapped: number b lies at b xor 2 q.
// Eight neighbouring threads, which store two blocks of all four q, then meet 32 different banks.
var<workgroup> row_tile: array<RowNumbers, 256>;
var<workgroup> column_tile: array<ColumnNumbers, 256>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let column_tiles = (columns() + 15u) / 16u;
    let m_tile = (group.x / column_tiles) * 16u;
    let n_tile = (group.x % column_tiles) * 16u;
    // Loading: four slots of one block of rows and of one of columns.
    let block = thread / 4u;
    let quarter = thread % 4u;
    let row_cursor = locate_rows(min(m_tile + block, rows() - 1u));
    let column_cursor = locate_columns(min(n_tile + block, columns() - 1u));
    let stored = quarter * 64u + (block ^ (2u * quarter));
    // Computing: blocks my and my + 8 of the rows, mx and mx + 8 of the columns.
    let my = thread / 8u;
    let mx = thread % 8u;
    var c00 = Sum(); var c01 = Sum();
    var c10 = Sum(); var c11 = Sum();
    let range = depth_range(vec2u(m_tile, 16u), vec2u(n_tile, 16u), group.z);
    var start = range.x;
    while start < range.y {
        let a = quarter_of_rows(row_cursor, start, quarter, range.y);
        let codes = fetch_columns(column_cursor, start, quarter, range.y);
        workgroupBarrier();
        row_tile[stored] = a[0];
        row_tile[stored + 16u] = a[1];
        row_tile[stored + 32u] = a[2];
        row_tile[stored + 48u] = a[3];
        // Decoded only now: rows and decoded columns together are more than the registers of Intel's GPUs hold.
        let b = quarter_of_columns(codes);
        column_tile[stored] = b[0];
        column_tile[stored + 16u] = b[1];
        column_tile[stored + 32u] = b[2];
        column_tile[stored + 48u] = b[3];
        workgroupBarrier();
        var q = 0u;
        while q < 16u {
            let swap = 2u * (q / 4u);
            let row = q * 16u + (my ^ swap);
            let column = q * 16u + (mx ^ swap);
            let a0 = row_tile[row];
            let a1 = row_tile[row + 8u];
            let b0 = column_tile[column];
            c00 = add_outer(c00, b0, a0);
            c10 = add_outer(c10, b0, a1);
            let b1 = column_tile[column + 8u];
            c01 = add_outer(c01, b1, a0);
            c11 = add_outer(c11, b1, a1);
            q += 1u;
        }
        start += STEPS_AT_ONCE;
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
