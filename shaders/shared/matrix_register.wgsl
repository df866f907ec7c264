// The matrix core for drivers that run on a CPU: a thread keeps a tile of the result in registers and
// reads both operands through textures; nothing is shared between threads. The tile has ROWS blocks of four
// rows, fewer than four where that leaves fewer of them empty, and TILE_COLUMNS blocks of four columns, 2 or 3;
// with 2, lines that end in "third column" are left out.
//
// A matrix kernel defines rows() and columns() in blocks of four, cursors, the range of the depth
// of a tile (first block and number of blocks of its rows, and of its columns), loads and the store; shared/blocks_*.wgsl say what blocks are and how two are multiplied.

override ROWS: u32 = 4u;

@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) id: vec3u) {
    let column_tiles = (columns() + TILE_COLUMNS - 1u) / TILE_COLUMNS;
    let tiles = column_tiles * ((rows() + ROWS - 1u) / ROWS);
    let split = id.x / tiles;
    let tile = id.x - split * tiles;
    let m = (tile / column_tiles) * ROWS;
    let n = (tile % column_tiles) * TILE_COLUMNS;
    let m_last = rows() - 1u;
    let n_last = columns() - 1u;
    let r0 = locate_rows(min(m + 0u, m_last));
    let r1 = locate_rows(min(m + 1u, m_last));
    let r2 = locate_rows(min(m + 2u, m_last));
    let r3 = locate_rows(min(m + 3u, m_last));
    let s0 = locate_columns(min(n + 0u, n_last));
    let s1 = locate_columns(min(n + 1u, n_last));
    let s2 = locate_columns(min(n + 2u, n_last));  // third column
    var c00 = Sum(); var c01 = Sum();
    var c10 = Sum(); var c11 = Sum();
    var c20 = Sum(); var c21 = Sum();
    var c30 = Sum(); var c31 = Sum();
    var c02 = Sum(); var c12 = Sum(); var c22 = Sum(); var c32 = Sum();  // third column
    let range = depth_range(vec2u(m, ROWS), vec2u(n, TILE_COLUMNS), split);
    var k = range.x;
    while k < range.y {
        let b0 = load_columns(s0, k);
        let b1 = load_columns(s1, k);
        let b2 = load_columns(s2, k);  // third column
        let a0 = load_rows(r0, k);
        c00 = multiply_add(c00, b0, a0); c01 = multiply_add(c01, b1, a0);
        c02 = multiply_add(c02, b2, a0);  // third column
        if ROWS > 1u {
            let a1 = load_rows(r1, k);
            c10 = multiply_add(c10, b0, a1); c11 = multiply_add(c11, b1, a1);
            c12 = multiply_add(c12, b2, a1);  // third column
        }
        if ROWS > 2u {
            let a2 = load_rows(r2, k);
            c20 = multiply_add(c20, b0, a2); c21 = multiply_add(c21, b1, a2);
            c22 = multiply_add(c22, b2, a2);  // third column
        }
        if ROWS > 3u {
            let a3 = load_rows(r3, k);
            c30 = multiply_add(c30, b0, a3); c31 = multiply_add(c31, b1, a3);
            c32 = multiply_add(c32, b2, a3);  // third column
        }
        k += 1u;
    }
    if split >= params.splits {
        return; // a thread past the last tile
    }
    keep(m + 0u, n + 0u, split, c00); keep(m + 0u, n + 1u, split, c01);
    keep(m + 0u, n + 2u, split, c02);  // third column
    if ROWS > 1u {
        keep(m + 1u, n + 0u, split, c10); keep(m + 1u, n + 1u, split, c11);
        keep(m + 1u, n + 2u, split, c12);  // third column
    }
    if ROWS > 2u {
        keep(m + 2u, n + 0u, split, c20); keep(m + 2u, n + 1u, split, c21);
        keep(m + 2u, n + 2u, split, c22);  // third column
    }
    if ROWS > 3u {
        keep(m + 3u, n + 0u, split, c30); keep(m + 3u, n + 1u, split, c31);
        keep(m + 3u, n + 2u, split, c32);  // third column
    }
}

fn keep(m: u32, n: u32, split: u32, block: Sum) {
    if m < rows() && n < columns() {
        store(m, n, split, block);
    }
}
