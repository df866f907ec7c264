// The matrix core for few rows, as in a dense layer on one image: a workgroup makes 4 x 8 numbers,
// and its 64 threads share the depth, so that weights are read once and by neighbours together.
// Only for sums that are whole numbers: they are added up as integers, in any order.

var<workgroup> parts: array<vec4i, 512>; // [thread][position and block of columns]

@compute @workgroup_size(64)
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
    for (var k = thread; k < end; k += 64u) {
        let a = load_rows(r, k);
        c0 = multiply_add(c0, load_columns(s0, k), a);
        c1 = multiply_add(c1, load_columns(s1, k), a);
    }
    let mine = thread * 8u;
    parts[mine] = whole(c0[0]); parts[mine + 1u] = whole(c0[1]);
    parts[mine + 2u] = whole(c0[2]); parts[mine + 3u] = whole(c0[3]);
    parts[mine + 4u] = whole(c1[0]); parts[mine + 5u] = whole(c1[1]);
    parts[mine + 6u] = whole(c1[2]); parts[mine + 7u] = whole(c1[3]);
    workgroupBarrier();
    let column = n + (thread >> 2u);
    if thread < 8u && m < rows() && column < columns() {
        var sum = vec4i(0);
        for (var i = thread; i < 512u; i += 8u) {
            sum += parts[i];
        }
        put(m * 4u + (thread & 3u), column, sum);
    }
}
