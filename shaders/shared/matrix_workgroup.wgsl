// The matrix core for GPUs: a workgroup makes a tile of 4 ROW_BLOCKS x 4 COLUMN_BLOCKS numbers of the result, staged
// through its memory 16 steps of the depth at a time; each thread keeps 8 x 8 of it. Tiles are as high as wide or higher.
//
// A matrix kernel defines rows() and columns() in blocks of four, cursors, the range of the depth of a tile (first block
// and number of blocks of its rows, and of its columns), loads and the store; blocks are those of
// shared/blocks_float.wgsl.
//
// Loops of products are `while`: naga has no other one for Metal and Direct3D, and in its text of a `for` each round
// first asks a flag whether it is the first.

// Steps of the depth that the inner loop takes at once, 1 or 4: four are a sixth faster on an H200, and more than the
// registers of Intel's GPUs hold.
override STEPS: u32 = 4u;

const THREADS = ROW_BLOCKS * COLUMN_BLOCKS / 4u;
const TILE_BLOCKS = ROW_BLOCKS + COLUMN_BLOCKS;
// Whether there is a thread for every block that is staged at once, so that none loads both rows and columns.
const APART = THREADS >= 4u * TILE_BLOCKS;
// Lanes of 32 lie over 4 x 8 blocks of the tile; that many times 8 blocks are half of its width.
const WARPS_WIDE = COLUMN_BLOCKS / 16u;

// [step of the depth][block of four rows, then of four columns]. Of steps 4 q to 4 q + 3, blocks are swapped: number b
// lies at b xor 2 q. Eight neighbouring threads, which store two blocks of all four q, then meet 32 different banks.
var<workgroup> tile: array<vec4f, 16u * TILE_BLOCKS>;

