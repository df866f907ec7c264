// The matrix core for few rows, as in a dense layer on one image: a workgroup makes COLUMN_BLOCKS tiles of 4 x 4
// numbers side by side, and its threads share the depth, so that weights are read once and by neighbours together. Before it
// is compiled for COLUMN_BLOCKS = 1, lines that end in "second column" are taken out.
// Only for sums that are whole numbers: they are added up as integers, in any order.

const SUMS = 4u * COLUMN_BLOCKS; // in fours, of every thread

// A power of SUMS: many on a GPU. On a CPU driver as many as one register holds: there the memory they add up through
// costs more than it saves.
override THREADS: u32 = 64u;

var<workgroup> parts: array<array<vec4i, SUMS>, THREADS>; // [thread][block of columns, position]

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let tiles_in_row = (columns() + COLUMN_BLOCKS - 1u) / COLUMN_BLOCKS;
    let tile = group.x + group.y * groups.x;
    let m = tile / tiles_in_row;
    let n = (tile % tiles_in_row) * COLUMN_BLOCKS;
    let r = locate_rows(min(m, rows() - 1u));
    let s0 = locate_columns(n);
    let s1 = locate_columns(min(n + 1u, columns() - 1u)); // second column
    var c0 = Sum();
    var c1 = Sum(); // second column
    let end = depth();
    var k = thread;
    while k < end {
        let b = load_columns(s0, k);
        let a = load_rows(r, k);
        c0 = multiply_add(c0, b, a);
        c1 = multiply_add(c1, load_columns(s1, k), a); // second column
        k += THREADS;
    }
    parts[thread] = array<vec4i, SUMS>(
        whole(c0[0]), whole(c0[1]), whole(c0[2]), whole(c0[3]),
        whole(c1[0]), whole(c1[1]), whole(c1[2]), whole(c1[3]), // second column
    );
    // Each round adds SUMS parts to one: 64 threads with 4 sums each leave 16 parts, then 4, then 1. A thread that goes on adds
    // one of the sums.
    let which = thread % SUMS;
    let first = thread / SUMS;
    var sum = vec4i(0);
    var left = THREADS;
    while left > 1u {
        workgroupBarrier();
        left /= SUMS;
        if first < left {
            sum = parts[first][which] + parts[first + left][which];
            sum += parts[first + 2u * left][which] + parts[first + 3u * left][which];
            sum += parts[first + 4u * left][which] + parts[first + 5u * left][which]; // second column
            sum += parts[first + 6u * left][which] + parts[first + 7u * left][which]; // second column
            parts[first][which] = sum;
        }
    }
    let column = n + which / 4u;
    if first == 0u && m < rows() && column < columns() {
        put(m * 4u + which % 4u, column, sum);
    }
}
