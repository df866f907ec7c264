// The matrix core for few rows, as in a dense layer on one image: a workgroup makes 4 x 8 numbers,
// and its threads share the depth, so that weights are read once and by neighbours together.
// Only for sums that are whole numbers: they are added up as integers, in any order.

// Many on a GPU. On a CPU driver as many as one register holds: there the memory they add up through
// costs more than it saves.
override THREADS: u32 = 64u;

var<workgroup> parts: array<array<vec4i, 8>, THREADS>; // [thread][position and block of columns]

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) thread: u32,
) {
    let column_pairs = (columns() + 1u) / 2u;
    let tile = group.x + group.y * groups.x;
    let m = tile / column_pairs;
    let n = (tile % column_pairs) * 2u;
    let r = locate_rows(min(m, rows() - 1u));
    let s0 = locate_columns(n);
    let s1 = locate_columns(min(n + 1u, columns() - 1u));
    var c0 = Sum();
    var c1 = Sum();
    let end = depth();
    var k = thread;
    while k < end {
        let a = load_rows(r, k);
        c0 = multiply_add(c0, load_columns(s0, k), a);
        c1 = multiply_add(c1, load_columns(s1, k), a);
        k += THREADS;
    }
    parts[thread] = array<vec4i, 8>(
        whole(c0[0]), whole(c0[1]), whole(c0[2]), whole(c0[3]),
        whole(c1[0]), whole(c1[1]), whole(c1[2]), whole(c1[3]),
    );
    workgroupBarrier();
    let column = n + (thread >> 2u);
    if thread < 8u && m < rows() && column < columns() {
        var sum = vec4i(0);
        var i = 0u;
        while i < THREADS {
            sum += parts[i][thread];
            i += 1u;
        }
        put(m * 4u + (thread & 3u), column, sum);
    }
}