fn stage(block: u32, quarter: u32, numbers: mat4x4f) {
    let first = quarter * 4u * TILE_BLOCKS + (block ^ (2u * quarter));
    tile[first] = numbers[0];
    tile[first + TILE_BLOCKS] = numbers[1];
    tile[first + 2u * TILE_BLOCKS] = numbers[2];
    tile[first + 3u * TILE_BLOCKS] = numbers[3];
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
    let column_tiles = (columns() + COLUMN_BLOCKS - 1u) / COLUMN_BLOCKS;
    let m_tile = (group.x / column_tiles) * ROW_BLOCKS;
    let n_tile = (group.x % column_tiles) * COLUMN_BLOCKS;
    // Loading: a thread has four steps of the depth of one block, of rows or of columns (APART), or of one of rows and,
    // the first of them, one of columns.
    let block = thread / 4u;
    let quarter = thread % 4u;
    let of_rows = block < ROW_BLOCKS;
    let of_columns = select(block < COLUMN_BLOCKS, !of_rows, APART);
    let column_block = select(block, max(block, ROW_BLOCKS) - ROW_BLOCKS, APART);
    // Kernels keep what all rows of a tile have in common when these are located, so every thread locates one.
    let row_cursor = locate_rows(min(m_tile + min(block, ROW_BLOCKS - 1u), rows() - 1u));
    let column_cursor = locate_columns(min(n_tile + column_block, columns() - 1u));
    // Computing: blocks my and my + ROW_BLOCKS / 2 of the rows, mx and mx + COLUMN_BLOCKS / 2 of the columns.
    let warp = thread / 32u;
    let my = (thread / 8u) % 4u + 4u * (warp / WARPS_WIDE);
    let mx = thread % 8u + 8u * (warp % WARPS_WIDE);
    var c00 = mat4x4f(); var c01 = mat4x4f();
    var c10 = mat4x4f(); var c11 = mat4x4f();
    let range = depth_range(vec2u(m_tile, ROW_BLOCKS), vec2u(n_tile, COLUMN_BLOCKS), group.z);
    var start = range.x;
    while start < range.y {
        var a = mat4x4f();
        var b = mat4x4f();
        let k = start + quarter;
        if k < range.y {
            if APART {
                if of_rows {
                    a = transpose(load_rows(row_cursor, k));
                } else {
                    a = load_columns(column_cursor, k);
                }
            } else {
                a = transpose(load_rows(row_cursor, k));
                if of_columns && STEPS > 1u {
                    b = load_columns(column_cursor, k);
                }
            }
        }
        workgroupBarrier();
        stage(block, quarter, a);
        if !APART && of_columns {
            // With few registers not before the rows have left them.
            if STEPS == 1u && k < range.y {
                b = load_columns(column_cursor, k);
            }
            stage(ROW_BLOCKS + block, quarter, b);
        }
        workgroupBarrier();
        // Of each step: a and d are the thread's blocks of rows, b and e those of columns.
        var q = 0u;
        while q < 16u {
            let swap = 2u * (q / 4u);
            let row = q * TILE_BLOCKS + (my ^ swap);
            let column = q * TILE_BLOCKS + ROW_BLOCKS + (mx ^ swap);
            let a0 = tile[row];
            let d0 = tile[row + ROW_BLOCKS / 2u];
            let b0 = tile[column];
            let e0 = tile[column + COLUMN_BLOCKS / 2u];
            c00 += mat4x4f(b0 * a0.x, b0 * a0.y, b0 * a0.z, b0 * a0.w);
            c01 += mat4x4f(e0 * a0.x, e0 * a0.y, e0 * a0.z, e0 * a0.w);
            c10 += mat4x4f(b0 * d0.x, b0 * d0.y, b0 * d0.z, b0 * d0.w);
            c11 += mat4x4f(e0 * d0.x, e0 * d0.y, e0 * d0.z, e0 * d0.w);
            if STEPS > 1u {
                let a1 = tile[row + TILE_BLOCKS];
                let d1 = tile[row + TILE_BLOCKS + ROW_BLOCKS / 2u];
                let b1 = tile[column + TILE_BLOCKS];
                let e1 = tile[column + TILE_BLOCKS + COLUMN_BLOCKS / 2u];
                c00 += mat4x4f(b1 * a1.x, b1 * a1.y, b1 * a1.z, b1 * a1.w);
                c01 += mat4x4f(e1 * a1.x, e1 * a1.y, e1 * a1.z, e1 * a1.w);
                c10 += mat4x4f(b1 * d1.x, b1 * d1.y, b1 * d1.z, b1 * d1.w);
                c11 += mat4x4f(e1 * d1.x, e1 * d1.y, e1 * d1.z, e1 * d1.w);
                let a2 = tile[row + 2u * TILE_BLOCKS];
                let d2 = tile[row + 2u * TILE_BLOCKS + ROW_BLOCKS / 2u];
                let b2 = tile[column + 2u * TILE_BLOCKS];
                let e2 = tile[column + 2u * TILE_BLOCKS + COLUMN_BLOCKS / 2u];
                c00 += mat4x4f(b2 * a2.x, b2 * a2.y, b2 * a2.z, b2 * a2.w);
                c01 += mat4x4f(e2 * a2.x, e2 * a2.y, e2 * a2.z, e2 * a2.w);
                c10 += mat4x4f(b2 * d2.x, b2 * d2.y, b2 * d2.z, b2 * d2.w);
                c11 += mat4x4f(e2 * d2.x, e2 * d2.y, e2 * d2.z, e2 * d2.w);
                let a3 = tile[row + 3u * TILE_BLOCKS];
                let d3 = tile[row + 3u * TILE_BLOCKS + ROW_BLOCKS / 2u];
                let b3 = tile[column + 3u * TILE_BLOCKS];
                let e3 = tile[column + 3u * TILE_BLOCKS + COLUMN_BLOCKS / 2u];
                c00 += mat4x4f(b3 * a3.x, b3 * a3.y, b3 * a3.z, b3 * a3.w);
                c01 += mat4x4f(e3 * a3.x, e3 * a3.y, e3 * a3.z, e3 * a3.w);
                c10 += mat4x4f(b3 * d3.x, b3 * d3.y, b3 * d3.z, b3 * d3.w);
                c11 += mat4x4f(e3 * d3.x, e3 * d3.y, e3 * d3.z, e3 * d3.w);
            }
            q += STEPS;
        }
        start += 4u;
    }
    keep(m_tile + my, n_tile + mx, group.z, c00);
    keep(m_tile + my, n_tile + mx + COLUMN_BLOCKS / 2u, group.z, c01);
    keep(m_tile + my + ROW_BLOCKS / 2u, n_tile + mx, group.z, c10);
    keep(m_tile + my + ROW_BLOCKS / 2u, n_tile + mx + COLUMN_BLOCKS / 2u, group.z, c11);
}

fn keep(m: u32, n: u32, split: u32, block: mat4x4f) {
    if m < rows() && n < columns() {
        store(m, n, split, block);
    }
}
