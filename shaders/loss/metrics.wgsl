// Adds the outcomes of one batch to the running totals of each network.
//
// a: outcomes (networks, rows, 4): loss, correct, loss against the label, images
// output_0: totals (networks, 2, 4), updated: the sums over finite batches; then how many batches were not
//           finite (a loss that is infinite or not a number), and three unused numbers

struct Params {
    rows: u32,
    outcomes_base: u32, // texels
    totals_base: u32,
}
@group(0) @binding(0) var<uniform> params: Params;

var<workgroup> sums: array<vec4f, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32, @builtin(workgroup_id) group: vec3u) {
    let first = params.outcomes_base + group.x * params.rows;
    var sum = vec4f(0.0);
    for (var row = thread; row < params.rows; row += 64u) {
        sum += read_a(first + row);
    }
    sums[thread] = sum;
    workgroupBarrier();
    if thread == 0u {
        var batch = vec4f(0.0);
        for (var i = 0u; i < 64u; i++) {
            batch += sums[i];
        }
        // By the bits, because compilers may assume that nothing is infinite.
        let exponent = bitcast<vec4u>(batch) & vec4u(0x7f800000u);
        let broken = any(exponent == vec4u(0x7f800000u));
        let at = params.totals_base + 2u * group.x;
        let total = previous_0(at);
        let failures = previous_0(at + 1u);
        write_0(at, total + select(batch, vec4f(0.0), vec4<bool>(broken)));
        write_0(at + 1u, failures + vec4f(select(0.0, 1.0, broken), 0.0, 0.0, 0.0));
    }
}
